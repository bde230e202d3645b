"""From a source of files to batches: manifest, splits, fingerprint, transforms, cache, loaders.

A source makes a manifest (a table of samples), splits divide it, the cache keeps what the
deterministic transforms made of each sample, and the data module hands out batches.
"""

BUILTINS = {
    "source": {
        "folder": "imtoolkit.data.sources.folder:FolderSource",
        "csv": "imtoolkit.data.sources.csv:CsvSource",
        "datalist": "imtoolkit.data.sources.datalist:DatalistSource",
        "nnunet": "imtoolkit.data.sources.nnunet:NnunetSource",
        "class_folders": "imtoolkit.data.sources.class_folders:ClassFoldersSource",
        "npz": "imtoolkit.data.sources.npz:NpzSource",
        "arrays": "imtoolkit.data.sources.arrays:ArraysSource",
        "unpaired": "imtoolkit.data.sources.unpaired:UnpairedSource",
    },
    "transform": {
        "normalize_percentiles": "imtoolkit.data.transforms.intensity:NormalizePercentiles",
        "normalize_zscore": "imtoolkit.data.transforms.intensity:NormalizeZscore",
        "normalize_range": "imtoolkit.data.transforms.intensity:NormalizeRange",
        "invert": "imtoolkit.data.transforms.intensity:Invert",
        "normalize_center_slice": "imtoolkit.data.transforms.intensity:NormalizeCenterSlice",
        "stain_separation": "imtoolkit.data.transforms.stains:StainSeparation",
        "for_domain": "imtoolkit.data.transforms.domain:ForDomain",
        "binarize_target": "imtoolkit.data.transforms.labels:BinarizeTarget",
        "connected_components": "imtoolkit.data.transforms.labels:ConnectedComponents",
        "map_labels": "imtoolkit.data.transforms.labels:MapLabels",
        "pad_to_multiple": "imtoolkit.data.transforms.grid:PadToMultiple",
        "enlarge": "imtoolkit.data.transforms.enlarge:Enlarge",
        "pad_z": "imtoolkit.data.transforms.grid:PadZ",
        "resample_spacing": "imtoolkit.data.transforms.grid:ResampleSpacing",
        "flips": "imtoolkit.data.transforms.random_grid:Flips",
        "rotations_90": "imtoolkit.data.transforms.random_grid:Rotations90",
        "random_affine": "imtoolkit.data.transforms.random_grid:RandomAffine",
        "random_elastic": "imtoolkit.data.transforms.random_grid:RandomElastic",
        "gaussian_noise": "imtoolkit.data.transforms.random_intensity:GaussianNoise",
        "brightness_contrast": "imtoolkit.data.transforms.random_intensity:BrightnessContrast",
        "gamma": "imtoolkit.data.transforms.random_intensity:Gamma",
        "white_noise": "imtoolkit.data.transforms.noise:WhiteNoise",
        "correlated_noise": "imtoolkit.data.transforms.noise:CorrelatedNoise",
        "poisson_noise": "imtoolkit.data.transforms.noise:PoissonNoise",
        "salt_and_pepper": "imtoolkit.data.transforms.noise:SaltAndPepper",
        "random_blur": "imtoolkit.data.transforms.noise:RandomBlur",
        "reduce_resolution": "imtoolkit.data.transforms.noise:ReduceResolution",
    },
}
