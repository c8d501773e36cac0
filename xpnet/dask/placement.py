"""The blocks of Dask collections: computed, placed on workers, and put together there."""

from collections.abc import Sequence
from operator import getitem
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy
from dask import is_dask_collection
from dask.delayed import Delayed
from distributed import Client, futures_of
from scipy.sparse import issparse, vstack

from xpnet.distributed.ranks import ShardMap
from xpnet.errors import InputError

if TYPE_CHECKING:
    import dask.array.core
    import dask.dataframe

Collection: TypeAlias = "dask.array.core.Array | dask.dataframe.DataFrame | dask.dataframe.Series"
"""Rows, labels or weights in blocks on a cluster."""

BlocksByName = dict[str, Any]
"""Rows to train on, or to validate on, by the argument of ``fit`` that they are for: collections,
or their blocks.
"""


class PlacedBlocks(NamedTuple):
    """Blocks that workers compute, and the worker that takes each.

    columns : for each collection, by name, a future of each block
    rows : the number of rows of each block
    shares : the numbers of the blocks that each worker takes, by its address
    """

    columns: BlocksByName
    rows: list[int]
    shares: dict[str, list[int]]


def placed(client: Client, columns: BlocksByName, workers: Sequence[str]) -> PlacedBlocks:
    """Compute blocks, and choose a worker for each."""
    persisted = iter(client.persist([block for column in columns.values() for block in column]))
    computed = {
        name: [futures_of(next(persisted))[0] for _ in column] for name, column in columns.items()
    }
    counts = client.gather(
        [client.map(rows_of, column, pure=False) for column in computed.values()]
    )
    for block, of_columns in enumerate(zip(*counts, strict=True)):
        if len(set(of_columns)) > 1:
            raise InputError(
                "The blocks of `X`, `y` and `sample_weight` must have the same rows; got "
                f"{', '.join(map(str, of_columns))} rows in block {block}. Repartition them alike."
            )
    first = next(iter(computed.values()))
    rows = counts[0]
    where = client.who_has(first)
    holders = [where.get(future.key, ()) for future in first]
    return PlacedBlocks(computed, rows, place(rows, holders, workers))


def joined(
    client: Client, columns: BlocksByName, share: Sequence[int], worker: str
) -> BlocksByName:
    """Return a future of each collection's rows that one worker takes, put together there.

    A worker without a block gets the first one, cut to no rows.
    """
    if not share:
        return {
            name: client.submit(getitem, column[0], slice(0), pure=False)
            for name, column in columns.items()
        }
    return {
        name: client.submit(together, [column[k] for k in share], workers=[worker], pure=False)
        for name, column in columns.items()
    }


def partitions(collections: BlocksByName) -> BlocksByName:
    """Return the blocks of collections of the same rows, as delayed values, by name.

    Weights that are None are left out.

    collections : first a Dask array (rows, features) or data frame, then Dask arrays, series or
        frames with its rows

    Raises InputError for other objects than Dask collections, and for collections of other blocks
    if neither can be divided again.
    """
    X, *_ = collections.values()
    present = {
        name: column
        for name, column in collections.items()
        if column is not None or "weight" not in name
    }
    columns = {name: _blocks(column, X) for name, column in present.items()}
    counts = {len(column) for column in columns.values()}
    if len(counts) > 1:
        raise InputError(
            "`X`, `y` and `sample_weight` must be cut into the same blocks of rows; got "
            f"{sorted(counts)} blocks. Repartition them alike."
        )
    return columns


def _blocks(collection: Any, like: object) -> list[Delayed]:
    """Return the blocks of rows of a collection as delayed values; an array is first cut like
    ``like``, if all sizes are known.
    """
    if not is_dask_collection(collection):
        raise InputError(
            "`X`, `y` and `sample_weight` must be Dask arrays, frames or series; got "
            f"{type(collection).__name__}. Make one with dask.array.from_array, or fit xpnet's own "
            "estimator."
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
    """Return the numbers of the blocks that each worker takes, in their order; a worker without
    a block is left out.

    A block stays on a worker that holds it, unless that worker has its share of the rows already.
    Then the block goes to the worker with the fewest rows.

    rows : of each block; holders : the workers that hold it; workers : all that take part
    """
    fair_share = sum(rows) / len(workers)
    rows_of = dict.fromkeys(workers, 0)
    shares: dict[str, list[int]] = {}
    for block, (count, held_by) in enumerate(zip(rows, holders, strict=True)):
        with_room = [
            at for at in held_by if at in rows_of and rows_of[at] + count / 2 <= fair_share
        ]
        at = min(with_room or workers, key=lambda worker: rows_of[worker])
        rows_of[at] += count
        shares.setdefault(at, []).append(block)
    return shares


def shard_map_of(shares: Sequence[Sequence[int]], rows: Sequence[int]) -> ShardMap | None:
    """Return each row's rank; None where the rows of one rank follow those of the rank before it.

    shares : for each rank the blocks that it takes, by number; rows : of each block
    """
    if [block for share in shares for block in share] == list(range(len(rows))):
        return None
    owner = numpy.zeros(len(rows), "int32")
    shift = numpy.cumsum([0, *rows])[:-1]
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
