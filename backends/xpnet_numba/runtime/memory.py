"""The memory of the machine, checked before much of it is taken.

Linux promises more memory than it has, and ends a process that then writes to it. So a large request is compared with
what the system has free and what control groups (those of a container, for instance) allow. On other systems the
allocation itself decides.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from xpnet.errors import DeviceMemoryError

LARGE_REQUEST = 64 * 2**20
"""Size of a request in bytes from which it is checked. A check takes as long as filling a part of so much memory."""

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

The keys are what /proc/self/cgroup has between its colons: version 2, and version 1.
"""


def check_memory(needed: int, what: str) -> None:
    """Raise DeviceMemoryError if fewer bytes than ``needed`` are available."""
    if needed < LARGE_REQUEST:
        return
    available = max(available_memory(), 0)
    if needed > available:
        raise DeviceMemoryError(
            f"{what} needs {needed / 2**30:,.2f} GiB of memory; {available / 2**30:,.2f} GiB are available. "
            "Use a smaller batch_size, fewer rows at a time, or float32."
        )


def available_memory() -> float:
    """Return how many bytes this process may still use; infinity if the system does not say."""
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
        maximum, used = (int((folder / name).read_text()) for name in (limit, use))
        yield float(maximum - used + _numbers(folder / "memory.stat")[cache])


def _numbers(file: Path) -> dict[str, int]:
    """A file of lines that begin with a name and a number."""
    return {name: int(number) for name, number, *_ in map(str.split, file.read_text().splitlines())}
