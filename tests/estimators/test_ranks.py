"""Estimators on several ranks find what one process finds."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.estimators import CutOff, Killed
from helpers.ranks.threads_group import ThreadsGroup, on_ranks
from scipy import sparse
from sklearn.base import clone

import xpnet
from xpnet.distributed import Ranks
from xpnet.distributed.fingerprint import fingerprint_of_rows
from xpnet.errors import InputError

SHARDS = {2: (113, 7), 3: (100, 20, 0), 4: (0, 60, 59, 1)}
ITERATIONS = {"max_iter": 4, "batch_size": 13, "random_state": 3, "alpha": 0.5}
SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {},
    "two layers": {
        "hidden_layer_sizes": (8, 5),
        "activation": ("tanh", "logistic"),
        "solver": "sgd",
    },
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 0.2,
        "n_iter_no_change": 1,
    },
    "clipped": {"max_grad_norm": 0.05, "solver": "sgd", "learning_rate_init": 0.3},
    "early stopping": {
        "early_stopping": True,
        "max_iter": 8,
        "n_iter_no_change": 2,
        "learning_rate_init": 0.05,
    },
    "lbfgs": {"solver": "lbfgs"},
    "one batch": {"batch_size": 500},
    "in order": {"shuffle": False},
}


@pytest.fixture(autouse=True)
def in_peace() -> Any:
    """Four epochs converge nowhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def rows(classes: int = 3) -> tuple[Any, Any, Any]:
    """X (120, 6), labels (120,), weights (120,)."""
    rng = np.random.default_rng(11)
    y = rng.integers(0, classes, 120)
    return rng.normal(size=(120, 6)) + y[:, None], y, rng.integers(1, 5, 120).astype(float)


def cut(size: int, rank: int, own: bool, arrays: Any) -> list[Any]:
    """What a rank is given of each array."""
    end = sum(SHARDS[size][: rank + 1])
    part = slice(end - SHARDS[size][rank], end) if own else slice(None)
    return [None if array is None else array[part] for array in arrays]


def facts(model: Any) -> dict[str, Any]:
    """What must be the same."""
    names = (
        "loss_",
        "n_iter_",
        "loss_curve_",
        "validation_scores_",
        "validation_loss_curve_",
        "t_",
        "best_loss_",
    )
    found = {name: getattr(model, name, None) for name in names}
    found |= {
        f"{name} {k}": a.copy()
        for name in ("coefs_", "intercepts_")
        for k, a in enumerate(getattr(model, name))
    }
    return {name: value for name, value in found.items() if value is not None}


def check_same(make: Any, arrays: Any, size: int, own: bool) -> None:
    """The same numbers on one process and on so many ranks."""

    def work(group: ThreadsGroup) -> dict[str, Any]:
        return facts(make().fit(*cut(size, group.rank, own, arrays)))

    expected = facts(make().fit(*arrays))
    for found in on_ranks(size, work, data="own" if own else "same"):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-10, atol=1e-11, err_msg=name)


@pytest.mark.parametrize(
    "own, size, weighted", [(False, 2, True), (False, 4, False), (True, 3, False), (True, 4, True)]
)
def test_classifiers(own: bool, size: int, weighted: bool, subtests: pytest.Subtests) -> None:
    X, y, weight = rows()
    arrays = (X, y, weight if weighted else None)
    for name, values in SETTINGS.items():
        settings = {**ITERATIONS, **values}
        with subtests.test(name):
            check_same(lambda s=settings: xpnet.MLPClassifier(**s), arrays, size, own)


@pytest.mark.parametrize("own, size", [(False, 4), (True, 3)])
@pytest.mark.parametrize("name", ["adam", "clipped", "early stopping", "lbfgs"])
def test_regressors(name: str, own: bool, size: int) -> None:
    X, y, _ = rows()
    Y = np.stack([y, X[:, 0]], axis=1) if name != "early stopping" else y.astype(float)
    settings = {**ITERATIONS, **SETTINGS[name]}
    check_same(lambda: xpnet.MLPRegressor(**settings), (X, Y, None), size, own)


@pytest.mark.parametrize("own, size", [(False, 2), (True, 4)])
@pytest.mark.parametrize(
    "settings",
    [{"class_weight": "balanced"}, {"class_weight": {0: 2.0, 1: 0.5}, "early_stopping": True}],
)
def test_two_classes_with_weights(settings: dict[str, Any], own: bool, size: int) -> None:
    X, y, weight = rows(2)
    check_same(lambda: xpnet.MLPClassifier(**ITERATIONS, **settings), (X, y, weight), size, own)


