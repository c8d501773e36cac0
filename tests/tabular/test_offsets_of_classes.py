"""Offsets of tabular classifiers: the networks learn the rest of the odds beside a known part."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logit, softmax
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score

import xpnet
from xpnet.errors import InputError

ROWS = 300
QUICK: dict[str, Any] = {"quality": 1, "max_iter": 25, "random_state": 0}
LINEAR: dict[str, Any] = {
    "hidden_layer_sizes": (),
    "networks": 1,
    "members": 1,
    "weight_decay": 0.0,
    "dropout": 0.0,
    "validation_fraction": 0.0,
    "batch_size": ROWS,
    "learning_rate_init": 0.05,
    "max_iter": 1500,
    "dtype": "float64",
    "random_state": 0,
}
"""A model without hidden layers whose updates are by the gradient of all rows."""
NEAR = 2e-3
"""Distance of Adam's parameters from the best ones after so many updates of one step size."""


def two_classes(rows: int = ROWS) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Return a table, labels of two classes, and offsets of the second."""
    rng = np.random.default_rng(0)
    size, weight = rng.normal(size=(2, rows))
    offset = 2 * rng.normal(size=rows)
    y = rng.uniform(size=rows) < expit(size - 0.5 * weight + 0.3 + offset)
    return {"size": size, "weight": weight}, np.where(y, "yes", "no"), offset


def three_classes(rows: int = ROWS) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Return a table, labels of three classes, and an offset of each class."""
    rng = np.random.default_rng(1)
    X, offset = rng.normal(size=(rows, 2)), rng.normal(size=(rows, 3))
    shares = softmax(X @ rng.normal(size=(2, 3)) + offset, axis=1)
    y = np.array([rng.choice(list("abc"), p=share) for share in shares])
    return {"size": X[:, 0], "weight": X[:, 1]}, y, offset


ROWS_OF = pytest.mark.parametrize("make", [two_classes, three_classes])


def linear(**settings: Any) -> Any:
    encoder = xpnet.TableEncoder(scaling="standard", bins=None)
    return xpnet.TabularClassifier(encoder=encoder, **LINEAR, **settings)


def columns_of(offset: np.ndarray) -> np.ndarray:
    """Return an offset for each class."""
    return offset if offset.ndim == 2 else np.column_stack([np.zeros(len(offset)), offset])


@ROWS_OF
def test_a_linear_model_has_the_largest_likelihood(make: Any) -> None:
    table, y, offset = make()
    model = linear().fit(table, y, offset=offset)
    X = np.column_stack([*table.values(), np.ones(ROWS)])
    labels = y[:, None] == model.classes_
    known = columns_of(offset)

    def loss(solution: np.ndarray) -> float:
        logits = X @ solution.reshape(3, -1) + known
        return -(labels * log_softmax(logits, axis=1)).sum() / ROWS

    best = minimize(loss, np.zeros(3 * labels.shape[1]), options={"gtol": 1e-7}).x
    logits = X @ best.reshape(3, -1)
    expected = softmax(logits + known, axis=1)
    np.testing.assert_allclose(model.predict_proba(table, offset=offset), expected, atol=NEAR)
    np.testing.assert_allclose(model.predict_proba(table), softmax(logits, axis=1), atol=NEAR)


def test_coefficients_are_those_of_statsmodels() -> None:
    models = pytest.importorskip("statsmodels.api", reason="statsmodels is not installed")
    table, y, offset = two_classes()
    model = linear().fit(table, y, offset=offset)
    X = model.encoder_.transform(table).astype(np.float64)
    columns = np.column_stack([X, np.ones(ROWS)])
    theirs = models.GLM(y == "yes", columns, family=models.families.Binomial(), offset=offset)
    expected = theirs.fit().params
    np.testing.assert_allclose([*model.coef_[0], model.intercept_[0]], expected, atol=10 * NEAR)


@ROWS_OF
def test_offsets_of_0_change_no_bit(make: Any) -> None:
    table, y, offset = make()
    without = xpnet.TabularClassifier(**QUICK, calibration="temperature").fit(table, y)
    zeros = np.zeros_like(offset)
    model = xpnet.TabularClassifier(**QUICK, calibration="temperature")
    model.fit(table, y, offset=zeros)
    np.testing.assert_array_equal(model.predict_proba(table), without.predict_proba(table))
    probabilities = model.predict_proba(table, offset=zeros)
    np.testing.assert_allclose(probabilities, without.predict_proba(table), rtol=1e-5)


@ROWS_OF
def test_one_offset_of_all_rows_changes_the_intercept_alone(make: Any) -> None:
    table, y, offset = make()
    constant = np.full_like(offset, 0.7) if offset.ndim == 1 else np.tile([0.5, 0, -0.4], (ROWS, 1))
    without = linear().fit(table, y).predict_proba(table)
    model = linear().fit(table, y, offset=constant)
    np.testing.assert_allclose(model.predict_proba(table, offset=constant), without, atol=2 * NEAR)


