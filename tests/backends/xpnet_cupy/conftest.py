"""Kernels compiled for the host once a session, and launchers over them that run fibers in both
orders.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from helpers.cuda import cupy_on_host
from helpers.cuda.host import HostCublasLt, HostLauncher, build, build_cublaslt
from xpnet_cupy import CupyBackend
from xpnet_cupy.cuda import SOURCE


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The kernels for each dtype."""
    folder = tmp_path_factory.mktemp("kernels")
    return {dtype: build(SOURCE, dtype, folder) for dtype in ("float32", "float64")}


@pytest.fixture(scope="session")
def lt(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cuBLASLt that works on host memory."""
    return HostCublasLt(build_cublaslt(tmp_path_factory.mktemp("cublaslt")))


@pytest.fixture(scope="module")
def cuda() -> Iterator[Any]:
    """``xpnet_cupy.cuda`` over the stand-in for CuPy."""
    with cupy_on_host.installed() as module:
        yield module


@pytest.fixture
def backend(cuda: Any) -> CupyBackend:
    """The backend over the stand-in: a card of each test, whose stream and kernels they share."""
    return CupyBackend()


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def fused(libraries: dict[str, Any], lt: Any, dtype: str) -> Iterator[HostLauncher]:
    """A launcher of products with epilogues, through cuBLASLt's interface."""
    made = HostLauncher(libraries[dtype], dtype, lt)
    yield made
    made.xp.check()


@pytest.fixture(params=["plain", "fused"])
def either(
    request: pytest.FixtureRequest, dtype: str, libraries: dict[str, Any], lt: Any
) -> Iterator[HostLauncher]:
    """A launcher of products without epilogues, and one of products with them."""
    made = HostLauncher(libraries[dtype], dtype, lt if request.param == "fused" else None)
    yield made
    made.xp.check()


@pytest.fixture(params=[False, True], ids=["forward", "reversed"])
def launcher(
    request: pytest.FixtureRequest, dtype: str, libraries: dict[str, Any]
) -> Iterator[HostLauncher]:
    """A launcher for ``dtype`` that runs fibers first to last, and one that runs them last to
    first.
    """
    made = HostLauncher(libraries[dtype], dtype, reversed=request.param)
    yield made
    made.xp.check()
