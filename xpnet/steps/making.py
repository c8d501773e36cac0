"""How a network comes to its training step, and the lock by which threads share it."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import Lock, RLock, get_ident
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakSet

from xpnet.backend import Backend, NetworkSpec, Step
from xpnet.errors import ModelInUseError
from xpnet.steps.reference import ReferenceStep

WAKING = 1e-4
"""Seconds in which a thread that waits for a lock notices that it is free."""

Given = ParamSpec("Given")
Result = TypeVar("Result")
_locks: "WeakSet[NetworkLock]" = WeakSet()


def make_step(spec: NetworkSpec, backend: Backend, *, compiled: bool = True) -> Step:
    """Return the training step for ``spec`` on ``backend``; its ``why`` says which one it is and for what reason.

    compiled : False to have the reference step in any case
    """
    step: Step | str = "as asked for"
    if compiled:
        none = f"backend {backend.name} compiles none"
        step = backend.compile_step(spec) if hasattr(backend, "compile_step") else none
    return (
        ReferenceStep(spec, backend, f"the reference step: {step}")
        if isinstance(step, str)
        else step
    )


class NetworkLock:
    """One call at a time computes with a network, and one thread at a time trains it.

    A call that computes holds ``calls``, a training for each of its epochs, so that other threads have their calls
    between two epochs. A thread that trains, moves or changes the network holds ``trainings`` from beginning to end.

    Where waiting would never end there is a ModelInUseError: where a signal handler calls the network that it has
    interrupted, where a callback trains the network that calls it, and in a forked process, if a thread that does not
    exist there was within a call.

    calls : the lock itself; ``with lock.calls:`` cannot be left held by an exception that comes at any moment
    busy : whether its holder is in the middle of a call; between two epochs the thread that trains may call, too
    wanted : whether a thread is about to take ``calls``, or waits for it
    """

    def __init__(self) -> None:
        self.calls: Any = RLock()
        self.trainings: Any = Lock()
        self.busy = self.wanted = False
        self._trainer: int | None = None
        _locks.add(self)

    def refuse(self) -> None:
        """Raise ModelInUseError: this thread holds the lock already, and is ``busy`` with a call or trains."""
        raise ModelInUseError(
            "A model serves one call at a time, and it is within one: a signal handler or a callback has called it "
            "again, or the process was forked while a thread was within a call. Call it once that call has returned, "
            "or use a copy; fork while no thread uses it."
        )

    def give_way(self) -> None:
        """Let a thread that waits for ``calls`` have it first, where one is ``wanted``.

        The thread that has just released it would otherwise be quicker to take it again. On a busy machine the waiting
        thread may not wake in time: ``wanted`` stays set until it has the lock, so that it is let in after the next
        epoch.
        """
        time.sleep(WAKING)

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
    method: Callable[Concatenate[Any, Given], Result],
) -> Callable[Concatenate[Any, Given], Result]:
    """Let only one thread at a time into a method of an object with a ``lock``.

    The flag is cleared by a plain assignment, as a ``with`` statement over code in Python could be cut at its end.
    """

    @wraps(method)
    def call(self: Any, *args: Given.args, **kwargs: Given.kwargs) -> Result:
        lock = self.lock
        lock.wanted = True
        with lock.calls:
            lock.wanted = False
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
