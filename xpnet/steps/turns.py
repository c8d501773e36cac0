"""One thread at a time, without a deadlock: who may use a step, and who may change a model."""

import os
from threading import RLock
from weakref import WeakSet

from xpnet.errors import ModelInUseError

_turns: "WeakSet[Turn]" = WeakSet()


class Turn:
    """A lock that one thread holds at a time, ``with turn.taken():``, while the others wait.

    Where waiting would never end there is an error: in a signal handler that interrupted the call it waits for, and in
    a forked process, if another thread held the lock when it was forked.
    """

    def __init__(self) -> None:
        self._lock, self._lost = RLock(), False
        _turns.add(self)

    def taken(self) -> RLock:
        """The lock, for a ``with`` statement.

        Raises ModelInUseError where this thread holds it already, or where its holder was left behind by a fork.
        """
        if self._lost:
            raise ModelInUseError(
                "A process was forked while another thread of it used this model, whose numbers are not whole here. "
                "Fork while no thread uses it, or start processes by spawn."
            )
        if self._lock._is_owned():  # type: ignore[attr-defined]
            raise ModelInUseError(
                "A model serves one call at a time, and this thread is within one: a signal handler or a callback has "
                "called the model again. Call it once the first call has returned, or use a copy."
            )
        return self._lock

    def _after_fork(self) -> None:
        """In a forked process: find out whether a thread that does not exist here holds the lock."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self._lost = True


def _after_fork() -> None:
    for turn in list(_turns):
        turn._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
