"""Everything here needs a GPU. The tests are collected where they are asked for, and refused where
there is no GPU.
"""

import warnings
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import pytest

from xpnet.errors import BackendError


def _missing() -> str | None:
    from xpnet_cupy import CupyBackend

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what CuPy says while it is imported is not ours
            CupyBackend()
    except BackendError as error:
        return str(error)
    return None


def pytest_collection_modifyitems() -> None:
    """Refuse to run without a GPU: skipped tests would count as passed."""
    if reason := _missing():
        raise pytest.UsageError(f"The tests of tests/gpu need an NVIDIA GPU and CuPy. {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """End the run after a test that the card's context did not survive: every test after it in this
    process would fail, and hide which was the first.
    """
    report = yield
    if call.excinfo is not None and not report.skipped and (problem := _lost_context()):
        name = item.nodeid
        item.session.shouldstop = (
            f"the card's context is lost in {name}: {problem}; the tests after it were not run"
        )
    return report


def _lost_context() -> str:
    """What CUDA says of a context in which nothing can be computed any more; "" where it can."""
    import cupy

    try:
        cupy.cuda.Device().synchronize()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return str(error)
    return ""


@pytest.fixture
def backend() -> Any:
    """The CuPy backend."""
    from xpnet.dispatch import get_backend

    return get_backend("cupy")


@pytest.fixture
def cupy(backend: Any) -> Iterator[Any]:
    """CuPy, its pool emptied before and without a limit afterwards."""
    import cupy

    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    yield cupy
    pool.set_limit(size=0)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
