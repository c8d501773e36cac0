"""A thread that ends all ranks when one of them is waited for too long.

A collective call of MPI waits for ever for a rank that was stopped, that raised an error, or that
makes another call. Calls that do not wait (``Iallreduce`` with repeated tests) take longer on Open
MPI, so a second thread checks the time instead.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Any, Self

TAG = 26_465
"""The tag of the messages by which ranks report to each other that they wait."""


class Watch:
    """A thread that ends all ranks once this one has waited longer than ``timeout`` seconds for the
    others.

    Parameters
    ----------
    MPI : module
        ``mpi4py.MPI``.
    timeout : float
        Seconds a rank may wait.
    """

    def __init__(self, MPI: Any, timeout: float) -> None:
        self._MPI = MPI
        self._world = MPI.COMM_WORLD
        self._timeout = timeout
        self._tick = min(timeout / 4, 1.0)
        self._until = inf
        self._what = ""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="xpnet-mpi-watch", daemon=True)

    def __enter__(self) -> Self:
        if self._world.Get_size() > 1:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Limit the time that this rank waits for the others in a collective call."""
        self._what = what
        self._until = time.monotonic() + self._timeout
        try:
            yield
        finally:
            self._until = inf

    def _run(self) -> None:
        """Look at each tick, until the watch is closed, whether a rank has waited too long."""
        while not self._closed.wait(self._tick):
            if self._until < inf and (
                time.monotonic() > self._until or self._another_waited_too_long()
            ):
                self._end()

    def _another_waited_too_long(self) -> bool:
        """Return whether another rank has waited too long."""
        return self._may_talk() and self._world.Iprobe(tag=TAG)

    def _may_talk(self) -> bool:
        """Return whether this thread may call MPI while the main thread is inside a call."""
        return self._MPI.Query_thread() == self._MPI.THREAD_MULTIPLE

    def _end(self) -> None:
        """Print which ranks did not come, and end all ranks."""
        rank = self._world.Get_rank()
        size = self._world.Get_size()
        missing = ", ".join(map(str, self._missing()))
        who = f"rank {missing}, which did not come" if missing else "the other ranks"
        sys.stderr.write(
            f"xpnet: rank {rank} of {size} waited {self._timeout:g} s in a {self._what} for {who}; "
            "this ends all ranks.\n"
        )
        sys.stderr.flush()
        self._world.Abort(1)

    def _missing(self) -> list[int]:
        """Return the ranks that do not wait as well: each waiting rank sends a message to all
        others.
        """
        if not self._may_talk():
            return []
        silent = set(range(self._world.Get_size())) - {self._world.Get_rank()}
        sent = [self._world.Isend(b"", dest=rank, tag=TAG) for rank in silent]
        end = time.monotonic() + 3 * self._tick
        while silent and time.monotonic() < end:
            silent -= {rank for rank in silent if self._world.Iprobe(source=rank, tag=TAG)}
            time.sleep(0.01)
        del sent
        return sorted(silent)
