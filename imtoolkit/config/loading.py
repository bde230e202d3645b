"""From a file, a preset or a dict to a config: read, expand, merge, check, decode.

The order of precedence is: defaults, ``base:`` (one level), the file, overrides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from imtoolkit.core.errors import ConfigError, Problem

from . import plugins as plugin_room
from .categories import config_class
from .checks import check_values
from .decode import decode
from .fit import fits
from .merge import merge, overrides_tree
from .nodes import Node, from_plain, read
from .parts import check_components
from .paths import make_absolute
from .presets import find_config
from .sections import CATEGORIES, CONFIG_VERSION, Config
from .shorthand import expand
from .validate import check_shape

Overrides = Mapping[str, Any] | Sequence[str]

MIGRATIONS: Final[dict[int, Callable[[Node], None]]] = {}
"""Format version -> what turns a tree of this version into one of the next, in place."""


@dataclass
class Draft:
    """A config that was read and merged, and what is wrong with it so far.

    Attributes:
        root: The merged tree in long form.
        file: The file it came from, if any.
        problems: Everything found so far.
    """

    root: Node
    file: Path | None = None
    problems: list[Problem] = field(default_factory=list)


def load_config(
    source: str | Path | Mapping[str, Any], overrides: Overrides = (), *, trust: bool = False
) -> Config:
    """Load a config and check everything that can be checked without importing torch.

    Args:
        source: A YAML file, the name of a preset (``"nuclei_2d"``), or a mapping of the same form.
        overrides: Dotted keys and values, ``{"trainer.max_epochs": 5}``, or the words of a command
            line, ``["--trainer.max_epochs", "5"]``.
        trust: Whether the modules under ``plugins:`` may be imported; remembered for files.

    Raises:
        ConfigError: With all problems at once, each with file, line and key.

    Example:
        >>> load_config({"data": {"source": "folder"}, "task": {"category": "segment"}})
        Traceback (most recent call last):
            ...
        imtoolkit.core.errors.ConfigError: ...unknown category 'segment'. Did you mean...
    """
    draft = examine(source, overrides, trust=trust)
    if draft.problems:
        raise ConfigError(draft.problems)
    return finish(draft)


def load_run_config(path: Path, overrides: Overrides = (), *, trust: bool = False) -> Config:
    """Load the config of a run folder.

    The plugins that were copied into it are trusted as their originals were, by content. Those of a
    run that comes from someone else are not: the hashes in the folder tell only that its parts
    belong together.

    Args:
        path: The run folder, or its ``config.yaml``.
        overrides: What a resumed run changes, as in `load_config`.
        trust: Whether its plugins may be imported; remembered.

    Raises:
        ConfigError: As `load_config`, and if a copied plugin was changed.
    """
    file = path / "config.yaml" if path.is_dir() else path
    changed = plugin_room.changed_copies(file.parent)
    if changed:
        names = ", ".join(changed)
        message = f"changed since the run was made: {names}. Restore it, or start a new run"
        raise ConfigError(Problem(message, where="plugins", file=str(file)))
    draft = examine(file, overrides, trust=trust, call="imtoolkit.config.load_run_config")
    if draft.problems:
        raise ConfigError(draft.problems)
    return finish(draft)


def examine(
    source: str | Path | Mapping[str, Any],
    overrides: Overrides = (),
    *,
    trust: bool = False,
    call: str = "load_config",
) -> Draft:
    """Read, merge and check a config, and return it with all its problems.

    Args:
        source: See `load_config`.
        overrides: See `load_config`.
        trust: See `load_config`.
        call: The function that a message about trust names.
    """
    draft = read_layers(source, overrides)
    trusted_problems = _check_plugins(draft, trust=trust, call=call)
    own = _has_own_category(draft.root)
    if own and not trusted_problems:
        trusted_problems += _load_category(draft)
    unread = own and bool(trusted_problems)
    shape = check_shape(draft.root, open_task=unread)
    draft.problems += shape
    draft.problems += check_components(draft.root)
    if not shape and not unread:
        draft.problems += check_values(draft.root)
    draft.problems += trusted_problems
    draft.problems = sorted(dict.fromkeys(draft.problems), key=_reading_order)
    return draft


def finish(draft: Draft) -> Config:
    """Decode a draft without problems."""
    raw = draft.root.plain()
    make_absolute(raw)
    return decode(raw)


def read_layers(source: str | Path | Mapping[str, Any], overrides: Overrides = ()) -> Draft:
    """Read the file, its base and the overrides, and merge them."""
    if isinstance(source, Mapping):
        draft = Draft(from_plain(source))
        folder = Path.cwd()
    else:
        file = find_config(source)
        draft = Draft(read(file), file)
        folder = file.resolve().parent
    _prepare(draft.root, folder, draft.problems)
    base = draft.root.value.pop("base", None)
    if base is not None and base.value is not None:
        draft.root = _on_base(draft, base, folder)
    try:
        over = overrides_tree(overrides)
    except ConfigError as error:
        draft.problems += error.problems
        over = Node({}, patch=True)
    _prepare(over, Path.cwd(), draft.problems)
    draft.root = merge(draft.root, over, draft.problems)
    if "name" not in draft.root.value and draft.file is not None:
        draft.root.value["name"] = Node(draft.file.stem)
    return draft


def _on_base(draft: Draft, base: Node, folder: Path) -> Node:
    if not isinstance(base.value, str):
        draft.problems.append(base.place.problem("expects the path of one config file"))
        return draft.root
    try:
        path = folder / Path(base.value).expanduser()
        path = path if path.exists() else find_config(base.value)
        under = read(path)
    except ConfigError as error:
        reason = error.problems[0].message
        draft.problems.append(base.place.problem(f"'{base.value}' cannot be used: {reason}"))
        return draft.root
    _prepare(under, path.resolve().parent, draft.problems)
    deeper = under.value.pop("base", None)
    if deeper is not None and deeper.value is not None:
        draft.problems.append(
            deeper.place.problem("a base cannot have a base itself: one level only")
        )
    return merge(under, draft.root, draft.problems)


def _prepare(layer: Node, folder: Path, problems: list[Problem]) -> None:
    """Bring one layer into the long form of this release, with plugin files made absolute."""
    _migrate(layer, problems)
    if not layer.patch:
        empty = [key for key, node in layer.value.items() if node.value is None and key != "base"]
        for key in empty:
            del layer.value[key]  # an empty section, as `trainer:`, takes its defaults
    problems += expand(layer)
    named = layer.value.get("plugins")
    if named is not None and isinstance(named.value, list):
        for node in named.value:
            if isinstance(node.value, str):
                node.value = plugin_room.absolute(node.value, folder)


def _migrate(layer: Node, problems: list[Problem]) -> None:
    node = layer.value.get("config_version")
    if node is None or not fits(int, node.value):
        return
    if node.value > CONFIG_VERSION:
        problems.append(
            node.place.problem(
                f"this file has format {node.value}, and this release of imtoolkit reads up to "
                f"{CONFIG_VERSION}. Upgrade imtoolkit: pip install --upgrade imtoolkit"
            )
        )
        return
    for version in range(node.value, CONFIG_VERSION):
        if version in MIGRATIONS:
            MIGRATIONS[version](layer)
    node.value = CONFIG_VERSION


def _check_plugins(draft: Draft, *, trust: bool, call: str) -> list[Problem]:
    """Return the problems of ``plugins:``; with ``trust``, remember them as trusted."""
    node = draft.root.value.get("plugins")
    if node is None or not fits(list[str], node.plain()):
        return []
    named = node.plain()
    wrong = plugin_room.missing(named)
    places = {item.value: item.place for item in node.value}
    problems = [places[plugin].problem(message) for plugin, message in wrong.items()]
    if problems:
        return problems
    if trust:
        plugin_room.trust(named, draft.file)
    for plugin in plugin_room.untrusted(named, draft.file):
        what = (
            f"the code in '{plugin}'" if plugin_room.is_file(plugin) else f"the package '{plugin}'"
        )
        message = (
            f"{what} would run on your machine, and you have not trusted it. Read it, then add "
            f"--trust (in Python: {call}(path, trust=True))"
        )
        problems.append(places[plugin].problem(message))
    return problems


def _has_own_category(root: Node) -> bool:
    """Tell whether the category may be that of a plugin: it is none of ours, and there are some."""
    task, named = root.value.get("task"), root.value.get("plugins")
    category = task.value.get("category") if task is not None and _is_dict(task) else None
    if category is None or not isinstance(category.value, str) or category.value in CATEGORIES:
        return False
    return named is not None and fits(list[str], named.plain()) and bool(named.value)


def _load_category(draft: Draft) -> list[Problem]:
    """Import the plugins, which are trusted, so that the fields of their tasks are known."""
    place = draft.root.value["task"].value["category"].place
    try:
        plugin_room.load(draft.root.value["plugins"].plain())
        config_class(draft.root.value["task"].value["category"].value)
    except ConfigError as error:
        return [
            place.problem(item.message) if item.where == "task.category" else item
            for item in error.problems
        ]
    return []


def _is_dict(node: Node) -> bool:
    return isinstance(node.value, dict)


def _reading_order(problem: Problem) -> tuple[str, int]:
    return problem.file, problem.line or 0
