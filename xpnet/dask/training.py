"""A training on the workers of a cluster: a rank on each, and a client that watches them."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from distributed import Client, Future, secede, wait

from xpnet.dask.exchange import POLL_SECONDS, DaskGroup, Ended, Exchange
from xpnet.dask.placement import BlocksByName, joined, placed, shard_map_of
from xpnet.distributed import use_group
from xpnet.distributed.ranks import ShardMap, using_shard_map
from xpnet.errors import BackendError, InputError
from xpnet.estimators.mlp import MLP

if TYPE_CHECKING:
    from distributed import Actor

LOSS_NOTICED_SECONDS = 10.0
"""Seconds in which the cluster notices that a worker is lost to which another could not talk."""


def train(
    client: Client,
    training: BlocksByName,
    validation: BlocksByName,
    fit: Callable[..., object],
    *,
    timeout: float,
) -> "MLP":
    """Run ``fit`` on every worker that gets rows, in one group; return what rank 0 returns.

    training, validation : the delayed blocks of each collection, by the argument they are for
    timeout : seconds that a rank waits for another

    Raises what ``fit`` raises on some rank, BackendError where a worker is lost.
    """
    if client.asynchronous:
        raise InputError(
            "The client must be synchronous, since a fit waits for the cluster; got an "
            "asynchronous one. Pass a synchronous Client."
        )
    workers = sorted(client.nthreads())
    if not workers:
        raise BackendError("The cluster must have workers; got none. Add some: cluster.scale(2).")
    parts, shard_map = _data_of_ranks(client, training, validation, workers)
    ranks = list(parts)  # the worker of each rank
    joining = {part: worker for worker, own in parts.items() for part in own.values()}
    started = list(joining)
    try:
        # No rank begins before its rows are put together: on a worker's only thread it would keep
        # them from being computed.
        _watch(client, joining, ranks)
        exchanges = [
            client.submit(Exchange, actor=True, workers=[worker], pure=False) for worker in ranks
        ]
        started += exchanges
        arguments = (fit, client.gather(exchanges), shard_map, timeout)
        for rank, (worker, own) in enumerate(parts.items()):
            fit_of_rank = client.submit(_rank, rank, *arguments, own, workers=[worker], pure=False)
            started.append(fit_of_rank)
        fits = started[-len(ranks) :]
        _watch(client, dict(zip(fits, ranks, strict=True)), ranks)
        return fits[0].result()
    finally:
        client.cancel(started[::-1])  # ranks that still run notice it when they next meet


class RankData(NamedTuple):
    """The data of the ranks of a fit.

    parts : by the worker of each rank, in the order of the ranks, a future of each argument
    shard_map : the rank of each row; None where the rows of one rank follow those before
    """

    parts: dict[str, BlocksByName]
    shard_map: ShardMap | None


def _data_of_ranks(
    client: Client, training: BlocksByName, validation: BlocksByName, workers: Sequence[str]
) -> RankData:
    """Compute the blocks, and have each worker that gets rows put its own together.

    The futures of the blocks are released on return, so that the workers keep only what was put
    together, and blocks that someone else holds.

    Raises InputError for no rows.
    """
    blocks = placed(client, training, workers)
    if not sum(blocks.rows):
        raise InputError("`X` must have at least one row to train on; got none.")
    shard_map = shard_map_of(list(blocks.shares.values()), blocks.rows)
    parts = {
        worker: joined(client, blocks.columns, share, worker)
        for worker, share in blocks.shares.items()
    }
    if validation:
        blocks = placed(client, validation, list(parts))
        for worker, own in parts.items():
            own |= joined(client, blocks.columns, blocks.shares.get(worker, []), worker)
    return RankData(parts, shard_map)


def _rank(
    rank: int,
    fit: Callable[..., object],
    exchanges: "list[Actor]",
    shard_map: ShardMap | None,
    timeout: float,
    parts: BlocksByName,
) -> object:
    """Train on one worker; rank 0 returns what was fitted."""
    # Ranks of two fits that begin in another order on each worker would otherwise keep the threads
    # that both wait for.
    secede()
    group = DaskGroup(rank, exchanges, timeout)
    with use_group(group, data="own"), using_shard_map(shard_map):
        # A single rank meets no other, where it would see that the client no longer waits.
        fitted = fit(rank, parts, lambda training: group.check_wanted())
    return fitted if rank == 0 else None


def _watch(client: Client, tasks: dict[object, str], ranks: Sequence[str]) -> None:
    """Wait for tasks on the workers of ranks. Raises the error of the first that fails,
    BackendError for a lost worker.

    tasks : the worker of each future; ranks : the worker of each rank
    """
    pending = set(tasks)
    ended = None
    until = 0.0
    while pending or ended:
        done: set[Future] = set()
        with suppress(TimeoutError):
            done, pending = wait(pending, timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")
        alive = client.nthreads()
        # Lost workers are looked for first, since their tasks fail with other errors.
        for rank, worker in enumerate(ranks):
            if worker not in alive:
                raise BackendError(
                    f"Worker {worker}, rank {rank} of {len(ranks)}, was lost while it trained. "
                    "Look into its log, for memory above all, and fit again."
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
            # A rank could not talk to another, whose worker the cluster will soon find lost.
            if ended is None:
                ended = error
                until = time.monotonic() + LOSS_NOTICED_SECONDS
        if ended and time.monotonic() > until:
            raise ended
