"""Memory that ends: at every limit a fit or prediction gives the same numbers, or says so and
changes nothing.

On the Numba backend: NumPy itself crashes where one of its functions finds no memory for a buffer.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

WORK = ["fit", "classifier", "full batch", "predict", "early stopping", "lbfgs", "table"]

ENVIRONMENT = {
    # What is freed is given back at once, so that a limit bites.
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}


@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="only Linux tells how much memory a process has"
)
@pytest.mark.parametrize("what", WORK)
def test_limits(
    what: str, times: Callable[[int, int], int], tally: Callable[[str, int], None]
) -> None:
    count = times(5, 100)
    worked, failed = limited(what, count)
    assert worked > 0 and failed > 0  # some limits were high enough, some too low
    tally("limits of memory, at each the right numbers or nothing changed", count)


def limited(what: str, count: int) -> tuple[int, int]:
    """Work under so many limits; how often it worked, and how often it failed as it should."""
    command = [sys.executable, str(Path(__file__).with_name("limited_run.py")), what, str(count)]
    done = subprocess.run(
        command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, what + done.stdout + done.stderr[-3000:]
    worked, failed = done.stdout.split()
    return int(worked), int(failed)
