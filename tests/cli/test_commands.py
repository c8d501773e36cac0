"""The other commands, and what all share."""

import importlib.metadata
import json
import subprocess
import sys

import click
import numpy as np
import pytest
import scipy.linalg.cython_blas  # noqa: F401  its BLAS is loaded before threads are counted
from click.testing import CliRunner
from helpers.command_line import Run
from threadpoolctl import threadpool_info, threadpool_limits

from xpnet.backend.precision import get_precision
from xpnet.backend.threads import get_threads
from xpnet.cli.app import app
from xpnet.cli.options import computing
from xpnet.dispatch import get_backend

pytestmark = pytest.mark.slow


def test_threads_hold_for_one_command() -> None:
    def threads() -> set[int]:
        return {
            get_threads(),
            *(b["num_threads"] for b in threadpool_info() if b["user_api"] == "blas"),
        }

    seen: list[set[int]] = []

    @click.command()
    @computing
    def show(backend: str | None) -> None:
        seen.append(threads())

    with threadpool_limits(2, user_api="blas"):
        CliRunner().invoke(show, [], catch_exceptions=False)
        CliRunner().invoke(show, ["--threads", "1"], catch_exceptions=False)
        before, during = seen
        assert (during, threads()) == ({1}, before)
        assert 2 in before


def test_the_precision_holds_for_one_command() -> None:
    seen: list[str] = []

    @click.command()
    @computing
    def show(backend: str | None) -> None:
        seen.append(get_backend("numba").precision)  # type: ignore[attr-defined]

    before = get_precision()
    CliRunner().invoke(show, ["--precision", "bf16"], catch_exceptions=False)
    assert (seen, get_precision()) == (["bf16"], before)


def test_backends_and_doctor(run: Run) -> None:
    found = {b["name"]: b for b in json.loads(run("backends", "--json").stdout)}
    assert found["numpy"] == {
        "name": "numpy",
        "usable": True,
        "facts": {"numpy": np.__version__},
        "reason": None,
    }
    assert all(b["usable"] or b["reason"] for b in found.values())
    assert "numpy" in run("backends").stdout
    doctor = json.loads(run("doctor", "--json").stdout)
    files = [library["filepath"] for library in doctor["blas"]]
    assert all(any(folder in file for file in files) for folder in ("numpy.libs", "scipy.libs"))
    shown = run("doctor").stdout
    assert len(shown.splitlines()) <= 50
    assert "NumPy, lists, frames" in shown
    assert "named by XPNET_BACKEND" in run("doctor", XPNET_BACKEND="numpy").stdout
    assert "must be one of" in run("doctor", XPNET_BACKEND="nope").stdout


def test_a_backend_that_does_not_describe_itself_harms_no_command(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Quiet:
        name, kernels = "quiet", {}

    class Entry:
        name, value = "quiet", "some.package:backend"

        def load(self) -> object:
            return Quiet()

    installed = importlib.metadata.entry_points
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda *, group: [*installed(group=group), Entry()]
    )
    (quiet,) = [b for b in json.loads(run("backends", "--json").stdout) if b["name"] == "quiet"]
    assert quiet["usable"]
    assert quiet["facts"] == {}
    assert "describe()" in quiet["reason"]
    for command in ("backends", "doctor"):
        shown = run(command).stdout
        assert "backend quiet" in shown
        assert "backend numpy" in shown


def test_warmup(run: Run) -> None:
    assert run("warmup", "--backend", "numpy").stdout == "numpy is warm.\n"
    assert run("warmup", "--backend", "numba").stdout == "numba is warm.\n"


def test_every_command_has_help_that_names_the_exit_codes(run: Run) -> None:
    for command in ("", *(name for name in app.commands if name != "bench")):
        page = " ".join(run(*command.split(), "--help").stdout.split())
        assert "Exit codes: 0 done, 1 the work failed, 2 wrong usage" in page


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows reports another error, which click does not know"
)
def test_a_reader_that_goes_away_is_no_error() -> None:
    command = [sys.executable, "-c", "from xpnet.cli import main; main()", "backends", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
