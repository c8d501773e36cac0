"""Soft labels: probabilities of the classes in place of one label."""

from typing import Any

import numpy
import pytest
from scipy.special import softmax

import xpnet
from xpnet.learning.labels import checked_shares

RNG = numpy.random.default_rng(0)
X = RNG.normal(size=(300, 4))
TRUE = softmax(2 * numpy.c_[X[:, 0], X[:, 1] * X[:, 0], -X[:, 2]], axis=1)
NAMES = numpy.array(["b", "a", "c"])  # not in the order of the text
INDICES = TRUE.argmax(axis=1)
QUIET = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
SMALL: dict[str, Any] = {"max_iter": 20, "random_state": 0}
TABLE: dict[str, Any] = {"hidden_layer_sizes": (8,), "networks": 2, "members": 2, **SMALL}


def estimators(**settings: Any) -> list[Any]:
    """A small estimator of each kind."""
    mlp = xpnet.MLPClassifier((8,), learning_rate_init=0.02, **SMALL, **settings)
    return [mlp, xpnet.TabularClassifier(**TABLE, **settings)]


@QUIET
@pytest.mark.parametrize("kind", [0, 1], ids=["MLP", "tabular"])
@pytest.mark.parametrize(
    "settings", [{}, {"class_weight": "balanced"}, {"class_weight": {"a": 3.0}}], ids=str
)
@pytest.mark.parametrize("classes", [2, 3])
def test_one_hot_rows_have_the_bits_of_labels(kind: int, settings: Any, classes: int) -> None:
    rows = INDICES < classes
    indices, names = INDICES[rows], NAMES[:classes]
    hard = estimators(**settings)[kind].fit(X[rows], names[indices])
    soft = estimators(**settings)[kind]
    soft.fit(X[rows], numpy.eye(classes)[indices], classes=names)
    assert soft.classes_.tolist() == sorted(names)
    numpy.testing.assert_array_equal(soft.predict_proba(X), hard.predict_proba(X))


def test_the_network_without_hidden_layers_is_that_of_repeated_rows() -> None:
    """The loss of a soft label is that of one row for each class, weighted by its probability."""
    options: dict[str, Any] = {
        "hidden_layer_sizes": (),
        "solver": "lbfgs",
        "alpha": 0.1,
        "tol": 1e-9,
        "max_iter": 500,
    }
    for classes in (2, 3):
        shares = TRUE[:, :classes] / TRUE[:, :classes].sum(axis=1, keepdims=True)
        names = NAMES[:classes]
        soft = xpnet.MLPClassifier(**options).fit(X, shares, classes=names)
        repeated = xpnet.MLPClassifier(**options).fit(
            numpy.repeat(X, classes, axis=0), numpy.tile(names, len(X)), shares.ravel()
        )
        # Both searches end near the minimum, where the loss is flat.
        numpy.testing.assert_allclose(soft.predict_proba(X), repeated.predict_proba(X), atol=1e-4)


@QUIET
@pytest.mark.parametrize("kind", [0, 1], ids=["MLP", "tabular"])
def test_probabilities_teach_more_than_labels_drawn_from_them(kind: int) -> None:
    drawn = NAMES[[RNG.choice(3, p=row) for row in TRUE]]
    hard = estimators()[kind].fit(X[:200], drawn[:200])
    soft = estimators()[kind].fit(X[:200], TRUE[:200], classes=NAMES)
    order = numpy.argsort(NAMES)
    losses = [
        -(TRUE[200:, order] * numpy.log(model.predict_proba(X[200:]))).sum(axis=1).mean()
        for model in (soft, hard)
    ]
    assert losses[0] < losses[1]


@QUIET
@pytest.mark.parametrize("y_val", [TRUE[200:], NAMES[INDICES[200:]]], ids=["soft", "hard"])
@pytest.mark.parametrize("kind", [0, 1], ids=["MLP", "tabular"])
def test_validation_rows_have_soft_labels_or_labels(kind: int, y_val: Any) -> None:
    model = estimators()[kind]
    model.fit(X[:200], TRUE[:200], classes=NAMES, X_val=X[200:], y_val=y_val)
    order = numpy.argsort(NAMES)
    shares = y_val[:, order] if y_val.ndim == 2 else y_val[:, None] == NAMES[order]
    if kind == 0:
        losses = model.validation_loss_curve_
        loss = -(shares * numpy.log(model.predict_proba(X[200:]))).sum(axis=1).mean()
        assert losses[-1] == pytest.approx(loss, rel=1e-6)
    else:
        assert model.score(X[200:], NAMES[INDICES[200:]]) > 0.5


