"""Optimizers that evaluate a batch several times: steps by hand, state, statistics of norms."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imtoolkit.core.closures import conflicts, limits_of
from imtoolkit.core.errors import ComponentError
from imtoolkit.optim.building import build_optimizer, option_of
from imtoolkit.optim.sam import ASAM, SAM
from imtoolkit.optim.sophia import Sophia

HESSIAN = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)


def _quadratic(weight: nn.Parameter) -> Callable[[], Tensor]:
    """Return the closure of w' H w / 2, whose gradient is H w."""

    def closure() -> Tensor:
        weight.grad = None
        loss = weight @ HESSIAN @ weight / 2
        loss.backward()
        return loss.detach()

    return closure


def _weight() -> nn.Parameter:
    return nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))


def test_sam_steps_with_the_gradient_of_the_worst_place_near_by() -> None:
    weight = _weight()
    start = weight.detach().clone()
    gradient = HESSIAN @ start
    above = start + 0.3 * gradient / gradient.norm()
    loss = SAM([weight], torch.optim.SGD([weight], lr=0.1), rho=0.3).step(_quadratic(weight))
    assert torch.allclose(weight, start - 0.1 * HESSIAN @ above, rtol=1e-12, atol=0)
    assert float(loss) == pytest.approx(float(start @ HESSIAN @ start / 2))


def test_asam_scales_its_way_with_the_weights() -> None:
    weight = _weight()
    start = weight.detach().clone()
    gradient, scale = HESSIAN @ start, start.abs() + 0.01
    above = start + 0.5 * scale**2 * gradient / (scale * gradient).norm()
    ASAM([weight], torch.optim.SGD([weight], lr=0.1), rho=0.5, eta=0.01).step(_quadratic(weight))
    assert torch.allclose(weight, start - 0.1 * HESSIAN @ above, rtol=1e-10)


def test_the_way_of_asam_scales_with_the_weights_and_that_of_sam_does_not() -> None:
    def way(kind: type[SAM], factor: float, **options: float) -> Tensor:
        weight = nn.Parameter(factor * torch.tensor([1.0, -2.0]))
        weight.grad = torch.tensor([0.3, 0.4]) / factor  # that of f(w / factor)
        with torch.no_grad():
            kind([weight], rho=1.0, **options)._ascend()
        return (weight.detach() - factor * torch.tensor([1.0, -2.0])) / factor

    assert torch.allclose(way(ASAM, 10.0, eta=0.0), way(ASAM, 1.0, eta=0.0))
    assert torch.allclose(10 * way(SAM, 10.0), way(SAM, 1.0))


def test_the_norm_of_sam_is_over_all_groups() -> None:
    first, second = nn.Parameter(torch.tensor([3.0])), nn.Parameter(torch.tensor([4.0]))
    groups = [{"params": [first], "lr": 0.0}, {"params": [second], "lr": 0.0}]
    seen: list[tuple[float, float]] = []

    def closure() -> Tensor:
        seen.append((first.item(), second.item()))
        first.grad = second.grad = None
        loss = (first**2 + second**2).sum() / 2
        loss.backward()
        return loss

    base = torch.optim.SGD(copy.copy(groups), lr=0.0)
    SAM(groups, base, rho=5.0).step(closure)
    assert seen[1] == pytest.approx((6.0, 8.0))  # five along (3, 4) / 5
    assert (first.item(), second.item()) == (3.0, 4.0)


def test_without_rho_sam_is_its_base() -> None:
    one, other = _weight(), _weight()
    sam = SAM([one], torch.optim.NAdam([one], lr=0.1), rho=0.0)
    base = torch.optim.NAdam([other], lr=0.1)
    for _ in range(5):
        sam.step(_quadratic(one))
        base.step(_quadratic(other))
    assert torch.equal(one, other)


def test_weights_come_back_where_the_second_evaluation_fails() -> None:
    weight, calls = _weight(), []
    closure = _quadratic(weight)

    def failing() -> Tensor:
        calls.append(1)
        if len(calls) == 2:
            msg = "the loss is NaN"
            raise RuntimeError(msg)
        return closure()

    with pytest.raises(RuntimeError, match="NaN"):
        SAM([weight], rho=1.0).step(failing)
    assert weight.tolist() == [1.0, -2.0]


