"""Masked arrays and sparse matrices whose structure is broken are refused where the user passes
them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import xpnet

ROWS, COLUMNS = 60, 4


def rows() -> tuple[Any, Any]:
    """Rows with many zeros, and their labels."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, COLUMNS)) * (rng.random((ROWS, COLUMNS)) < 0.5)
    return X, (X[:, 0] > 0).astype(int)


def estimator_fit(X: Any, y: Any, backend: str) -> Any:
    return xpnet.MLPClassifier((5,), max_iter=2, random_state=0, backend=backend).fit(X, y)


def estimator_predict(X: Any, y: Any, backend: str) -> Any:
    return estimator_fit(rows()[0], y, backend).predict_proba(X)


def network_fit(X: Any, y: Any, backend: str) -> Any:
    network = xpnet.FeedforwardNeuralNet(COLUMNS, 5, 2, rng=0, backend=backend)
    network.fit(X, y, epochs=1, rng=0)
    return network


def network_predict(X: Any, y: Any, backend: str) -> Any:
    return network_fit(rows()[0], y, backend).predict(X)


CALLS: list[Callable[..., Any]] = [estimator_fit, estimator_predict, network_fit, network_predict]
pytestmark = [
    pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__),
    pytest.mark.parametrize("backend", ["numba", "numpy"]),
    pytest.mark.filterwarnings("ignore:Stochastic Optimizer"),
]


def broken(kind: str) -> Any:
    """A matrix of compressed rows with one wrong number in its structure."""
    matrix = sparse.csr_matrix(rows()[0])
    if kind == "decreasing indptr":
        matrix.indptr[5] = 10**6
    elif kind == "indptr past the end":
        matrix.indptr[-1] += 10
    elif kind == "negative indptr":
        matrix.indptr[0] = -3
    elif kind == "column out of range":
        matrix.indices[3] = COLUMNS
    elif kind == "negative column":
        matrix.indices[3] = -1
    else:
        matrix.indices = matrix.indices[:-2]
    return matrix


KINDS = [
    "decreasing indptr",
    "indptr past the end",
    "negative indptr",
    "column out of range",
    "negative column",
    "few indices",
]


def test_a_broken_sparse_matrix_is_refused(
    call: Any, backend: str, subtests: pytest.Subtests
) -> None:
    for kind in KINDS:
        with (
            subtests.test(kind),
            pytest.raises(xpnet.InputError, match=r"csr.*check_format"),
        ):
            call(broken(kind), rows()[1], backend)


def predictions(result: Any) -> Any:
    """What a call has predicted, or what its model predicts."""
    if hasattr(result, "predict_proba"):
        return result.predict_proba(rows()[0])
    return result.predict(rows()[0]) if hasattr(result, "predict") else result


def test_whole_sparse_matrices_are_taken(call: Any, backend: str) -> None:
    X, y = rows()
    matrices = [
        (sparse.csr_matrix(X), X),
        (sparse.csc_matrix(X), X),
        (sparse.csr_array((ROWS, COLUMNS)), np.zeros((ROWS, COLUMNS))),
    ]
    for matrix, dense in matrices:
        expected = predictions(call(dense, y, backend))
        # Sums in another order: a few units in the last place of float32 and float64.
        rtol = 1e-5 if expected.dtype == np.float32 else 1e-10
        np.testing.assert_allclose(predictions(call(matrix, y, backend)), expected, rtol=rtol)


def test_a_masked_array_is_refused_where_it_masks(call: Any, backend: str) -> None:
    X, y = rows()
    masked = np.ma.masked_array(X, mask=X > 1)
    with pytest.raises(xpnet.InputError, match=r"masked.*filled.*Tabular"):
        call(masked, y, backend)
    call(np.ma.masked_array(X), y, backend)


def test_masked_labels_are_refused(call: Any, backend: str) -> None:
    X, y = rows()
    with pytest.raises(xpnet.InputError, match="masked"):
        call(X, np.ma.masked_array(y, mask=X[:, 1] > 1), backend)
