"""A training on the workers of a cluster: a rank on each, its partitions of the rows, and a client that watches them.

The ranks exchange arrays in pairs. Dask's workers talk to each other already, through firewalls, over TLS, and tell
when one is lost; another transport (MPI, gloo) would have to be set up beside that on every worker. Each rank has an
actor on its worker, at which the ranks after it bring their arrays. A sum takes log2 of the number of ranks in
exchanges, each of some milliseconds.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import getitem
from typing import Any

import numpy
from dask import is_dask_collection
from distributed import futures_of, get_worker, secede, wait
from scipy.sparse import issparse, vstack

from xpnet.backend.group import Value
from xpnet.distributed import use_group
from xpnet.distributed.ranks import ShardMap, using_shard_map
from xpnet.errors import BackendError, InputError
from xpnet.ops import Array

NOTICED = 10.0
"""Seconds in which the cluster notices that a worker is lost to which another could not talk."""

POLL = 0.2
"""Seconds after which a rank that waits looks whether the client still wants its result."""

Columns = dict[str, Any]
"""Rows to train on, or to validate on, by the argument of ``fit`` that they are for: collections, or their blocks."""

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
        self.rank, self.size, self._exchanges, self._timeout, self._turn = (
            rank,
            len(exchanges),
            exchanges,
            timeout,
            0,
        )
        self._worker = get_worker()
        self._task = self._worker.get_current_task()

    def allreduce(self, array: Array) -> Array:
        """See :class:`xpnet.backend.Group`: pairs add up, then pairs of pairs (recursive doubling).

        In each pair both compute the same sum, so that all ranks have the same bits.
        """
        self._turn += 1
        paired = 1 << (
            self.size.bit_length() - 1
        )  # ranks beyond a power of two hand theirs to one that is paired
        total = numpy.array(
            array
        )  # a copy, which nobody writes to: a worker in this process is given it as it is
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
            except (ValueError, RuntimeError) as error:  # by the version of Dask
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
        except BackendError:  # a RuntimeError, too
            raise
        except (OSError, RuntimeError) as error:
            raise Ended(f"The worker of rank {min(self.rank, other)} was lost: {error}") from error


def train(
    client: Any, training: Columns, validation: Columns, fit: Callable[..., Any], *, timeout: float
) -> Any:
    """Run ``fit`` on every worker that gets rows, in one group; returns what rank 0 returns.

    training, validation : the blocks of rows of each collection, delayed, by the argument that they are for
    timeout : seconds that a rank waits for another

    Raises what ``fit`` raises on some rank, BackendError where a worker is lost.
    """
    if client.asynchronous:
        raise InputError(
            "A fit waits for the cluster, which an asynchronous client cannot. Pass a synchronous Client."
        )
    workers = sorted(client.nthreads())
    if not workers:
        raise BackendError(
            "Training needs a cluster with workers; this one has none. Add some: cluster.scale(2)."
        )
    # No rank begins before all blocks are there: on a worker's only thread it would keep them from being computed.
    columns, rows, shares = _placed(client, training, workers)
    if not sum(rows):
        raise InputError("Training needs at least one row; X has none.")
    ranks = list(shares)
    parts = {at: _joined(client, columns, share, at) for at, share in shares.items()}
    if validation:
        columns, _, held_out = _placed(client, validation, ranks)
        for at in ranks:
            parts[at] |= _joined(client, columns, held_out.get(at, []), at)
    del columns  # the workers keep what was put together, and blocks that someone else holds
    joining = {part: at for at, own in parts.items() for part in own.values()}
    started = list(joining)
    try:
        _watch(client, joining, ranks)
        exchanges = [client.submit(Exchange, actor=True, workers=[at], pure=False) for at in ranks]
        started += exchanges
        arguments = (
            fit,
            client.gather(exchanges),
            shard_map_of(list(shares.values()), rows),
            timeout,
        )
        for rank, (at, own) in enumerate(parts.items()):
            started.append(client.submit(_rank, rank, *arguments, own, workers=[at], pure=False))
        begun = started[-len(ranks) :]
        _watch(client, dict(zip(begun, ranks, strict=True)), ranks)
        return begun[0].result()
    finally:
        client.cancel(started[::-1])  # ranks that still run notice it when they next meet


def _placed(
    client: Any, columns: Columns, workers: Sequence[str]
) -> tuple[Columns, list[int], dict[str, list[int]]]:
    """Compute blocks, and choose a worker for each.

    returns a future of every block of each collection, the rows of each block, and each worker's blocks by number
    """
    found = iter(client.persist([block for column in columns.values() for block in column]))
    computed = {
        name: [futures_of(next(found))[0] for _ in column] for name, column in columns.items()
    }
    counts = client.gather(
        [client.map(rows_of, column, pure=False) for column in computed.values()]
    )
    for block, of_columns in enumerate(zip(*counts, strict=True)):
        if len(set(of_columns)) > 1:
            raise InputError(
                f"The blocks of X, y and sample_weight have the same rows; those of block {block} have "
                f"{', '.join(map(str, of_columns))}. Repartition them alike."
            )
    first, rows = next(iter(computed.values())), counts[0]
    where = client.who_has(first)
    return computed, rows, place(rows, [where.get(future.key, ()) for future in first], workers)


def _joined(client: Any, columns: Columns, share: Sequence[int], at: str) -> Columns:
    """A future of each collection's rows that one worker takes, put together there.

    A worker without a block is given the first one, cut to no rows.
    """
    if not share:
        return {
            name: client.submit(getitem, column[0], slice(0), pure=False)
            for name, column in columns.items()
        }
    return {
        name: client.submit(together, [column[k] for k in share], workers=[at], pure=False)
        for name, column in columns.items()
    }


def _rank(
    rank: int,
    fit: Callable[..., Any],
    exchanges: list[Any],
    shard_map: ShardMap | None,
    timeout: float,
    parts: Columns,
) -> Any:
    """Train on one worker; rank 0 returns what was fitted."""
    # Ranks of two fits that begin in another order on each worker would otherwise keep the threads that both wait for.
    secede()
    group = DaskGroup(rank, exchanges, timeout)
    with use_group(group, data="own"), using_shard_map(shard_map):
        # A single rank meets no other, where it would see that the client no longer waits.
        fitted = fit(rank, parts, lambda training: group.check_wanted())
    return fitted if rank == 0 else None


def _watch(client: Any, tasks: dict[Any, str], ranks: Sequence[str]) -> None:
    """Wait for tasks on the workers of ranks. Raises the error of the first that fails, BackendError for a lost worker.

    tasks : the worker of each future; ranks : the worker of each rank
    """
    pending, ended, until = set(tasks), None, 0.0
    while pending or ended:
        done: set[Any] = set()
        with suppress(TimeoutError):
            done, pending = wait(pending, timeout=POLL, return_when="FIRST_COMPLETED")
        there = client.nthreads()
        for rank, worker in enumerate(
            ranks
        ):  # first, since what is lost with a worker has errors of its own
            if worker not in there:
                raise BackendError(
                    f"Worker {worker}, rank {rank} of {len(ranks)}, was lost while it trained. Look into its log, for "
                    "memory above all, and fit again."
                )
        for future in done:
            if future.status == "finished":
                continue
            error = future.exception()
            if not isinstance(error, Ended):
                error.add_note(
                    f"This is the error of rank {ranks.index(tasks[future])} of {len(ranks)}."
                )
                raise error
            if (
                ended is None
            ):  # a rank could not talk to another, whose worker the cluster will soon find lost
                ended, until = error, time.monotonic() + NOTICED
        if ended and time.monotonic() > until:
            raise ended


def partitions(collections: Columns) -> Columns:
    """The blocks of collections of the same rows, as delayed values, by name; weights may be None, and are left out.

    collections : first a Dask array (rows, features) or data frame, then Dask arrays, series or frames with its rows

    Raises InputError for what is no Dask collection, or is cut into other blocks where neither can be cut anew.
    """
    X, *_ = collections.values()
    given = {
        name: column
        for name, column in collections.items()
        if column is not None or "weight" not in name
    }
    columns = {name: _blocks(column, X) for name, column in given.items()}
    counts = {len(column) for column in columns.values()}
    if len(counts) > 1:
        raise InputError(
            f"X, y and sample_weight are cut into the same blocks of rows; received {sorted(counts)} blocks. "
            "Repartition them alike."
        )
    return columns


def _blocks(collection: Any, like: Any) -> list[Any]:
    if not is_dask_collection(collection):
        raise InputError(
            f"X, y and sample_weight are Dask arrays, frames or series; received {type(collection).__name__}. "
            "Make one with dask.array.from_array, or fit xpnet's own estimator."
        )
    if hasattr(collection, "npartitions") and not hasattr(collection, "chunks"):
        return list(collection.to_delayed())
    rows = like.chunks[0] if hasattr(like, "chunks") else collection.chunks[0]
    if not any(numpy.isnan(size) for size in (*rows, *collection.chunks[0])):
        collection = collection.rechunk(
            {0: rows, **{axis: -1 for axis in range(1, collection.ndim)}}
        )
    return list(collection.to_delayed().ravel())


def place(
    rows: Sequence[int], holders: Sequence[Sequence[str]], workers: Sequence[str]
) -> dict[str, list[int]]:
    """The blocks that each worker takes, by number, in their order; a worker without a block is left out.

    A block stays on a worker that holds it, unless that has its share of the rows without it: then the block goes to
    the worker that has the fewest.

    rows : of each block; holders : the workers that hold it; workers : all that take part
    """
    fair, taken = sum(rows) / len(workers), dict.fromkeys(workers, 0)
    shares: dict[str, list[int]] = {}
    for block, (count, held_by) in enumerate(zip(rows, holders, strict=True)):
        with_room = [at for at in held_by if at in taken and taken[at] + count / 2 <= fair]
        at = min(with_room or workers, key=lambda worker: taken[worker])
        taken[at] += count
        shares.setdefault(at, []).append(block)
    return shares


def shard_map_of(shares: Sequence[Sequence[int]], rows: Sequence[int]) -> ShardMap | None:
    """Return each row's rank; None where the rows of one rank follow those of the rank before it.

    shares : for each rank the blocks that it takes, by number; rows : of each block
    """
    if [block for share in shares for block in share] == list(range(len(rows))):
        return None
    owner, shift = numpy.zeros(len(rows), "int32"), numpy.cumsum([0, *rows])[:-1]
    for rank, share in enumerate(shares):
        owner[share] = rank
        shift[share] -= numpy.cumsum([0, *(rows[block] for block in share)])[:-1]
    return ShardMap(numpy.repeat(owner, rows), numpy.arange(sum(rows)) - numpy.repeat(shift, rows))


def rows_of(block: Any) -> int:
    """Return the number of rows of a block: an array, a sparse matrix or a frame."""
    return int(block.shape[0])


def together(parts: Sequence[Any]) -> Any:
    """Return the rows of all parts, one after the other: an array, a sparse matrix or a frame."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], numpy.ndarray):
        return numpy.concatenate(parts)
    if issparse(parts[0]):
        return vstack(parts, format="csr")
    import pandas

    return pandas.concat(parts)


