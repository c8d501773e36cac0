"""Ranks on the workers of a Dask cluster, which meet at an actor on one of them.

Dask's workers talk to each other already, through firewalls, over TLS, and tell when one is lost; another transport
(MPI, gloo) would have to be set up beside that on every worker. The actor adds up in the order of the ranks, so a sum
takes two messages a rank: for networks whose step takes milliseconds, not microseconds.
"""

import asyncio
from typing import Any

from xpnet.backend.group import Value
from xpnet.errors import BackendError
from xpnet.ops import Array


class Ended(BackendError):
    """Another rank has failed, or was lost."""


class Meeting:
    """One collective call: what the ranks bring, and an event when all have come."""

    def __init__(self) -> None:
        self.values: dict[int, Any] = {}
        self.complete = asyncio.Event()
        self.total: Any = None
        self.left = 0


class Exchange:
    """Where the ranks meet: an actor, whose methods run on the event loop of one worker.

    Parameters
    ----------
    size : int
        How many ranks there are.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.meetings: dict[int, Meeting] = {}
        self.failure: str | None = None

    async def add(self, turn: int, rank: int, array: Array) -> Array:
        """The sum of what all ranks bring to their ``turn``-th call."""
        meeting = await self._meet(turn, rank, array)
        if meeting.total is None:
            # In the order of the ranks, so that the same run has the same bits.
            meeting.total = sum(meeting.values[other] for other in range(1, self.size)) + meeting.values[0]
        return meeting.total

    async def share(self, turn: int, rank: int, root: int, value: Any) -> Any:
        """What rank ``root`` brings to its ``turn``-th call."""
        meeting = await self._meet(turn, rank, value)
        return meeting.values[root]

    async def fail(self, reason: str) -> None:
        """Let every rank that waits, or will wait, raise an error with this reason."""
        self.failure = self.failure or reason
        for meeting in self.meetings.values():
            meeting.complete.set()

    async def _meet(self, turn: int, rank: int, value: Any) -> Meeting:
        meeting = self.meetings.setdefault(turn, Meeting())
        meeting.values[rank] = value
        if len(meeting.values) == self.size:
            meeting.complete.set()
        if self.failure is None:
            await meeting.complete.wait()
        if self.failure is not None:
            raise Ended(self.failure)
        meeting.left += 1
        if meeting.left == self.size:
            del self.meetings[turn]
        return meeting


class DaskGroup:
    """The ranks that meet at an exchange: see :class:`xpnet.backend.Group`.

    Parameters
    ----------
    rank, size : int
        Which rank this is, of how many.
    exchange : distributed.Actor
        An :class:`Exchange` on one of the workers.
    timeout : float
        Seconds that a rank waits for another.
    """

    library = "numpy"
    why = "an actor on one of Dask's workers"

    def __init__(self, rank: int, size: int, exchange: Any, timeout: float) -> None:
        self.rank, self.size, self._exchange, self._timeout, self._turn = rank, size, exchange, timeout, 0

    def sum(self, array: Array) -> Array:
        """See :class:`xpnet.backend.Group`."""
        return self._call("add", array)

    def share(self, value: Value, *, rank: int = 0) -> Value:
        """See :class:`xpnet.backend.Group`."""
        return self._call("share", rank, value if rank == self.rank else None)

    def fail(self, error: BaseException) -> None:
        """See :class:`xpnet.backend.Group`: the others raise an error, and so does the client's ``fit``."""
        if not isinstance(error, Ended):
            self._exchange.fail(f"Rank {self.rank} of {self.size} failed: {type(error).__name__}: {error}")

    def _call(self, name: str, *arguments: Any) -> Any:
        self._turn += 1
        call = getattr(self._exchange, name)(self._turn, self.rank, *arguments)
        try:
            return call.result(timeout=self._timeout)
        except TimeoutError as error:
            raise BackendError(
                f"Rank {self.rank} of {self.size} waited {self._timeout:g} s for the others; one is stuck, or has "
                "no free thread to begin on."
            ) from error
        except OSError as error:
            raise Ended(f"The worker where the ranks meet was lost: {error}") from error
