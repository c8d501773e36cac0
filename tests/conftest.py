"""Fixtures that several rooms' tests share."""

import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import libraries
from hypothesis import HealthCheck, settings

# A shell that starts the tests in the background has them ignore Ctrl-C, and processes that they
# start inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# torch.compile takes seconds for each network: a test that wants it runs in a process of its own.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")

# Kernels compile inside the first example, which no deadline foresees, and an emulated or busy
# processor draws slowly.
settings.register_profile(
    "xpnet",
    deadline=None,
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("xpnet")

TESTS = Path(__file__).parent
MARKERS = {
    "attacks": pytest.mark.attack,
    "backends/xpnet_cupy": pytest.mark.cuda_host,
    "gpu": pytest.mark.gpu,
}
"""The marker of all tests in a folder."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--attack``: make the attacks of tests/attacks as often as SECURITY.md says."""
    parser.addoption(
        "--attack",
        action="store_true",
        help="make the attacks of tests/attacks in full: about an hour",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out tests/gpu, unless they are asked for."""
    return (collection_path == TESTS / "gpu" and not _asks_for_gpu(config)) or None


def _asks_for_gpu(config: pytest.Config) -> bool:
    """Return whether ``-m gpu``, or an argument inside tests/gpu, asks for tests that need a
    GPU.
    """
    if re.search(r"(?<!not )\bgpu\b", config.option.markexpr):
        return True
    arguments = [config.invocation_params.dir / arg.partition("::")[0] for arg in config.args]
    return any(TESTS / "gpu" in (path, *path.parents) for path in arguments)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the marker of a folder to the tests in it; leave out those for a GPU that nobody asks
    for.
    """
    for item in items:
        for folder, marker in MARKERS.items():
            if TESTS / folder in item.path.parents:
                item.add_marker(marker)
    if not _asks_for_gpu(config):
        items[:] = [item for item in items if item.get_closest_marker("gpu") is None]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees a backend that the environment names."""
    monkeypatch.delenv("XPNET_BACKEND", raising=False)


@pytest.fixture(autouse=True)
def compiled_to_the_end() -> Iterator[None]:
    """What a test began to compile and interrupted is done before the next: Numba changes the
    process's warnings.
    """
    yield
    for thread in threading.enumerate():
        if thread.name == "xpnet-compiling":
            thread.join()


@pytest.fixture(params=libraries.params())
def library(request: pytest.FixtureRequest) -> libraries.Library:
    """One array library after the other."""
    return request.param


@pytest.fixture(params=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> str:
    """Both floating-point widths."""
    return request.param


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same for every test."""
    return np.random.default_rng(20260101)


@pytest.fixture
def blobs(rng: np.random.Generator) -> tuple[Any, Any]:
    """120 rows of 7 features in 4 classes that overlap; X float64 (120, 7), y int64 (120,)."""
    y = rng.integers(0, 4, 120)
    centres = rng.normal(size=(4, 7)) * 2
    return centres[y] + rng.normal(size=(120, 7)), y