def test_a_batch_that_is_left_out_moves_nothing() -> None:
    weight = _weight()
    assert SAM([weight]).step(lambda: None) is None
    assert Sophia([weight]).step(lambda: None) is None
    assert weight.tolist() == [1.0, -2.0]


@pytest.mark.parametrize("kind", [SAM, Sophia])
def test_norms_count_a_batch_once(kind: type[Any]) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    plain = copy.deepcopy(net)
    images = torch.rand(8, 3, generator=torch.Generator().manual_seed(0))
    optimizer = kind(net.parameters())
    optimizer.watch(net)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = net(images).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    plain(images)
    assert torch.equal(net[1].running_mean, plain[1].running_mean)
    assert int(net[1].num_batches_tracked) == 1
    assert net[1].track_running_stats


OPTIMIZERS: dict[str, Callable[[nn.Parameter], Any]] = {
    "sam": lambda w: build_optimizer("sam", {"base": {"name": "adam", "params": {"lr": 0.1}}}, [w]),
    "asam": lambda w: build_optimizer("asam", {"rho": 0.2}, [w]),
    "sophia": lambda w: build_optimizer("sophia", {"lr": 0.1, "interval": 3}, [w]),
    "lbfgs": lambda w: build_optimizer("lbfgs", {"lr": 0.3, "max_iter": 3}, [w]),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_restored_optimizer_goes_on_exactly(name: str) -> None:
    whole, cut = _weight(), _weight()
    optimizer, first = OPTIMIZERS[name](whole), OPTIMIZERS[name](cut)
    for _ in range(8):
        optimizer.step(_quadratic(whole))
    for _ in range(4):
        first.step(_quadratic(cut))
    state = copy.deepcopy(first.state_dict())
    second = OPTIMIZERS[name](cut)
    second.load_state_dict(state)
    for _ in range(4):
        second.step(_quadratic(cut))
    assert torch.equal(whole, cut)


def test_a_schedule_steers_the_base_of_sam_after_a_restart_too() -> None:
    weight = _weight()
    sam = SAM([weight], torch.optim.SGD([weight], lr=1.0))
    sam.load_state_dict(copy.deepcopy(sam.state_dict()))
    schedule = torch.optim.lr_scheduler.StepLR(sam, step_size=1, gamma=0.5)
    sam.step(_quadratic(weight))
    schedule.step()
    assert sam.base.param_groups[0]["lr"] == 0.5
    assert sam.state is sam.base.state


def test_a_group_that_is_added_later_is_trained_by_the_base() -> None:
    weight, later = _weight(), nn.Parameter(torch.ones(1))
    sam = SAM([weight], torch.optim.SGD([weight], lr=1.0), rho=0.25)
    sam.add_param_group({"params": [later], "lr": 0.5})
    assert sam.base.param_groups[1]["lr"] == 0.5
    assert sam.param_groups[1]["rho"] == 0.25


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"rho": -1.0}, "got rho -1.0; expected at least 0"),
        ({"base": {"name": "lbfgs", "params": {}}}, "LBFGS evaluates closures itself"),
        ({"base": {"name": "sam", "params": {}}}, "SAM evaluates closures itself"),
        ({"base": "sgd"}, "expected an optimizer: base: {name: sgd, params: {}}"),
    ],
)
def test_sam_refuses_what_cannot_work(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ComponentError, match=message.replace("{", r"\{")):
        build_optimizer("sam", params, [_weight()])


def test_the_base_must_hold_the_same_weights() -> None:
    with pytest.raises(ValueError, match="holds other parameters"):
        SAM([_weight()], torch.optim.SGD([_weight()], lr=1.0))


@pytest.mark.parametrize("kind", [SAM, ASAM, Sophia])
def test_a_step_without_closure_says_what_is_missing(kind: type[Any]) -> None:
    with pytest.raises(RuntimeError, match="call step\\(closure\\)"):
        kind([_weight()]).step()


def test_options_are_those_of_the_base() -> None:
    assert option_of("sam", {}, "lr") == 1e-2
    assert option_of("sam", {"base": {"name": "AdamW", "params": {}}}, "weight_decay") == 1e-2
    assert option_of("sophia", {"lr": 0.5}, "lr") == 0.5


# --- Sophia ---------------------------------------------------------------------------------------


