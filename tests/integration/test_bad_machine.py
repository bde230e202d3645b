"""Disks, devices, run folders and checkpoints that fail: told with a remedy, nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imtoolkit.callbacks import checkpoint_io
from imtoolkit.cli.main import main
from imtoolkit.data.cache import store
from imtoolkit.runs import Run, State
from imtoolkit.trainer import evaluate
from tests.helpers.command import COUNT, Place, fingerprint

# --- devices --------------------------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("verb", ["train", "check"])
def test_a_gpu_where_there_is_none(place: Place, verb: str) -> None:
    place.config({"trainer.accelerator": "gpu"})
    done = place.command(verb, "cells.yaml")
    done.refuses("trainer.accelerator", "asks for 'gpu'", "--trainer.accelerator auto")
    assert not place.runs()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("trainer.accelerator", "gpuu", "Did you mean 'gpu'"),
        ("trainer.devices", 0, "expects a number of devices"),
        ("trainer.devices", "two", "expects a number of devices"),
    ],
)
def test_devices_that_do_not_exist(place: Place, key: str, value: object, told: str) -> None:
    place.train({key: value}).refuses(key, told)


# --- the cache ------------------------------------------------------------------------------------


def cached(place: Place, folder: str = "cache") -> dict[str, Any]:
    return {"data.cache.root": str(place.folder / folder)}


@pytest.mark.parametrize("folder", ["afile", "afile/cache"])
def test_a_cache_folder_that_cannot_be_used(place: Place, folder: str) -> None:
    place.text("keep me", "afile")
    done = place.train(cached(place, folder))
    done.refuses("cache folder", "afile", "data.cache.root", "IMTOOLKIT_CACHE", "kind: none")
    assert (place.folder / "afile").read_text() == "keep me"
    assert not place.runs()


def test_a_cache_folder_from_the_environment_that_cannot_be_used(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.config()
    assert place.command("check", "cells.yaml", "--static").code == 0
    monkeypatch.setenv("IMTOOLKIT_CACHE", str(place.text("keep me", "afile")))
    place.command("train", "cells.yaml").refuses("cache folder", "IMTOOLKIT_CACHE")
    place.command("cache", "list").refuses("is a file, not a folder", "IMTOOLKIT_CACHE")
    assert (place.folder / "afile").read_text() == "keep me"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_folder_without_rights(place: Place) -> None:
    (place.folder / "cache").mkdir(mode=0o500)
    place.train(cached(place)).refuses("cache folder", "ermission", "data.cache.root")


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".part")]


def test_a_disk_that_gets_full_while_caching(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = store.write_file
    calls: list[Path] = []

    def third_fails(path: Path, *content: Any) -> int:
        size = whole(path, *content)
        calls.append(path)
        if len(calls) > 2:
            os.truncate(path, size // 2)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return size

    monkeypatch.setattr(store, "write_file", third_fails)
    done = place.train(cached(place))
    done.refuses("the disk is full", "cache", "MB", "imtoolkit cache clear", "data.cache.root")
    assert len(list((place.folder / "cache").rglob("*.item"))) == 2
    assert not leftovers(place.folder)
    assert not place.runs()
    monkeypatch.undo()
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv("IMTOOLKIT_RUNS", str(place.folder / "runs"))
    assert place.train(cached(place)).code == 0
    assert len(list((place.folder / "cache").rglob("*.item"))) == COUNT


SMALL_FILES = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from imtoolkit.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits as on Linux")
def test_a_file_system_that_takes_no_more_bytes(place: Place) -> None:
    # the operating system itself refuses, in the middle of the first item
    for number in range(COUNT):
        place.image(number, np.arange(256 * 256, dtype=np.uint16).reshape(256, 256))
        place.label(number, np.eye(256, dtype=np.uint8))
    place.config(cached(place))
    assert place.command("check", "cells.yaml", "--static").code == 0  # the index is there now
    before = fingerprint(place.folder / "data")
    command = [sys.executable, "-c", SMALL_FILES, "train", "cells.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place.folder, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "the disk is full" in done.stderr
    assert fingerprint(place.folder / "data") == before
    assert not list((place.folder / "cache").rglob("*.item"))
    assert not leftovers(place.folder)
    assert not place.runs()
    assert place.command("train", "cells.yaml").code == 0


def test_a_disk_that_gets_full_while_a_state_is_saved(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = place.folder / "run"
    assert place.train(None, "--folder", "run").code == 0
    kept = fingerprint(run / "checkpoints")

    def fails(content: object, stream: Any) -> None:
        stream.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint_io.torch, "save", fails)
    done = place.command("runs", "resume", "run", "--trainer.max_epochs", "2")
    done.refuses("cannot write the checkpoint", "The one before is kept", "resume the run")
    assert fingerprint(run / "checkpoints") == kept
    assert Run(run).status.state is State.FAILED
    monkeypatch.undo()
    monkeypatch.chdir(place.folder)
    done = place.command("runs", "resume", "run", "--trainer.max_epochs", "2")
    assert done.code == 0, done.err


# --- run folders ----------------------------------------------------------------------------------


def test_a_run_folder_that_exists_is_left_alone(place: Place) -> None:
    (place.folder / "mine").mkdir()
    (place.folder / "mine" / "thesis.txt").write_text("keep me")
    done = place.train(None, "--folder", "mine")
    done.refuses("run folder mine exists already", "imtoolkit runs resume mine")
    assert [path.name for path in (place.folder / "mine").iterdir()] == ["thesis.txt"]


def test_runs_below_a_file(place: Place) -> None:
    place.text("keep me", "afile")
    done = place.train({"tracking.runs": "afile"})
    done.refuses("cannot make the run folder", "afile", "tracking.runs")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of one epoch; its images lie beside it."""
    folder = tmp_path_factory.mktemp("original")
    place = Place(folder)
    place.config({"data.source.params.root": str(folder / "data")})
    words = ["train", str(folder / "cells.yaml"), "--folder", str(folder / "run"), "--quiet"]
    assert main(words) == 0
    return folder / "run"


