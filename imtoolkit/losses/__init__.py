"""Losses that honour a cost map, MONAI's and torch's by name, and their weighted sum."""

BUILTINS: dict[str, dict[str, str]] = {
    "loss": {
        # labels, of pixels and of whole images
        "dice": "imtoolkit.losses.dice:DiceLoss",
        "cross_entropy": "imtoolkit.losses.cross_entropy:CrossEntropyLoss",
        "focal": "imtoolkit.losses.cross_entropy:FocalLoss",
        "dice_ce": "imtoolkit.losses.dice:DiceCELoss",
        "dice_focal": "imtoolkit.losses.dice:DiceFocalLoss",
        "generalized_dice": "imtoolkit.losses.generalized_dice:GeneralizedDiceLoss",
        "generalized_dice_focal": "imtoolkit.losses.generalized_dice:GeneralizedDiceFocalLoss",
        "lovasz": "imtoolkit.losses.lovasz:LovaszLoss",
        "bce": "imtoolkit.losses.binary:BCELoss",
        "topological_interaction": (
            "imtoolkit.losses.topological_interaction:TopologicalInteractionLoss"
        ),
        "connectivity": "imtoolkit.losses.connectivity:ConnectivityLoss",
        "persistent_homology": "imtoolkit.losses.persistence:PersistentHomologyLoss",
        "embedseg": "imtoolkit.losses.embedseg:EmbedSegLoss",
        # embeddings of whole images, and what nets compute by themselves
        "supervised_contrastive": "imtoolkit.losses.contrastive:SupervisedContrastiveLoss",
        "computed": "imtoolkit.losses.computed:ComputedLoss",
        # around another loss
        "masked": "imtoolkit.losses.masked:MaskedLoss",
        # images, and numbers of whole images
        "mse": "imtoolkit.losses.pixelwise:MSELoss",
        "rmse": "imtoolkit.losses.pixelwise:RMSELoss",
        "l1": "imtoolkit.losses.pixelwise:L1Loss",
        "smooth_l1": "imtoolkit.losses.pixelwise:SmoothL1Loss",
        "huber": "imtoolkit.losses.pixelwise:HuberLoss",
        "charbonnier": "imtoolkit.losses.pixelwise:CharbonnierLoss",
        "psnr": "imtoolkit.losses.pixelwise:PSNRLoss",
        "ssim": "imtoolkit.losses.similarity:SSIMLoss",
        "ms_ssim": "imtoolkit.losses.similarity:MultiScaleSSIMLoss",
        "fsim": "imtoolkit.losses.fsim:FSIMLoss",
        "gaussian_derivative": "imtoolkit.losses.derivatives:GaussianDerivativeLoss",
        "spectral": "imtoolkit.losses.spectral:SpectralLoss",
        "wavelet": "imtoolkit.losses.spectral:WaveletLoss",
        "perpendicular": "imtoolkit.losses.perpendicular:PerpendicularLoss",
        "perceptual": "imtoolkit.losses.perceptual:PerceptualLoss",
    }
}