@pytest.mark.parametrize("own, size", [(False, 2), (True, 3)])
def test_sparse_rows(own: bool, size: int) -> None:
    X, y, weight = rows()
    check_same(
        lambda: xpnet.MLPClassifier(**ITERATIONS), (sparse.csr_matrix(X), y, weight), size, own
    )


def test_several_labels() -> None:
    X, y, _ = rows(4)
    labels = np.stack([y % 2, y // 2], axis=1)
    for own in (False, True):
        check_same(lambda: xpnet.MLPClassifier(**ITERATIONS), (X, labels, None), 3, own)


@pytest.mark.parametrize(
    "settings", [{}, {"early_stopping": True}, {"max_grad_norm": 0.1}], ids=str
)
@pytest.mark.parametrize("own", [False, True])
def test_dropout(own: bool, settings: dict[str, Any]) -> None:
    X, y, _ = rows()
    check_same(
        lambda: xpnet.MLPClassifier(**ITERATIONS, **settings, dropout=0.2), (X, y, None), 4, own
    )


def test_classes_of_one_rank_are_everyones() -> None:
    X, y, _ = rows()
    y = np.array(["cat", "dog", "a long-legged horse"])[np.where(np.arange(120) < 60, 0, y)]

    def work(group: ThreadsGroup) -> list[str]:
        begin = 60 * group.rank
        model = xpnet.MLPClassifier(max_iter=2).fit(X[begin : begin + 60], y[begin : begin + 60])
        return [model.classes_.tolist(), [a.tolist() for a in model.coefs_]]

    first, second = on_ranks(2, work, data="own")
    assert first == second
    assert first[0] == ["a long-legged horse", "cat", "dog"]


def test_without_a_seed_ranks_draw_the_same() -> None:
    X, y, _ = rows()

    def work(group: ThreadsGroup) -> Any:
        model = xpnet.MLPClassifier(max_iter=3, random_state=np.random.RandomState(group.rank)).fit(
            X, y
        )
        return [model.loss_curve_, *(a.tolist() for a in model.coefs_)]

    first, second = on_ranks(2, work)
    assert first == second


def test_warm_start_and_partial_fit() -> None:
    X, y, _ = rows()

    class Twice(xpnet.MLPClassifier):
        def fit(self, X: Any, y: Any, sample_weight: Any = None, **_: Any) -> Any:
            for _epoch in range(2):
                self.partial_fit(X, y, sample_weight, classes=[0, 1, 2])
            return self.set_params(warm_start=True) and super().fit(X, y, sample_weight)

    for own in (False, True):
        check_same(lambda: Twice(**ITERATIONS), (X, y, None), 3, own)


def test_rows_of_a_rank_may_be_lists() -> None:
    X, y, _ = rows()

    def work(group: ThreadsGroup) -> list[float]:
        half = slice(group.rank, None, 2)
        X_own = X[half].tolist() if group.rank else X[half]
        return xpnet.MLPClassifier(**ITERATIONS).fit(X_own, y[half]).loss_curve_

    first, second = on_ranks(2, work, data="own")
    assert first == second and len(first) == ITERATIONS["max_iter"]


def test_columns_must_be_the_same() -> None:
    X, y, _ = rows()
    with pytest.raises(InputError, match="got 5 features of float64 and 6 features of float64"):
        on_ranks(2, lambda group: xpnet.MLPClassifier().fit(X[:, group.rank :], y), data="own")


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("alpha", 1.0, "rank 1 has l2 = 1.0, rank 0 has 0.5"),
        ("max_iter", 5, "rank 1 has (epochs|max_iter) = 5, rank 0 has 4"),
        ("activation", "tanh", r"rank 1 has activations = \('tanh',\), rank 0 has \('relu',\)"),
    ],
)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_ranks_that_differ_are_named(solver: str, name: str, value: Any, said: str) -> None:
    X, y, _ = rows()

    def work(group: ThreadsGroup) -> None:
        settings = ITERATIONS | {"solver": solver} | ({name: value} if group.rank else {})
        xpnet.MLPClassifier(**settings).fit(X, y)

    with pytest.raises(InputError, match=said):
        on_ranks(2, work)