@pytest.fixture
def run(place: Place, original: Path) -> Path:
    """Return a copy of the run that a test may spoil."""
    path = place.folder / "runs" / "cells" / "20260101-000000-aaaaaa"
    shutil.copytree(original, path)
    return path


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "nope"),
        ("predict", "nope", "data/images", "--output", "out"),
        ("runs", "show", "nope"),
        ("runs", "resume", "nope"),
        ("runs", "delete", "nope", "--yes"),
    ],
)
def test_an_unknown_run(place: Place, run: Path, words: tuple[str, ...]) -> None:
    place.command(*words).refuses("no run 'nope'", "imtoolkit runs list")
    assert run.is_dir()


def test_no_run_at_all(place: Place) -> None:
    place.command("evaluate", "latest").refuses("there are no runs", "imtoolkit train")


def test_a_prefix_of_two_runs(place: Place, run: Path) -> None:
    shutil.copytree(run, run.with_name("20260101-000000-bbbbbb"))
    done = place.command("runs", "delete", "2026", "--yes")
    done.refuses("'2026' fits 2 runs", "aaaaaa", "bbbbbb", "more of the id")
    assert len(place.runs()) == 2


def test_deleting_asks_where_somebody_is_there(place: Place, run: Path) -> None:
    place.command("runs", "delete", "aaaaaa").refuses("not deleted", "--yes")
    assert run.is_dir()


def test_a_finished_run_says_how_to_go_on(place: Place, run: Path) -> None:
    before = fingerprint(run / "checkpoints")
    done = place.command("runs", "resume", "aaaaaa")
    assert done.code == 0
    assert "the run had finished" in done.err
    assert "--trainer.max_epochs" in done.err
    assert fingerprint(run / "checkpoints") == before


def test_a_run_that_is_running_is_not_run_twice(place: Place, run: Path) -> None:
    status = json.loads((run / "status.json").read_text())
    here = {"state": "running", "pid": os.getpid(), "born": None}
    (run / "status.json").write_text(json.dumps({**status, **here}))
    place.command("runs", "resume", "aaaaaa").refuses("is running", str(os.getpid()))
    place.command("runs", "delete", "aaaaaa", "--yes").refuses("is running", "Stop it first")


TORN: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda text: text[:-20],
    "garbage at its end": lambda text: text[:-20] + b"\x00garb,1,,\n",
    "empty": lambda text: b"",
    "garbage": lambda text: bytes(range(256)),
    "another table": lambda text: b"a,b\n1,2\n",
}


