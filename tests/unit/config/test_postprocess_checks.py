"""Steps of post-processing that cannot work are told by the check of a config, without torch."""

from typing import Any

import pytest

from imtoolkit.config import load_config
from imtoolkit.config.steps import STEPS, shape_of
from imtoolkit.core import registry
from imtoolkit.core.errors import ConfigError
from tests.unit.config.test_task_checks import HEADS, text

CLASSES = "  classes: [background, nucleus, edge]\n"

PARAMS: dict[str, list[dict[str, Any]]] = {
    "threshold": [{"value": 0.5}, {"method": "otsu", "of": "nucleus", "to": "mask"}],
    "class_map": [{"classes": ["a", "b"]}],
    "remove_small": [{"size": 3}],
    "remove_large": [{"size": 3}],
    "smooth": [{"sigma": 1.0}],
    "expand": [{"distance": 2.0}, {"distance": 2.0, "within": "mask"}],
    "watershed": [{"landscape": "nucleus"}, {"landscape": "a", "seeds": "b", "mask": "c"}],
    "weighted_sum": [{"weights": {"a": 1, "b": -1}, "to": "sum"}],
    "set_operation": [{"operation": name, "other": "b"} for name in ("union", "xor", "difference")],
    "merge_instances": [{"maps": ["a", "b"]}],
    "merge_classes": [{"maps": ["a", "b", "c"]}],
}


@pytest.mark.parametrize("name", registry.builtins_of("postprocess"))
def test_the_table_says_what_each_step_reads_and_makes(name: str) -> None:
    for params in PARAMS.get(name, [{}]):
        step = registry.build("postprocess", name, params)
        assert step.shape(name) == shape_of(name, params)
    assert name in STEPS


def chain(steps: str) -> str:
    return f"inference:\n  postprocess: {steps}\n"


GOOD = {
    "segmentation": (CLASSES, "[{name: threshold, params: {of: nucleus, value: 0.4}}, "
                     "{name: merge_classes, params: {maps: [result]}}, fill_holes]"),
    "enhancement": ("", "[{name: threshold, params: {method: otsu}}, connected_components]"),
    "noise2void": ("", "[{name: smooth, params: {sigma: 1.0, of: '1'}}]"),
}  # fmt: skip


@pytest.mark.parametrize("category", GOOD)
def test_a_right_chain_is_loaded_and_bare_names_count(category: str, write: Any) -> None:
    fields, steps = GOOD[category]
    config = load_config(write(text(category, fields) + chain(steps)))
    assert config.inference.postprocess is not None
    assert len(config.inference.postprocess) == steps.count("name:") + steps.count(", fill") + (
        steps.count(", connected")
    )


@pytest.mark.parametrize(
    ("category", "fields", "steps", "expected"),
    [
        (
            *("segmentation", CLASSES, "[{name: threshold, params: {of: nucleu, value: 0.5}}]"),
            "inference.postprocess.0.params.of: 'threshold' reads 'nucleu', and there is no such "
            "map. Did you mean 'nucleus'?",
        ),
        (
            *("segmentation", CLASSES, "[{name: threshold, params: {value: 0.5}}]"),
            "'threshold' needs a map of real numbers, and 'result' is class numbers there: read "
            "the probability of a class by its name",
        ),
        (
            *("segmentation", CLASSES, "[{name: watershed, params: {landscape: nucleus}}]"),
            "'watershed' needs objects as 'seeds', and 'result' is class numbers there: "
            "connected_components makes objects of classes",
        ),
        (
            "segmentation",
            CLASSES,
            "[{name: watershed, params: {landscape: nucleus, seeds: start}}, "
            "{name: seeds, params: {of: nucleus, to: start}}]",
            "'watershed' reads 'start', and there is no such map. 'seeds' makes it, but later: "
            "change the order",
        ),
        (
            *("segmentation", CLASSES, "[connected_components]"),
            "inference.postprocess.0: the steps end with objects, and the truth is class numbers",
        ),
        (
            *("segmentation", CLASSES, "[connected_components]"),
            "set task.instances, with targets that number the objects (connected_components in "
            "data.preprocess",
        ),
        (
            *("segmentation", CLASSES, "[{name: smooth, params: {sigma: 1, of: edge}}]"),
            "the steps end with a map of real numbers, and the truth is class numbers",
        ),
        (
            *("segmentation", CLASSES, "[{name: threshold, params: {of: nucleus, value: 0.5}}]"),
            "end with a mask, and the truth is class numbers: end with merge_classes",
        ),
        (
            *("segmentation", CLASSES),
            "[{name: threshold, params: {of: nucleus, value: 0.5, to: mask}}]",
            "inference.postprocess.0.params.to: no step makes 'result', so that the steps change "
            "nothing",
        ),
        (
            *("segmentation", CLASSES, "[{name: class_map, params: {thresholds: {edge: high}}}]"),
            "expects a mapping, got a mapping, whose entry 'edge' is the text 'high' and not a "
            "number",
        ),
        (
            *("enhancement", "", "[{name: remove_small, params: {size: 5}}]"),
            "'remove_small' needs a mask or class numbers or objects, and 'result' is a map of "
            "real numbers there: threshold makes a mask of a map",
        ),
        (
            *("enhancement", "", "[{name: smoth, params: {sigma: 1}}]"),
            "unknown postprocess 'smoth'. Did you mean 'smooth'?",
        ),
        (
            *("enhancement", "", "[{name: smooth, params: {sigma: 1, sigmas: 2}}]"),
            "postprocess 'smooth' takes no parameter 'sigmas'. Did you mean 'sigma'?",
        ),
        (
            *("classification", "  classes: [a, b]\n", "[fill_holes]"),
            "inference.postprocess: a classification has no pixels to work on",
        ),
        (
            *("multitask", HEADS, "[fill_holes]"),
            "the steps of a net of several heads belong to a head: task.heads.NAME.postprocess",
        ),
    ],
)
def test_a_chain_that_cannot_work_is_told_with_its_key(
    category: str, fields: str, steps: str, expected: str, write: Any
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(text(category, fields) + chain(steps)))
    assert expected in str(caught.value)


