"""Compilation aside, in a thread of its own: Ctrl-C ends the wait for it, and the work is not lost.

In the main thread a KeyboardInterrupt could come up anywhere in the compiler: LLVM's calls back into Python would
swallow it, or half of a function would be left.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

from numba.core.compiler_lock import global_compiler_lock

STACK = 16 * 2**20
"""Bytes of stack: the compiler calls itself as deep as a program is nested."""

PATIENCE = 0.1
"""Seconds of one wait: Windows hears Ctrl-C between waits, others at once."""

_begun: dict[str, Future[Any]] = {}
"""What is being worked on, by name, or was when its wait was cut."""


def aside(name: str, work: Callable[[], Any]) -> Any:
    """What ``work()`` returns, called with the compiler's lock held; Ctrl-C is heard meanwhile.

    The work goes on after a Ctrl-C. Whoever asks next for the same name waits for it, and does not begin anew. Only the
    main thread hears Ctrl-C: others work where they are, and so does the main thread where no thread can be started.
    """
    work = global_compiler_lock(work)
    if threading.current_thread() is not threading.main_thread():
        return work()
    future = _begun.get(name)
    if future is None:
        future = _begun[name] = Future()
        try:
            _begin(work, future)
        except BaseException as error:
            # Ctrl-C may come before the thread or after: what has begun goes on, what has not never will.
            if future.cancel():
                del _begun[name]
            if isinstance(error, RuntimeError):
                return work()
            raise
    try:
        while not future.done():
            wait((future,), PATIENCE)
        return future.result()
    finally:
        if future.done():
            _begun.pop(name, None)


def _begin(work: Callable[[], Any], future: Future[Any]) -> None:
    """Start a thread that tells the future what ``work()`` returns.

    Raises RuntimeError where the system allows no more threads. Python waits for it before it exits: a compiler must not
    be taken down while it works.
    """

    def run() -> None:
        """Work, unless nobody waits any more."""
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    before = threading.stack_size(STACK)
    try:
        threading.Thread(target=run, name="xpnet-compiling").start()
    finally:
        threading.stack_size(before)


if hasattr(os, "register_at_fork"):
    # A child has no thread that would give the compiler's lock back: nothing compiles while a process forks.
    lock = global_compiler_lock
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    os.register_at_fork(after_in_child=_begun.clear)
