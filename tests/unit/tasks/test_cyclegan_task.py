"""CycleGAN: which net makes what, the pool, cycle and identity, and what is measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imtoolkit.callbacks.evaluated import evaluated
from imtoolkit.callbacks.translations import translated, translation_rows
from imtoolkit.config.sections import Component, CycleGANConfig, InferenceConfig, LossTerm
from imtoolkit.core.batch import Stage
from imtoolkit.core.errors import ConfigError
from imtoolkit.core.facts import DataFacts
from imtoolkit.figures.grid import Panel, grid_figure
from imtoolkit.tasks import build_task, target_spec
from imtoolkit.tasks.cyclegan import CycleGANTask, Translation
from imtoolkit.tasks.encoder import NetEncoder, averaged, check_encoder
from imtoolkit.tasks.pool import ImagePool
from tests.helpers import tasks as other_tasks

UNET = Component("UNet", {"channels": [4, 8], "strides": [2]})
JUDGE = Component("patch_discriminator", {"channels": 4, "depth": 1})
VAL = {"train": {"A": 4, "B": 4}, "val": {"A": 2, "B": 2}}


def facts_of(a: int = 1, b: int = 3, dims: int = 2, side: int = 16, **more: Any) -> DataFacts:
    size = (side,) * dims
    return DataFacts(
        dims, a, b, patch_size=size, target_patch_size=size, domain_samples=VAL, **more
    )


def task_of(facts: DataFacts | None = None, seed: int = 0, **fields: Any) -> CycleGANTask:
    nets = {"generator": UNET, "discriminator": JUDGE}
    config = CycleGANConfig(category="cyclegan", **{"nets": nets, **fields})
    task = build_task(config, InferenceConfig(), facts or facts_of(), seed)
    assert isinstance(task, CycleGANTask)
    return task


def batch_of(a: int = 1, b: int = 3, dims: int = 2, side: int = 16) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, channels, *(side,) * dims) for channels in (a, b)]
    first, second = (torch.rand(shape, generator=generator) for shape in shapes)
    return {"image": first, "target": second, "id": ["x", "y"], "target_id": ["u", "v"]}


def whole(domain: str, channels: int, side: int = 24, **more: Any) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(ord(domain))
    image = torch.rand((1, channels, side, side), generator=generator)
    return {"image": image, "domain": [domain], "id": [f"{domain}0"], "dataset": ["d"], **more}


class Simple(nn.Module):
    """A generator that is a function of its input, with a weight that nothing reads."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function, self.unused = function, nn.Parameter(torch.zeros(1))

    def forward(self, image: Tensor) -> Tensor:
        return self.function(image) + 0 * self.unused


def with_generators(
    task: CycleGANTask, into_b: Callable[[Tensor], Tensor], into_a: Callable[[Tensor], Tensor]
) -> CycleGANTask:
    task.nets["generator_ab"], task.nets["generator_ba"] = Simple(into_b), Simple(into_a)
    return task


# --- nets -----------------------------------------------------------------------------------------


def test_each_net_has_the_channels_of_its_domain() -> None:
    task = task_of(facts_of(2, 3))
    image = {"a": torch.zeros(1, 2, 16, 16), "b": torch.zeros(1, 3, 16, 16)}
    assert task.nets["generator_ab"](image["a"]).shape == (1, 3, 16, 16)
    assert task.nets["generator_ba"](image["b"]).shape == (1, 2, 16, 16)
    task.nets["discriminator_a"](image["a"])
    task.nets["discriminator_b"](image["b"])
    assert task.optimizer_nets() == {
        "generator": ("generator_ab", "generator_ba"),
        "discriminator": ("discriminator_a", "discriminator_b"),
    }
    spec = target_spec(task.config)
    assert (spec.unpaired, spec.optional) == (True, True)


def test_nets_of_one_kind_have_weights_of_their_own() -> None:
    task = task_of(facts_of(1, 1))
    first, second = (next(task.nets[f"generator_{way}"].parameters()) for way in ("ab", "ba"))
    assert first.shape == second.shape
    assert not torch.equal(first, second)
    again = task_of(facts_of(1, 1))
    assert torch.equal(first, next(again.nets["generator_ab"].parameters()))


