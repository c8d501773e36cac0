"""Training until an accuracy is reached: the same loop for every contender, so that only their epochs are timed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import numpy

from xpnet_bench.contenders.task import Task
from xpnet_bench.jobs import Job


@dataclass
class EpochByEpoch:
    """A network in training.

    epoch : trains one epoch and returns when it is done
    predict : class probabilities of the test rows, as a NumPy array
    """

    epoch: Callable[[], Any]
    predict: Callable[[], numpy.ndarray]


class Reached(NamedTuple):
    """Seconds in training, epochs, and the accuracy at the end."""

    seconds: float
    epochs: int
    accuracy: float


def accuracy_task(job: Job, start: Callable[[int], EpochByEpoch], y: numpy.ndarray) -> Task:
    """Each call trains a new network, with other shuffles, until enough of the test rows are right.

    start : from a seed, a network in training; y : test labels (rows,)
    """
    seeds = count()
    return Task(lambda: _reach(job, start(next(seeds)), y), lambda reached: [reached.accuracy])


def _reach(job: Job, network: EpochByEpoch, y: numpy.ndarray) -> Reached:
    seconds, wanted, accuracy, epoch = 0.0, job.sizes["per_mille"] / 1000, 0.0, 0
    while epoch < job.sizes["epochs_at_most"] and accuracy < wanted:
        epoch += 1
        before = time.perf_counter()
        network.epoch()
        seconds += time.perf_counter() - before
        accuracy = float((network.predict().argmax(axis=1) == y).mean())
    return Reached(seconds, epoch, accuracy)