def test_sophia_steps_as_computed_by_hand() -> None:
    """The Hessian is diagonal, so that any signs give its diagonal exactly."""
    curvature = torch.tensor([4.0, 0.1, -1.0], dtype=torch.float64)
    weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))

    def closure() -> Tensor:
        weight.grad = None
        loss = (curvature * weight**2).sum() / 2
        loss.backward()
        return loss

    options = {"lr": 0.01, "betas": (0.9, 0.8), "gamma": 0.5, "weight_decay": 0.1, "interval": 2}
    optimizer = Sophia([{"params": [weight], "weight_decay": 0.1}], **options)
    mean = running = torch.zeros(3, dtype=torch.float64)
    expected = weight.detach().clone()
    for step in range(5):
        mean = 0.9 * mean + 0.1 * curvature * expected
        if step % 2 == 0:
            running = 0.8 * running + 0.2 * curvature
        ratio = mean / (0.5 * running).clamp(min=1e-12)
        expected = expected * (1 - 0.01 * 0.1) - 0.01 * ratio.clamp(-1, 1)
        optimizer.step(closure)
        assert torch.allclose(weight, expected, rtol=1e-9)


def test_hutchinsons_estimate_has_the_diagonal_of_the_hessian_as_its_mean() -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    estimates = []
    optimizer = Sophia([weight], lr=0.0, betas=(0.0, 0.0), interval=1)
    for _ in range(400):
        optimizer.step(_quadratic(weight))
        estimates.append(optimizer.state[weight]["curvature"].clone())
    stacked = torch.stack(estimates)
    # u_1 u_2 H_12 has the mean 0 and the deviation 0.5
    assert torch.allclose(stacked.mean(0), HESSIAN.diagonal(), atol=4 * 0.5 / 20)
    assert len(torch.unique(stacked[:, 0].round(decimals=6))) == 2


def test_sophia_evaluates_two_more_times_every_interval_and_leaves_the_gradient() -> None:
    weight, calls = _weight(), []
    closure = _quadratic(weight)
    start = weight.detach().clone()

    def counted() -> Tensor:
        calls.append(1)
        return closure()

    optimizer = Sophia([weight], lr=0.0, weight_decay=0.0, interval=4)
    counts = []
    for _ in range(6):
        before = len(calls)
        optimizer.step(counted)
        counts.append(len(calls) - before)
    assert counts == [3, 1, 1, 1, 3, 1]
    optimizer.step(counted)
    assert weight.grad is not None
    assert torch.allclose(weight.grad, HESSIAN @ start)


@pytest.mark.parametrize("wrong", [{"gamma": 0.0}, {"interval": 0}, {"betas": (1.0, 0.9)}])
def test_sophia_refuses_values_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sophia([_weight()], **wrong)


# --- what they ask of a training ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "settings", "fields"),
    [
        ("imtoolkit.optim.sam.SAM", {"accumulate": 2}, ["accumulate_grad_batches"]),
        ("imtoolkit.optim.sam.SAM", {"precision": "16-mixed"}, ["precision"]),
        ("imtoolkit.optim.sam.SAM", {"precision": "bf16-mixed", "clip_value": 1.0}, []),
        (
            "imtoolkit.optim.sam.ASAM",
            {"clip_value": 1.0, "clip_algorithm": "value"},
            ["gradient_clip_val"],
        ),
        ("imtoolkit.optim.sam.SAM", {"strategy": "deepspeed_stage_2"}, ["strategy"]),
        ("imtoolkit.optim.sam.SAM", {"strategy": "FSDPStrategy"}, ["strategy"]),
        ("imtoolkit.optim.sam.SAM", {"strategy": "ddp"}, []),
        (
            "imtoolkit.optim.sophia.Sophia",
            {"precision": "bf16-mixed", "clip_value": 1.0},
            ["precision", "gradient_clip_val"],
        ),
        ("torch.optim.lbfgs.LBFGS", {"clip_value": 0.5}, ["gradient_clip_val"]),
        ("torch.optim.lbfgs.LBFGS", {"precision": "32-true"}, []),
    ],
)
def test_settings_that_cannot_work_are_told(
    path: str, settings: dict[str, Any], fields: list[str]
) -> None:
    limits = limits_of([path])
    assert limits is not None
    assert [field for field, _ in conflicts("x", limits, **settings)] == fields


def test_own_optimizers_say_that_they_need_a_closure() -> None:
    assert limits_of(["mine.Entropy"]) is None
    assert limits_of(["mine.Entropy"], needs_closure=True) is not None
    assert limits_of(["mine.Entropy", "imtoolkit.optim.sam.SAM"]) is not None
