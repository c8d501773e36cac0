"""The cache of compiled code: what is damaged, foreign or old is never run, and no trouble with
files stops anybody.
"""

import ast
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xpnet_numba.runtime import codecache, compiling
from xpnet_numba.runtime.codecache import KEPT, CodeCache, sources
from xpnet_numba.step import functions

CONTENT = bytes(range(256)) * 4
BACKENDS = Path(codecache.__file__).parents[2]


@pytest.fixture
def cache(tmp_path: Path) -> CodeCache:
    return CodeCache([tmp_path], "here")


def entry(cache: CodeCache) -> Path:
    """The only file of a cache."""
    assert cache.folder is not None
    (file,) = cache.folder.iterdir()
    return file


def test_what_was_stored_is_found_by_its_name_alone(cache: CodeCache, tmp_path: Path) -> None:
    assert cache.load("loop") is None
    cache.store("loop", CONTENT)
    assert cache.load("loop") == CONTENT
    assert CodeCache([tmp_path], "here").load("loop") == CONTENT
    assert cache.load("loo") is None and CodeCache([tmp_path], "elsewhere").load("loop") is None


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, len(CONTENT)), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(cache: CodeCache, place: int, bit: int) -> None:
    cache.store("loop", CONTENT)
    damaged = bytearray(entry(cache).read_bytes())
    damaged[place] ^= 1 << bit
    entry(cache).write_bytes(damaged)
    assert cache.load("loop") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: whole + b"\0",
        lambda whole: bytes(len(whole)),
        lambda whole: whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2),
        lambda whole: b"#!/bin/sh\n",
    ],
    ids=[
        "empty",
        "half",
        "one byte short",
        "one byte long",
        "zeroed",
        "second half zeroed",
        "another kind of file",
    ],
)
def test_a_damaged_entry_counts_as_absent_and_is_replaced(cache: CodeCache, damage) -> None:
    cache.store("loop", CONTENT)
    entry(cache).write_bytes(damage(entry(cache).read_bytes()))
    assert cache.load("loop") is None
    cache.store("loop", CONTENT)
    assert cache.load("loop") == CONTENT


def test_an_entry_under_another_name_is_not_taken(cache: CodeCache, tmp_path: Path) -> None:
    """float64 code, say, where float32 code is looked for."""
    cache.store("loop float64", CONTENT)
    other = CodeCache([tmp_path], "there")
    other.store("loop float32", b"")
    shutil.copy(entry(cache), entry(other))
    assert other.load("loop float32") is None


def test_a_folder_that_cannot_be_written_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = CodeCache([tmp_path / "file", tmp_path / "home"], "here")
    cache.store("loop", CONTENT)
    assert entry(cache).is_relative_to(tmp_path / "home")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="on Windows homes are apart")
def test_a_folder_in_which_others_can_write_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / f"xpnet-code{codecache.user()}").mkdir()
    (tmp_path / f"xpnet-code{codecache.user()}").chmod(0o777)
    assert CodeCache([tmp_path], "here").folder is None


def test_folders_that_rested_longest_are_removed(tmp_path: Path) -> None:
    for number in range(KEPT + 3):
        cache = CodeCache([tmp_path], f"version {number}")
        cache.store("loop", CONTENT)
        assert cache.folder is not None
        os.utime(cache.folder, (number, number))
    left = {folder.name for folder in (tmp_path / f"xpnet-code{codecache.user()}").iterdir()}
    assert left == {f"version {number}" for number in range(3, KEPT + 3)}


def test_many_may_write_and_read_at_once(tmp_path: Path) -> None:
    def work(number: int) -> bool:
        cache = CodeCache([tmp_path], "here")
        cache.store(f"loop {number % 3}", CONTENT + bytes([number % 3]))
        return all(cache.load(f"loop {i}") in (None, CONTENT + bytes([i])) for i in range(3))

    with ThreadPoolExecutor(8) as executor:
        assert all(executor.map(work, range(400)))
    assert len(list((tmp_path / f"xpnet-code{codecache.user()}" / "here").iterdir())) == 3


