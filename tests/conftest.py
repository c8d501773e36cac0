"""Fixtures that several rooms' tests share."""

import gc
import itertools
import os
import re
import signal
import threading
from collections.abc import Generator, Iterator
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

# No test sees a backend that the environment names.
os.environ.pop("XPNET_BACKEND", None)

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
    "attacks/test_code_cache.py": pytest.mark.repository,
    "backends/xpnet_cupy": pytest.mark.cuda_host,
    "bench/test_page.py": pytest.mark.repository,
    "bench/test_tabarena.py": pytest.mark.repository,
    "dask": pytest.mark.slow,
    # These interrupt the process, replace methods of classes, or share one estimator between tests.
    "estimators/test_ecosystem.py": pytest.mark.thread_unsafe,
    "estimators/test_scaling.py": pytest.mark.thread_unsafe,
    "gpu": pytest.mark.gpu,
    "models/test_many.py": pytest.mark.thread_unsafe,
    "models/test_turns.py": pytest.mark.thread_unsafe,
    "site": pytest.mark.repository,
    "tabular/test_whole_fits.py": pytest.mark.thread_unsafe,
    "test_architecture.py": pytest.mark.repository,
    "test_changed.py": pytest.mark.repository,
    "test_contributing.py": pytest.mark.repository,
    "test_docs.py": pytest.mark.repository,
    "test_docstrings.py": pytest.mark.docstrings,
    "test_mutants.py": pytest.mark.repository,
    "test_readme.py": pytest.mark.repository,
    "test_release.py": pytest.mark.repository,
    "test_site.py": pytest.mark.repository,
    "test_wheel.py": pytest.mark.repository,
    "test_words.py": pytest.mark.repository,
}
"""The marker of all tests in a folder or in a file."""

CHECKS_OF_WARNINGS = ("check_supervised_y_2d",)
"""Checks of scikit-learn that want a warning, which another thread may take or silence."""

UNCOMPILED = {TESTS / room for room in ("data", "dispatch", "layers", "ops", "optimizers")}
"""Folders whose tests compile no training step."""

MARKER_OF = {TESTS / folder: marker for folder, marker in MARKERS.items()}


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--attack``: make the attacks of tests/attacks as often as SECURITY.md says."""
    parser.addoption(
        "--attack",
        action="store_true",
        help="make the attacks of tests/attacks in full: about an hour",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out tests/gpu, unless they are asked for, and folders and files whose marker ``-m``
    excludes, which need not be imported.
    """
    marker = MARKER_OF.get(collection_path)
    if marker is None:
        return None
    if marker.name == "gpu":
        return not _asks_for_gpu(config) or None
    return f"not {marker.name}" in _required_terms(config.option.markexpr) or None


def _required_terms(expression: str) -> list[str]:
    """Return the terms of an expression of markers that are joined by ``and`` alone."""
    is_conjunction = not re.search(r"\bor\b|\(", expression)
    return expression.split(" and ") if is_conjunction else []


def _asks_for_gpu(config: pytest.Config) -> bool:
    """Return whether ``-m gpu``, or an argument inside tests/gpu, asks for tests that need a
    GPU.
    """
    if re.search(r"(?<!not )\bgpu\b", config.option.markexpr):
        return True
    arguments = [config.invocation_params.dir / arg.partition("::")[0] for arg in config.args]
    return any(TESTS / "gpu" in (path, *path.parents) for path in arguments)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect tests without collecting garbage, and leave what is there out of later collections:
    modules and tests are many objects, which live to the end.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    """Add the marker of a folder to the tests in it; leave out those for a GPU that nobody asks
    for; order what ``-m`` has left.
    """
    for path, members in itertools.groupby(items, key=lambda item: item.path):
        markers = [MARKER_OF[of] for of in (path, *path.parents) if of in MARKER_OF]
        for item, marker in itertools.product(members, markers):
            item.add_marker(marker)
    for item in items:
        if any(check in item.name for check in CHECKS_OF_WARNINGS):
            item.add_marker(pytest.mark.thread_unsafe)
    if not _asks_for_gpu(config):
        items[:] = [item for item in items if item.get_closest_marker("gpu") is None]
    yield
    items[:] = _with_uncompiled_in_the_middle(items)


def _with_uncompiled_in_the_middle(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests with those of ``UNCOMPILED`` at the middle, where the second of two workers
    begins: so both do not compile the same training step at the same time.
    """
    paths = {item.path for item in items}
    uncompiled_paths = {path for path in paths if not UNCOMPILED.isdisjoint(path.parents)}
    uncompiled = [item for item in items if item.path in uncompiled_paths]
    others = [item for item in items if item.path not in uncompiled_paths]
    middle = min(len(items) // 2, len(others))
    while 0 < middle < len(others) and others[middle].path == others[middle - 1].path:
        middle -= 1
    return [*others[:middle], *uncompiled, *others[middle:]]


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


@pytest.fixture
def printed(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> pytest.CaptureFixture[str]:
    """What a program prints that has not set up logging, as pytest does."""
    caplog.set_level("WARNING", "xpnet")
    return capsys
