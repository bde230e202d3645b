"""Spatio-temporal CNN-transformers: attention whose queries, keys and values are convolutions.

`grammar` reads block strings such as ``"L1G1T1"``, `options` holds what the cells share, `layers`,
`attention` and `cells` are the parts, `unet`, `hrnet` and `mixed_unetr` the nets. All work on
``(B, C, T, Y, X)``: a 2D image has T = 1, the Z of a volume takes the place of time.

Papers: Rehman, Zhovmer et al., "Convolutional neural network transformer (CNNT) for fluorescence
microscopy image denoising with improved generalization and fast adaptation", Scientific Reports
2024; Xue et al., "Imaging transformer for MRI denoising: a scalable model architecture that enables
SNR << 1 imaging", 2024.
"""
