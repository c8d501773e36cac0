"""The probability from which the second of two classes is predicted."""

from pathlib import Path
from typing import Any

import numpy
import pytest
from sklearn import metrics

import xpnet

SMALL: dict[str, Any] = {
    "hidden_layer_sizes": (8,),
    "members": 1,
    "networks": 2,
    "max_iter": 15,
    "refit": False,
    "random_state": 0,
}
RNG = numpy.random.default_rng(0)
ROWS = 1700
X = RNG.normal(size=(ROWS, 3))
LABELS = numpy.where(X[:, 0] + X[:, 1] + RNG.normal(size=ROWS) > 2.2, "rare", "often")
# Of 1,000 validation rows or fewer, each has the epoch that others choose.
LATER = {"X_val": X[600:], "y_val": LABELS[600:]}
WEIGHT = RNG.uniform(0.2, 3.0, ROWS - 600)

SCORES: dict[str, Any] = {
    "f1": lambda y, predicted, weight: metrics.f1_score(
        y, predicted, pos_label="rare", sample_weight=weight
    ),
    "balanced_accuracy": lambda y, predicted, weight: metrics.balanced_accuracy_score(
        y, predicted, sample_weight=weight
    ),
}


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["equal", "weighted"])
@pytest.mark.parametrize("calibration", [None, "temperature"])
def test_the_threshold_maximises_the_score_of_the_validation_rows(
    score: str, weight: Any, calibration: str | None
) -> None:
    model = xpnet.TabularClassifier(**SMALL, threshold=score, calibration=calibration)
    model.fit(X[:600], LABELS[:600], **LATER, sample_weight_val=weight)
    second = model.predict_proba(X[600:])[:, 1]
    values = numpy.unique(second)
    thresholds = [0.0, *((values[1:] + values[:-1]) / 2)]
    scores = [
        SCORES[score](LABELS[600:], numpy.where(second >= threshold, "rare", "often"), weight)
        for threshold in thresholds
    ]
    predicted = model.predict(X[600:])
    assert SCORES[score](LABELS[600:], predicted, weight) == pytest.approx(max(scores), rel=1e-6)
    assert min(scores) < 0.9 * max(scores)
    numpy.testing.assert_array_equal(predicted == "rare", second >= model.threshold_)


def test_a_number_is_the_threshold_and_the_probabilities_stay() -> None:
    plain = xpnet.TabularClassifier(**SMALL).fit(X, LABELS)
    moved = xpnet.TabularClassifier(**SMALL, threshold=0.2).fit(X, LABELS)
    assert plain.threshold_ is None
    assert moved.threshold_ == 0.2
    probabilities = plain.predict_proba(X)
    numpy.testing.assert_array_equal(moved.predict_proba(X), probabilities)
    numpy.testing.assert_array_equal(moved.predict(X) == "rare", probabilities[:, 1] >= 0.2)
    assert (moved.predict(X) == "rare").sum() > (plain.predict(X) == "rare").sum()
    assert moved.score(X, LABELS) == numpy.mean(moved.predict(X) == LABELS)


def test_the_positive_class_may_be_the_first(tmp_path: Path) -> None:
    labels = numpy.where(LABELS == "rare", "fraud", "ok")
    later = {"X_val": X[600:], "y_val": labels[600:]}
    model = xpnet.TabularClassifier(**SMALL, threshold="f1", positive_class="fraud")
    model.fit(X[:600], labels[:600], **later)
    probability = model.predict_proba(X[600:])[:, 0]
    values = numpy.unique(probability)
    scores = [
        metrics.f1_score(labels[600:] == "fraud", probability >= threshold)
        for threshold in (values[1:] + values[:-1]) / 2
    ]
    predicted = model.predict(X[600:]) == "fraud"
    assert metrics.f1_score(labels[600:] == "fraud", predicted) == pytest.approx(max(scores))
    numpy.testing.assert_array_equal(predicted, probability >= 1 - model.threshold_)
    model.save(tmp_path / "m")
    assert xpnet.load(tmp_path / "m").positive_class == "fraud"

    fixed = xpnet.TabularClassifier(**SMALL, threshold=0.2, positive_class="fraud").fit(X, labels)
    first = fixed.predict_proba(X)[:, 0]
    numpy.testing.assert_array_equal(fixed.predict(X) == "fraud", first >= 0.2)
    assert fixed.threshold_ == 0.8


@pytest.mark.parametrize("named", ["Rare", 1])
def test_a_positive_class_that_is_no_label_is_refused(named: object) -> None:
    model = xpnet.TabularClassifier(**SMALL, positive_class=named)
    with pytest.raises(xpnet.errors.InputError, match="one of the labels 'often'.*'rare'; got"):
        model.fit(X, LABELS)
    three = numpy.resize(["a", "b", "c"], ROWS)
    with pytest.raises(xpnet.errors.InputError, match="`positive_class` must go with two classes"):
        model.fit(X, three)


def test_model_files_and_onnx_hold_it(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = xpnet.TabularClassifier(**SMALL, threshold="f1").fit(X, LABELS)
    model.save(tmp_path / "m")
    opened = xpnet.load(tmp_path / "m")
    assert opened.threshold_ == model.threshold_
    numpy.testing.assert_array_equal(opened.predict(X), model.predict(X))
    model.export_onnx(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    names = [node.name for node in session.get_inputs()]
    inputs = {"X": X} if names == ["X"] else dict(zip(names, X.T[:, :, None], strict=True))
    (labels,) = session.run(["label"], inputs)
    assert (labels == model.predict(X)).mean() > 0.998  # rows at the threshold round differently
    assert (labels != model.classes_[model.predict_proba(X).argmax(axis=1)]).any()


@pytest.mark.parametrize(
    ("threshold", "settings", "labels", "message"),
    [
        (0.3, {}, numpy.resize(["a", "b", "c"], ROWS), "two classes; got 3"),
        ("f1", {"validation_fraction": 0.0}, LABELS, "validation"),
        ("accuracy", {}, LABELS, "threshold"),
        (1.0, {}, LABELS, "threshold"),
    ],
)
def test_refused_thresholds(
    threshold: Any, settings: dict[str, Any], labels: numpy.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        xpnet.TabularClassifier(**SMALL | settings, threshold=threshold).fit(X, labels)
