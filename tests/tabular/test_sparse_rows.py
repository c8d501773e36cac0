"""Large tables whose inputs are mostly 0, and rows that the one network of a fit scales."""

from typing import Any

import numpy
import pandas
import pytest
from scipy.sparse import issparse

import xpnet
from xpnet.data import table_size
from xpnet.models import Network
from xpnet.tabular.rows import large_tables, sparse_rows

ROWS = 900
RNG = numpy.random.default_rng(0)
TABLE = pandas.DataFrame(
    {
        "x": numpy.where(RNG.random(ROWS) < 0.1, numpy.nan, RNG.normal(size=ROWS)),
        "letter": RNG.choice(list("abcdefghijklmnop"), ROWS),
        "word": RNG.choice([f"w{k}" for k in range(20)], ROWS),
        "flag": RNG.choice([True, False], ROWS),
    }
)
NUMBERS = (TABLE["letter"] < "h").to_numpy() + 0.1 * RNG.normal(size=ROWS)
LABELS = NUMBERS > 0.5
SETTINGS: dict[str, Any] = {"quality": 1, "max_iter": 4, "random_state": 0}
CASES = [
    pytest.param(xpnet.TabularClassifier, LABELS, {}, id="classifier"),
    pytest.param(xpnet.TabularRegressor, NUMBERS, {}, id="regressor"),
    pytest.param(xpnet.TabularRegressor, NUMBERS, {"members": 1}, id="one member"),
    pytest.param(xpnet.TabularRegressor, NUMBERS, {"networks": 2}, id="two networks"),
    pytest.param(xpnet.TabularRegressor, NUMBERS, {"monotonic_cst": {"x": 1}}, id="monotonic"),
    pytest.param(xpnet.TabularClassifier, LABELS, {"backend": "numpy"}, id="NumPy"),
]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few hundred rows are a large table."""
    monkeypatch.setattr(table_size, "LARGE_TABLE_BYTES", 1000)
    monkeypatch.setattr(large_tables, "SAMPLE_ROWS", 500)
    monkeypatch.setattr(large_tables, "MAX_ENCODED", 2 * ROWS * TABLE.shape[1])  # too few for bins


def parameters(estimator: Any) -> list[numpy.ndarray]:
    """Return the parameters of all networks of a fit."""
    return [values for network in estimator.networks_ for values in network.values().values()]


def trained_sparse(monkeypatch: pytest.MonkeyPatch, estimator: Any, y: numpy.ndarray) -> bool:
    """Fit; return whether the networks were trained on sparse matrices."""
    are_sparse: list[bool] = []
    fit = Network.fit

    def watched(self: Network, X: Any, *arguments: Any, **settings: Any) -> Any:
        are_sparse.append(issparse(X))
        return fit(self, X, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(Network, "fit", watched)
        estimator.fit(TABLE, y)
    assert len(set(are_sparse)) == 1
    return are_sparse[0]


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(("kind", "y", "settings"), CASES)
def test_a_fit_of_sparse_rows_is_that_of_dense_rows(
    monkeypatch: pytest.MonkeyPatch, kind: Any, y: numpy.ndarray, settings: dict[str, Any]
) -> None:
    """The networks have the same bits, but of one member, whose sparse products add up in another
    order.
    """
    of_sparse, of_dense = (kind(**SETTINGS | settings) for _ in range(2))
    assert trained_sparse(monkeypatch, of_sparse, y)
    monkeypatch.setattr(sparse_rows, "MIN_INPUTS_OF_A_NUMBER", numpy.inf)
    assert not trained_sparse(monkeypatch, of_dense, y)
    tolerance = 1e-4 if settings.get("members") == 1 else 0
    for found, expected in zip(parameters(of_sparse), parameters(of_dense), strict=True):
        numpy.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    assert of_sparse.validation_loss_ == pytest.approx(of_dense.validation_loss_, rel=1e-4)
    numpy.testing.assert_allclose(
        of_sparse.feature_importances_, of_dense.feature_importances_, atol=1e-3
    )


def test_numbers_and_few_categories_stay_dense(
    monkeypatch: pytest.MonkeyPatch, large: None
) -> None:
    monkeypatch.setitem(globals(), "TABLE", TABLE[["x", "flag"]])
    assert not trained_sparse(monkeypatch, xpnet.TabularRegressor(**SETTINGS), NUMBERS)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    ("columns", "backend"),
    [
        pytest.param(["x", "letter", "word"], None, id="sparse"),
        pytest.param(["x", "flag"], None, id="dense"),
        pytest.param(["x", "flag"], "torch", id="PyTorch"),
        pytest.param(["x", "flag"], "jax", id="JAX, whose arrays cannot change"),
    ],
)
def test_one_network_is_the_first_of_two(columns: list[str], backend: str | None) -> None:
    """One network scales its rows where they lie, and the first of two scales a copy.

    Networks of tanh have no linear baseline, whose weight both networks choose together.
    """
    if backend is not None:
        pytest.importorskip(backend, reason=f"{backend} is not installed")
    table = TABLE[columns]
    before = table.copy()
    one, two = (
        xpnet.TabularRegressor(
            **SETTINGS, networks=networks, activation="tanh", backend=backend
        ).fit(table[:700], NUMBERS[:700], X_val=table[700:], y_val=NUMBERS[700:])
        for networks in (1, 2)
    )
    pandas.testing.assert_frame_equal(table, before)
    for found, expected in zip(
        parameters(one), parameters(two)[: len(parameters(one))], strict=True
    ):
        numpy.testing.assert_array_equal(found, expected)
