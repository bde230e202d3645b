"""Complex numbers, as scanners and interferometers give them: each channel becomes two."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from imtoolkit import io

STATE = np.random.RandomState(0)
VALUES = STATE.random_sample((3, 6, 8)) + 1j * STATE.random_sample((3, 6, 8))


def write(root: Path, suffix: str, values: np.ndarray) -> str:
    path = root / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, values)
    elif suffix == ".npz":
        np.savez(path, k=values)
    else:
        with h5py.File(path, "w") as file:
            file["k"] = values
    return str(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
@pytest.mark.parametrize(("dtype", "real"), [("complex64", "float32"), ("complex128", "float64")])
def test_real_and_imaginary_part_follow_each_other(
    tmp_path: Path, suffix: str, dtype: str, real: str
) -> None:
    path = write(tmp_path, suffix, VALUES.astype(dtype))
    picture = io.read(path, axes="CYX")
    assert picture.pixels.shape == (6, 6, 8)
    assert picture.pixels.dtype == np.dtype(real)
    np.testing.assert_allclose(picture.pixels[0::2], VALUES.real, rtol=1e-6)
    np.testing.assert_allclose(picture.pixels[1::2], VALUES.imag, rtol=1e-6)
    assert picture.channel_names == ("0.real", "0.imag", "1.real", "1.imag", "2.real", "2.imag")
    info = io.probe(path, axes="CYX")
    assert (info.shape, info.dtype) == (picture.pixels.shape, picture.pixels.dtype)
    assert info.channel_names == picture.channel_names


def test_channels_are_chosen_as_stored_and_volumes_have_pairs_too(tmp_path: Path) -> None:
    path = write(tmp_path, ".npy", VALUES)
    chosen = io.read(path, axes="CYX", channels=[2, 0]).pixels
    np.testing.assert_array_equal(chosen[2], VALUES[0].real)
    np.testing.assert_array_equal(chosen[1], VALUES[2].imag)
    volume = io.read(path, axes="ZYX")
    assert volume.axes == "CZYX"
    np.testing.assert_array_equal(volume.pixels, [VALUES.real, VALUES.imag])
