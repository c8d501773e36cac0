"""Scores of rows that come some at a time are scikit-learn's of all rows."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from xpnet.cli import scores
from xpnet.cli.scores import ClassScores, NumberScores, measure

ROWS = 1000


def parts(outputs: Any) -> list[Any]:
    """Of different lengths."""
    return np.array_split(outputs, [1, 300, 301, 900])


def probabilities(classes: int, dtype: str) -> tuple[Any, Any]:
    """Labels and probabilities that know something of them, with many ties, as float32 rounds them."""
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, ROWS).astype(np.uint8)
    scores = np.round(rng.random((ROWS, classes)) + 0.4 * np.eye(classes)[labels], 1) + 0.1
    return labels, (scores / scores.sum(axis=1, keepdims=True)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [2, 3, 12])
@pytest.mark.parametrize("held", [2**20, 10_000])
def test_classes(classes: int, dtype: str, held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """``held`` is little for some: then probabilities lie in a file, from which one class is read after the other."""
    monkeypatch.setattr(scores, "_HELD", held)
    monkeypatch.setattr(scores, "_AT_ONCE", 100)
    labels, outputs = probabilities(classes, dtype)
    found = measure(ClassScores(classes), labels, parts(outputs))
    predicted, average = outputs.argmax(axis=1), "binary" if classes == 2 else "macro"
    exact = outputs / outputs.sum(axis=1, keepdims=True, dtype=np.float64)
    expected = {
        "rows": ROWS,
        "accuracy": metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted),
        "f1": metrics.f1_score(labels, predicted, average=average),
        "log_loss": metrics.log_loss(labels, exact),
        "roc_auc": metrics.roc_auc_score(labels, exact[:, 1] if classes == 2 else exact, multi_class="ovr"),
    }
    assert found.found() == pytest.approx(expected, rel=1e-13)
    np.testing.assert_array_equal(found.counts.toarray(), metrics.confusion_matrix(labels, predicted))
    columns = metrics.precision_recall_fscore_support(labels, predicted)
    by_class = found.by_class(range(classes))
    assert [[row[name] for row in by_class] for name in ("precision", "recall", "f1", "rows")] == [
        column.tolist() for column in columns
    ]


def test_a_class_without_rows_or_predictions() -> None:
    labels, outputs = np.array([0, 0, 2, 2]), np.eye(4)[[0, 2, 2, 0]] * 0.6 + 0.1
    scores = measure(ClassScores(4), labels, [outputs])
    found, predicted = scores.found(), outputs.argmax(axis=1)
    assert (found["accuracy"], found["balanced_accuracy"], found["roc_auc"]) == (0.5, 0.5, None)
    assert found["f1"] == metrics.f1_score(labels, predicted, labels=range(4), average="macro", zero_division=0)
    assert scores.by_class("abcd")[3] == {"class": "d", "precision": 0.0, "recall": 0.0, "f1": 0.0, "rows": 0}


@pytest.mark.parametrize("targets", ["different", "equal"])
def test_numbers(targets: str) -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(1e6, 3, ROWS) if targets == "different" else np.full(ROWS, 0.5)
    predicted = (true + rng.normal(size=ROWS)).astype(np.float32)[:, None]
    expected = {
        "rows": ROWS,
        "mae": metrics.mean_absolute_error(true, predicted),
        "rmse": metrics.root_mean_squared_error(true, predicted),
        "r2": metrics.r2_score(true, predicted),
    }
    assert measure(NumberScores(), true, parts(predicted)).found() == pytest.approx(expected, rel=1e-11)
    assert measure(NumberScores(), true, parts(true)).found()["r2"] == 1.0


def test_one_number_has_no_r2() -> None:
    found = measure(NumberScores(), np.array([3.0]), [np.array([[2.5]])]).found()
    assert found == {"rows": 1, "mae": 0.5, "rmse": 0.5, "r2": None}


def test_rows_take_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scores of two classes, and a sort in place: no copy of all rows beside them."""
    rows, part = 2**19, 2**14
    labels = (np.arange(rows) % 2).astype(np.uint8)
    outputs = np.random.default_rng(0).random((part, 2), dtype=np.float32)
    measure(ClassScores(2), labels, [outputs]).found()  # imports what it needs
    monkeypatch.setattr(scores, "_AT_ONCE", part)
    tracemalloc.start()
    measure(ClassScores(2), labels, [outputs] * (rows // part)).found()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * rows
