"""Ranks are processes that train together: they exchange values and divide the cores of a machine.

``use_group`` asks for a group, which is found through the entry-point group ``xpnet.groups``. ``Ranks`` is what the
rest of xpnet talks to: for one process it has nothing to do.
"""

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple
from zlib import crc32

import numpy

from xpnet.backend import Group, NetworkSpec
from xpnet.backend.group import Value, allgather
from xpnet.backend.threads import allowed_threads, cores, get_threads, sharing_the_machine
from xpnet.errors import BackendError, InputError

GROUP = "xpnet.groups"
TIMEOUT = 300.0
LAUNCHERS = {
    "mpirun": ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"),
    "srun": ("SLURM_STEP_NUM_TASKS",),
    "torchrun": ("LOCAL_WORLD_SIZE", "WORLD_SIZE"),
}
"""Environment variables in which a launcher says how many processes it has started."""


class Owners(NamedTuple):
    """Says which rank has each row, where the ranks' rows do not lie one after the other.

    rank : (rows,) int64; index : (rows,) int64, the row's place among those that its rank has
    """

    rank: Any
    index: Any


@dataclass(frozen=True)
class Ranks:
    """The processes that a computation runs on: a group, or this process alone. Alone, every method gives back its
    argument.

    Parameters
    ----------
    group : Group or None
        How they talk; None for this process alone.
    data : {"same", "own"}
        Whether each rank is given all rows, or its own.
    owners : Owners, optional
        Who has which row; None where the rows of one rank follow those of the rank before it.
    """

    group: Group | None = None
    data: Literal["same", "own"] = "same"
    owners: Owners | None = None

    @cached_property
    def rank(self) -> int:
        """Return the number of this process."""
        return 0 if self.group is None else self.group.rank

    @cached_property
    def several(self) -> bool:
        """Return whether there is another process."""
        return self.group is not None and self.group.size > 1

    @cached_property
    def own_data(self) -> bool:
        """Return whether there are rows that this process has not seen."""
        return self.several and self.data == "own"

    @cached_property
    def why(self) -> str:
        """Say how many ranks there are and how they are joined; the text is empty for one."""
        return f"trained on {self.group.size} ranks, joined by {self.group.why}" if self.group and self.several else ""

    def broadcast(self, value: Value) -> Value:
        """The value that rank 0 has."""
        return value if self.group is None or not self.several else self.group.broadcast(value)

    def broadcast_arrays(self, arrays: dict[str, Any]) -> dict[str, Any]:
        """NumPy's arrays of floating-point numbers that rank 0 has, by name; the others have some of the same names and
        shapes, all in one dtype.
        """
        if self.group is None or not self.several or not arrays:
            return arrays
        flat = numpy.concatenate([array.reshape(-1) for array in arrays.values()])
        if self.rank:
            flat.fill(-0.0)  # added to any number it is that number: a sum, which is quicker than to pickle
        parts = numpy.split(self.group.allreduce(flat), numpy.cumsum([array.size for array in arrays.values()])[:-1])
        return {name: part.reshape(arrays[name].shape) for name, part in zip(arrays, parts, strict=True)}

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on some rank."""
        if self.group is None or not self.several:
            return flag
        return bool(self.group.allreduce(numpy.array([flag], "int64"))[0])

    def allgather(self, value: Any) -> list[Any]:
        """The values of all ranks, in their order, if each has rows of its own; this one's if all have the same."""
        return allgather(self.group, value) if self.group is not None and self.own_data else [value]

    def mean(self, value: float, weight: float) -> float:
        """The mean of a value over ranks that have rows of their own, each by its weight."""
        if not self.own_data:
            return value
        values = self.allgather((value, weight))
        total = sum(w for _, w in values)
        return sum(v * w for v, w in values if w) / total if total else 0.0

    def count(self, rows: int) -> int:
        """Return how many rows all ranks have, of which this one has ``rows``."""
        return sum(self.allgather(rows)) if self.own_data else rows


    def places(self, rows: int) -> Any:
        """Return the places of this rank's rows among those of all ranks: (rows,) int64."""
        if self.owners is None:
            counts = self.allgather(rows)
            return numpy.arange(rows) + (sum(counts[: self.rank]) if self.own_data else 0)
        own, places = numpy.flatnonzero(self.owners.rank == self.rank), numpy.empty(rows, "int64")
        places[self.owners.index[own]] = own
        return places

    def check_alike(self, spec: NetworkSpec, **settings: Any) -> None:
        """Compare what every rank is about to train, in one sum of a number a rank.

        spec : the network of this rank; settings : what else must be equal, by the name that the user knows it by

        Raises InputError, on every rank, where one rank differs from rank 0. Arrays of unlike sizes would otherwise
        meet in one sum, which MPI does not survive, or one rank would wait for batches that another does not make.
        """
        if self.group is None or not self.several:
            return
        network = {field.name: getattr(spec, field.name) for field in fields(spec)}
        facts = {name: repr(value) for name, value in (network | settings).items()}
        sums = numpy.zeros(self.group.size, "int64")
        sums[self.rank] = crc32(repr(facts).encode())
        sums = self.group.allreduce(sums)
        if (sums == sums[0]).all():
            return
        first, *others = allgather(self.group, facts)
        differences = [
            f"rank {rank} has {name} = {other.get(name)}, rank 0 has {value}"
            for rank, other in enumerate(others, 1)
            for name, value in first.items()
            if other.get(name) != value
        ]
        raise InputError(
            "All ranks train one network, on the same number of rows in batches of one size: "
            f"{'; '.join(differences)}. Pass the same on every rank."
        )