def test_a_net_that_is_named_for_a_role_is_used_there() -> None:
    wide = Component("UNet", {"channels": [8, 16], "strides": [2]})
    deep = Component("patch_discriminator", {"channels": 4, "depth": 2})
    nets = {
        "generator": UNET,
        "generator_ba": wide,
        "discriminator_a": deep,
        "discriminator": JUDGE,
    }
    task = task_of(nets=nets)
    sizes = {role: sum(w.numel() for w in net.parameters()) for role, net in task.nets.items()}
    assert sizes["generator_ba"] > 2 * sizes["generator_ab"]
    assert sizes["discriminator_a"] > sizes["discriminator_b"]


def test_volumes_are_translated_as_images_are() -> None:
    task = task_of(facts_of(1, 2, dims=3))
    output = task.trial(batch_of(1, 2, dims=3))
    assert output.loss is not None
    assert torch.isfinite(output.loss)


# --- losses ---------------------------------------------------------------------------------------


def turns_of(task: CycleGANTask, batch: dict[str, Any]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for turn in task.turns(batch, frozenset({"generator", "discriminator"})):
        found |= {**turn.terms, turn.role: turn.loss.detach()}
    return found


def test_generators_that_change_nothing_have_no_cycle_and_no_identity_error() -> None:
    task = task_of(facts_of(1, 1), identity_weight=5.0, adversarial_weight=0.0)
    with_generators(task, lambda x: x, lambda x: x)
    terms = turns_of(task, batch_of(1, 1))
    for name in ("cycle_a", "cycle_b", "identity_a", "identity_b"):
        assert float(terms[name]) == 0
    assert float(terms["generator"]) == 0


def test_the_cycle_goes_there_and_back_and_the_weights_count() -> None:
    # into B: times two; into A: minus one. A -> B -> A gives 2a - 1, B -> A -> B gives 2b - 2
    task = task_of(facts_of(1, 1), cycle_weight=3.0, identity_weight=0.5, adversarial_weight=2.0)
    with_generators(task, lambda x: 2 * x, lambda x: x - 1)
    batch = batch_of(1, 1)
    a, b = batch["image"], batch["target"]
    terms = turns_of(task, batch)
    assert float(terms["cycle_a"]) == pytest.approx(float((a - 1).abs().mean()))
    assert float(terms["cycle_b"]) == pytest.approx(float((b - 2).abs().mean()))
    # the identity loss gives the generator into B real images of B, and that into A those of A
    assert float(terms["identity_b"]) == pytest.approx(float(b.abs().mean()))
    assert float(terms["identity_a"]) == pytest.approx(1.0)
    adversarial = terms["a_to_b_adversarial"] + terms["b_to_a_adversarial"]
    cycle, identity = terms["cycle_a"] + terms["cycle_b"], terms["identity_a"] + terms["identity_b"]
    assert float(terms["generator"]) == pytest.approx(
        float(2 * adversarial + 3 * cycle + 0.5 * identity), rel=1e-5
    )


def test_the_adversarial_terms_are_those_of_the_judge_of_the_domain() -> None:
    task = task_of(facts_of(1, 1))
    with_generators(task, lambda x: x + 1, lambda x: x - 1)
    batch = batch_of(1, 1)
    terms = turns_of(task, batch)
    for end, made in (("b", batch["image"] + 1), ("a", batch["target"] - 1)):
        logits = task.nets[f"discriminator_{end}"](made)[-1]
        other = "a" if end == "b" else "b"
        expected = ((logits - 1) ** 2).mean()  # least squares, Mao et al.
        torch.testing.assert_close(terms[f"{other}_to_{end}_adversarial"], expected.detach())
        real = batch["image"] if end == "a" else batch["target"]
        judged = ((task.nets[f"discriminator_{end}"](real)[-1] - 1) ** 2).mean() + (
            logits**2
        ).mean()
        torch.testing.assert_close(terms[f"{end}_discriminator"], judged.detach() / 2)


def test_losses_measure_cycle_and_identity() -> None:
    losses = {"l1": LossTerm("l1"), "mse": LossTerm("mse", weight=2.0)}
    task = task_of(facts_of(1, 1), losses=losses)
    with_generators(task, lambda x: x + 0.5, lambda x: x)
    terms = turns_of(task, batch_of(1, 1))
    assert float(terms["cycle_a"]) == pytest.approx(0.5 + 2 * 0.25)


def test_each_turn_sends_its_gradient_to_the_nets_of_its_role() -> None:
    task = task_of()
    for turn in task.turns(batch_of(), frozenset({"generator", "discriminator"})):
        weights = {
            name: weight
            for role in task.optimizer_nets()[turn.role]
            for name, weight in task.nets[role].named_parameters()
        }
        gradients = torch.autograd.grad(turn.loss, list(weights.values()), retain_graph=True)
        assert all(torch.isfinite(g).all() for g in gradients)
        assert any(bool(g.any()) for g in gradients)
        if turn.role == "discriminator":
            makers = [
                w
                for role in task.optimizer_nets()["generator"]
                for w in task.nets[role].parameters()
            ]
            made = torch.autograd.grad(turn.loss, makers, allow_unused=True)
            assert all(g is None for g in made)


def test_identity_needs_as_many_channels() -> None:
    with pytest.raises(ConfigError, match=r"identity_weight: .*A have 1 channel.*B 3.*Set it to 0"):
        task_of(facts_of(1, 3), identity_weight=1.0)


def test_patches_too_small_for_a_discriminator_are_refused_by_domain() -> None:
    deep = Component("patch_discriminator", {"channels": 4, "depth": 3})
    facts = DataFacts(2, 1, 3, patch_size=(64, 64), target_patch_size=(16, 16), domain_samples=VAL)
    with pytest.raises(ConfigError, match=r"\[16, 16\]; the discriminator_b .* at least \["):
        task_of(facts, nets={"generator": UNET, "discriminator": deep})


def test_a_generator_of_other_channels_is_refused() -> None:
    wrong = Component("UNet", {"channels": [4, 8], "strides": [2], "out_channels": 2})
    with pytest.raises(ConfigError, match=r"out_channels is 2, but the task needs 3"):
        task_of(nets={"generator": wrong, "discriminator": JUDGE})


# --- the pool -------------------------------------------------------------------------------------


def images(*values: float) -> Tensor:
    return torch.tensor(values).reshape(-1, 1, 1, 1)


def test_a_pool_hands_out_what_it_is_given_until_it_is_full() -> None:
    pool = ImagePool(3)
    assert pool(images(1, 2)).flatten().tolist() == [1, 2]
    assert pool(images(3)).flatten().tolist() == [3]
    assert [float(image) for image in pool.images] == [1, 2, 3]


def test_a_full_pool_hands_out_new_and_kept_images_in_equal_parts() -> None:
    torch.manual_seed(0)
    pool = ImagePool(5)
    pool(images(*range(5)))
    fresh = 0
    for number in range(100, 600):
        before = sorted(float(image) for image in pool.images)
        out = float(pool(images(number)))
        after = sorted(float(image) for image in pool.images)
        if out == number:
            fresh += 1
            assert after == before
        else:  # the new image took the place of the one that came out
            assert sorted([*after, out]) == sorted([*before, number])
    assert 200 < fresh < 300
    assert len(pool.images) == 5


def test_a_pool_of_none_keeps_nothing_and_all_pools_cut_the_graph() -> None:
    made = images(1.0).requires_grad_()
    for size in (0, 2):
        pool = ImagePool(size)
        assert not pool(made).requires_grad
        assert len(pool.images) == size // 2


def test_a_pool_is_found_again() -> None:
    pool, other = ImagePool(3), ImagePool(3)
    pool(images(1, 2, 3))
    other.restore(pool.state())
    for number in range(4, 24):
        torch.manual_seed(number)
        ours = pool(images(number))
        torch.manual_seed(number)
        assert torch.equal(ours, other(images(number)))
    smaller = ImagePool(2)
    smaller.restore(pool.state())
    assert len(smaller.images) == 2


def test_the_pools_of_both_domains_are_part_of_the_state() -> None:
    task, other = task_of(), task_of()
    turns_of(task, batch_of())
    state = task.process_state()
    assert [image.shape for image in state["a"]] == [(1, 16, 16)] * 2
    assert [image.shape for image in state["b"]] == [(3, 16, 16)] * 2
    other.restore_process_state(state)
    assert torch.equal(other.pools["b"].images[1], task.pools["b"].images[1])
    other.restore_process_state({})
    assert not other.pools["a"].images


# --- directions -----------------------------------------------------------------------------------


def test_predictions_go_the_way_that_is_asked_for() -> None:
    task = task_of(facts_of(1, 3)).eval()
    assert task.predict_image(torch.rand(1, 20, 20)).shape == (3, 20, 20)
    assert task.source_facts().in_channels == 1
    task.turn_to("b_to_a")
    assert task.predict_image(torch.rand(3, 20, 20)).shape == (1, 20, 20)
    assert task.source_facts().in_channels == 3
    assert task.goals["output"].out_channels == 1
    backwards = task_of(facts_of(1, 3), direction="b_to_a").eval()
    assert backwards.predict_image(torch.rand(3, 20, 20)).shape == (1, 20, 20)
    with pytest.raises(ConfigError, match="expected a_to_b or b_to_a"):
        task.turn_to("sideways")


def test_results_are_clamped_to_the_range() -> None:
    task = with_generators(
        task_of(facts_of(1, 1), data_range=[0.0, 1.0]), lambda x: 3 * x, nn.Identity()
    )
    raw = task.eval().predict_image(torch.rand(1, 16, 16))
    assert float(raw.max()) > 1
    assert float(task.postprocess(raw).max()) == 1


# --- validation -----------------------------------------------------------------------------------


def measured(task: CycleGANTask, batch: dict[str, Any]) -> tuple[Translation, dict[str, Any]]:
    with torch.no_grad():
        output = task.eval().step(batch, Stage.VAL)
        return output, task.measure(output, task.prediction_of(output), batch, Stage.VAL)


def test_validation_tells_the_cycle_error_of_each_direction() -> None:
    task = task_of(facts_of(1, 1), data_range=[0.0, 1.0])
    with_generators(task, lambda x: x * 0.5, lambda x: x * 2 - 0.1)
    batch = whole("A", 1)
    output, row = measured(task, batch)
    image = batch["image"]
    back = (image - 0.1).clamp(0, 1)
    assert (
        row["cycle_mae"]
        == row["cycle_mae/a"]
        == pytest.approx(float((back - image).abs().mean()), rel=1e-4)
    )
    assert row["identity_mae/a"] == pytest.approx(
        float(((2 * image - 0.1).clamp(0, 1) - image).abs().mean()), rel=1e-4
    )
    assert "cycle_mae/b" not in row
    assert "psnr" not in row  # nobody knows the truth
    assert float(output.loss or 0) == pytest.approx(0.1, rel=1e-4)
    _, other = measured(task, whole("B", 1))
    assert set(other) & {"cycle_mae/a", "cycle_mae/b"} == {"cycle_mae/b"}
    made = {"features/b/made", "features/a/real"}
    assert {name for name in row if name.startswith("features")} == made


def test_true_pairs_are_measured_where_they_are_at_hand() -> None:
    task = with_generators(task_of(facts_of(1, 1)), lambda x: 2 * x, lambda x: x / 2)
    batch = whole("A", 1)
    batch["target"] = 2 * batch["image"] + 0.25
    _, row = measured(task, batch)
    assert row["mae"] == pytest.approx(0.25, rel=1e-4)
    assert row["cycle_mae"] == pytest.approx(0, abs=1e-6)


def test_identity_errors_are_left_out_where_channels_differ() -> None:
    _, row = measured(task_of(facts_of(1, 3)), whole("B", 3))
    assert not [name for name in row if name.startswith("identity")]
    assert math.isfinite(row["cycle_psnr/b"])


def test_the_best_state_is_chosen_by_how_real_translations_look() -> None:
    assert task_of().main_metric == "val/frechet_distance"
    assert task_of().better("val/frechet_distance/b") == "min"
    assert task_of().better("val/cycle_psnr/a") == "max"
    few = DataFacts(2, 1, 3, patch_size=(16, 16), target_patch_size=(16, 16),
                    domain_samples={"val": {"A": 5, "B": 1}})  # fmt: skip
    assert task_of(few).main_metric == "val/cycle_psnr"


# --- pictures -------------------------------------------------------------------------------------


def test_a_picture_shows_both_ways_and_what_came_back() -> None:
    task = task_of(facts_of(1, 3), domains=["fluorescence", "tissue"]).eval()
    shown: dict[str, list[Any]] = {"A": [], "B": []}
    for batch in (whole("A", 1), whole("B", 3, 32)):
        task.rows = {Stage.VAL: []}
        with torch.no_grad():
            outputs = task._evaluate(batch, 0, Stage.VAL)
        for one in evaluated(batch, outputs, task, Stage.VAL):
            shown[one.domain].append(translated(one))
    (row,) = translation_rows(shown["A"], shown["B"], task.domain_names)
    assert [panel.heading for panel in row] == [
        "fluorescence",
        "fluorescence → tissue",
        "fluorescence → tissue → fluorescence",
        "tissue",
        "tissue → fluorescence",
        "tissue → fluorescence → tissue",
    ]
    assert [len(panel.pixels) for panel in row] == [1, 3, 1, 3, 1, 3]
    assert row[2].caption.startswith("PSNR ")
    # what was made is shown as bright as a real image of its domain, not as bright as possible
    assert row[1].like is row[3].pixels
    assert row[2].like is row[0].pixels
    alone = translation_rows(shown["A"], [], task.domain_names)
    assert len(alone[0]) == 3
    figure = grid_figure([row, *alone])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0] == "fluorescence\nA0"
    assert sum(bool(axes.images) for axes in figure.axes) == 9