@QUIET
@pytest.mark.parametrize("kind", [0, 1], ids=["MLP", "tabular"])
def test_ordered_classes_may_have_soft_labels(kind: int) -> None:
    model = estimators(ordered=["c", "a", "b"])[kind].fit(X, TRUE, classes=NAMES)
    assert model.classes_.tolist() == ["c", "a", "b"]
    shares = TRUE[:, [2, 1, 0]]
    frequencies = -(shares.mean(axis=0) * numpy.log(shares.mean(axis=0))).sum()
    assert -(shares * numpy.log(model.predict_proba(X))).sum(axis=1).mean() < frequencies


def test_large_tables_take_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", 100)
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.SAMPLE_ROWS", 100)
    model = xpnet.TabularClassifier(**TABLE).fit(X, TRUE, classes=NAMES)
    shares = TRUE[:, numpy.argsort(NAMES)]
    frequencies = -(shares.mean(axis=0) * numpy.log(shares.mean(axis=0))).sum()
    assert -(shares * numpy.log(model.predict_proba(X))).sum(axis=1).mean() < 0.9 * frequencies


@QUIET
def test_early_stopping_and_calibration_take_them() -> None:
    mlp = xpnet.MLPClassifier((8,), early_stopping=True, **SMALL).fit(X, TRUE, classes=NAMES)
    assert mlp.best_validation_score_ > 0.4
    # Too sure probabilities are drawn together: the temperature is that of the soft labels.
    sharp = xpnet.TabularClassifier(**TABLE, calibration="temperature", label_smoothing=0.0)
    sharp.fit(X, TRUE, classes=NAMES)
    assert 0.3 < sharp.temperature_ < 3 and sharp.temperature_ != 1


@pytest.mark.parametrize("kind", [0, 1], ids=["MLP", "tabular"])
@pytest.mark.parametrize(
    ("y", "classes", "said"),
    [
        (TRUE * numpy.where(numpy.arange(300) == 7, 0.5, 1)[:, None], NAMES, "0.5 in row 7"),
        (TRUE - (numpy.arange(3) == 1) + (numpy.arange(3) == 0), NAMES, "in row 0"),
        (TRUE[:, :2], NAMES, "2 columns"),
        (INDICES, NAMES, "(300,)"),
        (TRUE, ["a", "a", "b"], "each once"),
    ],
    ids=["sum", "negative", "columns", "labels", "twice"],
)
def test_labels_that_are_no_probabilities_are_refused(
    kind: int, y: Any, classes: Any, said: str
) -> None:
    model = estimators()[kind]
    with pytest.raises(xpnet.errors.InputError) as error:
        model.fit(X, y, classes=classes)
    assert said in str(error.value)
    with pytest.raises(AttributeError):
        _ = model.classes_


@pytest.mark.parametrize("kind", [0, 1], ids=["MLP", "tabular"])
def test_probabilities_without_classes_are_refused_with_the_remedy(kind: int) -> None:
    with pytest.raises(ValueError, match="If y holds probabilities, pass `classes`"):
        estimators()[kind].fit(X, TRUE)
    with pytest.raises(ValueError) as refused:
        estimators()[kind].fit(X, TRUE + 5)
    assert "probabilities" not in str(refused.value)


@QUIET
def test_a_warm_start_has_the_same_classes() -> None:
    model = xpnet.MLPClassifier((8,), warm_start=True, **SMALL).fit(X, TRUE, classes=NAMES)
    losses = [*model.loss_curve_]
    with pytest.raises(ValueError, match="has the same classes as in the previous call"):
        model.fit(X, TRUE, classes=["b", "a", "d"])
    order = [1, 0, 2]  # of the columns alone
    model.fit(X, TRUE[:, order], classes=NAMES[order])
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert model.loss_curve_[: len(losses)] == losses


def test_shares_have_a_column_for_each_class() -> None:
    shares = numpy.array([[1, 0, 0], [0, 0, 1]])
    checked = checked_shares(shares, "y_val", 3)
    numpy.testing.assert_array_equal(checked, shares)
    assert checked.dtype == numpy.float64
    for wrong in (shares[:, :2], shares[0]):
        with pytest.raises(xpnet.InputError, match=r"`y_val`.*each of 3 classes.*got shape"):
            checked_shares(wrong, "y_val", 3)
