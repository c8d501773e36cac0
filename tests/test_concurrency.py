"""Training from two threads at once, and in a forked worker after the parent has trained."""

import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from joblib.externals import cloudpickle

import xpnet

BACKENDS = ["numpy", "numba"]


def trained(backend, seed, blobs):
    """Loss curve of a short training."""
    model = xpnet.FeedforwardNeuralNet(7, 30, 4, backend=backend, optimizer="adam", rng=np.random.RandomState(seed))
    return model.fit(*blobs, epochs=20, batch_size=16, rng=np.random.default_rng(seed)).loss


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
    # Workers may not find this file by its name: an installed package, too, may be called "tests".
    own = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(own)
    try:
        # Processes of their own: a worker's thread limit must not change the numbers.
        results = joblib.Parallel(n_jobs=2)(joblib.delayed(trained)(backend, 0, blobs) for _ in range(2))
    finally:
        cloudpickle.unregister_pickle_by_value(own)
    assert results == [before] * 2
