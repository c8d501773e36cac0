"""The partitions of Dask collections: which worker takes which, how they are put together, and predictions for each."""

from collections.abc import Sequence
from typing import Any

import numpy
from scipy.sparse import issparse, vstack

from xpnet.distributed.ranks import Owners
from xpnet.errors import InputError


def is_collection(value: Any) -> bool:
    """Return whether this is an array or a data frame of Dask."""
    import dask

    return bool(dask.is_dask_collection(value))


def partitions(X: Any, *beside: Any) -> list[list[Any] | None]:
    """The blocks of X, and of each collection that lies beside it, as delayed values.

    X : a Dask array (rows, features) or data frame; beside : Dask arrays, series or frames with its rows, or None

    Raises InputError for what is no Dask collection, or is cut into other blocks where neither can be cut anew.
    """
    columns = [_blocks(X, X)] + [None if other is None else _blocks(other, X) for other in beside]
    counts = {len(column) for column in columns if column is not None}
    if len(counts) > 1:
        raise InputError(
            f"X, y and sample_weight are cut into the same blocks of rows; received {sorted(counts)} blocks. "
            "Repartition them alike."
        )
    return columns


def _blocks(collection: Any, like: Any) -> list[Any]:
    if not is_collection(collection):
        raise InputError(
            f"X, y and sample_weight are Dask arrays, frames or series; received {type(collection).__name__}. "
            "Make one with dask.array.from_array, or fit xpnet's own estimator."
        )
    if hasattr(collection, "npartitions") and not hasattr(collection, "chunks"):
        return list(collection.to_delayed())
    rows = like.chunks[0] if hasattr(like, "chunks") else collection.chunks[0]
    if not any(numpy.isnan(size) for size in (*rows, *collection.chunks[0])):
        collection = collection.rechunk({0: rows, **{axis: -1 for axis in range(1, collection.ndim)}})
    return list(collection.to_delayed().ravel())


def place(rows: Sequence[int], holders: Sequence[Sequence[str]], workers: Sequence[str]) -> dict[str, list[int]]:
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


def owners_of(shares: Sequence[Sequence[int]], rows: Sequence[int]) -> Owners | None:
    """Return each row's rank; None where the rows of one rank follow those of the rank before it.

    shares : for each rank the blocks that it takes, by number; rows : of each block
    """
    if [block for share in shares for block in share] == list(range(len(rows))):
        return None
    owner, shift = numpy.zeros(len(rows), "int32"), numpy.cumsum([0, *rows])[:-1]
    for rank, share in enumerate(shares):
        owner[share] = rank
        shift[share] -= numpy.cumsum([0, *(rows[block] for block in share)])[:-1]
    return Owners(numpy.repeat(owner, rows), numpy.arange(sum(rows)) - numpy.repeat(shift, rows))


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
        return X.map_partitions(_of_block, estimator, method, meta=_of_block(X._meta, estimator, method))
    X = X.rechunk({1: -1})
    example = _of_block(numpy.zeros((0, X.shape[1])), estimator, method)
    chunks = (X.chunks[0], *((width,) for width in example.shape[1:]))
    shape: dict[str, Any] = {"chunks": chunks, "drop_axis": [1] if example.ndim == 1 else []}
    return X.map_blocks(_of_block, estimator, method, dtype=example.dtype, **shape)
