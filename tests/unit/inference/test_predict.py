"""Tiled prediction equals the net itself where it can, and MONAI's where it is defined alike."""

import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from imtoolkit.inference.predict import mirrored, pad_to, predict_tiled


def _pointwise(patches: Tensor) -> Tensor:
    return torch.cat([patches.sum(1, keepdim=True), patches[:, :1] ** 2], 1)


@pytest.mark.parametrize("shape", [(37, 50), (20, 30, 25), (5, 64)])
@pytest.mark.parametrize("blend", ["gaussian", "constant"])
def test_a_pointwise_net_is_not_changed_by_tiles(shape: tuple[int, ...], blend: str) -> None:
    image = torch.rand(1, 2, *shape, generator=torch.Generator().manual_seed(0))
    tile = (16,) * len(shape)
    tiled = predict_tiled(_pointwise, image, tile=tile, overlap=0.3, blend=blend, batch_size=3)
    torch.testing.assert_close(tiled, _pointwise(image))


def test_constant_blending_agrees_with_monai_where_tiles_coincide() -> None:
    torch.manual_seed(0)
    net = nn.Conv2d(1, 2, 5, padding=2).eval()
    image = torch.rand(1, 1, 48, 64)
    with torch.no_grad():
        ours = predict_tiled(net, image, tile=(32, 32), overlap=0.5, blend="constant")
        theirs = sliding_window_inference(image, (32, 32), 2, net, overlap=0.5, mode="constant")
    torch.testing.assert_close(ours, theirs)


def test_whole_images_are_padded_to_what_the_net_needs_and_cut_back() -> None:
    seen: list[tuple[int, ...]] = []

    def net(patches: Tensor) -> Tensor:
        seen.append(tuple(patches.shape[2:]))
        return patches

    image = torch.rand(1, 1, 30, 45)
    torch.testing.assert_close(predict_tiled(net, image, multiple=16), image)
    torch.testing.assert_close(predict_tiled(net, image, multiple=(2, 8)), image)
    assert seen == [(32, 48), (30, 48)]


def test_mirrored_copies_make_the_prediction_equivariant() -> None:
    torch.manual_seed(0)
    conv = nn.Conv3d(1, 1, 3, padding=1)
    image = torch.rand(1, 1, 6, 7, 8)
    with torch.no_grad():
        plain, flipped = (mirrored(conv, 3)(view) for view in (image, image.flip(2, 4)))
        assert not torch.allclose(conv(image.flip(2)).flip(2), conv(image))
    torch.testing.assert_close(plain, flipped.flip(2, 4))


def test_an_axis_too_short_to_reflect_repeats_its_border() -> None:
    padded = pad_to(torch.arange(2.0).view(1, 1, 1, 2), (1, 5))
    assert padded.flatten().tolist() == [0, 1, 1, 1, 1]


def test_nets_that_change_the_size_and_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="expected the same spatial shape"):
        predict_tiled(nn.MaxPool2d(2), torch.rand(1, 1, 8, 8))
    with pytest.raises(ValueError, match="expected one image"):
        predict_tiled(nn.Identity(), torch.rand(2, 1, 8, 8))
