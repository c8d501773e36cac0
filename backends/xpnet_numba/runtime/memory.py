"""Checks that the machine has enough memory before a large allocation.

Linux promises more memory than it has, and ends a process that then writes to it. So a large
request is compared with the system's free memory and with the limits of control groups (those of a
container, for instance). On other systems the allocation itself decides.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from xpnet.errors import DeviceMemoryError

LARGE_REQUEST = 64 * 2**20
"""Minimum size in bytes of a request that is checked. A check takes less time than filling so large
an array.
"""

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
"""The folder of control groups, their files of limit and use, and a key of memory.stat.

The keys are the text between the colons of /proc/self/cgroup: of version 2, and of version 1.
"""


def check_memory(needed: int, what: str) -> None:
    """Raise DeviceMemoryError if fewer bytes than ``needed`` are available."""
    if needed < LARGE_REQUEST:
        return
    available = max(available_memory(), 0)
    if needed > available:
        raise DeviceMemoryError(
            f"{what} needs {needed / 2**30:,.2f} GiB of memory; {available / 2**30:,.2f} GiB are "
            "available. Use a smaller batch_size, fewer rows at a time, or float32."
        )


def available_memory() -> float:
    """Return how many bytes this process may still use; infinity if that is unknown."""
    return min([*_of_system(), *_of_groups()], default=float("inf"))


def _of_system() -> Iterator[float]:
    """Yield the number of bytes that are free, can be freed, or fit into swap."""
    with suppress(OSError, KeyError):
        kibibytes = _numbers(ROOT / "proc/meminfo")
        yield 1024.0 * (kibibytes["MemAvailable:"] + kibibytes["SwapFree:"])


def _of_groups() -> Iterator[float]:
    """Yield the bytes that each control group leaves: limit minus use, without file cache."""
    with suppress(OSError):
        for line in (ROOT / "proc/self/cgroup").read_text().splitlines():
            _, kind, path = line.split(":", 2)
            if kind in HIERARCHIES:
                root, *names = HIERARCHIES[kind]
                group = Path(path.lstrip("/"))
                for folder in (group, *group.parents):
                    yield from _of_group(ROOT / root / folder, *names)


def _of_group(folder: Path, limit: str, use: str, cache: str) -> Iterator[float]:
    """Yield the free bytes of a control group, if it has a limit; its cache counts as free."""
    with suppress(OSError, KeyError, ValueError):  # no such group, or one without a limit ("max")
        maximum, used = (int((folder / name).read_text()) for name in (limit, use))
        yield float(maximum - used + _numbers(folder / "memory.stat")[cache])


def _numbers(file: Path) -> dict[str, int]:
    """Read a file whose lines begin with a name and a number."""
    return {name: int(number) for name, number, *_ in map(str.split, file.read_text().splitlines())}
