"""Every snippet of the README and of the documentation runs, on drawn images, trained shortly.

A page is one test: its snippets run in order in one empty folder, as a reader would type them.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.snippets import Snippet, command_lines, snippets

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SHORT = {
    "trainer.max_epochs": 1,
    "trainer.limit_train_batches": 2,
    "trainer.limit_val_batches": 1,
    "evaluation.resamples": 50,
}
"""What makes a training short enough for a test; a reader trains with the numbers on the page."""

COUNT = 10
"""Images that are drawn where a page does not say how many."""

BASE = """
data:
  source: {name: folder, params: {root: data/nuclei, image: images/*.tif, target: labels/*.tif}}
  axes: YX
  split: {val: 0.2, test: 0.2}
  patch: {size: [64, 64]}
  preprocess: [{name: normalize_percentiles, params: {lower: 0.5, upper: 99.5}}, binarize_target]
task:
  category: segmentation
  classes: [background, nucleus]
  net: {name: UNet, params: {channels: [8, 16], strides: [2]}}
  loss: dice_ce
  optimizer: AdamW
"""
"""What a snippet that shows a part of a config is a part of."""


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_snippets_of_a_page_run(
    page: Path, workdir: Path, drawn: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = snippets(page)
    shutil.copytree(drawn("nuclei", count=COUNT), workdir / "data" / "nuclei")
    shutil.copytree(ROOT / "configs", workdir / "configs")
    (workdir / "base.yaml").write_text(BASE, encoding="utf-8")
    make_trainings_short(monkeypatch)
    namespace: dict[str, Any] = {"__name__": page.stem}
    for snippet in found:
        if not snippet.skipped:
            run(snippet, page, namespace, monkeypatch)


def make_trainings_short(monkeypatch: pytest.MonkeyPatch) -> None:
    import imtoolkit
    from imtoolkit.config import load_config

    def short(source: Any, overrides: Any = (), **options: Any) -> Any:
        if not isinstance(overrides, dict):
            return load_config(source, [*overrides, *short_words()], **options)
        return load_config(source, {**overrides, **SHORT}, **options)

    monkeypatch.setattr(imtoolkit, "load_config", short, raising=False)


def short_words() -> list[str]:
    return [word for key, value in SHORT.items() for word in (f"--{key}", str(value))]


def run(
    snippet: Snippet, page: Path, namespace: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if snippet.file:
        Path(snippet.file).parent.mkdir(parents=True, exist_ok=True)
        Path(snippet.file).write_text(snippet.text, encoding="utf-8")
    place = f"{page.name}:{snippet.line}"
    try:
        if snippet.language == "yaml":
            check_yaml(snippet, monkeypatch)
        elif snippet.language == "python" and not snippet.file:
            code = compile("\n" * snippet.line + snippet.text, str(page), "exec")
            exec(code, namespace)
        elif snippet.language == "bash":
            for line in command_lines(snippet.text):
                run_line(line, monkeypatch)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a snippet raises is a failure
        pytest.fail(f"{place}: {type(error).__name__}: {error}\n{snippet.text}")


def check_yaml(snippet: Snippet, monkeypatch: pytest.MonkeyPatch) -> None:
    from imtoolkit.config import load_config
    from imtoolkit.config.settings import load_settings

    if snippet.file == "settings.yaml":
        monkeypatch.setenv("IMTOOLKIT_SETTINGS", str(Path("settings.yaml").resolve()))
        load_settings()
        return
    sections = set(re.findall(r"^(\w+):", snippet.text, flags=re.MULTILINE))
    if {"data", "task"} <= sections or "base" in sections:
        file = Path(snippet.file or "snippet.yaml")
        file.write_text(snippet.text, encoding="utf-8")
    else:
        file = Path("part.yaml")
        file.write_text("base: base.yaml\n" + snippet.text, encoding="utf-8")
    load_config(file, trust=True)


def run_line(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run one line of a bash block, or check what can be checked without running it."""
    words = shlex.split(line)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        name, _, value = words.pop(0).partition("=")
        monkeypatch.setenv(name, os.path.expandvars(value))
    if not words:
        return
    first = Path(words[0]).name
    if first == "imtoolkit":
        run_imtoolkit([os.path.expandvars(word) for word in words[1:]])
    elif first == "make":
        targets = {word for word in words[1:] if "=" not in word}
        unknown = targets - make_targets()
        assert not unknown, f"the Makefile has no target {unknown}"
    elif first == "pip":
        assert_extras_exist(line)
    elif first == "export":
        name, _, value = words[1].partition("=")
        monkeypatch.setenv(name, os.path.expandvars(value))
    elif first in {"ls", "cat", "head", "cp", "mkdir", "rm"}:
        import subprocess

        subprocess.run(line, shell=True, check=True, capture_output=True)
    else:
        # what prepares a machine cannot be run in a test
        assert first in {"git", "cd", "source", "python", "python3", "torchrun", "jupyter"}, line


def run_imtoolkit(words: list[str]) -> None:
    from imtoolkit.cli.main import main

    if words[:1] == ["train"]:
        words = [*words, *short_words()]
    if words[:1] == ["samples"] and "--count" not in words:
        words = [*words, "--count", str(COUNT)]
    code = main(words)
    assert code == 0, f"imtoolkit {shlex.join(words)} returned {code}"


def make_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):", text, flags=re.MULTILINE))


def assert_extras_exist(line: str) -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = set(known["project"]["optional-dependencies"])
    named = {name for group in re.findall(r"\[([\w,-]+)\]", line) for name in group.split(",")}
    assert named <= extras, f"pyproject.toml has no extra {named - extras}"


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"(\w+\.md)", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert listed == {page.name for page in (ROOT / "docs").glob("*.md")}


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", text):
            if not (page.parent / link).exists():
                broken.append(f"{page.name}: {link}")
    assert not broken, "\n".join(broken)
