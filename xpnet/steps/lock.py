"""The lock with which threads share a network."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from threading import Lock, RLock, get_ident
from typing import Any, Concatenate, ParamSpec, TypeVar, cast
from weakref import WeakSet

from xpnet.errors import ModelInUseError

WAKE_SECONDS = 1e-4
"""Seconds that a thread sleeps so that a waiting thread wakes and takes the lock."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
_locks: "WeakSet[NetworkLock]" = WeakSet()


class NetworkLock:
    """Lets one call at a time compute with a network, and one thread at a time train it.

    A call that computes holds ``calls``. A training holds it for each of its epochs, so that other
    threads can call between two epochs. A thread that trains, moves or changes the network holds
    ``trainings`` from beginning to end.

    A wait that would never end raises a ModelInUseError: if a signal handler calls the network that
    it has interrupted, if a callback trains the network that calls it, and in a forked process if
    another thread was in a call when the process was forked.

    calls : the lock itself; ``with lock.calls:`` releases it whenever an exception occurs
    busy : whether its holder is in a call; the thread that trains may call between two epochs
    waiters : whether a thread waits for ``calls``, or is about to take it
    """

    def __init__(self) -> None:
        self.calls: AbstractContextManager[bool] = RLock()
        self.trainings: AbstractContextManager[bool] = Lock()
        self.busy = self.waiters = False
        self._trainer: int | None = None
        _locks.add(self)

    def refuse(self) -> None:
        """Raise ModelInUseError, since this thread is already in a call or trains."""
        raise ModelInUseError(
            "A model must be called by one caller at a time; got a call within a call, from a "
            "signal handler, a callback or a forked process. Call the model after that call has "
            "returned, or use a copy; fork while no thread uses it."
        )

    def yield_lock(self) -> None:
        """Let a thread that waits for ``calls`` take it first.

        Otherwise the thread that has just released the lock would take it again sooner. On a busy
        machine the waiting thread may not wake in time. ``waiters`` stays set until that thread has
        the lock, so that it gets the lock after a later epoch.
        """
        time.sleep(WAKE_SECONDS)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Keep other threads from training or changing the network.

        Raise ModelInUseError if this thread already trains it.
        """
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

    The flag is cleared by a plain assignment: an interrupt could end the exit code of a context
    manager that is written in Python before it clears the flag.
    """

    @wraps(method)
    def call(self: Any, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Call the method while the lock is held."""
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

    return cast(Callable[Concatenate[Any, Arguments], Result], call)


def _after_fork() -> None:
    """Replace the locks in a forked process, where other threads can never release them.

    Locks that are ``busy`` stay so.
    """
    for lock in list(_locks):
        lock.calls, lock.trainings = RLock(), Lock()
        if lock._trainer != get_ident():
            lock._trainer = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
