"""Training from two threads at once, and in a forked worker after the parent has trained."""

import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor

import joblib
import pytest
from short_training import trained

BACKENDS = ["numpy", "numba"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_threads_train_at_once(backend, blobs):
    alone = [trained(backend, seed, blobs) for seed in range(4)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda seed: trained(backend, seed, blobs), range(4)))
    assert together == alone


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*os.fork.*:RuntimeWarning")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_forked_worker_trains_after_its_parent(backend, blobs):
    before = trained(backend, 0, blobs)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        results = [pool.apply_async(trained, (backend, 0, blobs)) for _ in range(3)]
        assert [r.get(timeout=60) for r in results] == [before] * 3
    assert trained(backend, 0, blobs) == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_joblib_workers_train_after_their_parent(backend, blobs):
    before = trained(backend, 0, blobs)
    # Processes of their own: a worker's thread limit must not change the numbers.
    results = joblib.Parallel(n_jobs=2)(joblib.delayed(trained)(backend, 0, blobs) for _ in range(2))
    assert results == [before] * 2