@ROWS_OF
@pytest.mark.parametrize("calibration", [None, "temperature"])
def test_offsets_are_added_to_the_logarithms_of_probabilities(make: Any, calibration: Any) -> None:
    table, y, offset = make()
    model = xpnet.TabularClassifier(**QUICK, calibration=calibration)
    model.fit(table, y, offset=offset)
    logits = np.log(model.predict_proba(table)) + columns_of(offset)
    probabilities = model.predict_proba(table, offset=offset)
    np.testing.assert_allclose(probabilities, softmax(logits, axis=1), rtol=1e-4)
    labels = model.predict(table, offset=offset)
    np.testing.assert_array_equal(labels, model.classes_[probabilities.argmax(axis=1)])
    assert model.score(table, y, offset=offset) == (labels == y).mean()


@pytest.mark.parametrize("quality", [1, 3])
def test_networks_of_noise_leave_the_odds_to_the_offset(quality: int) -> None:
    rng = np.random.default_rng(0)  # in one of 20 such tables a column is related by chance
    table = {name: rng.normal(size=1400) for name in "abcd"}
    offset = 2 * rng.normal(size=1400)
    y = rng.uniform(size=1400) < expit(offset)
    parts = [
        ({name: column[rows] for name, column in table.items()}, y[rows], offset[rows])
        for rows in (slice(400), slice(400, None))
    ]
    (training, labels, known), (new, new_labels, new_known) = parts
    model = xpnet.TabularClassifier(quality=quality, random_state=0)
    model.fit(training, labels, offset=known)
    of_truth = log_loss(new_labels, expit(new_known))
    of_model = log_loss(new_labels, model.predict_proba(new, offset=new_known))
    # A constant that is off by its standard error for 400 rows, 0.13, costs 0.001.
    assert of_model == pytest.approx(of_truth, abs=0.005)
    assert log_loss(new_labels, model.predict_proba(new)) > of_truth + 0.15


def test_the_constant_beside_offsets_is_no_share_of_the_classes() -> None:
    rng = np.random.default_rng(5)
    table = {"noise": rng.normal(size=600)}
    offset = 3 + 2 * rng.normal(size=600)  # most rows have the second class
    y = rng.uniform(size=600) < expit(offset - 2)
    model = xpnet.TabularClassifier(quality=1, random_state=0).fit(table, y, offset=offset)
    odds = logit(model.predict_proba(table)[:, 1])
    assert odds.mean() == pytest.approx(-2, abs=0.4)  # two standard errors are 0.25
    assert y.mean() > 0.6


def test_a_search_takes_offsets() -> None:
    table, y, offset = two_classes(400)
    model = xpnet.TabularClassifier(quality=5, max_iter=6, random_state=0)
    model.fit(table, y, offset=offset)
    with_offset = log_loss(y, model.predict_proba(table, offset=offset))
    assert with_offset < log_loss(y, model.predict_proba(table)) - 0.1


@pytest.mark.parametrize("max_encoded", [2**25, 600], ids=["in memory", "for each epoch"])
def test_large_tables_take_offsets(monkeypatch: pytest.MonkeyPatch, max_encoded: int) -> None:
    table, y, offset = two_classes(1500)
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", 100)
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.SAMPLE_ROWS", 400)
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.MAX_ENCODED", max_encoded)
    model = xpnet.TabularClassifier(**QUICK).fit(table, y, offset=offset)
    of_truth = expit(table["size"] - 0.5 * table["weight"] + 0.3 + offset)
    of_model = log_loss(y, model.predict_proba(table, offset=offset))
    assert of_model == pytest.approx(log_loss(y, of_truth), abs=0.05)


def test_soft_labels_take_offsets() -> None:
    table, y, offset = two_classes()
    known = {"offset": offset, "offset_val": offset, "X_val": table}
    one_hot = np.column_stack([y == "no", y == "yes"]).astype(float)
    hard = xpnet.TabularClassifier(**QUICK).fit(table, y, y_val=y, **known)
    of_hard = hard.predict_proba(table)
    soft = xpnet.TabularClassifier(**QUICK)
    soft.fit(table, one_hot, classes=["no", "yes"], y_val=one_hot, **known)
    np.testing.assert_array_equal(soft.predict_proba(table), of_hard)
    soft.fit(table, 0.8 * one_hot + 0.1, classes=["no", "yes"], y_val=one_hot, **known)
    # Labels that are less certain make probabilities less certain.
    assert (
        np.abs(logit(soft.predict_proba(table)[:, 1])).mean() < np.abs(logit(of_hard[:, 1])).mean()
    )


def test_the_threshold_is_chosen_with_offsets() -> None:
    table, y, offset = two_classes(600)
    offset = offset - 2
    model = xpnet.TabularClassifier(**QUICK, threshold="balanced_accuracy")
    model.fit(table, y, X_val=table, y_val=y, offset=offset, offset_val=offset)
    p = model.predict_proba(table, offset=offset)[:, 1]
    candidates = np.unique(p)
    of_classes = [
        ((p[y == "yes"] >= one).mean() + (p[y == "no"] < one).mean()) / 2 for one in candidates
    ]
    labels = model.predict(table, offset=offset)
    reached = ((labels == "yes")[y == "yes"].mean() + (labels == "no")[y == "no"].mean()) / 2
    # The validation rows that choose are predicted by choices of other rows.
    assert reached == pytest.approx(max(of_classes), abs=0.02)


