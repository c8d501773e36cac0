"""Predictions for Dask collections, block by block."""

from typing import Any

import numpy

from xpnet.dask.placement import rows_of
from xpnet.estimators.mlp import MLP


def _of_block(block: Any, estimator: MLP, method: str) -> Any:
    """Return the result of a method for a block of rows: an array for an array, a series or frame
    for a frame.
    """
    is_frame = hasattr(block, "columns")
    count = rows_of(block)
    # Estimators refuse an input without rows; the result for one row has the dtype and the columns.
    rows = block if count else numpy.zeros((1, block.shape[1]))
    if is_frame and not count:
        rows = type(block)(rows, columns=block.columns)
    predicted = getattr(estimator, method)(rows)[:count]
    if not is_frame:
        return predicted
    import pandas

    if predicted.ndim == 1:
        return pandas.Series(predicted, block.index)
    return pandas.DataFrame(predicted, block.index, getattr(estimator, "classes_", None))


def predict_blocks(estimator: MLP, method: str, X: Any) -> Any:
    """Return the results of a method for the blocks of X, as a Dask array, series or frame."""
    if not hasattr(X, "chunks"):
        return X.map_partitions(
            _of_block, estimator, method, meta=_of_block(X._meta, estimator, method)
        )
    X = X.rechunk({1: -1})
    example = _of_block(numpy.zeros((0, X.shape[1])), estimator, method)
    chunks = (X.chunks[0], *((width,) for width in example.shape[1:]))
    shape: dict[str, object] = {"chunks": chunks, "drop_axis": [1] if example.ndim == 1 else []}
    return X.map_blocks(_of_block, estimator, method, dtype=example.dtype, **shape)
