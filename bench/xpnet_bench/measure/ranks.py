"""One rank of a training on several: trains once to warm up, then some times more; rank 0 prints
JSON.

``python -m xpnet_bench.measure.ranks KIND THREADS JOB``, started by a launcher, once for
each rank.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy

import xpnet
from xpnet_bench.contenders import Contender
from xpnet_bench.contenders.contender import Round
from xpnet_bench.jobs import Job

ROUNDS = 3
"""Number of trainings that are timed."""


@dataclass
class Rank:
    """This process among others. barrier : waits for all ranks; contender : trains on this one"""

    number: int
    barrier: Callable[[], Any]
    contender: Contender


@contextmanager
def mpi_rank(threads: int) -> Iterator[Rank]:
    """This process as a rank of xpnet."""
    from xpnet_bench.contenders.xpnet_models import Xpnet

    xpnet.set_threads(threads)
    with xpnet.use_group("mpi") as group:
        yield Rank(group.rank, lambda: group.allreduce(numpy.zeros(1)), Xpnet("numba"))


@contextmanager
def ddp_rank(threads: int) -> Iterator[Rank]:
    """This process as a rank of PyTorch's DistributedDataParallel over gloo."""
    from torch import distributed, set_num_threads

    from xpnet_bench.contenders.pytorch import Torch

    distributed.init_process_group("gloo")
    contender = Torch("ddp")
    set_num_threads(threads)
    yield Rank(distributed.get_rank(), distributed.barrier, contender)
    distributed.destroy_process_group()


KINDS = {"mpi": mpi_rank, "ddp": ddp_rank}


def main() -> None:
    """Train as the arguments say."""
    kind, threads, job = sys.argv[1], int(sys.argv[2]), Job(**json.loads(sys.argv[3]))
    seconds = []
    with KINDS[kind](threads) as rank:
        task = rank.contender.make_train(job)
        for _ in range(1 + ROUNDS):
            task.reset()
            rank.barrier()
            start = time.perf_counter()
            trained = task.call()
            seconds.append(time.perf_counter() - start)
        answer = task.answer(trained)
    if rank.number == 0:
        rounds = [Round(value / job.units, answer=answer) for value in seconds[1:]]
        print(json.dumps(rounds), flush=True)


if __name__ == "__main__":
    main()