def test_what_a_write_that_fails_leaves_counts_as_absent_and_is_replaced(
    cache: CodeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half_of(write))
        with pytest.raises(OSError, match="No space"):
            cache.store("loop", CONTENT)
    assert entry(cache).stat().st_size and cache.load("loop") is None
    cache.store("loop", CONTENT)
    assert cache.load("loop") == CONTENT


def half_of(write: Callable[[Path, bytes], int]) -> Callable[[Path, bytes], int]:
    """A write on a disk that is full after half of the bytes."""

    def full(path: Path, content: bytes) -> int:
        write(path, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    return full


def test_every_source_file_decides(tmp_path: Path) -> None:
    package = tmp_path / "package"
    shutil.copytree(BACKENDS / "xpnet_numba", package, ignore=shutil.ignore_patterns("__pycache__"))
    before = list(sources(package))
    assert before == list(sources(BACKENDS / "xpnet_numba"))
    for path in package.rglob("*.py"):
        text = path.read_bytes()
        path.write_bytes(text + b" ")
        assert list(sources(package)) != before
        path.write_bytes(text)
    assert list(sources(package)) == before


EXP_OF_ZERO = """
import ctypes, numpy
from xpnet_numba.step import functions
from numba import njit
from xpnet_numba.llvm.memory import call

@njit
def run(address, z, given):
    call(address, (z, given))

z = numpy.zeros((1, 1))
run(functions.address("exp_output", "float64"), z, numpy.zeros(1))
print(z[0, 0])
"""


@pytest.mark.slow
def test_after_an_upgrade_new_code_runs(tmp_path: Path) -> None:
    """A loop calls a function in another file, and that file changes."""
    package = tmp_path / "xpnet_numba"
    shutil.copytree(BACKENDS / "xpnet_numba", package, ignore=shutil.ignore_patterns("__pycache__"))
    path = os.pathsep.join([str(tmp_path), str(BACKENDS), str(BACKENDS.parent)])
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": path}

    def run() -> float:
        command = [sys.executable, "-c", EXP_OF_ZERO]
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=600, check=True
        )
        return float(ended.stdout)

    assert run() == 1.0
    text = (package / "scalars.py").read_text()
    (package / "scalars.py").write_text(text.replace("if x < -708.3964:", "if x < 1000.0:"))
    assert run() == 0.0


IMPORTS_AND_WAITS = """
import sys, xpnet_numba
{more}
print("imported", flush=True)
sys.stdin.readline()
"""


