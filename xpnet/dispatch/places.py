"""Where the ranks of a group run, and how the cores of a machine are divided among those that run there."""

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from xpnet.backend import Group
from xpnet.backend.group import gather
from xpnet.backend.threads import allowed_threads, cores, get_threads, sharing_the_machine


@dataclass(frozen=True)
class Place:
    """Where one rank runs.

    host : the machine's name
    process : its number there
    cores : which cores it may run on
    allowed : how many threads it may use, by its affinity and its cgroup's quota
    """

    host: str
    process: int
    cores: frozenset[int]
    allowed: int


def machine() -> tuple[str, list[int], int, int]:
    """The machine's name, the cores that this process may run on, how many the machine has, and the threads it uses."""
    return platform.node(), sorted(cores()), os.cpu_count() or 1, get_threads()


def places(group: Group) -> list[Place]:
    """Where each rank runs."""
    return gather(group, Place(platform.node(), os.getpid(), cores(), allowed_threads()))


@contextmanager
def divided_threads(group: Group) -> Iterator[None]:
    """Inside, this rank uses its part of the cores that several ranks may run on; BLAS libraries, too."""
    if group.size == 1:
        yield
        return
    every = places(group)
    if len({(place.host, place.process) for place in every}) < 2:  # ranks that are threads of one process
        yield
        return
    from threadpoolctl import threadpool_limits

    count = threads_of(every[group.rank], every)
    with sharing_the_machine(count), threadpool_limits(count, user_api="blas"):
        yield


def threads_of(own: Place, every: Sequence[Place]) -> int:
    """How many threads a rank may use: each core counts by how many ranks may run on it, and a quota is divided."""
    beside = [place for place in every if place.host == own.host]
    count = int(sum(1 / sum(core in place.cores for place in beside) for core in own.cores) + 1e-9)
    if own.allowed < len(own.cores):
        count = min(count, own.allowed // len(beside))
    return max(count, 1)
