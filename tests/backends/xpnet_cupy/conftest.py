"""Launchers over the rig that run fibers in both orders, with and without cuBLASLt, and a card of
the stand-in for CuPy.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers.cuda import cupy_on_host
from helpers.cuda.host import HostCublasLt, HostLauncher
from helpers.cuda.steps import ROWS, Pair, data, network, pair_of
from xpnet_cupy import CupyBackend

from xpnet.backend import NetworkSpec


@pytest.fixture(scope="session")
def lt() -> HostCublasLt:
    """A cuBLASLt that works on host memory."""
    return HostCublasLt()


@pytest.fixture(scope="module")
def cuda() -> Iterator[Any]:
    """``xpnet_cupy.cuda`` over the stand-in for CuPy."""
    with cupy_on_host.installed() as module:
        yield module


@pytest.fixture
def backend(cuda: Any) -> CupyBackend:
    """The backend over the stand-in: a card of each test, whose stream and kernels they share."""
    return CupyBackend()


@pytest.fixture
def on_card(backend: CupyBackend) -> Callable[..., Pair]:
    """Makes a compiled step on the card, with its rows there, beside the reference step."""

    def pair(spec: NetworkSpec | None = None, rows: int = ROWS) -> Pair:
        step = backend.compile_step(spec or network())
        return pair_of(step, backend.asarray, *data(spec or network(), rows=rows))

    return pair


@pytest.fixture
def unused_card(cuda: Any) -> Iterator[Any]:
    """``xpnet_cupy.cuda``, over a card that nothing has used yet: it has described no products and
    loaded no kernels.
    """
    caches = cuda.lane, cuda.kernel, cuda._module
    for cache in caches:
        cache.cache_clear()
    yield cuda
    for cache in caches:
        cache.cache_clear()


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def make_launcher() -> Iterator[Callable[..., HostLauncher]]:
    """Makes launchers, by the arguments of `HostLauncher`: when the test ends, nobody has written
    beyond their arrays.
    """
    made: list[HostLauncher] = []

    def make(*arguments: Any, **options: Any) -> HostLauncher:
        made.append(HostLauncher(*arguments, **options))
        return made[-1]

    yield make
    for launcher in made:
        launcher.xp.check()


@pytest.fixture
def fused(make_launcher: Any, lt: Any, dtype: str) -> HostLauncher:
    """A launcher of products with epilogues, through cuBLASLt's interface."""
    return make_launcher(dtype, lt)


@pytest.fixture(params=["plain", "fused"])
def either(request: pytest.FixtureRequest, make_launcher: Any, lt: Any, dtype: str) -> HostLauncher:
    """A launcher of products without epilogues, and one of products with them."""
    return make_launcher(dtype, lt if request.param == "fused" else None)


@pytest.fixture(params=[False, True], ids=["forward", "reversed"])
def launcher(request: pytest.FixtureRequest, make_launcher: Any, dtype: str) -> HostLauncher:
    """A launcher for ``dtype`` that runs fibers first to last, and one that runs them last to
    first.
    """
    return make_launcher(dtype, reversed=request.param)