@pytest.mark.parametrize("kind", TORN)
def test_torn_metrics_hide_no_run_and_do_not_stop_it(place: Place, run: Path, kind: str) -> None:
    path = run / "metrics.csv"
    path.write_bytes(TORN[kind](path.read_bytes()))
    for words in (("list",), ("show", "aaaaaa"), ("compare", "aaaaaa", "aaaaaa")):
        done = place.command("runs", *words)
        assert done.code == 0, done.err
    assert "aaaaaa" in place.command("runs", "list").out
    done = place.command("runs", "resume", "aaaaaa", "--trainer.max_epochs", "2")
    assert done.code == 0, done.err
    assert Run(run).metrics["epoch"].max() == 1


@pytest.mark.parametrize("text", ["garbage{", "[1]", "", '{"state": "flying"}'])
def test_a_spoilt_status_hides_no_run(place: Place, run: Path, text: str) -> None:
    (run / "status.json").write_text(text)
    done = place.command("runs", "list")
    assert done.code == 0
    assert "unknown" in done.out
    assert "status.json" in place.command("runs", "show", "aaaaaa").out
    assert place.command("runs", "resume", "aaaaaa").code == 0


@pytest.mark.parametrize("verb", ["resume", "evaluate", "predict"])
def test_a_spoilt_config_of_a_run(place: Place, run: Path, verb: str) -> None:
    (run / "config.yaml").write_text("data: [")
    words = {
        "resume": ("runs", "resume", "aaaaaa"),
        "evaluate": ("evaluate", "aaaaaa"),
        "predict": ("predict", "aaaaaa", "data/images", "--output", "out"),
    }
    place.command(*words[verb]).refuses("config.yaml", "not valid YAML")
    assert "aaaaaa" in place.command("runs", "list").out


@pytest.mark.parametrize("text", ["{", "[]", None])
def test_spoilt_facts_of_a_run(place: Place, run: Path, text: str | None) -> None:
    (run / "resolved.json").unlink()
    if text is not None:
        (run / "resolved.json").write_text(text)
    done = place.command("predict", "aaaaaa", "data/images", "--output", "out")
    done.refuses("resolved.json", "has no" if text is None else "is damaged")


@pytest.mark.parametrize(
    ("text", "told"),
    [(None, "nobody can tell"), ("garbage", "cannot be read"), ("id,split\nc0,test\n", "is gone")],
)
def test_lost_splits_are_never_drawn_again(
    place: Place, run: Path, text: str | None, told: str
) -> None:
    # new splits could put images to the test that the net has learnt by heart
    (run / "splits.csv").unlink()
    if text is not None:
        (run / "splits.csv").write_text(text)
    place.command("evaluate", "aaaaaa").refuses("splits.csv", told)
    place.command("runs", "resume", "aaaaaa", "--trainer.max_epochs", "2").refuses("splits.csv")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--split", "testt"), ("'testt'", "Did you mean 'test'")),
        (("--split", "naive"), ("no images in 'naive'", "'train', 'val', 'test'")),
        (("--checkpoint", "bst"), ("no checkpoint 'bst'", "'best'", "'last'")),
        (("--against", "nope"), ("no run 'nope'",)),
        (("--images", "data/images/*.tif"), ("--images and --targets belong together",)),
        (("--images", "no/*.tif", "--targets", "no/*.tif"), ("no file matches", "'no/*.tif'")),
    ],
)
def test_evaluations_that_cannot_be(
    place: Place, run: Path, words: tuple[str, ...], told: tuple[str, ...]
) -> None:
    before = fingerprint(run)
    place.command("evaluate", "aaaaaa", *words).refuses(*told)
    assert fingerprint(run) == before


