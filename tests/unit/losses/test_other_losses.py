"""Embeddings, numbers of the net, features of trained nets, and losses around others."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.losses import ContrastiveLoss
from torch import Tensor, nn

from imtoolkit.core.batch import MISSING_CLASS
from imtoolkit.core.errors import ComponentError
from imtoolkit.losses.adapting import build_loss
from imtoolkit.losses.computed import ComputedLoss
from imtoolkit.losses.contrastive import SupervisedContrastiveLoss
from imtoolkit.losses.masked import MaskedLoss
from imtoolkit.losses.perceptual import PerceptualLoss
from imtoolkit.losses.pixelwise import L1Loss, MSELoss
from imtoolkit.losses.weighted_sum import Term, WeightedSum


def embeddings(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


# --- contrastive ----------------------------------------------------------------------------------


def test_supervised_contrast_is_the_sum_of_the_paper() -> None:
    z, labels, tau = embeddings(7, 5), [0, 1, 0, 2, 1, 0, 3], 0.3
    unit = (z / z.norm(dim=1, keepdim=True)).numpy().astype(float)
    each = []
    for i in range(7):
        positives = [j for j in range(7) if j != i and labels[j] == labels[i]]
        norm = sum(np.exp(unit[i] @ unit[a] / tau) for a in range(7) if a != i)
        logs = [np.log(np.exp(unit[i] @ unit[j] / tau) / norm) for j in positives]
        each += [-np.mean(logs)] if positives else []
    value = SupervisedContrastiveLoss(tau)(z, torch.tensor(labels))
    assert len(each) == 5
    assert value.item() == pytest.approx(np.mean(each), rel=1e-5)


def test_without_labels_it_is_simclr() -> None:
    views = embeddings(6, 2, 5)
    reference = ContrastiveLoss(temperature=0.5)(views[:, 0], views[:, 1])
    loss = SupervisedContrastiveLoss(0.5)
    torch.testing.assert_close(loss(views), reference)
    unknown = torch.full((6,), MISSING_CLASS)
    torch.testing.assert_close(loss(views, unknown), reference)


def test_views_of_one_class_are_positives_of_each_other() -> None:
    views, labels = embeddings(3, 2, 4), torch.tensor([0, 1, 0])
    flat = SupervisedContrastiveLoss()(views.flatten(0, 1), labels.repeat_interleave(2))
    torch.testing.assert_close(SupervisedContrastiveLoss()(views, labels), flat)


def test_a_batch_without_positives_gives_zero_with_a_graph() -> None:
    z = embeddings(3, 4).requires_grad_()
    value = SupervisedContrastiveLoss()(z, torch.arange(3))
    value.backward()
    assert value.item() == 0
    assert z.grad is not None
    assert not z.grad.any()


def test_descending_brings_classes_together() -> None:
    z = embeddings(8, 3).requires_grad_()
    labels = torch.tensor([0, 1] * 4)
    optimizer = torch.optim.Adam([z], lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        SupervisedContrastiveLoss()(z, labels).backward()
        optimizer.step()
    unit = nn.functional.normalize(z.detach(), dim=1)
    alike = unit @ unit.T
    assert alike[0, 2] > 0.9
    assert alike[0, 1] < 0


def test_contrast_in_a_task_takes_labels_where_there_are_some() -> None:
    loss, _ = build_loss("supervised_contrastive", {}, out_channels=4, spatial_dims=2, labels=True)
    total = WeightedSum([Term("contrast", loss, target="diagnosis")])
    views, labels = embeddings(4, 2, 5), torch.tensor([0, 1, 0, 1])
    maps = {"weight": torch.ones(4, 1, 8, 8)}  # of pixels: nothing to embeddings
    own = SupervisedContrastiveLoss()
    torch.testing.assert_close(total(views, maps)[0], own(views))
    both, _ = total(views, {**maps, "diagnosis": labels})
    torch.testing.assert_close(both, own(views, labels))
    flat, _ = total(views[:, 0], {**maps, "diagnosis": labels})
    torch.testing.assert_close(flat, own(views[:, 0], labels))


def test_embeddings_and_labels_of_other_shapes_are_refused() -> None:
    loss = SupervisedContrastiveLoss()
    with pytest.raises(ValueError, match=r"expected \(B, D\)"):
        loss(torch.zeros(2, 3, 4, 5))
    with pytest.raises(ValueError, match="a class number for each of 2 images"):
        loss(torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="got temperature 0"):
        SupervisedContrastiveLoss(0)


# --- computed by the net --------------------------------------------------------------------------


def test_a_number_of_the_net_is_a_term_among_others() -> None:
    computed, _ = build_loss("computed", {}, out_channels=1, spatial_dims=2, labels=False)
    terms = [Term("mse", MSELoss(), prediction="image"), Term("kl", computed, 0.1, prediction="kl")]
    total = WeightedSum(terms)
    number = torch.tensor([2.0, 4.0], requires_grad=True)
    image = torch.rand(2, 1, 4, 4)
    loss, values = total({"image": image, "kl": number}, {"target": image + 1}, 0)
    torch.testing.assert_close(loss, torch.tensor(1 + 0.1 * 3.0))
    assert values["kl"].item() == 3
    loss.backward()
    assert number.grad is not None
    torch.testing.assert_close(number.grad, torch.full((2,), 0.05))


def test_tiles_of_whole_images_have_no_such_number() -> None:
    computed, _ = build_loss("computed", {}, out_channels=1, spatial_dims=2, labels=False)
    terms = [Term("mse", MSELoss(), prediction="image"), Term("kl", computed, prediction="kl")]
    image = torch.rand(1, 1, 4, 4)
    _, values = WeightedSum(terms)({"image": image}, {"target": image}, None)
    assert list(values) == ["mse"]
    with pytest.raises(ComponentError, match="'kl' reads the output 'kl'"):
        WeightedSum(terms)({"image": image}, {"target": image}, 0)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a number that the net computed"):
        ComputedLoss()(torch.zeros(2, 3))


# --- around another loss --------------------------------------------------------------------------


def test_ignored_pixels_count_as_right_for_a_loss_that_knows_no_maps() -> None:
    params = {"loss": {"name": "DiceLoss", "params": {}}}
    masked, _ = build_loss("masked", params, out_channels=3, spatial_dims=2)
    plain, _ = build_loss("DiceLoss", {}, out_channels=3, spatial_dims=2)
    logits = embeddings(2, 3, 8, 8).requires_grad_()
    target = torch.randint(3, (2, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(masked(logits, target), plain(logits, target))
    weight = torch.ones(2, 1, 8, 8)
    weight[..., :4] = 0
    background = torch.tensor([30.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    mended = torch.where(weight > 0, logits, background)
    value = masked(logits, torch.where(weight > 0, target, 255), weight)
    torch.testing.assert_close(value, plain(mended, torch.where(weight > 0, target, 0)))
    value.backward()
    assert logits.grad is not None
    assert not logits.grad[..., :4].any()
    assert logits.grad[..., 4:].any()


def test_ignored_pixels_of_images_are_those_of_the_target() -> None:
    prediction, target = embeddings(1, 1, 8, 8), embeddings(2, 1, 8, 8)[1:]
    weight = torch.zeros(1, 1, 8, 8)
    weight[..., :2] = 1
    expected = nn.L1Loss()(prediction[..., :2], target[..., :2]) / 4
    torch.testing.assert_close(MaskedLoss(nn.L1Loss())(prediction, target, weight), expected)


def test_maps_of_other_numbers_are_refused() -> None:
    image = torch.zeros(1, 1, 4, 4)
    with pytest.raises(ValueError, match="leave pixels out, and not weigh them"):
        MaskedLoss(L1Loss())(image, image, image + 0.5)


# --- features of a trained net --------------------------------------------------------------------


def small_net(channels: int = 1, dims: int = 2) -> nn.Sequential:
    conv = nn.Conv2d if dims == 2 else nn.Conv3d
    norm = nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d
    return nn.Sequential(conv(channels, 4, 3, 2, 1), norm(4), nn.ReLU(), conv(4, 6, 3, 2, 1))


@pytest.fixture
def weights(tmp_path: Path) -> tuple[nn.Sequential, str]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = small_net()
    torch.save(net.state_dict(), tmp_path / "net.pt")
    return net, str(tmp_path / "net.pt")


def test_features_of_the_named_layers_are_compared(weights: tuple[nn.Sequential, str]) -> None:
    net, file = weights
    prediction, target = torch.rand(2, 2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first, second = net.eval()[0], net[:4]
        expected = (first(prediction) - first(target)).abs().mean()
        expected += 0.5 * (second(prediction) - second(target)).abs().mean()
    loss = PerceptualLoss(small_net(), file, ["0", "3"], factors=[1.0, 0.5])
    torch.testing.assert_close(loss(prediction, target), expected)


def test_the_net_stays_as_it_is_and_is_no_part_of_the_state(
    weights: tuple[nn.Sequential, str],
) -> None:
    net, file = weights
    loss = PerceptualLoss(small_net(), file, ["3"])
    loss.train()
    prediction = torch.rand(2, 1, 16, 16, requires_grad=True)
    loss(prediction, torch.rand(2, 1, 16, 16)).backward()
    assert prediction.grad is not None
    assert prediction.grad.any()
    assert not loss.state_dict()
    assert not list(loss.parameters())
    held = loss._held[0].state_dict()
    assert all(torch.equal(held[name], value) for name, value in net.state_dict().items())
    copied = pickle.loads(pickle.dumps(copy.deepcopy(loss)))  # as spawned processes need
    target = torch.zeros(2, 1, 16, 16)
    torch.testing.assert_close(copied(prediction, target), loss(prediction, target))


def test_weights_come_from_the_checkpoint_of_a_run_as_well(
    weights: tuple[nn.Sequential, str], tmp_path: Path
) -> None:
    net, file = weights
    state = {f"nets.net.encoder.{name}": value for name, value in net.state_dict().items()}
    state["nets.net.head.weight"] = torch.zeros(3)
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "best.ckpt")
    images = torch.rand(2, 2, 1, 16, 16)
    values = [
        PerceptualLoss(small_net(), path, ["3"])(*images)
        for path in (file, str(tmp_path / "best.ckpt"))
    ]
    torch.testing.assert_close(*values)


def test_a_cost_map_weighs_features_where_they_are(weights: tuple[nn.Sequential, str]) -> None:
    loss = PerceptualLoss(small_net(), weights[1], ["0"])
    target = torch.rand(1, 1, 16, 16)
    prediction = target.clone()
    prediction[..., 12:] += 1  # wrong on the right
    left, right = torch.ones(2, 1, 1, 16, 16)
    left[..., 8:], right[..., :8] = 0, 0
    assert loss(prediction, target, left).item() == 0
    assert loss(prediction, target, right) > loss(prediction, target) > 0


def test_channels_are_repeated_shifted_and_scaled_and_volumes_are_sliced(tmp_path: Path) -> None:
    net = small_net(3)
    torch.save(net.state_dict(), tmp_path / "rgb.pt")
    options = {"repeat": 3, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1], "norm": "l2"}
    loss = PerceptualLoss(small_net(3), str(tmp_path / "rgb.pt"), ["0"], **options)
    prediction, target = torch.rand(2, 1, 2, 16, 16)
    shift, scale = (torch.tensor(options[key]).reshape(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        seen = [
            net[0]((image.reshape(2, 1, 16, 16).repeat(1, 3, 1, 1) - shift) / scale)
            for image in (prediction, target)
        ]
    expected = (seen[0] - seen[1]).square().mean()
    torch.testing.assert_close(loss(prediction, target), expected)
    sliced = PerceptualLoss(
        small_net(3), str(tmp_path / "rgb.pt"), ["0"], per_slice=True, **options
    )
    volumes = [image[None].movedim(1, 2) for image in (prediction, target)]  # (1, 1, 2, 16, 16)
    torch.testing.assert_close(sliced(*volumes), expected)


def test_unit_features_do_not_see_their_length(weights: tuple[nn.Sequential, str]) -> None:
    image = torch.rand(1, 1, 16, 16)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False))
    file = Path(weights[1]).with_name("linear.pt")
    torch.save(net.state_dict(), file)
    unit = PerceptualLoss(copy.deepcopy(net), str(file), ["0"], normalize=True)
    assert unit(2 * image, image).item() == pytest.approx(0, abs=1e-5)
    assert PerceptualLoss(net, str(file), ["0"])(2 * image, image).item() > 0.01


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("ran"),)


def test_files_that_do_not_hold_the_weights_are_refused(
    weights: tuple[nn.Sequential, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image = torch.rand(1, 1, 16, 16)

    def using(file: str, net: nn.Module) -> None:
        PerceptualLoss(net, file, ["0"])(image, image)

    with pytest.raises(ComponentError, match="do not exist; expected a file that you bring along"):
        using("nowhere.pt", small_net())
    with pytest.raises(ComponentError, match=r"lacks weights.*or has them in another shape: '0.w"):
        using(weights[1], small_net(2))
    torch.save({"state_dict": _Code()}, "evil.pt")
    with pytest.raises(ComponentError, match="cannot be read as plain tensors"):
        using("evil.pt", small_net())
    assert not Path("ran").exists()


def test_layers_that_are_not_there_are_refused_with_those_that_are() -> None:
    net = nn.ModuleDict({"layer1": nn.Conv2d(1, 1, 1), "layer2": nn.Conv2d(1, 1, 1)})
    with pytest.raises(ValueError, match=r"'layer1', 'layer2' Did you mean 'layer2'"):
        PerceptualLoss(net, "x.pt", ["layr2"])
    with pytest.raises(ValueError, match="got 2 factors for 1 layers"):
        PerceptualLoss(net, "x.pt", ["layer1"], factors=[1, 2])


def test_the_net_is_chosen_by_name(tmp_path: Path) -> None:
    from monai.networks.nets import BasicUNet

    options = {"spatial_dims": 2, "in_channels": 1, "features": [4, 4, 8, 8, 8, 4]}
    torch.save(BasicUNet(**options).state_dict(), tmp_path / "unet.pt")
    params = {
        "net": {"name": "BasicUNet", "params": options},
        "weights": str(tmp_path / "unet.pt"),
        "layers": ["conv_0", "down_1"],
    }
    loss, _ = build_loss("perceptual", params, out_channels=1, spatial_dims=2, labels=False)
    image = torch.rand(1, 1, 32, 32)
    assert loss(image, image).item() == 0
    assert loss(image, 1 - image).item() > 0
