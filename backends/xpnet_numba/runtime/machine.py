"""What the machine has for a step: memory, asked before much of it is taken, and SciPy's BLAS.

Linux hands out more memory than it has, and ends a process that then writes to it. So a large request is held against
what the system has free and what control groups, a container's for instance, allow. On other systems the allocation
itself decides.

A step multiplies matrices by tiles of its own or by SciPy's BLAS. Tiles are faster for the sizes of small networks, and
need no library to be held to one thread. With vectors of 32 bytes BLAS is faster for large weights, since it has a copy
of both operands (``xpnet bench --held-to avx2``). The team's threads each call BLAS on their part of the work. BLAS's
threads would stand in their way, so while any step computes with it BLAS is held to one, in the whole process.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from xpnet.errors import BackendError, DeviceMemoryError
from xpnet_numba.llvm.emit import gemm_address
from xpnet_numba.llvm.tiles import AVX2, TILES, WIDE

LARGE_REQUEST = 64 * 2**20
"""Bytes from which on a request is looked at: to look takes as long as to fill some of them."""

ROOT = Path("/")

HIERARCHIES = {
    "": ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    "memory": (
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
}
"""The folder of control groups, their files of limit and use, and a key of memory.stat, by what stands between the
colons of /proc/self/cgroup: version 2, and version 1."""


def check_memory(needed: int, what: str) -> None:
    """Raise DeviceMemoryError where so many bytes are more than there are."""
    if needed < LARGE_REQUEST:
        return
    available = max(available_memory(), 0)
    if needed > available:
        raise DeviceMemoryError(
            f"{what} needs {needed / 2**30:,.2f} GiB of memory; {available / 2**30:,.2f} GiB are available. "
            "Use a smaller batch_size, fewer rows at a time, or float32."
        )


def available_memory() -> float:
    """Bytes that this process may still use; infinity where nothing tells."""
    return min([*_of_system(), *_of_groups()], default=float("inf"))


def _of_system() -> Iterator[float]:
    """Return the bytes that are free, could be freed, or fit on swap."""
    with suppress(OSError, KeyError):
        kibibytes = _numbers(ROOT / "proc/meminfo")
        yield 1024.0 * (kibibytes["MemAvailable:"] + kibibytes["SwapFree:"])


def _of_groups() -> Iterator[float]:
    """Yield the bytes that each control group leaves: its limit less its use, without file cache."""
    with suppress(OSError):
        for line in (ROOT / "proc/self/cgroup").read_text().splitlines():
            _, kind, path = line.split(":", 2)
            if kind in HIERARCHIES:
                root, *names = HIERARCHIES[kind]
                group = Path(path.lstrip("/"))
                for folder in (group, *group.parents):
                    yield from _of_group(ROOT / root / folder, *names)


def _of_group(folder: Path, limit: str, use: str, cache: str) -> Iterator[float]:
    with suppress(OSError, KeyError, ValueError):  # no such group, or one without a limit ("max")
        most, used = (int((folder / name).read_text()) for name in (limit, use))
        yield float(most - used + _numbers(folder / "memory.stat")[cache])


def _numbers(file: Path) -> dict[str, int]:
    """A file of lines that begin with a name and a number."""
    return {name: int(number) for name, number, *_ in map(str.split, file.read_text().splitlines())}


# BLAS.


class OneThread:
    """A context in which BLAS uses one thread. It may be entered many times, from many threads: the last to leave
    gives back what the first found.
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
        """In the child of a fork: the threads that held it are not there."""
        if self._holders:
            _set_threads(self._before)
        self.__init__()  # type: ignore[misc]


def hold_this_thread() -> None:
    """Hold BLAS to one thread in a worker, where it counts threads by caller (OpenMP)."""
    for library in libraries():
        if getattr(library, "threading_layer", "") == "openmp":
            library.set_num_threads(1)


def _set_threads(counts: list[int]) -> None:
    for library, count in zip(libraries(), counts, strict=True):
        # From 3.7 on threadpoolctl obeys, for OpenBLAS, only the thread that came first, and ignores others in silence.
        # Here the last to leave may be another than the first to enter; the lock sees to their order.
        release = getattr(library, "clear_controlling_thread", lambda force: None)
        release(force=True)
        library.set_num_threads(count)
        release(force=True)


@cache
def libraries() -> list[Any]:
    """The BLAS libraries of this process. SciPy's is loaded first: one that is loaded later would not be found."""
    from threadpoolctl import ThreadpoolController

    gemm_address("float64")
    return ThreadpoolController().select(user_api="blas").lib_controllers


one_thread = OneThread()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=one_thread.forget)


# The choice.


VARIABLE = "XPNET_PRODUCTS"
"""The environment variable that names ``tiles`` or ``blas`` for tests and measurements, read when a step is made."""

LARGE_WEIGHT = 1 << 20
"""Bytes of a weight beyond which BLAS is chosen where vectors have 32 bytes."""

OWN, BLAS = "multiply", "multiply_by_blas"
FUNCTIONS = {"tiles": OWN, "blas": BLAS}


def choose_product(weight_bytes: int) -> tuple[str, str]:
    """Return the name of the function that multiplies in a network whose largest weight has so many bytes, and why.

    Raises BackendError where the environment variable names neither kind.
    """
    named = os.environ.get(VARIABLE, "")
    if named and named not in FUNCTIONS:
        raise BackendError(
            f"{VARIABLE} must be {' or '.join(FUNCTIONS)}; received {named!r}. Correct or unset it."
        )
    if named:
        return FUNCTIONS[named], f"{named}, named by {VARIABLE}"
    if not WIDE:
        return BLAS, "BLAS, since there are no tiles for this processor"
    vectors = f"{TILES.name} vectors"
    if TILES is AVX2 and weight_bytes > LARGE_WEIGHT:
        return (
            BLAS,
            f"BLAS, faster than tiles of {vectors} for weights of more than {LARGE_WEIGHT >> 20} MB",
        )
    return OWN, f"tiles of {vectors}"


def products_that_may_run() -> set[str]:
    """Return the functions that steps of this process choose among."""
    return {choose_product(size)[0] for size in (0, LARGE_WEIGHT + 1)}
