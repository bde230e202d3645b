"""What is installed: pinned versions that meet the floors, presets that come along, one version."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import imtoolkit

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def requirements() -> list[Requirement]:
    extras = PROJECT["project"]["optional-dependencies"].values()
    texts = [*PROJECT["project"]["dependencies"], *(text for extra in extras for text in extra)]
    return [Requirement(text) for text in texts if not text.startswith("imtoolkit")]


def test_every_requirement_is_pinned_to_a_version_that_it_allows() -> None:
    pinned = pins()
    for requirement in requirements():
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"constraints.txt does not pin {name}"
        assert requirement.specifier.contains(pinned[name]), f"{requirement} is not {pinned[name]}"


def test_torchvision_is_not_installed() -> None:
    # its wheel breaks CPU builds of torch, and nothing here needs it
    assert "torchvision" not in pins()
    assert all(requirement.name != "torchvision" for requirement in requirements())


def test_every_preset_is_installed_with_the_package() -> None:
    listed = PROJECT["tool"]["setuptools"]["data-files"]
    for preset in (ROOT / "configs").rglob("*.yaml"):
        folder = preset.parent.relative_to(ROOT).as_posix()
        assert listed.get(f"share/imtoolkit/{folder}") == [f"{folder}/*.yaml"], folder


def test_the_version_is_the_same_everywhere() -> None:
    cited = re.search(
        r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert cited is not None
    assert imtoolkit.__version__ == PROJECT["project"]["version"] == cited[1]