ALONE = Ranks()
_context: ContextVar[Ranks] = ContextVar("xpnet_ranks", default=ALONE)


current_ranks: Callable[[], Ranks] = _context.get
"""Return the ranks of the innermost ``use_group``; outside of any, this process alone."""


@contextmanager
def use_group(
    group: str | Group, *, data: Literal["same", "own"] = "same", timeout: float = TIMEOUT
) -> Iterator[Group]:
    """Train on several processes: each ``fit`` inside adds up the gradients of all ranks of the group.

    The program is started several times by the group's own launcher (``mpirun -n 4 python train.py``), and every rank
    runs the same lines. The answer is that of one process, to rounding: batch sizes count the rows of all ranks, and
    all ranks draw the same order of the rows.

    Parameters
    ----------
    group : {"mpi", "torch", ...} or Group
        The name of an installed group, or an object that is one.
    data : {"same", "own"}, default "same"
        ``"same"``: every rank passes all rows, and computes its part of each batch. ``"own"``: every rank passes rows
        of its own, any number of them, none included; together they are the rows, in the order of the ranks.
    timeout : float, default 300
        Seconds that a rank waits for another before the group is ended.

    Yields
    ------
    Group
        With ``rank`` and ``size``.

    Raises
    ------
    BackendError
        For a group that is not known, or not usable here.
    InputError
        For other values of ``data`` and ``timeout``.

    Notes
    -----
    An exception that leaves the block, ``SystemExit`` included, ends all ranks: its rank and its text stand on stderr,
    and the exit code is not 0.

    Examples
    --------
    >>> import xpnet
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> with xpnet.use_group("mpi") as group:  # doctest: +SKIP
    ...     model = xpnet.MLPClassifier(random_state=0).fit(X, y)
    """
    if data not in ("same", "own"):
        raise InputError(f'data is "same" (each rank passes all rows) or "own" (each its own); received {data!r}.')
    if not timeout > 0:
        raise InputError(f"timeout is a positive number of seconds; received {timeout!r}.")
    opened = _opener(group)(timeout) if isinstance(group, str) else nullcontext(group)
    with opened as joined:
        token = _context.set(Ranks(joined, data))
        try:
            with divided_threads(joined):
                yield joined
        except BaseException as error:
            joined.abort(error)
            raise
        finally:
            _context.reset(token)


@contextmanager
def owning(owners: Owners) -> Iterator[None]:
    """Inside, the rows of all ranks are numbered by these owners."""
    token = _context.set(replace(_context.get(), owners=owners))
    try:
        yield
    finally:
        _context.reset(token)


def available_groups() -> list[str]:
    """Names of the groups that are installed, sorted. None is imported, so one may still be unusable here."""
    return sorted(_registered())


def launched() -> str | None:
    """The launcher that has started this process as one of several; None for a process that was started alone."""
    for launcher, names in LAUNCHERS.items():
        if any(os.environ.get(name, "1") not in ("", "1") for name in names):
            return launcher
    return None


def _registered() -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _opener(name: str) -> Callable[[float], AbstractContextManager[Group]]:
    registered = _registered()
    if name not in registered:
        known = ", ".join(sorted(registered)) or "none is installed; install xpnet first: pip install xpnet"
        raise BackendError(f"A group is one of those that are installed: {known}; received {name!r}.")
    return registered[name].load()


@dataclass(frozen=True)
class Place:
    """Says where one rank runs.

    host : the machine's name
    process : its number there
    cores : which cores it may run on
    allowed : how many threads it may use, by its affinity and its cgroup's quota
    """

    host: str
    process: int
    cores: frozenset[int]
    allowed: int


def machine() -> tuple[str, list[int], int, int]:
    """The machine's name, the cores that this process may run on, how many the machine has, and the threads it uses."""
    return platform.node(), sorted(cores()), os.cpu_count() or 1, get_threads()


def places(group: Group) -> list[Place]:
    """Return where each rank runs."""
    return allgather(group, Place(platform.node(), os.getpid(), cores(), allowed_threads()))


@contextmanager
def divided_threads(group: Group) -> Iterator[None]:
    """Inside, this rank uses its part of the cores that several ranks may run on; BLAS libraries, too."""
    if group.size == 1:
        yield
        return
    every = places(group)
    if len({(place.host, place.process) for place in every}) < 2:  # ranks that are threads of one process
        yield
        return
    from threadpoolctl import threadpool_limits

    count = threads_of(every[group.rank], every)
    with sharing_the_machine(count), threadpool_limits(count, user_api="blas"):
        yield


def threads_of(own: Place, every: Sequence[Place]) -> int:
    """Return a rank's number of threads: ranks divide the cores that they share, and a quota."""
    beside = [place for place in every if place.host == own.host]
    count = int(sum(1 / sum(core in place.cores for place in beside) for core in own.cores) + 1e-9)
    if own.allowed < len(own.cores):
        count = min(count, own.allowed // len(beside))
    return max(count, 1)
