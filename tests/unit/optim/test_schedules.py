"""Schedules follow steps or the clock, resume exactly, and agree with torch's where both exist."""

import math

import pytest
import torch
from torch.optim import SGD
from torch.optim import lr_scheduler as torch_schedulers

from imtoolkit.core.errors import ComponentError, ConfigError
from imtoolkit.optim.building import Horizon, build_scheduler, lightning_config
from imtoolkit.optim.schedules import Constant, Cosine, OneCycle, Poly, ProgressSchedule


def _sgd(lr: float = 1.0) -> SGD:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def _rates(schedule: torch_schedulers.LRScheduler, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.append(schedule.get_last_lr()[0])
        schedule.optimizer.step()
        schedule.step()
    return rates


def test_one_cycle_rises_to_the_optimizers_rate_and_falls_to_nearly_nothing() -> None:
    rates = _rates(OneCycle(_sgd(0.1), total_steps=100), 101)
    assert rates[0] == pytest.approx(0.1 / 25)
    assert max(rates) == rates[30] == pytest.approx(0.1)
    assert rates[100] == pytest.approx(0.1 / 25 / 1e4)
    assert rates[:31] == sorted(rates[:31])
    assert rates[30:] == sorted(rates[30:], reverse=True)


def test_one_cycle_is_torchs_up_to_the_length_of_a_step() -> None:
    steps = 2000
    theirs = torch_schedulers.OneCycleLR(_sgd(), 1.0, total_steps=steps, cycle_momentum=False)
    ours = _rates(OneCycle(_sgd(), total_steps=steps), steps)
    assert ours == pytest.approx(_rates(theirs, steps), abs=3e-3)


def test_cosine_and_poly_are_torchs() -> None:
    steps = 50
    cosine = torch_schedulers.CosineAnnealingLR(_sgd(), T_max=steps)
    assert _rates(Cosine(_sgd(), total_steps=steps), 50) == pytest.approx(_rates(cosine, 50))
    poly = torch_schedulers.PolynomialLR(_sgd(), total_iters=steps, power=0.9)
    assert _rates(Poly(_sgd(), total_steps=steps), 50) == pytest.approx(_rates(poly, 50))


def test_the_nearer_end_decides() -> None:
    clock = [0.0]
    schedule = Cosine(_sgd(), total_steps=100, max_seconds=10.0, elapsed=lambda: clock[0])
    clock[0] = 5.0
    schedule.step()  # 1 % of the steps, half of the time
    assert schedule.get_last_lr() == [pytest.approx(0.5)]
    clock[0] = 0.1
    for _ in range(49):
        schedule.step()  # half of the steps, 1 % of the time
    assert schedule.get_last_lr() == [pytest.approx(0.5)]
    clock[0] = 99.0
    schedule.step()
    assert schedule.get_last_lr() == [0.0]


def test_time_alone_gives_a_whole_cycle() -> None:
    clock = [0.0]
    schedule = OneCycle(_sgd(), max_seconds=100.0, elapsed=lambda: clock[0])
    rates = []
    for second in range(101):
        clock[0] = float(second)
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    assert rates[30] == pytest.approx(1.0)
    assert rates[-1] < 1e-5


@pytest.mark.parametrize("steps", [None, math.inf])
def test_a_schedule_without_an_end_is_refused(steps: float | None) -> None:
    with pytest.raises(ValueError, match="must know when training ends"):
        OneCycle(_sgd(), total_steps=steps)
    assert _rates(Constant(_sgd(0.3), total_steps=steps), 3) == [0.3] * 3


@pytest.mark.parametrize("kind", [OneCycle, Cosine, Poly])
def test_a_resumed_schedule_goes_on_exactly(kind: type[ProgressSchedule]) -> None:
    whole = _rates(kind(_sgd(), total_steps=20), 20)
    first = kind(_sgd(), total_steps=20)
    _rates(first, 7)
    state = first.state_dict()
    assert all(isinstance(value, (int, float, list)) for value in state.values())
    optimizer = _sgd()
    optimizer.load_state_dict(first.optimizer.state_dict())
    second = kind(optimizer, total_steps=20)
    second.load_state_dict(state)
    optimizer.load_state_dict(first.optimizer.state_dict())
    assert _rates(second, 13) == whole[7:]


@pytest.mark.parametrize(
    ("name", "params", "length", "interval"),
    [
        ("one_cycle", {}, {"total_steps": 60}, "step"),
        ("poly", {"power": 2.0}, {"total_steps": 60, "power": 2.0}, "step"),
        ("OneCycleLR", {}, {"total_steps": 60}, "step"),
        ("CosineAnnealingLR", {}, {"T_max": 60}, "step"),
        ("CosineAnnealingLR", {"T_max": 5}, {"T_max": 5}, "epoch"),
        ("PolynomialLR", {}, {"total_iters": 60}, "step"),
        ("StepLR", {"step_size": 3}, {"step_size": 3}, "epoch"),
        ("ReduceLROnPlateau", {"patience": 2}, {"patience": 2}, "epoch"),
        ("plateau", {"patience": 2}, {"patience": 2}, "epoch"),
        ("step", {"step_size": 3}, {"step_size": 3}, "epoch"),
        ("WarmupCosineSchedule", {"warmup_steps": 5}, {"t_total": 60, "warmup_steps": 5}, "step"),
    ],
)
def test_lengths_are_filled_in(
    name: str, params: dict[str, object], length: dict[str, object], interval: str
) -> None:
    horizon = Horizon(steps=60, epochs=6)
    schedule, chosen = build_scheduler(name, params, _sgd(), horizon)
    assert chosen == interval
    assert {key: getattr(schedule, key) for key in length} == length


def test_an_interval_of_epochs_counts_epochs() -> None:
    schedule, _ = build_scheduler(
        "CosineAnnealingLR", {}, _sgd(), Horizon(steps=60, epochs=6), interval="epoch"
    )
    assert schedule.T_max == 6


def test_the_peak_of_torchs_one_cycle_is_the_optimizers_rate() -> None:
    schedule, _ = build_scheduler("OneCycleLR", {}, _sgd(0.2), Horizon(steps=100))
    assert max(_rates(schedule, 100)) == pytest.approx(0.2)


def test_torchs_schedules_need_steps_where_only_time_ends() -> None:
    with pytest.raises(ConfigError, match="Take one_cycle, cosine"):
        build_scheduler("OneCycleLR", {}, _sgd(), Horizon(seconds=60.0, elapsed=lambda: 0.0))


@pytest.mark.parametrize(
    ("horizon", "message"),
    [
        (Horizon(steps=60), "needs the number of epochs, but max_steps ends the training"),
        (Horizon(seconds=60.0, elapsed=lambda: 0.0), "number of epochs, but only max_time ends"),
    ],
)
def test_a_schedule_of_epochs_says_what_ends_the_training(horizon: Horizon, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_scheduler("CosineAnnealingLR", {}, _sgd(), horizon, interval="epoch")


def test_a_chain_of_schedules_shares_the_optimizer() -> None:
    parts = [
        {"name": "LinearLR", "params": {"start_factor": 0.1, "total_iters": 3}},
        {"name": "ExponentialLR", "params": {"gamma": 0.5}},
    ]
    schedule, _ = build_scheduler(
        "SequentialLR", {"schedulers": parts, "milestones": [3]}, _sgd(), Horizon(steps=10)
    )
    assert _rates(schedule, 5) == pytest.approx([0.1, 0.4, 0.7, 1.0, 0.5])


def test_a_chain_by_name_scales_each_group_from_its_own_rate() -> None:
    weights = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    groups = [{"params": [weights[0]]}, {"params": [weights[1]], "lr": 0.1}]
    parts = [
        {"name": "LinearLR", "params": {"start_factor": 0.5, "total_iters": 1}},
        {"name": "multi_step", "params": {"milestones": [1, 2], "gamma": 0.1}},
    ]
    schedule, interval = build_scheduler(
        "sequence",
        {"schedulers": parts, "milestones": [2]},
        torch.optim.SGD(groups, lr=1.0),
        Horizon(epochs=10),
    )
    rates = []
    for _ in range(5):
        rates.append(schedule.get_last_lr())
        schedule.optimizer.step()
        schedule.step()
    assert interval == "epoch"
    first = [0.5, 1.0, 1.0, 0.1, 0.01]
    assert rates == [pytest.approx([rate, 0.1 * rate]) for rate in first]


@pytest.mark.parametrize(
    ("params", "interval", "error", "message"),
    [
        ({}, "batch", ConfigError, "expected 'step' or 'epoch'"),
        ({"pct_start": 1.5}, None, ComponentError, "got pct_start 1.5"),
    ],
)
def test_wrong_values_are_told(
    params: dict[str, object], interval: str | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build_scheduler("one_cycle", params, _sgd(), Horizon(steps=10), interval=interval)


def test_lightning_never_steps_a_plateau() -> None:
    plateau = torch_schedulers.ReduceLROnPlateau(_sgd())
    entry = lightning_config(plateau, "epoch", "val/dice", "net")
    assert entry["monitor"] == "val/dice"
    assert entry["frequency"] > 10**9
