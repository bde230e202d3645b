"""The cache of preprocessed images: one memory-mapped file for each image, trusted by its key.

`files` is the format of a file, `keys` says when a file may be used, `store` is the folder with its
locks and leases, `dataset` the MONAI dataset on top, `fill` makes what is missing, and `manage`
lists, verifies and clears.
"""
