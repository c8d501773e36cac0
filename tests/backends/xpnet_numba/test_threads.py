"""Worker threads: the same bits for any number of them, several callers at once, forks, and a quiet
end.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from joblib import Parallel, delayed
from xpnet_numba import backend
from xpnet_numba import ops as kernels

from xpnet import ops
from xpnet.backend import get_threads
from xpnet.backend.threads import allowed_threads

KERNELS = {name: kernel.launch for name, kernel in backend.kernels.items()}


@pytest.fixture(params=[2, 3, 5])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """So many threads, whatever the machine has."""
    monkeypatch.setattr(kernels, "get_threads", lambda: request.param)
    yield request.param


def results(dtype: str) -> list[np.ndarray]:
    """What kernels return for arrays of many chunks."""
    rng = np.random.default_rng(0)
    x, index = rng.standard_normal((3001, 33)).astype(dtype), rng.integers(0, 33, 3001)
    wide = rng.standard_normal((40, 5000)).astype(dtype) * 50
    loss, gradient = KERNELS["softmax_cross_entropy"](x, index)
    weighted = KERNELS["softmax_cross_entropy"](x, ops.softmax(x), np.abs(x[:, 0]))
    adam = KERNELS["adam_update"](x.copy(), x, x * 0, x * 0, t=1, learning_rate=0.1)
    return [KERNELS["softmax"](wide), KERNELS["log_softmax"](x), loss, gradient, *weighted, *adam]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_do_not_depend_on_threads(
    dtype: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = results(dtype)
    monkeypatch.setattr(kernels, "get_threads", lambda: 1)
    for a, b in zip(shared, results(dtype), strict=True):
        assert a.tobytes() == b.tobytes()


def test_several_python_threads_at_once(threads: int) -> None:
    x = np.random.default_rng(1).standard_normal((5000, 10))
    wanted = KERNELS["softmax"](x)
    with ThreadPoolExecutor(4) as executor:
        for got in executor.map(lambda _: KERNELS["softmax"](x), range(400)):
            np.testing.assert_array_equal(got, wanted)


def test_workers_sleep_and_wake(threads: int) -> None:
    x = np.random.default_rng(2).standard_normal((5000, 10))
    wanted = KERNELS["softmax"](x)
    for _ in range(5):
        np.testing.assert_array_equal(KERNELS["softmax"](x), wanted)
        subprocess.run(
            [sys.executable, "-c", ""], check=True, timeout=600
        )  # long enough for workers to fall asleep


FORK = """
import multiprocessing
import numpy as np
from xpnet_numba import backend
from xpnet_numba import ops as kernels

kernels.get_threads = lambda: 3
x = np.random.default_rng(0).standard_normal((5000, 10))
softmax = backend.kernels["softmax"].launch

def total(_):
    return float(softmax(x).sum())

if __name__ == "__main__":
    softmax(x)
    with multiprocessing.get_context("fork").Pool(2) as workers:
        print(workers.map(total, range(4)))
    print(total(0))
"""


def test_forked_workers_have_workers_of_their_own() -> None:
    """In a process of its own, so that no other library's threads are forked with it."""
    ended = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=600, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert (
        ended.stdout.count("5000.0") == 5
        or ended.stdout.count("4999.9") + ended.stdout.count("5000.0") == 5
    )


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs Linux and two cores",
)
def test_workers_keep_off_the_leaders_core() -> None:
    from xpnet_numba.runtime.threads import team

    KERNELS["softmax"](np.zeros((8192, 10)))
    workers = [thread for thread in threading.enumerate() if thread.name.startswith("xpnet-")]
    assert workers
    for worker in workers:
        assert team._leaders_core not in os.sched_getaffinity(worker.native_id or 0)


@pytest.mark.parametrize(("value", "threads_of"), [("1", 1), ("", 0), ("none", 0)])
def test_a_process_is_limited_by_its_environment(value: str, threads_of: int) -> None:
    """Without a number in the variable it has as many threads as it may; ``set_threads`` overrules
    it.
    """
    program = (
        "import xpnet; print(xpnet.get_threads()); xpnet.set_threads(2); print(xpnet.get_threads())"
    )
    environment = {**os.environ, "NUMBA_NUM_THREADS": value}
    output = subprocess.check_output(
        [sys.executable, "-c", program], env=environment, text=True, timeout=600
    )
    assert list(map(int, output.split())) == [
        threads_of or allowed_threads(),
        min(2, allowed_threads()),
    ]


def test_fits_of_a_search_divide_the_cores() -> None:
    if allowed_threads() < 2:
        pytest.skip("this process may use one core")
    assert set(Parallel(n_jobs=allowed_threads())(delayed(get_threads)() for _ in range(3))) == {1}
