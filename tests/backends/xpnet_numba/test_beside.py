"""A second process that compiles what the first one will need."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from xpnet_numba.runtime import beside, codecache
from xpnet_numba.step import jobs

FIT = """
import numpy
from sklearn.datasets import load_iris
from xpnet_numba.runtime import beside, compiling
from xpnet.estimators import MLPClassifier
own, compile_c = [], compiling._compile_c
compiling._compile_c = lambda name, *more: own.append(name) or compile_c(name, *more)
{before}
MLPClassifier((4,), max_iter=1, random_state=0).fit(*load_iris(return_X_y=True))
print([name.split(".")[-2] for name in own], [process.returncode for process in beside._working.values()])
"""


def run(code: str, cache: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONWARNINGS": "ignore", "XPNET_BACKEND": "numba"}
    command = [sys.executable, *flags, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """No process is started, but noted."""
    found: list[Any] = []
    monkeypatch.setattr(beside, "_working", {})
    monkeypatch.setattr(beside, "allowed_threads", lambda: 2)
    monkeypatch.setattr(subprocess, "Popen", lambda command, **how: found.append(command))
    return found


@pytest.mark.skipif(beside.allowed_threads() < 2, reason="one core")
def test_a_first_fit_does_not_compile_what_the_second_process_does(tmp_path: Path) -> None:
    done = run(FIT.format(before=""), tmp_path)
    assert done.returncode == 0, done.stderr
    own, codes = done.stdout.split("] [")
    assert "'train'" not in own and "'multiply" in own and codes == "0]\n"
    assert "[] []" in run(FIT.format(before=""), tmp_path).stdout  # all is kept, and nothing is begun


@pytest.mark.parametrize(
    "before",
    [
        "beside.subprocess.Popen = lambda *a, **k: (_ for _ in ()).throw(BlockingIOError('no more processes'))",
        "import sys; sys.executable = '/usr/sbin/server'",
        "import sys; sys.executable = ''",
        "import sys; sys.frozen = True",
        "beside.allowed_threads = lambda: 1",
        "beside.code_cache().folder = None",
    ],
)
def test_without_a_second_process_all_is_compiled_here(before: str, tmp_path: Path) -> None:
    done = run(FIT.format(before=before), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "'train'" in done.stdout and done.stdout.endswith(" []\n")


def test_where_the_environment_is_ignored_all_is_compiled_here(tmp_path: Path) -> None:
    places = f"import sys; sys.path[:] = {sys.path!r}"
    done = run(f"{places}\n" + FIT.format(before=""), tmp_path, "-E", "-W", "ignore")
    assert done.returncode == 0, done.stderr
    assert "'train'" in done.stdout and done.stdout.endswith(" []\n")


@pytest.mark.skipif(beside.allowed_threads() < 2, reason="one core")
def test_a_second_process_that_fails_costs_a_compilation(tmp_path: Path) -> None:
    fails = "begin = beside.begin; beside.begin = lambda name, module, *more: begin(name, 'no_such_module')"
    done = run(FIT.format(before=fails), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "'train'" in done.stdout and done.stdout.endswith(" [1]\n")


def test_nothing_is_begun_for_what_is_kept(begun: list[Any]) -> None:
    if codecache.code_cache().folder is None:
        pytest.skip("there is no cache")
    jobs.job_function("train", "float64")
    jobs.compile_beside.__wrapped__("train", "float64")
    beside.begin("something else", "some.module", "an argument")
    assert [command[1:] for command in begun] == [["-P", "-m", "some.module", "an argument"]]


def test_a_process_that_hangs_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monkeypatch.setattr(beside, "_working", {"hanging": hanging})
    monkeypatch.setattr(beside, "LONGEST", 0.3)
    started = time.monotonic()
    beside.end("hanging")
    assert hanging.poll() is None and time.monotonic() - started < 30
    hanging.communicate(b"\n")
    beside.end("hanging")


def test_the_end_of_a_program_ends_the_second_process(tmp_path: Path) -> None:
    code = """
from xpnet_numba.runtime import beside
beside.allowed_threads = lambda: 2
beside.begin("asleep", "timeit", "-n", "1", "-r", "1", "import time; time.sleep(100)")
print(beside._working["asleep"].pid)
"""
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    if sys.platform != "win32":  # where to ask for a process is to end it
        with pytest.raises(ProcessLookupError):
            os.kill(int(done.stdout), 0)
