"""Check: one real batch through data, net, loss, backward and metrics, before a run is made."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch

from imtoolkit.callbacks.nan_guard import bad_terms, terms_of
from imtoolkit.config import plugins as plugin_modules
from imtoolkit.config.sections import Config
from imtoolkit.core.batch import ID, IMAGE, SPACING, TARGET, WEIGHT, Batch, Stage
from imtoolkit.core.errors import (
    ConfigError,
    DataError,
    ImtoolkitError,
    Problem,
    RunFailedError,
    listed,
)
from imtoolkit.core.facts import DataFacts
from imtoolkit.nets.inputs import inputs_of
from imtoolkit.runs.show import told_apart
from imtoolkit.tasks import target_spec
from imtoolkit.tasks.base import Task
from imtoolkit.tasks.optimization import build_optimizers, require_closures, try_schedules
from imtoolkit.trainer import build
from imtoolkit.trainer.borrowed import attach_encoders
from imtoolkit.trainer.machine import Machine, choose_machine
from imtoolkit.trainer.session import explained, quiet_libraries
from imtoolkit.trainer.train import threads, weights_in_words

_STEPS = 3  # the first step also warms up; the fastest of the others counts


@dataclass(frozen=True)
class CheckReport:
    """What a trial step found.

    Attributes:
        machine: Device, precision, threads and workers, in words.
        samples: Images in each split.
        shapes: Shape of each tensor of a training batch that nets and losses read, and of what the
            net makes of the image: ``prediction``, or ``prediction/<head>`` for each head.
        parameters: Number of weights.
        trained: Number of weights that are trained.
        memory: Bytes of weights, gradients, optimizer state and (on a GPU, measured) activations.
        loss: Loss of the first batch.
        metrics: Metrics of the first validation image.
        step_seconds: Time of a training step.
        epoch_seconds: Estimated time of an epoch: training steps, and validation where there is
            any.
        notes: What is worth knowing.
        objects: Objects in each split, where targets are instances.
    """

    machine: str
    samples: dict[str, int]
    shapes: dict[str, tuple[int, ...]]
    parameters: int
    trained: int
    memory: int
    loss: float
    metrics: dict[str, float]
    step_seconds: float
    epoch_seconds: float
    notes: tuple[str, ...] = ()
    objects: dict[str, int] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, str]]:
        """Return the report as lines of a name and a text."""
        shapes = [
            (f"{name} of a batch".replace("prediction/", "prediction of "), str(list(shape)))
            for name, shape in self.shapes.items()
        ]
        metrics = [(name, self.metrics[name]) for name in told_apart(self.metrics)]
        samples = ", ".join(f"{count} {name}" for name, count in self.samples.items())
        objects = ", ".join(f"{count:,} {name}" for name, count in self.objects.items())
        return [
            ("machine", self.machine),
            ("images", samples),
            *([("objects", objects)] if objects else ()),
            *shapes,
            ("weights", weights_in_words(self.parameters, self.trained)),
            ("memory", f"about {self.memory / 1e6:,.0f} MB for training"),
            ("loss", f"{self.loss:.4f} before training"),
            *((name, f"{value:.4f} before training") for name, value in metrics),
            ("step", f"{self.step_seconds:.3f} s"),
            ("epoch", f"about {_duration(self.epoch_seconds)}"),
            *(("note", text) for text in self.notes),
        ]

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.rows())
        return "\n".join(f"{name:<{width}}  {text}" for name, text in self.rows())


def check_run(config: Config) -> CheckReport:
    """Do everything that a training does, for one batch, and tell what came out.

    The cache is filled on the way; no run folder is made.

    Raises:
        ConfigError: If parts do not fit each other, the data or the machine.
        DataError: If images or tables are wrong; all of them are listed.
    """
    machine = choose_machine(config)
    build.start_file(config)
    plugin_modules.load(config)
    data = build.build_data(config, machine)
    try:
        with quiet_libraries(), threads(machine.threads):
            data.prepare_data()
            task = build.build_model(config, data.facts)
            build.start_weights(task, config)
            attach_encoders(task, config)
            build.monitored(config, task)
            build.schedule_numbers(config, task)
            optimizers = build_optimizers(task)
            require_closures(optimizers.values(), **build.closure_settings(config, machine))
            try_schedules(task, optimizers, *build.length_of(config, data.facts))
            return _try_out(config, machine, task, data)
    except ImtoolkitError:
        raise
    except Exception as error:
        better = explained(error)
        if better is error:
            raise
        raise better from error


def _try_out(config: Config, machine: Machine, task: Task, data: Any) -> CheckReport:
    device = torch.device(machine.accelerator)
    task.to(device).train()
    loader = iter(data.train_dataloader())
    batches = [moved(next(loader), device)]
    optimizer = torch.optim.SGD([w for w in task.parameters() if w.requires_grad], lr=0.0)
    loss, seconds = math.nan, math.inf
    made: dict[str, tuple[int, ...]] = {}
    for number in range(_STEPS):
        start = time.perf_counter()
        value, made = _step(task, batches[0], machine, optimizer)
        loss = value if number == 0 else loss
        seconds = min(seconds, time.perf_counter() - start) if number else seconds
    validation, metrics = _validation(task, data, device)
    facts = data.facts
    read = _read_by(task)
    shapes = {
        key: tuple(value.shape)
        for key, value in batches[0].items()
        if key in read and torch.is_tensor(value)
    }
    counts = [weight.numel() for weight in task.parameters()]
    trained = [weight.numel() for weight in task.parameters() if weight.requires_grad]
    return CheckReport(
        machine=str(machine),
        samples=dict(facts.samples),
        shapes=_beside_targets(shapes, made, task),
        parameters=sum(counts),
        trained=sum(trained),
        memory=_memory(task, device),
        loss=loss,
        metrics=metrics,
        step_seconds=seconds,
        epoch_seconds=seconds * facts.steps_per_epoch + validation * facts.samples.get("val", 0),
        notes=(*_notes(config, facts), *_label_notes(task)),
        objects=dict(facts.objects),
    )


def _read_by(task: Task) -> set[str]:
    """Return the keys of a batch that nets, heads and losses take; others come along with them."""
    inputs = [key for net in task.nets.values() for key in inputs_of(net)]
    heads = [goal.key for goal in task.goals.values()]
    targets = [term.target for term in task.config.losses.values()]
    maps = [wanted.name for wanted in target_spec(task.config).maps]
    return {IMAGE, TARGET, WEIGHT, *inputs, *heads, *targets, *maps}


def _beside_targets(
    shapes: dict[str, tuple[int, ...]], made: dict[str, tuple[int, ...]], task: Task
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a batch with each output after the target that it is compared with."""
    keys = {head: task.goals[head].key if head in task.goals else "" for head in made}
    ordered: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        ordered[name] = shape
        ordered |= {f"prediction/{head}": made[head] for head in made if keys[head] == name}
    rest = {f"prediction/{head}" if head else "prediction": shape for head, shape in made.items()}
    return {**ordered, **{name: rest[name] for name in rest if name not in ordered}}


