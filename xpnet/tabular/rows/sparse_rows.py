"""Encoded rows most of whose inputs are 0, such as those of categories, as sparse matrices.

A category has an input for each of its values, of which one is not 0. A step makes the rows of a
batch dense, so that it trains on the same numbers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy
from scipy.sparse import csr_array
from sklearn.utils import gen_batches

from xpnet.models.inputs import is_sparse
from xpnet.tabular.encodings.encoding import Encoding
from xpnet.training import LabeledRows
from xpnet.typing import Array, SparseMatrix

MIN_INPUTS_OF_A_NUMBER = 4
"""Number of inputs for each one that is not 0 from which rows are sparse. A number of a sparse
matrix takes as much memory as two of a dense one, and a step reads it less fast."""
NUMBERS_AT_ONCE = 2**20
"""Numbers of a sparse matrix that are scaled at once; it bounds temporary memory."""


def max_filled(encodings: Sequence[Encoding]) -> int:
    """Return the maximum number of inputs of a row that are not 0."""
    return sum(encoding.as_codes().shape[1] + encoding.bins for encoding in encodings)


def are_mostly_zeros(encodings: Sequence[Encoding]) -> bool:
    """Return whether rows take less memory as a sparse matrix."""
    inputs = sum(len(encoding.labels) for encoding in encodings)
    return inputs >= MIN_INPUTS_OF_A_NUMBER * max_filled(encodings)


def compressed(
    parts: Iterable[numpy.ndarray], shape: tuple[int, int], dtype: numpy.dtype, filled: int
) -> SparseMatrix:
    """Return rows as a sparse matrix of compressed rows.

    parts : (some rows, inputs), one after the other; shape : of all rows
    filled : maximum number of inputs of a row that are not 0
    """
    numbers = numpy.empty(shape[0] * filled, dtype)  # Pages that are not written take no memory.
    index = numpy.int32 if len(numbers) <= numpy.iinfo(numpy.int32).max else numpy.int64
    columns = numpy.empty(len(numbers), index)
    counts = numpy.zeros(shape[0] + 1, index)
    row = end = 0
    for part in parts:
        is_filled = part != 0
        places = numpy.flatnonzero(is_filled)
        own = slice(end, end + len(places))
        numbers[own] = part.reshape(-1)[places]
        columns[own] = places % shape[1]
        counts[row + 1 : row + 1 + len(part)] = is_filled.sum(axis=1)
        row, end = row + len(part), own.stop
    starts = numpy.cumsum(counts, dtype=index)
    return csr_array((numbers[:end], columns[:end], starts), shape)


def dense_rows(X: numpy.ndarray | SparseMatrix) -> numpy.ndarray:
    """Return rows as a dense matrix: (rows, inputs)."""
    return X if isinstance(X, numpy.ndarray) else X.toarray()


def scaled(rows: LabeledRows, factors: Array) -> LabeledRows:
    """Return rows whose inputs are multiplied by factors. factors : (inputs,)"""
    X = rows.X
    if not is_sparse(X):
        return replace(rows, X=X * factors)
    result = replace(rows, X=csr_array((X.data.copy(), X.indices, X.indptr), X.shape))
    scale(result, factors)
    return result


def scale(rows: LabeledRows, factors: Array) -> None:
    """Multiply the inputs of rows by factors, where they lie unless their arrays cannot change."""
    X = rows.X
    if not is_sparse(X):
        rows.X *= factors  # JAX makes another array.
        return
    for part in gen_batches(len(X.data), NUMBERS_AT_ONCE):
        X.data[part] *= factors[X.indices[part]]
