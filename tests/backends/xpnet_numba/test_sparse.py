"""Sparse rows in the compiled step: the numbers of dense rows, and nothing read outside of the
arrays.
"""

import weakref
from typing import Any

import numpy
import pytest
from scipy import sparse
from xpnet_numba.step import evaluation
from xpnet_numba.step.step import compile_step

from xpnet.backend import BatchPart, NetworkSpec, UpdateRule

ROWS, FEATURES = 600, 50


def make_step(widths: tuple[int, ...] = (FEATURES, 30, 20, 5), **settings: Any) -> Any:
    """A compiled step with parameters."""
    activations = ("relu",) * (len(widths) - 2)
    spec = NetworkSpec(widths, activations, rule=UpdateRule("adam"), **settings)
    step: Any = compile_step(spec)
    rng = numpy.random.default_rng(1)
    for array in step.params.values():
        array[...] = rng.normal(0, 0.3, array.shape)
    return step


@pytest.fixture(scope="module")
def data() -> tuple[Any, Any, Any, Any]:
    """X of which a tenth is filled, one row and one column not at all; labels, weights and an
    order.
    """
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(ROWS, FEATURES)) * (rng.random((ROWS, FEATURES)) < 0.1)
    X[7], X[:, 3] = 0, 0
    return X, rng.integers(0, 5, ROWS), rng.random(ROWS), rng.permutation(ROWS)[:590]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("widths", [(FEATURES, 5), (FEATURES, 4, 5), (FEATURES, 300, 300, 5)])
def test_same_numbers(data: Any, widths: tuple[int, ...], index: str, dtype: str) -> None:
    """An epoch, a gradient, a loss and outputs, of networks whose work is cut in each way."""
    X, y, weight, order = (data[0].astype(dtype), data[1], data[2].astype(dtype), data[3])
    S = sparse.csr_matrix(X)
    S.indices, S.indptr = S.indices.astype(index), S.indptr.astype(index)
    numbers = []
    for rows in (X, S):
        step = make_step(widths, dtype=dtype, l2=0.01, dropout=(0.3,) * (len(widths) - 2) or ())
        found = [
            step.epoch(
                rows, y, learning_rate=0.01, batch_size=64, order=order, sample_weight=weight
            )
        ]
        found += [step.epoch(rows, y, learning_rate=0.01, batch_size=ROWS)]
        found += [step.gradient(rows, y), *(g.copy() for g in step.gradients.values())]
        found += [
            step.gradient(rows, y, rows=order[:9], part=BatchPart(30.0, 5)),
            step.gradients["W1"].copy(),
        ]
        found += [
            step.loss(rows, y, sample_weight=weight),
            step.loss(rows, y, rows=order),
            step.forward(rows),
        ]
        numbers.append(found)
    for dense, compressed in zip(*numbers, strict=True):
        # The same terms in another order.
        numpy.testing.assert_allclose(
            compressed, dense, rtol=0, atol=2e-5 if dtype == "float32" else 1e-13
        )


@pytest.mark.parametrize("batch_size", [64, 300])
@pytest.mark.parametrize("own_batches", [False, True])
def test_members_have_the_bits_of_dense_rows(data: Any, own_batches: bool, batch_size: int) -> None:
    """Members make a batch dense, which they share where it is one, and at most 128 rows."""
    X, y = data[0].astype("float32"), data[1]
    orders = numpy.stack([numpy.random.default_rng(k).permutation(ROWS) for k in range(3)])
    order = orders if own_batches else orders[0]
    steps = [make_step(members=3, dtype="float32", seed=1) for _ in range(2)]
    for step, rows in zip(steps, (X, sparse.csr_matrix(X)), strict=True):
        step.epoch(rows, y, learning_rate=0.01, batch_size=batch_size, order=order)
    for name, expected in steps[0].params.items():
        numpy.testing.assert_array_equal(steps[1].params[name], expected)