def test_heads_have_steps_of_their_own(write: Any) -> None:
    good = HEADS.replace("[background, cell]}", "[background, cell], postprocess: [fill_holes]}")
    assert load_config(write(text("multitask", good)))
    wrong = HEADS.replace("age: {", "age: {postprocess: [fill_holes], ")
    with pytest.raises(ConfigError, match="regression has no pixels to work on"):
        load_config(write(text("multitask", wrong)))
    wrong = good.replace("[fill_holes]", "[{name: threshold, params: {value: 1.0}}]")
    with pytest.raises(ConfigError, match=r"task\.heads\.mask\.postprocess\.0\.params"):
        load_config(write(text("multitask", wrong)))


@pytest.mark.parametrize(
    ("category", "fields", "more", "expected"),
    [
        ("segmentation", "  instances: {boundary: 0.5}\n", "", "is 1 pixel or more, or 0 for none"),
        (
            *("segmentation", "  instances: {boundary: 1}\n  classes: [a, b]\n", ""),
            "objects are learnt as background, inside, boundary: leave the names out, or give 3",
        ),
        (
            *("segmentation", "  instances: {boundary: 0}\n  class_weights: [1, 1, 2]\n", ""),
            "has 3 numbers for the classes background, inside",
        ),
        (
            *("segmentation", "  instances: {boundary: 1}\n  surface_tolerance: 2.0\n", ""),
            "belongs to the surfaces of classes, and objects are learnt",
        ),
        (
            *("segmentation", "  instances: {boundary: 1}\n", chain("[fill_holes]")),
            "the steps end with class numbers, and the truth is objects: end with connected",
        ),
        (
            "segmentation",
            "  instances: {boundary: 1}\n",
            chain("[{name: threshold, params: {of: insid, value: 0.5}}, connected_components]"),
            "Did you mean 'inside'?",
        ),
        (
            *("enhancement", "  instances: {normalize: true}\n  residual: true\n", ""),
            "task.residual: belongs to images, and the distance to the edge of objects is learnt",
        ),
        (
            *("noise2void", "  instances: {normalize: true}\n", ""),
            "objects are learnt by category: enhancement",
        ),
    ],
)
def test_what_makes_no_sense_for_objects_is_told(
    category: str, fields: str, more: str, expected: str, write: Any
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(text(category, fields) + more))
    assert expected in str(caught.value)


@pytest.mark.parametrize("category", ["segmentation", "enhancement"])
def test_metrics_of_objects_can_be_watched(category: str, write: Any) -> None:
    watch = "trainer: {checkpoint: {monitor: [val/ap/50, val/pooled_ap/50, val/foreground_dice]}}\n"
    assert load_config(write(text(category, "  instances: {}\n") + watch))
    with pytest.raises(ConfigError, match="val/dice"):
        load_config(
            write(text(category, "  instances: {}\n") + watch.replace("val/ap/50", "val/dice"))
        )
