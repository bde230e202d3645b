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
    "transform": {},
}
