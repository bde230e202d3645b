"""A run is a folder: creating, finding, reading, listing and deleting it.

Files are the truth. A run folder holds no absolute path to itself, so it may be moved or copied.
"""

from imtoolkit.runs.run import Run
from imtoolkit.runs.status import State, Status
from imtoolkit.runs.store import create_run, delete_run, find_run, list_runs

__all__ = ["Run", "State", "Status", "create_run", "delete_run", "find_run", "list_runs"]