def test_dense_and_sparse_in_turn(data: Any) -> None:
    """One step takes both, whichever comes first."""
    X, y, _, order = data
    S = sparse.csr_matrix(X)
    one, other = make_step(), make_step()
    for i in range(6):
        one.epoch(S if i % 2 else X, y, learning_rate=0.01, batch_size=100, order=order)
        other.epoch(X, y, learning_rate=0.01, batch_size=100, order=order)
        assert one.loss(X if i % 2 else S, y, rows=order) == pytest.approx(
            other.loss(X, y, rows=order), rel=1e-12
        )
        numpy.testing.assert_allclose(one.forward(X if i % 2 else S), other.forward(X), rtol=1e-9)
        numpy.testing.assert_allclose(one.forward(X), other.forward(X), rtol=1e-9)


def test_entries_of_one_place_are_added(data: Any) -> None:
    """As SciPy reads a matrix that was put together so; columns may stand in any order."""
    _, y, _, _ = data
    columns, starts = numpy.array([4, 1, 4, 0]), numpy.array([0, 3, 4])
    S = sparse.csr_matrix((numpy.array([1.0, 2.0, 3.0, 4.0]), columns, starts), shape=(2, FEATURES))
    step = make_step()
    numpy.testing.assert_allclose(step.forward(S), step.forward(S.toarray()), rtol=1e-12)
    step.gradient(S, y[:2])
    found = step.gradients["W1"].copy()
    step.gradient(S.toarray(), y[:2])
    numpy.testing.assert_allclose(found, step.gradients["W1"], rtol=1e-12, atol=1e-15)


def test_places_outside_are_left_out(data: Any) -> None:
    """A matrix that was put together by hand, and is none: nothing is read or written outside."""
    _, y, _, _ = data
    S = sparse.csr_matrix(numpy.eye(4, FEATURES))
    S.indices[:] = [0, FEATURES + 10**6, -5, 2**31 - 1]
    S.indptr[:] = [0, 1, 10**6, -7, 4]
    # Of the entries that can be read, those from -7 and from 0 on have a column that is there.
    inside = numpy.zeros((4, FEATURES))
    inside[[0, 3], 0] = 1.0
    step, same = make_step(), make_step()
    numpy.testing.assert_allclose(step.forward(S), same.forward(inside), rtol=1e-12)
    for one, X in ((step, S), (same, inside)):
        one.epoch(X, y[:4], learning_rate=0.01, batch_size=4)
    numpy.testing.assert_allclose(step.forward(S), same.forward(inside), rtol=1e-12)


def test_room_does_not_grow_with_the_features() -> None:
    """Rows are not made dense: a batch of a million columns needs room for its outputs alone."""
    step = make_step((10**6, 2, 2))
    S = sparse.csr_array(
        (numpy.ones(1000), (numpy.arange(1000), numpy.arange(0, 10**6, 1000))), shape=(1000, 10**6)
    )
    step.epoch(S, numpy.zeros(1000, int), learning_rate=0.01, batch_size=1000)
    assert step.trainer._workspace.nbytes < 10**7


def test_many_rows_are_predicted_some_at_a_time(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is heard between calls of compiled code; the outputs are those of one call."""
    S, step, called = sparse.csr_matrix(data[0]), make_step(), []
    whole, begin = step.forward(S), step.evaluator._cut
    monkeypatch.setattr(
        step.evaluator, "_cut", lambda rows, *a, **k: called.append(rows) or begin(rows, *a, **k)
    )
    monkeypatch.setattr(evaluation, "WORK_PER_CALL", 1)
    numpy.testing.assert_array_equal(step.forward(S), whole)
    assert len(called) > 1 and sum(called) == ROWS


def test_the_order_of_rows_lives_while_they_are_predicted(
    data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that predict other numbers of rows would let another's go, if a cache alone had
    it.
    """
    orders, alive, run = [], [], evaluation.run_job

    def natural_order(rows: int) -> Any:
        orders.append(weakref.ref(order := numpy.arange(rows)))
        return order

    monkeypatch.setattr(evaluation, "natural_order", natural_order)
    monkeypatch.setattr(
        evaluation, "run_job", lambda *job: alive.append(orders[-1]() is not None) or run(*job)
    )
    make_step().forward(sparse.csr_matrix(data[0]))
    assert alive and all(alive)


def test_nonfinite_numbers_are_found(data: Any) -> None:
    """A prediction that looks for NaN and infinity looks at what stands in the matrix."""
    S = sparse.csr_matrix(data[0])
    step = make_step()
    assert step.forward_finite(S) is not None
    S.data[5] = numpy.nan
    assert step.forward_finite(S) is None
