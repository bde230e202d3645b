"""Sources: from files (or arrays) to a manifest, one class for each way of laying data out."""
