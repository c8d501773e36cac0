"""When compilation happens, where it is kept, and what is said about it."""

import ctypes
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba import types
from xpnet_numba import backend, internals
from xpnet_numba.runtime import codecache, compiling
from xpnet_numba.runtime.compiling import filled_in
from xpnet_numba.step import functions


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test sees what is said for the first time."""
    monkeypatch.setattr(compiling, "_compiling", 0.0)
    compiling._log.cache_clear()


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False
    )


def test_importing_imports_neither_numba_nor_scipy() -> None:
    code = (
        "import sys, xpnet_numba; "
        "print([m for m in ('numba', 'scipy', 'llvmlite') if m in sys.modules])"
    )
    assert run(code).stdout.strip() == "[]"


@pytest.mark.attack
def test_everything_after_warmup_is_compiled(capfd: pytest.CaptureFixture[str]) -> None:
    backend.warmup()
    compiled = compiling._compiling
    for dtype in ("float32", "float64"):
        for rows in (3, 30_000):  # alone, and shared among threads
            backend.kernels["softmax"].launch(np.ones((rows, 4), dtype))
            backend.kernels["tanh"].launch(np.ones((rows, 4), dtype))
    assert compiling._compiling == compiled


def call(function: int, x: float) -> float:
    return ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(function)(x)


@pytest.mark.parametrize("collected", [True, False])
def test_garbage_is_collected_afterwards_as_before(
    collected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While something compiles it is not; a compilation that fails changes nothing, either."""
    seen = []

    def body(x: Any) -> Any:
        return x + 1

    def fails(x: Any) -> Any:
        return x.nothing

    monkeypatch.setattr(compiling, "_keep", lambda name, code: seen.append(gc.isenabled()))
    try:
        gc.enable() if collected else gc.disable()
        compiling.c_function(body, types.float64(types.float64))
        with pytest.raises(numba.core.errors.TypingError):
            compiling.c_function(fails, types.float64(types.float64))
        assert seen == [collected] and gc.isenabled() == collected
    finally:
        gc.enable()


def test_functions_of_others_are_compiled_and_not_kept() -> None:
    folder = codecache.code_cache().folder
    assert call(compiling.c_function(_twice, types.float64(types.float64)), 2.0) == 4.0
    assert folder is None or not list(folder.glob(f"*.{_twice.__name__}.*"))


def test_two_functions_of_one_name_are_refused() -> None:
    """The cache would give one the code of the other."""
    signature = types.float64(types.float64)
    first, other = (filled_in(_filled, "same", value=factor) for factor in (2.0, 3.0))
    assert call(compiling.c_function(first, signature), 2.0) == 4.0
    with pytest.raises(RuntimeError, match="must differ in module, name or types"):
        compiling.c_function(other, signature)


def test_where_no_thread_can_be_started_it_compiles_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    assert call(compiling.c_function(_twice, types.float64(types.float64)), 2.0) == 4.0


def test_ctrl_c_is_heard_while_a_function_compiles_and_the_work_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = codecache.CodeCache([tmp_path], "here")
    monkeypatch.setattr(compiling, "code_cache", lambda: cache)
    assert internals.why_no_function_can_wait() == ""
    compile_now, may_end, calls = numba.njit, threading.Event(), []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        calls.append(threading.current_thread())
        signal.raise_signal(signal.SIGINT)  # as on Windows, where no wait is cut
        assert may_end.wait(600)
        return compile_now(*arguments, **options)

    monkeypatch.setattr(numba, "njit", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        functions.address.__wrapped__("add_rows", "float64")
    may_end.set()
    (compiler,) = calls
    assert compiler is not threading.main_thread()
    compiler.join()
    assert functions.address.__wrapped__("add_rows", "float64")
    assert len(calls) == 1 and signal.getsignal(signal.SIGINT) is handler


FORKED = """
import os, threading
import numba
from numba import types
from xpnet_numba.runtime import compiling

def twice(x):
    return x + x

def thrice(x):
    return x + x + x

thread = threading.Thread(target=compiling.c_function, args=(twice, types.float64(types.float64)))
compile_now, inside = numba.core.compiler.compile_extra, threading.Event()

def slowly(*arguments, **options):
    inside.set()
    return compile_now(*arguments, **options)

numba.core.compiler.compile_extra = slowly
thread.start()
inside.wait()
child = os.fork()
if not child:
    compiling.c_function(thrice, types.float64(types.float64))
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_ctrl_c_is_heard_while_kept_code_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """LLVM calls Python while it loads code, and an exception ends there."""
    called_by_llvm = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(compiling, "_from_cache", lambda name, load: load(b"") or 1)
    with pytest.raises(KeyboardInterrupt):
        compiling._loaded_or_compiled("kept", lambda code: called_by_llvm(), lambda: 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")
def test_a_process_forked_while_a_thread_compiles_can_compile() -> None:
    assert run(FORKED).stdout == "7\n"


def test_other_errors_are_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("something else")

    internals.why_no_function_can_wait()  # which tries Numba once, and remembers what came of it
    monkeypatch.setattr(numba, "njit", broken)
    with pytest.raises(RuntimeError, match="something else"):
        compiling.c_function(_twice, types.float64(types.float64))


def test_a_long_compilation_is_logged_once_and_not_printed(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(compiling, "PATIENCE", 0.0)
    with caplog.at_level(logging.INFO, "xpnet"):
        for _ in range(2):
            compiling.c_function(_twice, types.float64(types.float64))
            compiling.c_function(_thrice, types.float64(types.float64))
    records = [record for record in caplog.records if "compiling" in record.getMessage()]
    assert [(record.name, record.levelname) for record in records] == [("xpnet", "INFO")]
    assert capfd.readouterr().err == ""


value = 0.0


def _filled(x: float) -> float:
    return value * x


def _twice(x: float) -> float:
    return x + x


def _thrice(x: float) -> float:
    return x + x + x
