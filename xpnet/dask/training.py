"""A training on the workers of a cluster: a rank on each, and a client that watches them."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

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
    """Run ``fit`` on every worker that gets rows, in one group; returns what rank 0 returns.

    training, validation : the blocks of rows of each collection, delayed, by the argument that they
    are for timeout : seconds that a rank waits for another

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
    # No rank begins before all blocks are there: on a worker's only thread it would keep them from
    # being computed.
    columns, rows, shares = placed(client, training, workers)
    if not sum(rows):
        raise InputError("`X` must have at least one row to train on; got none.")
    ranks = list(shares)
    parts = {at: joined(client, columns, share, at) for at, share in shares.items()}
    if validation:
        columns, _, held_out = placed(client, validation, ranks)
        for at in ranks:
            parts[at] |= joined(client, columns, held_out.get(at, []), at)
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
            if (
                ended is None
            ):  # a rank could not talk to another, whose worker the cluster will soon find lost
                ended = error
                until = time.monotonic() + LOSS_NOTICED_SECONDS
        if ended and time.monotonic() > until:
            raise ended