def _of_block(block: Any, estimator: Any, method: str) -> Any:
    """Return what a method finds for a block of rows: an array for an array, a series or frame for a frame."""
    is_frame, count = hasattr(block, "columns"), rows_of(block)
    # Estimators refuse no rows; what they find for one row has the dtype and the columns.
    rows = block if count else numpy.zeros((1, block.shape[1]))
    if is_frame and not count:
        rows = type(block)(rows, columns=block.columns)
    found = getattr(estimator, method)(rows)[:count]
    if not is_frame:
        return found
    import pandas

    if found.ndim == 1:
        return pandas.Series(found, block.index)
    return pandas.DataFrame(found, block.index, getattr(estimator, "classes_", None))


def predict_blocks(estimator: Any, method: str, X: Any) -> Any:
    """A Dask array, series or frame of what a method finds for each block of rows of X."""
    if not hasattr(X, "chunks"):
        return X.map_partitions(
            _of_block, estimator, method, meta=_of_block(X._meta, estimator, method)
        )
    X = X.rechunk({1: -1})
    example = _of_block(numpy.zeros((0, X.shape[1])), estimator, method)
    chunks = (X.chunks[0], *((width,) for width in example.shape[1:]))
    shape: dict[str, Any] = {"chunks": chunks, "drop_axis": [1] if example.ndim == 1 else []}
    return X.map_blocks(_of_block, estimator, method, dtype=example.dtype, **shape)
