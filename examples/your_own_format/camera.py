"""A format of one's own, a line of JSON and the pixels, and the reader that makes it known."""

import json
from pathlib import Path

import numpy as np
from monai.data import ImageReader


class CameraReader(ImageReader):
    """Reads ``.cam`` files: ``{"shape": [256, 256], "pixel_size": 0.5}``, a line feed, uint16."""

    def verify_suffix(self, filename):
        """Tell whether a file is one of these."""
        return str(filename).endswith(".cam")

    def read(self, data, **kwargs):
        """Read header and pixels of a file."""
        header, _, body = Path(data).read_bytes().partition(b"\n")
        facts = json.loads(header)
        return facts, np.frombuffer(body, np.uint16).reshape(facts["shape"])

    def get_data(self, img):
        """Return the pixels, and what is known of them: axes, pixel size, unit, channel names."""
        facts, pixels = img
        size = facts["pixel_size"]
        return pixels, {"axes": "YX", "spacing": [size, size], "unit": "micrometer"}


def save(path, pixels, pixel_size):
    """Write such a file, as the camera does; only this example needs it."""
    header = json.dumps({"shape": list(pixels.shape), "pixel_size": pixel_size})
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(header.encode() + b"\n" + pixels.astype(np.uint16).tobytes())