def test_no_rows_anywhere() -> None:
    with pytest.raises(InputError, match="got none on every rank"):
        on_ranks(
            2, lambda group: xpnet.MLPClassifier().fit(np.zeros((0, 3)), np.zeros(0)), data="own"
        )


def test_batches_without_weight() -> None:
    X, y, weight = rows()
    weight[20:70] = 0
    for own in (False, True):
        settings = {**ITERATIONS, "shuffle": False, "backend": "numpy"}
        check_same(
            lambda settings=settings: xpnet.MLPClassifier(**settings), (X, y, weight), 4, own
        )


@pytest.mark.parametrize("sizes", [(2, 3), (4, 1)])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("kind", ["dense", "sparse", "weighted", "validated"])
def test_a_killed_fit_continues_on_another_number_of_ranks(
    kind: str, own: bool, sizes: tuple[int, int], tmp_path: Path
) -> None:
    X, y, weight = rows()
    X = sparse.csr_matrix(X) if kind == "sparse" else X

    def fit(group: Any = None, **options: Any) -> Any:
        size, rank = (1, 0) if group is None else (group.size, group.rank)
        given = [X, y, weight if kind == "weighted" else None]
        given = given if size == 1 else cut(size, rank, own, given)
        if (
            kind == "validated"
        ):  # ranks that have rows of their own have some to validate on, or none
            mine = slice(20) if not (own and rank) else slice(0)
            options |= {"X_val": X[mine], "y_val": y[mine]}
        return xpnet.MLPClassifier(**settings).fit(*given, **options, callbacks=[cut_off])

    settings = {**ITERATIONS, "early_stopping": True, "checkpoint": tmp_path}
    cut_off = CutOff(3)
    with pytest.raises(Killed):
        on_ranks(sizes[0], fit, data="own" if own else "same")
    cut_off.after = 0
    assert len(list(tmp_path.rglob("checkpoint-*"))) == 1
    resumed = on_ranks(sizes[1], lambda group: facts(fit(group)), data="own" if own else "same")
    assert len(list(tmp_path.iterdir())) == 1
    settings["checkpoint"] = None
    expected = facts(fit())
    for found in resumed:
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-10, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("sparse_rows", [False, True])
def test_checkpoints_are_named_after_every_number_and_its_place(sparse_rows: bool) -> None:
    X, y, _ = rows()

    def named(X: Any, y: Any = y) -> str:
        return fingerprint_of_rows((sparse.csr_matrix(X) if sparse_rows else X, y, None), Ranks())

    swapped, negated, other = X[::-1], X.copy(), X.copy()
    negated[4, :2] *= -1
    other[7, 3] = np.nextafter(other[7, 3], 9)
    given = [
        named(X),
        named(swapped),
        named(negated),
        named(other),
        named(X, y[::-1]),
        named(X[:, ::-1]),
    ]
    assert len(set(given)) == len(given)
    assert named(X.copy()) == given[0]


@pytest.mark.parametrize("own", [False, True])
def test_offsets_of_classes(own: bool) -> None:
    """The offsets of one rank may all be 0, where those of another are not."""
    X, y, _ = rows(classes=2)
    offset = np.where(np.arange(120) < 113, np.linspace(-2.0, 2.0, 120), 0.0)
    model = xpnet.MLPClassifier((4,), **ITERATIONS)

    def work(group: ThreadsGroup) -> dict[str, Any]:
        own_X, own_y, own_offset = cut(2, group.rank, own, (X, y, offset))
        return facts(clone(model).fit(own_X, own_y, offset=own_offset))

    expected = facts(clone(model).fit(X, y, offset=offset))
    for found in on_ranks(2, work, data="own" if own else "same"):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-10, atol=1e-11, err_msg=name)


def test_targets_that_ranks_cannot_agree_on_are_refused() -> None:
    X, y, _ = rows()
    of_two = np.stack([y, 2 - y], axis=1)

    def work(targets: Any) -> None:
        on_ranks(2, lambda group: xpnet.MLPClassifier().fit(X, targets), data="own")

    with pytest.raises(InputError, match=r"must be dense.*pass y\.toarray\(\)"):
        work(sparse.csr_matrix(of_two > 0))
    with pytest.raises(InputError, match="must hold one target of classes.*got several"):
        work(of_two)
