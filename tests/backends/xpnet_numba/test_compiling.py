"""When compilation happens, where it is kept, and what is said about it."""

import subprocess
import sys
from typing import Any

import numba
import numpy as np
import pytest
from numba import types
from xpnet_numba import backend
from xpnet_numba.runtime import compiling


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test sees what is said for the first time."""
    monkeypatch.setattr(compiling, "_compiling", 0.0)
    compiling._say.cache_clear()


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_importing_imports_neither_numba_nor_scipy() -> None:
    code = "import sys, xpnet_numba; print([m for m in ('numba', 'scipy', 'llvmlite') if m in sys.modules])"
    assert run(code).stdout.strip() == "[]"


def test_everything_after_warmup_is_compiled(capfd: pytest.CaptureFixture[str]) -> None:
    backend.warmup()
    compiled = compiling._compiling
    for dtype in ("float32", "float64"):
        backend.kernels["softmax"].launch(np.ones((3, 4), dtype))
        backend.kernels["gather"].launch(np.ones((3, 4), dtype), np.array([0, 2]))
    assert compiling._compiling == compiled


def test_without_a_folder_it_compiles_in_memory_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    compile_here = numba.cfunc

    def read_only(signature: Any, cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function 'loop': no locator available for file 'f.py'")
        return compile_here(signature, **options)

    monkeypatch.setattr(numba, "cfunc", read_only)
    for _ in range(2):
        assert compiling.c_function(_twice, types.float64(types.float64)).ctypes(2.0) == 4.0
    assert capfd.readouterr().err.count("NUMBA_CACHE_DIR") == 1


def test_other_errors_are_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("something else")

    monkeypatch.setattr(numba, "cfunc", broken)
    with pytest.raises(RuntimeError, match="something else"):
        compiling.c_function(_twice, types.float64(types.float64))


def test_a_long_compilation_is_announced_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiling, "PATIENCE", 0.0)
    for _ in range(2):
        compiling.c_function(_twice, types.float64(types.float64))
        compiling.c_function(_thrice, types.float64(types.float64))
    assert capfd.readouterr().err.count("compiling") == 1


def _twice(x: float) -> float:
    return x + x


def _thrice(x: float) -> float:
    return x + x + x
