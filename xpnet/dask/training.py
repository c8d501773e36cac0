"""A training on the workers of a cluster: a rank on each, and a client that watches them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from xpnet.dask.group import DaskGroup, Ended, Exchange
from xpnet.dask.pieces import divide, together
from xpnet.dispatch import use_group
from xpnet.errors import BackendError, InputError

POLL = 0.2
"""Seconds between two looks at the ranks."""


def train(client: Any, blocks: Sequence[tuple[Any, ...]], fit: Callable[..., Any], *, timeout: float) -> Any:
    """Run ``fit(X, y, sample_weight, ...)`` on every worker that gets rows, in one group; returns what rank 0 returns.

    blocks : for each block of rows, delayed values in the order of ``fit``'s arguments
    timeout : seconds that a rank waits for another

    Raises what ``fit`` raises on some rank, BackendError where a worker is lost.
    """
    workers = sorted(client.nthreads())
    if not workers:
        raise BackendError("Training needs a cluster with workers; this one has none. Add some: cluster.scale(2).")
    if not blocks:
        raise InputError("Training needs at least one row; X has none.")
    shares = divide(blocks, workers)
    with _exchange(client, len(shares), next(iter(shares))) as exchange:
        ranks = {
            at: client.submit(
                _rank, fit, rank, len(shares), exchange, timeout, _parts(client, share, at), workers=[at], pure=False
            )
            for rank, (at, share) in enumerate(shares.items())
        }
        try:
            _watch(client, ranks, exchange)
            return next(iter(ranks.values())).result()
        finally:
            client.cancel(list(ranks.values()))


@contextmanager
def _exchange(client: Any, size: int, worker: str) -> Iterator[Any]:
    """The actor at which the ranks meet, on one worker."""
    future = client.submit(Exchange, size, actor=True, workers=[worker], pure=False)
    try:
        yield future.result()
    finally:
        client.cancel([future])


def _parts(client: Any, share: Sequence[tuple[Any, ...]], worker: str) -> list[list[Any]]:
    """Futures of a rank's blocks, computed on its worker: for each argument of ``fit`` one list."""
    columns = zip(*share, strict=True)
    return [
        [None] * len(share) if column[0] is None else client.compute(list(column), workers=[worker])
        for column in columns
    ]


def _rank(fit: Callable[..., Any], rank: int, size: int, exchange: Any, timeout: float, parts: list[list[Any]]) -> Any:
    """What runs on one worker; rank 0 returns what was fitted."""
    arguments = [together(column) for column in parts]
    if size == 1:
        return fit(*arguments)
    with use_group(DaskGroup(rank, size, exchange, timeout), data="own"):
        fitted = fit(*arguments)
    return fitted if rank == 0 else None


def _watch(client: Any, ranks: dict[str, Any], exchange: Any) -> None:
    """Wait for all ranks. Raises the error of the one that failed, or tells the others that a worker was lost."""
    looked = time.monotonic()
    while not all(future.done() for future in ranks.values()):
        time.sleep(POLL)
        if time.monotonic() - looked > 5 * POLL:
            looked = time.monotonic()
            for rank, worker in enumerate(ranks):
                if worker not in client.nthreads():
                    reason = f"Worker {worker}, rank {rank} of {len(ranks)}, was lost while it trained"
                    exchange.fail(reason)
                    raise BackendError(f"{reason}. Look into its log, for memory above all, and fit again.")
    errors = [error for future in ranks.values() if (error := future.exception()) is not None]
    # Of a rank that failed and those that were told so, the first has the reason.
    errors.sort(key=lambda error: isinstance(error, Ended))
    if errors:
        raise errors[0]
