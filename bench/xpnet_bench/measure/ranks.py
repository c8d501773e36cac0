"""One rank of a training on several: trains once to warm up, then some times more; rank 0 prints
JSON.

``python -m xpnet_bench.measure.ranks KIND THREADS ROUNDS JOB``, started by a launcher, once for
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
from xpnet_bench.contenders.contender import first_rows, training_loss
from xpnet_bench.jobs import Job, data


@dataclass
class Rank:
    """This process among others.

    barrier : waits for all ranks; reset : sets the first weights; train : makes an epoch
    predict : class probabilities of rows
    """

    number: int
    barrier: Callable[[], Any]
    reset: Callable[[], Any]
    train: Callable[[], Any]
    predict: Callable[[numpy.ndarray], numpy.ndarray]


@contextmanager
def joined(kind: str, threads: int, job: Job) -> Iterator[Rank]:
    """This process as a rank, on this number of threads."""
    if kind == "ddp":
        yield from _joined_ddp(threads, job)
        return
    from xpnet_bench.contenders.xpnet_models import Xpnet

    xpnet.set_threads(threads)
    with xpnet.use_group("mpi") as group:
        task = Xpnet("numba").make_train(job)
        networks: list[Any] = []
        yield Rank(
            group.rank,
            lambda: group.allreduce(numpy.zeros(1)),
            task.reset,
            lambda: networks.append(task.call()),
            lambda X: networks[-1].predict(X),
        )


def _joined_ddp(threads: int, job: Job) -> Iterator[Rank]:
    """DistributedDataParallel over gloo; each rank takes its part of each batch."""
    import torch
    from torch.nn.parallel import DistributedDataParallel

    from xpnet_bench.contenders.pytorch import TorchNetwork

    torch.set_num_threads(threads)
    torch.distributed.init_process_group("gloo")
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    network = TorchNetwork(job, data.SEED, torch.device("cpu"))
    network.model = DistributedDataParallel(network.model)
    X, y = map(torch.from_numpy, data.rows(job))

    def train() -> None:
        order = torch.from_numpy(numpy.random.default_rng(data.SEED).permutation(len(y)))
        for rows in order.split(job.sizes["batch"]):
            own = rows.tensor_split(size)[rank]
            network.step(X[own], y[own])

    yield Rank(
        rank,
        torch.distributed.barrier,
        lambda: network.restart(data.SEED),
        train,
        lambda rows: network.predict(torch.from_numpy(rows)).numpy(),
    )
    torch.distributed.destroy_process_group()


def main() -> None:
    """Train as the arguments say."""
    kind, threads, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    job, seconds = Job(**json.loads(sys.argv[4])), []
    with joined(kind, threads, job) as rank:
        for _ in range(1 + rounds):
            rank.reset()
            rank.barrier()
            start = time.perf_counter()
            rank.train()
            seconds.append(time.perf_counter() - start)
        answer = training_loss(job, rank.predict(first_rows(job)))
        if rank.number == 0:
            print(json.dumps({"seconds": seconds[1:], "answer": answer}), flush=True)


if __name__ == "__main__":
    main()