def _step(
    task: Task, batch: Batch, machine: Machine, optimizer: torch.optim.Optimizer
) -> tuple[float, dict[str, tuple[int, ...]]]:
    """Take one training step that changes nothing; return its loss and the shapes by head."""
    half = machine.precision.startswith("bf16") and "mixed" in machine.precision
    with torch.autocast(machine.accelerator, torch.bfloat16, enabled=half):
        try:
            output = task.trial(batch)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            keys = (IMAGE, *dict.fromkeys([TARGET, *(goal.key for goal in task.goals.values())]))
            there = [key for key in keys if torch.is_tensor(batch.get(key))]
            shapes = ", ".join(f"{key} {list(batch[key].shape)}" for key in there)
            message = f"net and loss do not take this batch ({shapes}): {error}"
            raise ConfigError(Problem(message, where="task")) from error
    if output.loss is None:
        message = "the training images have no targets, so there is nothing to learn from"
        raise DataError(message)
    if not torch.isfinite(output.loss):
        names = bad_terms(terms_of(task))
        which = f" (term {listed(names)})" if names else ""
        message = (
            f"the loss{which} of the first batch is {output.loss.item()}, on the images of "
            f"{', '.join(sorted(set(batch[ID])))}: look at these images and at this loss"
        )
        raise RunFailedError(message)
    output.loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    optimizer.zero_grad()
    raw = output.raw if isinstance(output.raw, dict) else {"": output.raw}
    made = {head: tuple(value.shape) for head, value in raw.items() if torch.is_tensor(value)}
    return float(output.loss.detach()), made


@torch.no_grad()
def _validation(task: Task, data: Any, device: torch.device) -> tuple[float, dict[str, float]]:
    """Measure the first validation image; return the time it took and its metrics."""
    if not data.facts.samples.get("val"):
        return 0.0, {}
    batch = moved(data.samples("val", 1)[0], device)
    task.eval()
    start = time.perf_counter()
    output = task.step(batch, Stage.VAL)
    row = task.measure(output, task.prediction_of(output, batch.get(SPACING)), batch, Stage.VAL)
    seconds = time.perf_counter() - start
    task.train()
    suite = task.metrics(Stage.VAL)
    numbers = {
        f"val/{name}": float(value)
        for name, value in row.items()
        if isinstance(value, (int, float)) and not suite.is_record(name)
    }
    return seconds, {name: value for name, value in numbers.items() if not math.isnan(value)}


def moved(batch: Batch, device: torch.device) -> Batch:
    """Return a batch with its tensors on a device."""
    return {key: v.to(device) if torch.is_tensor(v) else v for key, v in batch.items()}


def _memory(task: Task, device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    weights = sum(weight.numel() * weight.element_size() for weight in task.parameters())
    return 4 * weights  # weights, gradients, and the two moments of Adam


def _notes(config: Config, facts: DataFacts) -> list[str]:
    notes, samples = [], facts.samples
    classes = target_spec(config.task).classes
    if facts.class_pixels and len(classes) == len(facts.class_pixels):
        shares = zip(classes, facts.class_pixels, strict=True)
        never = [name for name, share in shares if share == 0]
        if never:
            notes.append(f"no training image shows {listed(never)}: is task.classes right?")
    if not samples.get("val"):
        notes.append("there are no validation images: no best state is kept, only the last")
    absent = [name for name in config.evaluation.splits if not samples.get(name)]
    if absent:
        notes.append(f"nothing to evaluate in {', '.join(absent)}: set data.split")
    return notes


def _label_notes(task: Task) -> list[str]:
    """Tell how many training images each class has, and how many have no label for a head."""
    notes, facts = [], task.facts
    count = facts.samples.get("train", 0)
    for head, goal in task.goals.items():
        of = "" if set(task.goals) == {"output"} else f" of {head}"
        counts = facts.class_samples.get(goal.key, ())
        if not goal.dense and counts and len(counts) == len(goal.classes):
            pairs = zip(counts, goal.classes, strict=True)
            shown = ", ".join(f"{number} {name}" for number, name in pairs)
            notes.append(f"training images by class{of}: {shown}")
        missing = facts.missing.get(goal.key, 0)
        if missing and goal.masks_missing:
            notes.append(
                f"{missing} of {count} training images have no label{of}: they do not count there"
            )
    return notes


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
