"""Where a run comes from: code, packages, machine, command line and data."""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import shutil
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from imtoolkit.runs.status import now


def provenance(**more: Any) -> dict[str, Any]:
    """Return plain values that tell how this process could be repeated.

    Args:
        more: What only the caller knows: ``device``, ``threads``, ``data_fingerprint``.
    """
    return {
        "time": now(),
        "command": list(sys.argv),
        "folder": str(Path.cwd()),
        "user": _user(),
        "host": socket.gethostname(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "git": git_state(Path.cwd()),
        "packages": packages(),
        **more,
    }


def packages() -> dict[str, str]:
    """Return name and version of every installed package."""
    found = {
        dist.metadata["Name"]: dist.version
        for dist in metadata.distributions()
        if dist.metadata["Name"]
    }
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return commit, branch and changes of the repository around a folder, if there is one."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git(folder, "status", "--porcelain") or ""
    diff = _git(folder, "diff", "HEAD") or ""
    return {
        "commit": commit,
        "branch": _git(folder, "rev-parse", "--abbrev-ref", "HEAD"),
        "changed": changed.splitlines(),
        "diff_sha256": hashlib.sha256(diff.encode()).hexdigest() if diff else None,
    }


def _git(folder: Path, *arguments: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (subprocess.SubprocessError, OSError, UnicodeDecodeError):
        return None
    return done.stdout.rstrip()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return ""
