"""Rows of which most inputs are 0, and inputs that are multiplied by factors."""

import numpy
import pytest
from scipy.sparse import csr_array

from xpnet.tabular.rows import sparse_rows
from xpnet.tabular.rows.sparse_rows import compressed, dense_rows, scale, scaled
from xpnet.training import LabeledRows


@pytest.mark.parametrize("at_once", [1, 2, 100])
@pytest.mark.parametrize("filled", [3, 4])
def test_rows_of_zeros_as_a_sparse_matrix(
    monkeypatch: pytest.MonkeyPatch, at_once: int, filled: int
) -> None:
    X = numpy.array(
        [[0, 1, 0, 2.0], [0, 0, 0, 0], [3, 0, 4, 5], [0, 0, 6, 0], [7, 0, 0, 0]], numpy.float32
    )
    found = compressed([X[:2], X[2:2], X[2:3], X[3:]], X.shape, X.dtype, filled)
    numpy.testing.assert_array_equal(dense_rows(found), X)
    assert found.nnz == 7 and found.dtype == numpy.float32
    assert dense_rows(X) is X
    monkeypatch.setattr(sparse_rows, "NUMBERS_AT_ONCE", at_once)
    factors = numpy.array([2.0, 3.0, 5.0, 0.0])
    rows = LabeledRows(found, numpy.zeros(5))
    numpy.testing.assert_array_equal(scaled(rows, factors).X.toarray(), X * factors)
    numpy.testing.assert_array_equal(rows.X.toarray(), X)  # a copy was scaled
    scale(rows, factors)
    numpy.testing.assert_array_equal(rows.X.toarray(), X * factors)
    dense = LabeledRows(X.copy(), numpy.zeros(5))
    numpy.testing.assert_array_equal(scaled(dense, factors).X, X * factors)
    numpy.testing.assert_array_equal(dense.X, X)
    scale(dense, factors.astype(numpy.float32))
    numpy.testing.assert_array_equal(dense.X, X * factors)


def test_the_sparse_matrix_is_one_of_compressed_rows() -> None:
    found = compressed([numpy.eye(3)], (3, 3), numpy.dtype(float), 1)
    assert isinstance(found, csr_array)
    assert found.indptr.tolist() == [0, 1, 2, 3]
    assert found.indices.dtype == numpy.int32