def test_a_run_that_is_deleted_while_it_is_evaluated(
    place: Place, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = evaluate.test_split

    def then_deleted(*args: Any, **more: Any) -> Any:
        found = measured(*args, **more)
        shutil.rmtree(run)
        return found

    monkeypatch.setattr(evaluate, "test_split", then_deleted)
    place.command("evaluate", "aaaaaa").refuses("run folder", "aaaaaa is gone", "deleted or moved")
    assert not run.exists()


def test_a_run_that_is_deleted_while_it_is_trained(
    place: Place, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imtoolkit.trainer import train

    facts = train.write_facts

    def then_deleted(*args: Any) -> None:
        facts(*args)
        shutil.rmtree(run)

    monkeypatch.setattr(train, "write_facts", then_deleted)
    done = place.command("runs", "resume", "aaaaaa", "--trainer.max_epochs", "2")
    done.refuses("aaaaaa")
    assert not run.exists()


# --- checkpoints ----------------------------------------------------------------------------------


class Hostile:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch pwned",)


def raw_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": Hostile()}))


def torch_pickle(path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.zeros(2), "code": Hostile()}}, path)


CHECKPOINTS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "text": (lambda path: path.write_text("no checkpoint"), ("is not a checkpoint", "13 bytes")),
    "empty": (lambda path: path.write_bytes(b""), ("is not a checkpoint", "0 bytes")),
    "raw pickle with code": (raw_pickle, ("not",)),
    "saved by torch with code": (torch_pickle, ("holds code", "system", "was not opened")),
    "without weights": (lambda path: torch.save({"a": 1}, path), ("no 'state_dict'",)),
    "a list": (lambda path: torch.save([1], path), ("no checkpoint of a training",)),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
@pytest.mark.parametrize("use", ["start_from", "resume", "evaluate", "predict"])
def test_a_bad_checkpoint_is_refused_and_its_code_never_runs(
    place: Place, run: Path, kind: str, use: str
) -> None:
    make, told = CHECKPOINTS[kind]
    path = place.folder / "bad.ckpt"
    if use != "start_from":
        path = run / "checkpoints" / ("last.ckpt" if use == "resume" else "best.ckpt")
    make(path)
    spoilt = path.read_bytes()
    if use == "start_from":
        done = place.train({"task.start_from": {"run": "bad.ckpt"}})
        done.refuses("task.start_from", "bad.ckpt", *told)
    elif use == "resume":
        done = place.command("runs", "resume", "aaaaaa", "--trainer.max_epochs", "2")
        done.refuses("last.ckpt", *told)
        assert "Continue with" not in done.err  # it would fail in the same way
    elif use == "evaluate":
        place.command("evaluate", "aaaaaa").refuses("best.ckpt", *told)
    else:
        done = place.command("predict", "aaaaaa", "data/images", "--output", "out")
        done.refuses("best.ckpt", *told)
    assert not list(place.folder.rglob("pwned"))
    assert path.read_bytes() == spoilt
    assert place.runs() == [run]


def test_a_start_that_does_not_exist_is_told_before_images_are_read(place: Place) -> None:
    (place.images / "c0.tif").write_bytes(b"")
    done = place.train({"task.start_from": {"run": "nope"}})
    done.refuses("task.start_from", "no run 'nope'")
    assert "c0.tif" not in done.err


def test_weights_of_another_net(place: Place) -> None:
    torch.save({"state_dict": {"other.weight": torch.zeros(2)}}, place.folder / "other.ckpt")
    done = place.train({"task.start_from": {"run": "other.ckpt"}})
    done.refuses("task.start_from", "none of the weights fit", "'other.weight'", "same net")
    assert not place.runs()


# --- a run that fails -----------------------------------------------------------------------------


def test_a_loss_that_is_nan_fails_with_the_images_named(place: Place) -> None:
    optimizer = {"name": "SGD", "params": {"lr": 1e30}}
    done = place.train({"task.optimizer": optimizer, "trainer.max_epochs": 3})
    done.refuses("loss is NaN or infinite", "bad_batch.json", "learning rate", code=1)
    (path,) = place.runs()
    ids = json.loads((path / "bad_batch.json").read_text())["ids"]
    assert ids
    assert set(ids) <= {f"c{number}" for number in range(COUNT)}
    assert any(re.search(rf"\b{name}\b", done.err) for name in ids)
    assert Run(path).status.state is State.FAILED
    assert "NaN" in Run(path).status.reason


def test_an_optimizer_refuses_its_parameters_with_the_key(place: Place) -> None:
    done = place.train({"task.optimizer.params.lr": -1.0})
    done.refuses("task.optimizer", "AdamW", "learning rate: -1.0")
    assert not place.runs()
    place.command("check", "cells.yaml").refuses("task.optimizer", "learning rate: -1.0")
