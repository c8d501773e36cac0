"""Ranks on the workers of a Dask cluster, which exchange arrays in pairs.

Dask's workers talk to each other already, through firewalls, over TLS, and tell when one is lost; another transport
(MPI, gloo) would have to be set up beside that on every worker. Each rank has an actor on its worker, at which the
ranks after it bring their arrays. A sum takes log2 of the number of ranks in exchanges, each of some milliseconds.
"""

import asyncio
import time
from typing import Any

import numpy

from xpnet.backend.group import Value
from xpnet.errors import BackendError
from xpnet.ops import Array

POLL = 0.2
"""Seconds after which a rank that waits looks whether the client still wants its result."""

RUNNING = ("executing", "long-running")
"""States of a task whose result someone waits for; Dask calls it cancelled otherwise."""


class Ended(BackendError):
    """The fit has ended for another rank, which has failed or was lost, or because the client gave up."""


class Meeting:
    """Holds what two ranks bring to one exchange, and an event for when both have come."""

    def __init__(self) -> None:
        self.values: dict[bool, Any] = {}
        self.complete = asyncio.Event()


class Exchange:
    """An actor by which one rank meets those after it; its methods run on the event loop of its worker."""

    def __init__(self) -> None:
        self._meetings: dict[Any, Meeting] = {}

    async def swap(self, key: Any, first: bool, value: Any) -> Any:
        """Return what the other rank brings under the same key. first : whether the caller is the first of the two."""
        meeting = self._meetings.setdefault(key, Meeting())
        meeting.values[first] = value
        if len(meeting.values) == 2:
            del self._meetings[key]
            meeting.complete.set()
        await meeting.complete.wait()
        return meeting.values[not first]


class DaskGroup:
    """The ranks of one fit: see :class:`xpnet.backend.Group`. Made within the task that is the rank.

    Parameters
    ----------
    rank : int
        Which rank this is.
    exchanges : list of distributed.Actor
        The :class:`Exchange` of each rank.
    timeout : float
        Seconds that a rank waits for another.
    """

    library = "numpy"
    why = "Dask's workers"

    def __init__(self, rank: int, exchanges: list[Any], timeout: float) -> None:
        from distributed import get_worker

        self.rank, self.size, self._exchanges, self._timeout, self._turn = rank, len(exchanges), exchanges, timeout, 0
        self._worker = get_worker()
        self._task = self._worker.get_current_task()

    def allreduce(self, array: Array) -> Array:
        """See :class:`xpnet.backend.Group`: pairs add up, then pairs of pairs (recursive doubling).

        In each pair both compute the same sum, so that all ranks have the same bits.
        """
        self._turn += 1
        paired = 1 << (self.size.bit_length() - 1)  # ranks beyond a power of two hand theirs to one that is paired
        total = numpy.array(array)  # a copy, which nobody writes to: a worker in this process is given it as it is
        if self.rank >= paired:
            self._swap(self.rank - paired, "in", total)
            return self._swap(self.rank - paired, "out", None)
        if self.rank + paired < self.size:
            total = total + self._swap(self.rank + paired, "in", None)
        distance = 1
        while distance < paired:
            total = total + self._swap(self.rank ^ distance, distance, total)
            distance *= 2
        if self.rank + paired < self.size:
            self._swap(self.rank + paired, "out", total)
        return total

    def broadcast(self, value: Value, *, rank: int = 0) -> Value:
        """See :class:`xpnet.backend.Group`: those who have the value hand it to as many others (a binomial tree)."""
        self._turn += 1
        place, having = (self.rank - rank) % self.size, 1
        while having < self.size:
            if place < having and place + having < self.size:
                self._swap((self.rank + having) % self.size, having, value)
            elif having <= place < 2 * having:
                value = self._swap((self.rank - having) % self.size, having, None)
            having *= 2
        return value

    def abort(self, error: BaseException) -> None:
        """See :class:`xpnet.backend.Group`: the task fails, and the client, which sees it, cancels the others."""

    def check_wanted(self) -> None:
        """Raise Ended where a worker was lost, or the client has cancelled this rank or is no longer there."""
        for rank, exchange in enumerate(self._exchanges):
            try:
                exchange.swap  # noqa: B018  Dask refuses methods of an actor that it knows to be lost
            except ValueError as error:
                raise Ended(f"The worker of rank {rank} was lost: {error}") from error
        task = self._worker.state.tasks.get(self._task)
        if task is None or task.state not in RUNNING:
            raise Ended("The client no longer waits for this fit.")

    def _swap(self, other: int, stage: Any, value: Any) -> Any:
        """Give a value to another rank, and take its own."""
        until, first = time.monotonic() + self._timeout, self.rank < other
        key = self._turn, stage, max(self.rank, other)
        try:
            call = self._exchanges[min(self.rank, other)].swap(key, first, value)
            while True:
                try:
                    return call.result(timeout=POLL)
                except TimeoutError:
                    self.check_wanted()
                    if time.monotonic() > until:
                        raise BackendError(
                            f"Rank {self.rank} of {self.size} waited {self._timeout:g} s for rank {other}; it is "
                            "stuck, or other tasks have kept all threads of its worker."
                        ) from None
        except (OSError, RuntimeError) as error:
            raise Ended(f"The worker of rank {min(self.rank, other)} was lost: {error}") from error
