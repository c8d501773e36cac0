"""Training from two threads at once, and in a forked worker after the parent has trained."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import pytest
from helpers.ranks.launch import run
from helpers.short_training import trained

BACKENDS = ["numpy", "numba"]
FORK = """
import multiprocessing, sys
import numpy as np
from helpers.short_training import trained

rng = np.random.default_rng(0)
rows = rng.normal(size=(120, 7)), rng.integers(0, 4, 120)

def train(_):
    return trained(sys.argv[1], 0, rows)

before = train(0)
with multiprocessing.get_context("fork").Pool(2) as pool:
    inside = pool.map(train, range(3))
assert inside == [before] * 3 == [train(0)] * 3
print("the same")
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_threads_train_at_once(backend, blobs):
    alone = [trained(backend, seed, blobs) for seed in range(4)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda seed: trained(backend, seed, blobs), range(4)))
    assert together == alone


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_forked_worker_trains_after_its_parent(backend):
    """In a process of its own, so that no other library's threads are forked with it, and no test
    waits for a child.
    """
    program = [sys.executable, "-c", FORK, backend]
    ended = run(program, cwd=Path(__file__).parent)
    assert (ended.code, ended.stdout, ended.left) == (0, "the same\n", []), ended.stderr


@pytest.mark.parametrize("backend", BACKENDS)
def test_joblib_workers_train_after_their_parent(backend, blobs):
    before = trained(backend, 0, blobs)
    # Processes of their own: a worker's thread limit must not change the numbers.
    results = joblib.Parallel(n_jobs=2)(
        joblib.delayed(trained)(backend, 0, blobs) for _ in range(2)
    )
    assert results == [before] * 2
