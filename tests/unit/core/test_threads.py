"""The policy by which threads wait reaches OpenMP before torch starts it."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
from imtoolkit.core.threads import wait_politely
wait_politely()
import torch
torch.rand(512, 512) @ torch.rand(512, 512)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="OMP_DISPLAY_ENV is read from GNU OpenMP here")
@pytest.mark.parametrize(("given", "used"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_sleep_while_they_wait_unless_the_user_chose(given: str | None, used: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment["OMP_DISPLAY_ENV"] = "TRUE"
    if given is not None:
        environment["OMP_WAIT_POLICY"] = given
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    assert f"OMP_WAIT_POLICY = '{used}'" in done.stderr