def test_a_dark_translation_is_drawn_dark() -> None:
    bright = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8)
    figure = grid_figure([[Panel("made", bright * 0.1, like=bright), Panel("real", bright)]])
    made, real = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    assert made.max() < 0.2 < real.max()
    with pytest.raises(ValueError, match="nothing to draw"):
        grid_figure([])


# --- encoders -------------------------------------------------------------------------------------


def test_an_encoder_is_the_mean_of_a_layer_over_the_image() -> None:
    task = other_tasks.make("enhancement", DataFacts(2, 1, patch_size=(16, 16)))
    encoder = NetEncoder(task)
    image = torch.rand(1, 1, 32, 48)
    found = encoder(image)
    names = dict(task.nets["net"].named_modules())
    kept: list[Tensor] = []
    hook = names[encoder.layer].register_forward_hook(lambda module, args, out: kept.append(out))
    with torch.no_grad():
        for y in (0, 16):
            for x in (0, 16, 32):
                task.nets["net"](image[:, :, y : y + 16, x : x + 16])
    hook.remove()
    expected = torch.stack([maps.flatten(2).mean(2)[0] for maps in kept]).mean(0)
    assert found == pytest.approx(expected.numpy(), rel=1e-4, abs=1e-6)
    assert kept[0].shape[2:] == (8, 8)  # the lowest resolution
    assert not any(weight.requires_grad for weight in task.parameters())


