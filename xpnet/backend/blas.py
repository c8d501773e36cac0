"""The threads of BLAS, which the libraries of NumPy and SciPy keep for the whole process.

Threads of BLAS wait for work in a loop, which takes the time of a core. So what multiplies small
matrices, or has threads of its own, computes with one thread of BLAS.
"""

import os
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import LibController


class OneThread:
    """A context in which BLAS uses one thread. It may be entered many times, from many threads.

    The last to leave restores the number of threads that the first had.
    """

    def __init__(self) -> None:
        self._lock, self._holders = Lock(), 0
        self._before: list[int] = []

    def __enter__(self) -> None:
        with self._lock:
            self._holders += 1
            if self._holders == 1:
                self._before = [library.num_threads for library in libraries()]
                _set_threads([1] * len(self._before))

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                _set_threads(self._before)

    def forget(self) -> None:
        """Restore the number of threads in the child of a fork, which lacks the threads that
        entered.
        """
        if self._holders:
            _set_threads(self._before)
        self.__init__()  # type: ignore[misc]


def _set_threads(counts: list[int]) -> None:
    """Set the number of threads of each BLAS library."""
    for library, count in zip(libraries(), counts, strict=True):
        # From version 3.7 on, threadpoolctl lets only one thread control OpenBLAS, and ignores
        # other threads silently. Here the last thread to leave may differ from the first to enter;
        # the lock orders them.
        release = getattr(library, "clear_controlling_thread", lambda force: None)
        release(force=True)
        library.set_num_threads(count)
        release(force=True)


@cache
def libraries() -> "list[LibController]":
    """Return the BLAS libraries of this process. SciPy's BLAS is loaded first, since only loaded
    libraries are found.
    """
    import scipy.linalg.cython_blas
    from threadpoolctl import ThreadpoolController

    assert scipy.linalg.cython_blas
    controllers: list[LibController] = (
        ThreadpoolController().select(user_api="blas").lib_controllers
    )
    return controllers


one_thread = OneThread()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=one_thread.forget)
