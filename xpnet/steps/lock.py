"""The lock by which threads share a network."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import Lock, RLock, get_ident
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakSet

from xpnet.errors import ModelInUseError

WAKE_SECONDS = 1e-4
"""Seconds in which a thread that waits for a lock notices that it is free."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
_locks: "WeakSet[NetworkLock]" = WeakSet()


class NetworkLock:
    """Lets one call at a time compute with a network, and one thread at a time train it.

    A call that computes holds ``calls``, a training for each of its epochs, so that other threads have their calls
    between two epochs. A thread that trains, moves or changes the network holds ``trainings`` from beginning to end.

    Where waiting would never end there is a ModelInUseError: where a signal handler calls the network that it has
    interrupted, where a callback trains the network that calls it, and in a forked process, if a thread that does not
    exist there was within a call.

    calls : the lock itself; ``with lock.calls:`` cannot be left held by an exception that comes at any moment
    busy : whether its holder is in the middle of a call; between two epochs the thread that trains may call, too
    waiters : whether a thread waits for ``calls``, or is about to take it
    """

    def __init__(self) -> None:
        self.calls: Any = RLock()
        self.trainings: Any = Lock()
        self.busy = self.waiters = False
        self._trainer: int | None = None
        _locks.add(self)

    def refuse(self) -> None:
        """Raise ModelInUseError: this thread holds the lock already, and is ``busy`` with a call or trains."""
        raise ModelInUseError(
            "A model serves one call at a time, and it is within one: a signal handler or a callback has called it "
            "again, or the process was forked while a thread was within a call. Call it once that call has returned, "
            "or use a copy; fork while no thread uses it."
        )

    def yield_lock(self) -> None:
        """Let a thread that waits for ``calls`` take it first.

        The thread that has just released the lock would otherwise be quicker to take it again. On a busy machine the
        waiting thread may not wake in time: ``waiters`` stays set until it has the lock, so that it is let in after the
        next epoch.
        """
        time.sleep(WAKE_SECONDS)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Keep other threads from training or changing the network; raise ModelInUseError if this thread does."""
        if self._trainer == get_ident():
            self.refuse()
        with self.trainings:
            self._trainer = get_ident()
            try:
                yield
            finally:
                self._trainer = None


def locked(
    method: Callable[Concatenate[Any, Arguments], Result],
) -> Callable[Concatenate[Any, Arguments], Result]:
    """Let only one thread at a time into a method of an object with a ``lock``.

    The flag is cleared by a plain assignment, as a ``with`` statement over code in Python could be cut at its end.
    """

    @wraps(method)
    def call(self: Any, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        lock = self.lock
        lock.waiters = True
        with lock.calls:
            lock.waiters = False
            if lock.busy:
                lock.refuse()
            lock.busy = True
            try:
                return method(self, *args, **kwargs)
            finally:
                lock.busy = False

    return call


def _after_fork() -> None:
    """Renew the locks of a forked process, where no other thread leaves them; those that are ``busy`` stay so."""
    for lock in list(_locks):
        lock.calls, lock.trainings = RLock(), Lock()
        if lock._trainer != get_ident():
            lock._trainer = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
