"""Groups of processes: how one is asked for, and how its ranks divide the cores of a machine.

``use_group`` asks for a group, which is found through the entry-point group ``xpnet.groups``.
"""

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

from xpnet.backend import Group
from xpnet.backend.group import allgather
from xpnet.backend.threads import allowed_threads, cores, sharing_the_machine
from xpnet.distributed.ranks import Ranks, using
from xpnet.errors import BackendError, InputError, did_you_mean

GROUP = "xpnet.groups"
TIMEOUT = 300.0


@contextmanager
def use_group(
    group: str | Group, *, data: Literal["same", "own"] = "same", timeout: float = TIMEOUT
) -> Iterator[Group]:
    """Train on several processes: each ``fit`` sums the gradients of all ranks.

    The program is started several times by the group's own launcher (``mpirun -n 4 python
    train.py``), and every rank runs the same lines. The answer is that of one process, to rounding:
    batch sizes count the rows of all ranks, and all ranks draw the same order of the rows.

    Parameters
    ----------
    group : {"mpi", "torch", ...} or Group
        The name of an installed group, or an object that is one.
    data : {"same", "own"}, default "same"
        ``"same"``: every rank passes all rows, and computes its part of each batch. ``"own"``:
        every rank passes rows of its own, any number of them, none included; together they are the
        rows, in the order of the ranks.
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
    An exception that leaves the block, ``SystemExit`` included, ends all ranks: its rank and its
    text stand on stderr, and the exit code is not 0.

    Examples
    --------
    >>> import xpnet
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> with xpnet.use_group("mpi") as group:  # doctest: +SKIP
    ...     model = xpnet.MLPClassifier(random_state=0).fit(X, y)
    """
    if data not in ("same", "own"):
        raise InputError(
            "`data` must be 'same' (each rank passes all rows) or 'own' (each passes its own); "
            f"got {data!r}."
        )
    if not timeout > 0:
        raise InputError(f"`timeout` must be a positive number of seconds; got {timeout!r}.")
    opened = _opener(group)(timeout) if isinstance(group, str) else nullcontext(group)
    with opened as joined:
        try:
            with using(Ranks(joined, data)), divided_threads(joined):
                yield joined
        except BaseException as error:
            joined.abort(error)
            raise


def _opener(name: str) -> Callable[[float], AbstractContextManager[Group]]:
    """Load what opens a kind of group, from its entry point; it takes the limit of time in
    seconds.

    Raises BackendError for a name that is not installed.
    """
    from importlib.metadata import entry_points

    registered = entry_points(group=GROUP)
    if name not in registered.names:
        installed = (
            ", ".join(sorted(registered.names))
            or "none is installed; install xpnet first: pip install xpnet"
        )
        hint = did_you_mean(name, registered.names)
        raise BackendError(
            f"`group` must be one of those that are installed: {installed}; got {name!r}. "
            f"{hint}".rstrip()
        )
    return registered[name].load()


@contextmanager
def divided_threads(group: Group) -> Iterator[None]:
    """Let this rank, and BLAS, use its part of the cores that several ranks may run on."""
    all_ranks = allgather(group, (platform.node(), cores(), allowed_threads(), os.getpid()))
    processes = {(host, process) for host, *_, process in all_ranks}
    if len(processes) < 2:  # one rank, or ranks that are threads of one process
        yield
        return
    from threadpoolctl import threadpool_limits

    count = threads_of(group.rank, [place[:3] for place in all_ranks])
    with sharing_the_machine(count), threadpool_limits(count, user_api="blas"):
        yield


def threads_of(rank: int, machines: Sequence[tuple[str, frozenset[int], int]]) -> int:
    """Return a rank's number of threads: ranks divide the cores that they share, and a quota.

    machines : of each rank the machine's name, the cores that it may run on, and the threads that
        it may use
    """
    host, own, allowed = machines[rank]
    neighbours = [cores for name, cores, _ in machines if name == host]
    count = int(sum(1 / sum(core in cores for cores in neighbours) for core in own) + 1e-9)
    if allowed < len(own):
        count = min(count, allowed // len(neighbours))
    return max(count, 1)
