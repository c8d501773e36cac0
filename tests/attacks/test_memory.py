"""Memory that ends: at every limit a fit or prediction gives the same numbers, or says so and changes nothing."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

WORK = ["fit", "classifier", "full batch", "predict", "early stopping", "lbfgs"]

ENVIRONMENT = {
    # What is freed is given back at once, so that a limit bites.
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    # With several threads OpenBLAS itself ends a process in which it finds no memory.
    "OPENBLAS_NUM_THREADS": "1",
}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells how much memory a process has")
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_limits(backend: str, times: Callable[[int, int], int], tally: Callable[[str, int], None]) -> None:
    count = times(8, 100)
    for what in WORK[: times(1, len(WORK))]:
        limited(what, backend, 2)  # compiles: in the memory that compilation leaves free no limit would bite
        worked, failed = limited(what, backend, count)
        assert worked > 0 and failed > 0  # some limits were high enough, some too low
        tally("limits of memory, at each the right numbers or nothing changed", count)


def limited(what: str, backend: str, count: int) -> tuple[int, int]:
    """Work under so many limits; how often it worked, and how often it failed as it should."""
    command = [sys.executable, str(Path(__file__).with_name("limited_run.py")), what, backend, str(count)]
    done = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, what + done.stdout + done.stderr[-3000:]
    worked, failed = done.stdout.split()
    return int(worked), int(failed)
