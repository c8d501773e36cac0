"""How the partitions of Dask collections are divided among workers, and put together there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from xpnet.errors import InputError


def is_collection(value: Any) -> bool:
    """Whether this is an array or a data frame of Dask."""
    import dask

    return bool(dask.is_dask_collection(value))


def partitions(X: Any, *beside: Any) -> list[tuple[Any, ...]]:
    """For each block of rows its X and what lies beside it, as delayed values.

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
    (count,) = counts
    return [tuple(None if column is None else column[k] for column in columns) for k in range(count)]


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


def divide(blocks: Sequence[Any], workers: Sequence[str]) -> dict[str, list[Any]]:
    """Blocks for each worker, in their order, about as many for each; a worker without a block is left out."""
    count = min(len(workers), len(blocks))
    edges = [len(blocks) * k // count for k in range(count + 1)]
    return {worker: list(blocks[edges[k] : edges[k + 1]]) for k, worker in enumerate(workers[:count])}


def together(parts: Sequence[Any]) -> Any:
    """The rows of all parts, one after the other: an array or a frame; None for parts that are None."""
    if parts[0] is None or len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], numpy.ndarray):
        return numpy.concatenate(parts)
    import pandas

    return pandas.concat(parts)


@dataclass(frozen=True)
class Blockwise:
    """A method of a fitted estimator, called on one block of rows."""

    estimator: Any
    method: str

    def __call__(self, block: Any) -> Any:
        """What the method finds: an array for an array, a series or frame for a frame."""
        is_frame = hasattr(block, "columns")
        # Estimators refuse no rows; what they find for one row has the dtype and the columns.
        rows = block if len(block) else numpy.zeros((1, block.shape[1]))
        if is_frame and not len(block):
            rows = type(block)(rows, columns=block.columns)
        found = getattr(self.estimator, self.method)(rows)[: len(block)]
        return self._framed(found, block.index) if is_frame else found

    def _framed(self, found: Any, index: Any) -> Any:
        import pandas

        if found.ndim == 1:
            return pandas.Series(found, index)
        return pandas.DataFrame(found, index, getattr(self.estimator, "classes_", None))


def predict_blocks(estimator: Any, method: str, X: Any) -> Any:
    """A Dask array, series or frame of what a method finds for each block of rows of X."""
    blockwise = Blockwise(estimator, method)
    if not hasattr(X, "chunks"):
        return X.map_partitions(blockwise, meta=blockwise(X._meta))
    X = X.rechunk({1: -1})
    example = blockwise(numpy.zeros((0, X.shape[1])))
    chunks = (X.chunks[0], *((width,) for width in example.shape[1:]))
    return X.map_blocks(blockwise, dtype=example.dtype, chunks=chunks, drop_axis=[1] if example.ndim == 1 else [])