def test_the_layer_of_an_encoder_may_be_named() -> None:
    task = other_tasks.make("classification", classes=["a", "b"])
    deep = NetEncoder(task)
    chosen = NetEncoder(task, "features.conv0")
    image = torch.rand(1, 1, 32, 32)
    assert chosen(image).shape == (4,)
    assert deep(image).shape != (2,)  # not the classes, which know little
    with pytest.raises(
        ConfigError, match=r"no layer 'features.conv'. Did you mean 'features.conv0'"
    ):
        NetEncoder(task, "features.conv")
    assert averaged(torch.ones(1, 5, 7), 2).shape == (1, 7)


def test_an_encoder_of_other_images_is_refused() -> None:
    task = other_tasks.make("enhancement", DataFacts(2, 1, patch_size=(16, 16)))
    with pytest.raises(ConfigError, match=r"1 channel\(s\) in 2D.*domain B have 3 channel"):
        check_encoder(NetEncoder(task), facts_of(3), "b")


def test_encoders_make_the_features_and_are_no_part_of_the_task() -> None:
    task = task_of(facts_of(1, 1))
    encoder = NetEncoder(other_tasks.make("enhancement", DataFacts(2, 1, patch_size=(16, 16))))
    names = set(task.state_dict())
    task.encoders["a"] = encoder
    _, row = measured(task, whole("A", 1))
    assert len(row["features/a/real"]) == len(encoder(torch.zeros(1, 1, 16, 16)))
    assert len(row["features/b/made"]) == 9  # how it looks
    assert set(task.state_dict()) == names
