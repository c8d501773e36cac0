"""One rank of a training on several: reads a command a line from its pipe, and rank 0 answers with a line of JSON.

``python -m xpnet_bench.measure.ranks KIND FOLDER THREADS JOB``, started by a launcher, once for each rank.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy

import xpnet
from xpnet_bench.contenders.answers import first_rows, training_loss
from xpnet_bench.jobs import Job, data

Trained = Callable[[numpy.ndarray], numpy.ndarray]


class XpnetRank:
    """xpnet inside ``use_group("mpi")``."""

    def __init__(self, group: Any, job: Job) -> None:
        from xpnet_bench.contenders import xpnet_models

        xpnet_models.facts("numba")
        self.rank, self.barrier = group.rank, lambda: group.allreduce(numpy.zeros(1))
        self._task = xpnet_models.train(job)

    def reset(self) -> None:
        """Set the first weights again."""
        self._task.reset()

    def train(self) -> Trained:
        """One epoch; returns what predicts."""
        return self._task.call().predict


class DdpRank:
    """PyTorch's DistributedDataParallel over gloo; each rank takes its part of each batch."""

    def __init__(self, job: Job) -> None:
        import torch
        from torch.nn.functional import cross_entropy
        from torch.nn.parallel import DistributedDataParallel

        from xpnet_bench.contenders.pytorch import Network

        self._torch, self._loss, self._job = torch, cross_entropy, job
        self.rank, self._size = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self.barrier = torch.distributed.barrier
        self._network = Network(job)
        self._model = DistributedDataParallel(self._network.model)
        self._X, self._y = map(torch.from_numpy, data.rows(job))

    def reset(self) -> None:
        """Set the first weights again."""
        self._network.restart(self._job)

    def train(self) -> Trained:
        """One epoch; returns what predicts."""
        order = self._torch.from_numpy(
            numpy.random.default_rng(data.SEED).permutation(len(self._y))
        )
        for rows in order.split(self._job.sizes["batch"]):
            own = rows.tensor_split(self._size)[self.rank]
            self._network.optimizer.zero_grad()
            self._loss(self._model(self._X[own]), self._y[own]).backward()
            self._network.optimizer.step()
        return lambda X: self._network.predict(self._torch.from_numpy(X)).numpy()


@contextmanager
def joined(kind: str, threads: int, job: Job) -> Iterator[XpnetRank | DdpRank]:
    """This process as a rank, on so many threads."""
    if kind == "mpi":
        xpnet.set_threads(threads)
        with xpnet.use_group("mpi") as group:
            yield XpnetRank(group, job)
        return
    import torch

    torch.set_num_threads(threads)
    torch.distributed.init_process_group("gloo")
    yield DdpRank(job)
    torch.distributed.destroy_process_group()


def main() -> None:
    """Do what the pipe says until it is closed."""
    kind, folder, threads, job = (
        sys.argv[1],
        Path(sys.argv[2]),
        int(sys.argv[3]),
        Job(**json.loads(sys.argv[4])),
    )
    with (
        joined(kind, threads, job) as rank,
        (folder / str(rank.rank)).open(encoding="utf-8") as commands,
    ):
        answers = (folder / "answer").open("w", encoding="utf-8") if rank.rank == 0 else None
        for command in commands:
            found = {} if command == "reset\n" else _timed(rank, job)
            if command == "reset\n":
                rank.reset()
            if answers is not None:
                answers.write(json.dumps(found) + "\n")
                answers.flush()


def _timed(rank: XpnetRank | DdpRank, job: Job) -> dict[str, Any]:
    """Seconds of an epoch on all ranks, and the numbers by which contenders are held to one answer."""
    rank.barrier()
    start = time.perf_counter()
    predict = rank.train()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "answer": training_loss(job, predict(first_rows(job)))}


if __name__ == "__main__":
    main()
