"""Ranks that MPICH starts, two and many more than there are cores: an environment of its own has it
beside xpnet.
"""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

MPIRUN = Path(sys.executable).with_name("mpirun")
LIMIT = 240.0
"""Seconds after which a program hangs."""

PROGRAM = """
import json, sys
import numpy, xpnet

X, y = numpy.random.default_rng(0).normal(size=(200, 5)), numpy.arange(200) % 3

def fit():
    model = xpnet.FeedforwardNeuralNet(5, 9, 3, optimizer="adam", rng=0)
    return model.fit(X, y, epochs=3, batch_size=50).loss

if sys.argv[1] == "alone":
    print(json.dumps([fit(), ""]))
else:
    with xpnet.use_group("mpi", timeout=120) as group:
        loss = fit()
        if sys.argv[1] == "failing" and group.rank == 1:
            raise ValueError("the shelf is empty")
        group.broadcast(None)
        if group.rank == 0:
            print(json.dumps([loss, group.why]))
"""


def mpich_is_here() -> bool:
    """Return whether the environment's launcher is MPICH's."""
    try:
        importlib.metadata.version("mpich")
    except importlib.metadata.PackageNotFoundError:
        return False
    return MPIRUN.exists()


pytestmark = pytest.mark.skipif(
    not mpich_is_here(), reason="MPICH is not in this environment (pip install mpich)"
)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run the program; fails where it hangs."""
    whole = [*command, sys.executable, "-c", PROGRAM]
    mode = "ranks" if command else "alone"
    return subprocess.run(
        [*whole, mode], capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize("ranks", [2, 12])
def test_ranks_find_what_one_process_finds(ranks: int) -> None:
    alone, ended = run(), run(str(MPIRUN), "-n", str(ranks))
    assert (alone.returncode, ended.returncode) == (0, 0), ended.stderr
    loss, why = json.loads(ended.stdout)
    assert "MPICH" in why
    assert loss == pytest.approx(json.loads(alone.stdout)[0], rel=1e-10)


def test_an_error_on_one_rank_ends_all() -> None:
    command = [str(MPIRUN), "-n", "2", sys.executable, "-c", PROGRAM, "failing"]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL
    )
    assert ended.returncode not in (0, None)
    assert "rank 1 of 2" in ended.stderr and "the shelf is empty" in ended.stderr, ended.stderr