@pytest.mark.attack
@pytest.mark.parametrize(
    "more",
    [
        "",
        pytest.param("import xpnet_numba.scalars", marks=pytest.mark.exhaustive),
        "import xpnet_numba.step.step",
    ],
)
def test_an_upgrade_under_a_running_program_leaves_no_old_code_to_the_new_version(
    tmp_path: Path, more: str
) -> None:
    """The program has imported the old version, all of it or some, and compiles only after the
    upgrade.
    """
    package = tmp_path / "xpnet_numba"
    shutil.copytree(BACKENDS / "xpnet_numba", package, ignore=shutil.ignore_patterns("__pycache__"))
    path = os.pathsep.join([str(tmp_path), str(BACKENDS), str(BACKENDS.parent)])
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": path}
    command, text = [sys.executable, "-c"], (package / "scalars.py").read_text()
    changed = text.replace("if x < -708.3964:", "if x < 1000.0:")
    program = [*command, IMPORTS_AND_WAITS.format(more=more) + EXP_OF_ZERO]
    with subprocess.Popen(
        program, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as old:
        assert old.stdout is not None and old.stdout.readline() == "imported\n"
        (package / "scalars.py").write_text(changed)
        assert float(old.communicate("\n", timeout=600)[0]) == (1.0 if more else 0.0)
    for content, expected in [(changed, 0.0), (text, 1.0)]:
        (package / "scalars.py").write_text(content)
        ended = subprocess.run(
            [*command, EXP_OF_ZERO], env=environment, capture_output=True, text=True, timeout=600
        )
        assert float(ended.stdout) == expected, ended.stderr


SOFTMAX = """
import logging
import numpy
from xpnet_numba import backend
from xpnet_numba.runtime import compiling

compiling.PATIENCE = 0.0
logging.getLogger("xpnet").setLevel(logging.INFO)
logging.getLogger("xpnet").addHandler(logging.StreamHandler())
x = numpy.array([[-1.0, 2.0]], "float32")
print(backend.kernels["softmax"].launch(x).sum())
"""


@pytest.mark.slow
def test_a_kernel_that_was_kept_is_loaded_without_compiling(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", SOFTMAX]
    runs = [
        subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=600, check=True
        )
        for _ in range(2)
    ]
    assert [run.stdout for run in runs] == ["1.0\n"] * 2
    assert "compiling" in runs[0].stderr and runs[1].stderr == ""


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CodeCache:
    """An empty cache in place of the process's own, and nothing said yet."""
    cache = CodeCache([tmp_path], "here")
    monkeypatch.setattr(compiling, "code_cache", lambda: cache)
    compiling._log.cache_clear()
    monkeypatch.setattr(compiling, "_compiling", 0.0)
    return cache


def gives_zero() -> bool:
    """Whether a loop, compiled or from the cache, does what it should."""
    out = np.ones((2, 3))
    function = functions.address.__wrapped__("add_rows", "float64")
    run_add_rows(function, np.zeros((4, 3)), out[0])
    return bool((out == [[0.0] * 3, [1.0] * 3]).all())


def run_add_rows(address: int, x: np.ndarray, out: np.ndarray) -> None:
    from numba import njit
    from xpnet_numba.llvm.memory import call

    njit(lambda address, x, out: call(address, (x, 0, out)))(address, x, out)


def test_compiled_code_is_kept_and_announced_only_when_it_is_compiled(
    own_cache: CodeCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compiling, "PATIENCE", 0.0)
    caplog.set_level(logging.INFO, "xpnet")
    assert gives_zero() and "compiling" in caplog.text
    compiling._log.cache_clear()
    caplog.clear()
    assert gives_zero() and caplog.text == ""


@pytest.mark.parametrize("content", [b"", b"[", b'["f", "", ["not_a_function"]]\n'])
def test_what_cannot_be_loaded_is_compiled_again(
    own_cache: CodeCache, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, store = [], own_cache.store
    monkeypatch.setattr(
        own_cache, "store", lambda name, content: (names.append(name), store(name, content))
    )
    assert gives_zero()
    (name,) = names
    assert name.startswith("xpnet_numba.loops.rows.add_rows")
    own_cache.store(name, content)
    assert gives_zero() and own_cache.load(name) not in (None, content)


def test_a_full_disk_costs_one_line(
    own_cache: CodeCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Path, "write_bytes", half_of(Path.write_bytes))
    for _ in range(2):
        assert gives_zero()
    (line,) = [line for line in caplog.text.splitlines() if "NUMBA_CACHE_DIR" in line]
    assert "No space left on device" in line


def test_no_folder_costs_one_line(
    own_cache: CodeCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own_cache.folder = None
    for _ in range(2):
        assert gives_zero()
    assert caplog.text.count("NUMBA_CACHE_DIR") == 1


def test_another_formula_that_is_compiled_is_another_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some of ``xpnet.ops`` are: code of the formula before must not be found."""
    before = codecache.fingerprint()

    def adam_scales(t: int, learning_rate: float) -> tuple[float, float]:
        return learning_rate, float(t)

    monkeypatch.setattr(codecache, "FORMULAS", (adam_scales,))
    assert codecache.fingerprint() != before
    monkeypatch.undo()
    assert codecache.fingerprint() == before
    monkeypatch.setitem(codecache.NUMBERS, ("xpnet.ops.activations", "LEAK"), 0.2)
    assert codecache.fingerprint() != before


def test_every_compiled_formula_of_the_operations_is_known() -> None:
    imported = {
        (node.module, name.name)
        for path in (BACKENDS / "xpnet_numba").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("xpnet.ops.")
        for name in node.names
    }
    formulas = {(formula.__module__, formula.__name__) for formula in codecache.FORMULAS}
    assert imported <= formulas | set(codecache.NUMBERS)
