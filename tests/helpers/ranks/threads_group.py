"""A group whose ranks are threads of this process: what is true of ranks can be tested without a
launcher.
"""

import pickle
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import use_group


class Meeting:
    """What the threads of a group share: a place for the value of each, and a barrier."""

    def __init__(self, size: int) -> None:
        self.values: list[Any] = [None] * size
        self.barrier = threading.Barrier(size, timeout=120)


class ThreadsGroup:
    """See :class:`xpnet.backend.Group`."""

    library = "numpy"
    why = "threads of one process"

    def __init__(self, rank: int, meeting: Meeting) -> None:
        self.rank, self.size, self.meeting, self.calls = (
            rank,
            len(meeting.values),
            meeting,
            Counter[str](),
        )

    def allreduce(self, array: Any) -> Any:
        """The sum, in the order of the ranks."""
        self.calls["allreduce"] += 1
        values = self._exchange(np.array(array))
        assert {(v.shape, v.dtype) for v in values} == {(array.shape, array.dtype)}
        total = values[0].copy()
        for value in values[1:]:
            total += value
        return total

    def broadcast(self, value: Any, *, rank: int = 0) -> Any:
        """A copy of that rank's value."""
        self.calls["broadcast"] += 1
        # Each rank has a copy of its own, as processes do.
        return pickle.loads(
            self._exchange(pickle.dumps(value) if self.rank == rank else None)[rank]
        )

    def abort(self, error: BaseException) -> None:
        """The others are told by the barrier."""
        self.meeting.barrier.abort()

    def _exchange(self, value: Any) -> list[Any]:
        self.meeting.values[self.rank] = value
        self.meeting.barrier.wait()
        values = list(self.meeting.values)
        self.meeting.barrier.wait()
        return values


class SharedMemoryThreadsGroup(ThreadsGroup):
    """See :class:`xpnet.backend.group.SharedMemoryGroup`."""

    _memory: Any = None

    def shared_memory(self, size: int) -> Any:
        """An array of rank 0's."""
        if self._memory is None or self._memory.nbytes < size:
            self._memory = self._exchange(np.zeros(size, "uint8") if self.rank == 0 else None)[0]
        return self._memory

    def barrier(self) -> None:
        """At the barrier."""
        self.calls["barrier"] += 1
        self.meeting.barrier.wait()


def on_ranks(
    size: int, work: Callable[[ThreadsGroup], Any], *, data: Any = "same", near: bool = True
) -> list[Any]:
    """What ``work`` returns on each rank; raises the first rank's error, if any raised one.

    near : whether the ranks have memory in common
    """
    kind = SharedMemoryThreadsGroup if near else ThreadsGroup
    meeting, results = Meeting(size), [None] * size
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            with use_group(kind(rank, meeting), data=data) as group:
                results[rank] = work(group)  # type: ignore[arg-type, call-overload]
        except BaseException as error:  # noqa: BLE001  told to the caller
            if not isinstance(error, threading.BrokenBarrierError):
                errors.append(error)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
