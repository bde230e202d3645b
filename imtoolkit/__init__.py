"""imtoolkit: from a folder of biomedical images to a trained, evaluated, documented model."""

__version__ = "0.1.0"
