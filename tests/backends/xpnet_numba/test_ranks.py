"""Ranks that share batches in memory that they have in common find what one process finds."""

from typing import Any

import numpy as np
import pytest
from helpers.ranks.threads_group import SharedMemoryThreadsGroup, ThreadsGroup, on_ranks
from scipy import sparse
from xpnet_numba.step import plan, step, training

import xpnet
from xpnet.training import Training

CUTS = {
    "wide": (0, 0, 200_000),
    "by rows": (0, 0, 1),
    "narrow": (100, 0, 1),
    "in parts": (0, 100, 1),
}
"""How a batch is cut: BLOCK_GRADIENTS, FEATURES and GRAIN of the plan."""


def rows(count: int = 57) -> tuple[Any, Any, Any]:
    """X (count, 9), y (count,) of four classes, weights (count,)."""
    rng = np.random.default_rng(4)
    return rng.normal(size=(count, 9)), rng.integers(0, 4, count), rng.uniform(0, 2, count)


def trained(X: Any, y: Any, w: Any = None, *, epochs: int = 3, **settings: Any) -> list[Any]:
    """Losses and parameters of a network; the last batch has fewer rows."""
    settings = {"optimizer": "adam", "l2": 0.1, "dropout": 0.2, "learning_rate": 0.02, **settings}
    model = xpnet.FeedforwardNeuralNet(9, (11, 7), 4, rng=np.random.default_rng(0), **settings)
    rng = np.random.default_rng(1)
    history = model.fit(X, y, epochs=epochs, batch_size=13, sample_weight=w, rng=rng)
    return [np.array(history.loss), *(np.array(value) for value in model.params.values())]


def close(found: list[Any], expected: list[Any]) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("cut", CUTS)
def test_every_way_to_cut_a_batch(
    cut: str, weighted: bool, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(("BLOCK_GRADIENTS", "FEATURES", "GRAIN"), CUTS[cut], strict=True):
        monkeypatch.setattr(plan, name, value)
    training.plan_of.cache_clear()
    X, y, w = rows()
    arrays = (X, y, w) if weighted else (X, y)

    def work(group: Any) -> list[Any]:
        found = trained(*arrays)
        assert group._memory is not None
        return found

    expected = trained(*arrays)
    ranks = on_ranks(size, work)
    training.plan_of.cache_clear()
    for found in ranks:
        close(found, expected)
        assert all(np.array_equal(a, b) for a, b in zip(found, ranks[0], strict=True))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("members", [1, 2])
def test_clipped_gradients(
    members: int, weighted: bool, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(("BLOCK_GRADIENTS", "FEATURES", "GRAIN"), CUTS[cut], strict=True):
        monkeypatch.setattr(plan, name, value)
    training.plan_of.cache_clear()
    X, y, w = rows()

    def work(group: Any) -> list[Any]:
        settings = {
            "max_iter": 3,
            "batch_size": 13,
            "random_state": 0,
            "alpha": 0.1,
            "members": members,
        }
        model = xpnet.MLPClassifier((11, 7), max_grad_norm=0.3, dropout=0.2, **settings)
        model.fit(X, y, sample_weight=w if weighted else None)
        assert group is None or group._memory is not None
        return [np.array(model.loss_curve_), *model.coefs_, *model.intercepts_]

    expected = work(None)
    ranks = on_ranks(3, work)
    training.plan_of.cache_clear()
    for found in ranks:
        close(found, expected)
        assert all(np.array_equal(a, b) for a, b in zip(found, ranks[0], strict=True))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_sparse_rows() -> None:
    X, y, _ = rows()
    matrix = sparse.csr_matrix(np.where(X > 0.5, X, 0))

    def work(group: Any) -> list[Any]:
        model = xpnet.MLPClassifier(
            (11, 7), max_iter=3, n_iter_no_change=5, batch_size=13, random_state=0
        )
        model.fit(matrix, y)
        assert group is None or group._memory is not None
        return [np.array(model.loss_curve_), *model.coefs_, *model.intercepts_]

    expected = work(None)
    for found in on_ranks(2, work):
        close(found, expected)


@pytest.mark.parametrize("cut", CUTS)
def test_the_bits_are_those_of_one_process_with_as_many_cores(
    cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(("BLOCK_GRADIENTS", "FEATURES", "GRAIN"), CUTS[cut], strict=True):
        monkeypatch.setattr(plan, name, value)
    training.plan_of.cache_clear()
    X, y, _ = rows()
    monkeypatch.setattr(training, "allowed_threads", lambda: 2)
    expected = trained(X, y, l2=0.0)
    monkeypatch.setattr(step, "allowed_threads", lambda: 1)
    found = on_ranks(2, lambda group: trained(X, y, l2=0.0))[0]
    training.plan_of.cache_clear()
    assert all(np.array_equal(a, b) for a, b in zip(found[1:], expected[1:], strict=True))


def test_without_memory_gradients_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, _ = rows()
    monkeypatch.setattr(SharedMemoryThreadsGroup, "shared_memory", lambda self, size: None)
    for found in on_ranks(2, lambda group: trained(X, y)):
        close(found, trained(X, y))


def test_networks_that_take_turns() -> None:
    """The memory is one for all, and is made anew for a larger network; what a network has learnt
    is its own.
    """
    X, y, _ = rows()

    def work(group: ThreadsGroup) -> list[list[Any]]:
        models = [
            xpnet.FeedforwardNeuralNet(9, width, 4, rng=np.random.default_rng(0))
            for width in (5, 300)
        ]
        for _ in range(2):
            for model in models:
                model.fit(X, y, epochs=2, batch_size=13, rng=np.random.default_rng(1))
        return [[np.array(value) for value in model.params.values()] for model in models]

    expected = work(None)  # type: ignore[arg-type]
    for found in on_ranks(2, work):
        for a, b in zip(found, expected, strict=True):
            close(a, b)


def test_a_callback_may_write_parameters() -> None:
    X, y, _ = rows()

    def work() -> list[Any]:
        model = xpnet.FeedforwardNeuralNet(9, 5, 4, rng=np.random.default_rng(0))

        def halve(training: Training) -> None:
            training.step.params["W1"] = training.step.params["W1"] / 2

        model.fit(X, y, epochs=3, batch_size=13, rng=np.random.default_rng(1), callbacks=[halve])
        return [np.array(value) for value in model.params.values()]

    for found in on_ranks(2, lambda group: work()):
        close(found, work())
