"""A training on the workers of a cluster: a rank on each, and a client that watches them.

The ranks exchange arrays in pairs. Dask's workers talk to each other already, through firewalls, over TLS, and tell
when one is lost; another transport (MPI, gloo) would have to be set up beside that on every worker. Each rank has an
actor on its worker, at which the ranks after it bring their arrays. A sum takes log2 of the number of ranks in
exchanges, each of some milliseconds.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import getitem
from typing import Any

import numpy

from xpnet.backend.group import Value
from xpnet.dask.partitions import owners_of, place, rows_of, together
from xpnet.distributed import use_group
from xpnet.distributed.ranks import Owners, owning
from xpnet.errors import BackendError, InputError
from xpnet.ops import Array

NOTICED = 10.0
"""Seconds in which the cluster notices that a worker is lost to which another could not talk."""

POLL = 0.2
"""Seconds after which a rank that waits looks whether the client still wants its result."""

RUNNING = ("executing", "long-running")
"""States of a task whose result someone waits for; Dask calls it cancelled otherwise."""


class Ended(BackendError):
    """The fit has ended for another rank, which has failed or was lost, or because the client gave up."""


class Exchange:
    """An actor by which one rank meets those after it; its methods run on the event loop of its worker."""

    def __init__(self) -> None:
        self._pairs: dict[Any, tuple[asyncio.Future[Any], asyncio.Future[Any]]] = {}

    async def swap(self, key: Any, first: bool, value: Any) -> Any:
        """Return what the other rank brings under the same key. first : whether the caller is the first of the two."""
        future = asyncio.get_running_loop().create_future
        pair = self._pairs.setdefault(key, (future(), future()))
        pair[first].set_result(value)
        found = await pair[not first]
        self._pairs.pop(key, None)
        return found


class DaskGroup:
    """The ranks of one fit: see :class:`xpnet.backend.Group`. Made within the task that is the rank.

    Parameters
    ----------
    rank : int
        Which rank this is.
    exchanges : list of distributed.Actor
        The :class:`Exchange` of each rank.
    timeout : float
        Seconds that a rank waits for another.
    """

    library = "numpy"
    why = "Dask's workers"

    def __init__(self, rank: int, exchanges: list[Any], timeout: float) -> None:
        from distributed import get_worker

        self.rank, self.size, self._exchanges, self._timeout, self._turn = rank, len(exchanges), exchanges, timeout, 0
        self._worker = get_worker()
        self._task = self._worker.get_current_task()

    def allreduce(self, array: Array) -> Array:
        """See :class:`xpnet.backend.Group`: pairs add up, then pairs of pairs (recursive doubling).

        In each pair both compute the same sum, so that all ranks have the same bits.
        """
        self._turn += 1
        paired = 1 << (self.size.bit_length() - 1)  # ranks beyond a power of two hand theirs to one that is paired
        total = numpy.array(array)  # a copy, which nobody writes to: a worker in this process is given it as it is
        if self.rank >= paired:
            self._swap(self.rank - paired, "in", total)
            return self._swap(self.rank - paired, "out", None)
        if self.rank + paired < self.size:
            total = total + self._swap(self.rank + paired, "in", None)
        distance = 1
        while distance < paired:
            total = total + self._swap(self.rank ^ distance, distance, total)
            distance *= 2
        if self.rank + paired < self.size:
            self._swap(self.rank + paired, "out", total)
        return total

    def broadcast(self, value: Value, *, rank: int = 0) -> Value:
        """See :class:`xpnet.backend.Group`: those who have the value hand it to as many others (a binomial tree)."""
        self._turn += 1
        place, having = (self.rank - rank) % self.size, 1
        while having < self.size:
            if place < having and place + having < self.size:
                self._swap((self.rank + having) % self.size, having, value)
            elif having <= place < 2 * having:
                value = self._swap((self.rank - having) % self.size, having, None)
            having *= 2
        return value

    def abort(self, error: BaseException) -> None:
        """See :class:`xpnet.backend.Group`: the task fails, and the client, which sees it, cancels the others."""

    def check_wanted(self) -> None:
        """Raise Ended where a worker was lost, or the client has cancelled this rank or is no longer there."""
        for rank, exchange in enumerate(self._exchanges):
            try:
                exchange.swap  # noqa: B018  Dask refuses methods of an actor that it knows to be lost
            except ValueError as error:
                raise Ended(f"The worker of rank {rank} was lost: {error}") from error
        self._check_not_cancelled()

    def _check_not_cancelled(self) -> None:
        task = self._worker.state.tasks.get(self._task)
        if task is None or task.state not in RUNNING:
            raise Ended("The client no longer waits for this fit.")

    def _swap(self, other: int, stage: Any, value: Any) -> Any:
        """Give a value to another rank, and take its own."""
        self._check_not_cancelled()  # else Dask's log has an error for each call to an exchange that is gone
        until, first = time.monotonic() + self._timeout, self.rank < other
        key = self._turn, stage, max(self.rank, other)
        try:
            call = self._exchanges[min(self.rank, other)].swap(key, first, value)
            while True:
                try:
                    return call.result(timeout=POLL)
                except TimeoutError:
                    self.check_wanted()
                    if time.monotonic() > until:
                        raise BackendError(
                            f"Rank {self.rank} of {self.size} waited {self._timeout:g} s for rank {other}; it is "
                            "stuck, or other tasks have kept all threads of its worker."
                        ) from None
        except (OSError, RuntimeError) as error:
            raise Ended(f"The worker of rank {min(self.rank, other)} was lost: {error}") from error


@dataclass
class Placed:
    """Collections cut alike, computed, and divided among workers.

    columns : for each collection a future of every block, None for one that was not passed
    rows : of each block
    shares : for each worker its blocks, by number
    """

    columns: list[list[Any] | None]
    rows: list[int]
    shares: dict[str, list[int]]


def train(
    client: Any,
    training: Sequence[Sequence[Any] | None],
    validation: Sequence[Sequence[Any] | None],
    fit: Callable[..., Any],
    *,
    timeout: float,
) -> Any:
    """Run ``fit`` on every worker that gets rows, in one group; returns what rank 0 returns.

    training, validation : for each collection its blocks of rows, delayed; the arguments of ``fit`` in their order
    timeout : seconds that a rank waits for another

    Raises what ``fit`` raises on some rank, BackendError where a worker is lost.
    """
    if client.asynchronous:
        raise InputError("A fit waits for the cluster, which an asynchronous client cannot. Pass a synchronous Client.")
    workers = sorted(client.nthreads())
    if not workers:
        raise BackendError("Training needs a cluster with workers; this one has none. Add some: cluster.scale(2).")
    # No rank begins before all blocks are there: on a worker's only thread it would keep them from being computed.
    rows = _placed(client, training, workers)
    if not sum(rows.rows):
        raise InputError("Training needs at least one row; X has none.")
    ranks = list(rows.shares)
    held_out = _placed(client, validation, ranks) if validation else None
    parts = {at: [*_joined(client, rows, at), *_joined(client, held_out, at)] for at in ranks}
    owners = owners_of(list(rows.shares.values()), rows.rows)
    del rows, held_out  # the workers keep what was put together, and blocks that someone else holds
    joining = {part: at for at, columns in parts.items() for part in columns if part is not None}
    started = list(joining)
    try:
        _watch(client, joining, ranks)
        exchanges = [client.submit(Exchange, actor=True, workers=[at], pure=False) for at in ranks]
        started += exchanges
        arguments = fit, client.gather(exchanges), owners, timeout
        for rank, (at, columns) in enumerate(parts.items()):
            started.append(client.submit(_rank, rank, *arguments, columns, workers=[at], pure=False))
        begun = started[-len(ranks) :]
        _watch(client, dict(zip(begun, ranks, strict=True)), ranks)
        return begun[0].result()
    finally:
        client.cancel(started[::-1])  # ranks that still run notice it when they next meet


def _placed(client: Any, columns: Sequence[Sequence[Any] | None], workers: Sequence[str]) -> Placed:
    """Compute blocks, count their rows, and choose a worker for each."""
    from distributed import futures_of

    blocks = [block for column in columns if column is not None for block in column]
    found = iter([futures_of(block)[0] for block in client.persist(blocks)])
    computed = [None if column is None else [next(found) for _ in column] for column in columns]
    counts = [None if column is None else client.map(rows_of, column, pure=False) for column in computed]
    rows, *others = [column for column in client.gather(counts) if column is not None]
    for other in others:
        for block, (a, b) in enumerate(zip(rows, other, strict=True)):
            if a != b:
                raise InputError(
                    f"Block {block} of X has {a} rows, that of y or sample_weight {b}. Repartition them alike."
                )
    assert computed[0] is not None
    where = client.who_has(computed[0])
    holders = [where.get(future.key, ()) for future in computed[0]]
    return Placed(computed, rows, place(rows, holders, workers))


def _joined(client: Any, placed: Placed | None, at: str) -> list[Any]:
    """A future of each collection's rows that one worker takes, put together there; None for what was not passed.

    A worker without a block is given the first one, cut to no rows.
    """
    if placed is None:
        return []
    share = placed.shares.get(at)
    return [
        None
        if column is None
        else client.submit(together, [column[k] for k in share], workers=[at], pure=False)
        if share
        else client.submit(getitem, column[0], slice(0), pure=False)
        for column in placed.columns
    ]


def _rank(
    rank: int, fit: Callable[..., Any], exchanges: list[Any], owners: Owners | None, timeout: float, parts: list[Any]
) -> Any:
    """Train on one worker; rank 0 returns what was fitted."""
    from distributed import secede

    # Ranks of two fits that begin in another order on each worker would otherwise keep the threads that both wait for.
    secede()
    group = DaskGroup(rank, exchanges, timeout)
    if group.size == 1:
        # It meets no other rank, where it would see that the client no longer waits.
        return fit(rank, parts, callbacks=[lambda training: group.check_wanted()])
    with use_group(group, data="own"), owning(owners):
        fitted = fit(rank, parts)
    return fitted if rank == 0 else None


def _watch(client: Any, tasks: dict[Any, str], ranks: Sequence[str]) -> None:
    """Wait for tasks on the workers of ranks. Raises the error of the first that fails, BackendError for a lost worker.

    tasks : the worker of each future; ranks : the worker of each rank
    """
    from distributed import wait

    pending, looked, ended, until = set(tasks), 0.0, None, 0.0
    while pending or ended:
        done: set[Any] = set()
        with suppress(TimeoutError):
            done, pending = wait(pending, timeout=POLL, return_when="FIRST_COMPLETED")
        for future in done:
            if future.status == "finished":
                continue
            error = future.exception()
            _check_there(client, ranks)  # what is lost with a worker has errors of its own
            if not isinstance(error, Ended):
                error.add_note(f"This is the error of rank {ranks.index(tasks[future])} of {len(ranks)}.")
                raise error
            if ended is None:  # a rank could not talk to another, whose worker the cluster will soon find lost
                ended, until = error, time.monotonic() + NOTICED
        if ended or time.monotonic() - looked > 5 * POLL:
            looked = time.monotonic()
            _check_there(client, ranks)
        if ended and looked > until:
            raise ended


def _check_there(client: Any, ranks: Sequence[str]) -> None:
    """Raise BackendError for a worker that is no longer there."""
    there = client.nthreads()
    for rank, worker in enumerate(ranks):
        if worker not in there:
            raise BackendError(
                f"Worker {worker}, rank {rank} of {len(ranks)}, was lost while it trained. Look into its log, for "
                "memory above all, and fit again."
            )
