"""Memory: how much there is, asked before a step takes much of it, and zeros on large pages.

Linux hands out more memory than it has, and ends a process that then writes to it. So a large request is held against
what the system has free and what control groups, a container's for instance, allow. On other systems the allocation
itself decides.
"""

import mmap
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy

from xpnet.errors import DeviceMemoryError

LARGE = 64 * 2**20
"""Bytes from which on a request is looked at: to look takes as long as to fill some of them."""

ROOT = Path("/")


HIERARCHIES = {
    "": ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    "memory": ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""The folder of control groups, their files of limit and use, and a key of memory.stat, by what stands between the
colons of /proc/self/cgroup: version 2, and version 1."""


def check_memory(needed: int, what: str) -> None:
    """Raise DeviceMemoryError where so many bytes are more than there are."""
    if needed < LARGE:
        return
    available = available_memory()
    if needed > available:
        raise DeviceMemoryError(
            f"{what} needs {_gibibytes(needed)} of memory; {_gibibytes(available)} are available. Use a smaller "
            "batch_size, fewer rows at a time, or float32."
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


def _gibibytes(count: float) -> str:
    return f"{max(count, 0) / 2**30:,.2f} GiB"


# Zeros to write to. Linux maps a page when it is first written to, which takes microseconds, and longer where several
# threads come upon new pages at once. Parameters, gradients and optimizer of a network of some megabytes have
# thousands of pages, which would take as long as some updates. Large pages are 512 times as few; and a product that
# reads down the columns of a matrix does not look up a page for each number.


LARGE_PAGE = 1 << 21
"""Bytes of a large page: on x86, and on ARM with the usual small ones."""


def zeros(nbytes: int) -> Any:
    """So many zero bytes, (nbytes,) uint8."""
    if sys.platform != "linux" or nbytes < LARGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return numpy.zeros(nbytes, numpy.uint8)
    try:
        memory = mmap.mmap(-1, nbytes + LARGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # no such pages here, or no room for one more
        return numpy.zeros(nbytes, numpy.uint8)
    found = numpy.frombuffer(memory, numpy.uint8)
    begin = -found.ctypes.data % LARGE_PAGE
    return found[begin : begin + nbytes]
