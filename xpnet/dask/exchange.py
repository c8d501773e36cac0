"""How the ranks of a cluster exchange arrays: in pairs, by actors on Dask's workers.

Dask's workers talk to each other already, through firewalls, over TLS, and report when one is lost;
another transport (MPI, gloo) would have to be set up next to that on every worker. Each rank has an
actor on its worker, to which the ranks after it bring their arrays. A sum takes log2 of the number
of ranks in exchanges, each of some milliseconds.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Any

import numpy
from distributed import get_worker

from xpnet.backend.group import Value
from xpnet.errors import BackendError
from xpnet.ops import Array

if TYPE_CHECKING:
    from dask.typing import Key
    from distributed import Actor, Worker

POLL_SECONDS = 0.2
"""Seconds after which a rank that waits looks whether the client still wants its result."""

RUNNING_STATES = ("executing", "long-running")
"""States of a task whose result someone waits for; Dask calls it cancelled otherwise."""


class Ended(BackendError):
    """The fit has ended for another rank, which has failed or was lost, or because the client gave
    up.
    """


class Exchange:
    """An actor by which one rank meets those after it; its methods run on the event loop of its
    worker.
    """

    def __init__(self) -> None:
        self._pairs: dict[object, tuple[asyncio.Future[object], asyncio.Future[object]]] = {}

    async def swap(self, key: object, first: bool, value: object) -> object:
        """Return the value that the other rank brings under the same key.

        first : whether the caller is the first of the two
        """
        future = asyncio.get_running_loop().create_future
        pair = self._pairs.setdefault(key, (future(), future()))
        pair[first].set_result(value)
        received = await pair[not first]
        self._pairs.pop(key, None)
        return received


class DaskGroup:
    """The ranks of one fit: see :class:`xpnet.backend.Group`. Made within the task that is the
    rank.

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

    def __init__(self, rank: int, exchanges: "list[Actor]", timeout: float) -> None:
        self.rank = rank
        self.size: int = len(exchanges)
        self._exchanges = exchanges
        self._timeout = timeout
        self._turn = 0
        self._worker = get_worker()
        self._task = self._worker.get_current_task()

    def allreduce(self, array: Array) -> Array:
        """See :class:`xpnet.backend.Group`: pairs add up, then pairs of pairs (recursive doubling).

        In each pair both compute the same sum, so that all ranks have the same bits.
        """
        self._turn += 1
        # Ranks beyond a power of two hand their array to a rank that is paired.
        paired = 1 << (self.size.bit_length() - 1)
        # A copy that nobody writes to, since a worker in this process gets this very array.
        total = numpy.array(array)
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
        """See :class:`xpnet.backend.Group`: each rank that has the value sends it to another one,
        so that their number doubles (a binomial tree).
        """
        self._turn += 1
        position = (self.rank - rank) % self.size
        informed = 1  # number of ranks that have the value
        while informed < self.size:
            if position < informed and position + informed < self.size:
                self._swap((self.rank + informed) % self.size, informed, value)
            elif informed <= position < 2 * informed:
                value = self._swap((self.rank - informed) % self.size, informed, None)
            informed *= 2
        return value

    def abort(self, error: BaseException) -> None:
        """See :class:`xpnet.backend.Group`: the task fails, and the client, which sees it, cancels
        the others.
        """

    def check_wanted(self) -> None:
        """Raise Ended where a worker was lost, or the client has cancelled this rank or is no
        longer there.
        """
        for rank, exchange in enumerate(self._exchanges):
            try:
                # Dask refuses methods of an actor that it knows to be lost.
                exchange.swap  # noqa: B018
            except (ValueError, RuntimeError) as error:  # by the version of Dask
                raise Ended(f"The worker of rank {rank} was lost: {error}") from error
        self._check_not_cancelled()

    def _check_not_cancelled(self) -> None:
        """Raise Ended if the client has cancelled the fit."""
        if is_wanted(self._worker, self._task) is False:
            raise Ended("The client no longer waits for this fit.")

    def _swap(self, other: int, stage: object, value: object) -> Any:
        """Give a value to another rank, and take its own."""
        # Otherwise Dask logs an error for each call to an exchange that is gone.
        self._check_not_cancelled()
        until = time.monotonic() + self._timeout
        first = self.rank < other
        key = self._turn, stage, max(self.rank, other)
        try:
            call = self._exchanges[min(self.rank, other)].swap(key, first, value)
            while True:
                try:
                    return call.result(timeout=POLL_SECONDS)
                except TimeoutError:
                    self.check_wanted()
                    if time.monotonic() > until:
                        raise BackendError(self._timed_out(other)) from None
        except BackendError:  # a RuntimeError, too
            raise
        except (OSError, RuntimeError) as error:
            raise Ended(f"The worker of rank {min(self.rank, other)} was lost: {error}") from error

    def _timed_out(self, other: int) -> str:
        """Return the message that another rank did not come in time, and why that may be."""
        unknown = is_wanted(self._worker, self._task) is None
        return (
            f"Rank {self.rank} of {self.size} waited {self._timeout:g} s for rank {other}, which "
            "must answer within `timeout`; it is stuck, or other tasks have kept all threads of "
            "its worker"
            + (
                ", or the client no longer waits for the fit, which this version of Dask does not "
                "say."
                if unknown
                else "."
            )
        )


def is_wanted(worker: "Worker", task: "Key") -> bool | None:
    """Return whether the client still waits for a task of a worker; None where this version of Dask
    does not say.

    A worker's ``state`` is not documented, so that a later version of Dask may name it otherwise.
    """
    try:
        state = worker.state.tasks[task].state
    except KeyError:
        return False
    except (AttributeError, TypeError):
        return None
    return state in RUNNING_STATES