def test_importances_do_not_credit_columns_with_the_offset() -> None:
    rng = np.random.default_rng(6)
    table = {"cause": rng.normal(size=800), "copy": rng.normal(size=800)}
    offset = 2 * table["copy"]  # its effect is known: nothing is left to learn from this column
    y = rng.uniform(size=800) < expit(1.5 * table["cause"] + offset)
    model = xpnet.TabularClassifier(quality=1, random_state=0).fit(table, y, offset=offset)
    of_cause, of_copy = model.feature_importances_
    assert of_cause > 0.8
    assert of_copy < 0.2


def test_offsets_of_a_refinement_are_needed_by_the_next() -> None:
    table, y, offset = two_classes(400)
    classifier = xpnet.TabularClassifier(**QUICK).fit(table, y)
    classifier.refine(table, y, offset=offset)
    with pytest.raises(InputError, match="must have offsets"):
        classifier.refine(table, y)
    counts = (y == y[0]).astype(float)
    regressor = xpnet.TabularRegressor(**QUICK, loss="poisson").fit(table, counts)
    few = {name: column[:20] for name, column in table.items()}
    regressor.refine(few, counts[:20], offset=offset[:20])  # too few for residuals of their own
    with pytest.raises(InputError, match="must have exposures"):
        regressor.refine(table, counts)


@pytest.mark.parametrize("from_file", [False, True])
def test_a_refinement_needs_offsets(tmp_path: Path, from_file: bool) -> None:
    table, y, offset = two_classes(400)
    model: Any = xpnet.TabularClassifier(**QUICK).fit(table, y, offset=offset)
    if from_file:
        model.save(tmp_path / "m.st")
        opened: Any = xpnet.load(tmp_path / "m.st")
        expected = model.predict_proba(table, offset=offset)
        np.testing.assert_array_equal(opened.predict_proba(table, offset=offset), expected)
        model = opened
    before = model.predict_proba(table)
    with pytest.raises(InputError, match=r"must have offsets.*offset=numpy.zeros"):
        model.refine(table, y)
    np.testing.assert_array_equal(model.predict_proba(table), before)
    # The rest of the odds has risen by 1.5, and the offset says the same as before.
    rng = np.random.default_rng(8)
    logits = logit(before[:, 1].astype(np.float64)) + offset + 1.5
    risen = np.where(rng.uniform(size=400) < expit(logits), "yes", "no")
    refinement = model.refine(table, risen, offset=offset, learning_rate_share=0.3)
    assert refinement.loss_after < refinement.loss_before
    rise = logit(model.predict_proba(table)[:, 1]) - logit(before[:, 1])
    assert 0.5 < np.median(rise) < 2.5


def test_cross_validation_takes_its_rows_of_the_offsets() -> None:
    table, y, offset = two_classes(150)
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(table)
    model = xpnet.TabularClassifier(**QUICK)
    scores = cross_val_score(model, frame, y, params={"offset": offset}, cv=3, scoring=None)
    assert len(scores) == 3 and (scores > 0.4).all()


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"offset": np.zeros((ROWS, 2))}, "`offset` must hold one number"),
    ({"offset": np.zeros(3)}, r"`offset` .* 300 rows; got shape \(3,\)"),
    ({"offset": np.r_[np.zeros(7), np.nan, np.zeros(ROWS - 8)]}, "got nan in row 7. Correct it"),
    ({"offset": np.r_[np.zeros(7), np.inf, np.zeros(ROWS - 8)]}, "got inf in row 7. Correct it"),
    ({"offset": np.full(ROWS, -81.0)}, "from -80 to 80; got -81 in row 0"),
    ({"offset": np.full(ROWS, "a")}, "`offset` must hold numbers .* Convert it"),
    ({"offset_val": np.zeros(ROWS)}, "`offset_val` must be passed where"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_refused(arguments: dict[str, Any], message: str) -> None:
    table, y, _ = two_classes()
    model = xpnet.TabularClassifier(**QUICK)
    with pytest.raises(InputError, match=message):
        model.fit(table, y, **arguments)
    assert not model.__sklearn_is_fitted__()


def test_offsets_of_other_classes_are_refused() -> None:
    table, y, offset = three_classes()
    with pytest.raises(InputError, match="for each of 3 classes"):
        xpnet.TabularClassifier(**QUICK).fit(table, y, offset=offset[:, 0])
    ordered = xpnet.TabularClassifier(**QUICK, ordered=["a", "b", "c"])
    with pytest.raises(InputError, match="classes that have no order.*Leave offset out"):
        ordered.fit(table, y, offset=offset)
    model = xpnet.TabularClassifier(**QUICK).fit(table, y, offset=offset)
    with pytest.raises(InputError, match="`offset` must hold a number for each of 3 classes"):
        model.predict_proba(table, offset=offset[:, 0])
    ordered.fit(table, y)
    with pytest.raises(InputError, match="classes that have no order"):
        ordered.predict(table, offset=offset)
