"""These scores measure by scikit-learn how well predictions match labels."""

from collections.abc import Sequence
from typing import Any

import numpy

from xpnet.cli.output import show_table

_TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "f1": "F1",
    "log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R2",
}

SCORED_ROWS = 2**18
"""The most rows of which the log loss is computed at a time."""


def class_scores(labels: numpy.ndarray, probabilities: numpy.ndarray) -> dict[str, Any]:
    """Rows, accuracy, balanced accuracy, F1 (of the second of two classes, else the mean), log loss and ROC AUC.

    ROC AUC is that of each class against the rest, and None where a class has no rows.
    labels : (rows,) class indices; probabilities : (rows, classes)
    """
    from sklearn import metrics

    rows, classes = probabilities.shape
    exact = probabilities.astype(numpy.float64)
    exact /= exact.sum(axis=1, keepdims=True)  # those rounded to float32 sum to 1 only nearly
    area = None
    if len(numpy.unique(labels)) == classes:  # first, since it takes the most memory
        area = metrics.roc_auc_score(labels, exact if classes > 2 else exact[:, 1], multi_class="ovr")
    predicted = exact.argmax(axis=1)
    recalls = metrics.recall_score(labels, predicted, labels=numpy.unique(labels), average=None, zero_division=0)
    among = {"labels": range(classes), "average": "macro"} if classes > 2 else {"average": "binary"}
    return {
        "rows": rows,
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "balanced_accuracy": float(numpy.mean(recalls)),
        "f1": float(metrics.f1_score(labels, predicted, zero_division=0, **among)),
        "log_loss": _log_loss(labels, exact),
        "roc_auc": None if area is None else float(area),
    }


def _log_loss(labels: numpy.ndarray, probabilities: numpy.ndarray) -> float:
    """The mean log loss, summed over blocks of rows, since scikit-learn holds all rows several times."""
    from sklearn import metrics

    rows, classes = probabilities.shape
    blocks = (slice(first, first + SCORED_ROWS) for first in range(0, rows, SCORED_ROWS))
    sums = [
        metrics.log_loss(labels[block], probabilities[block], labels=range(classes), normalize=False)
        for block in blocks
    ]
    return float(sum(sums) / rows)


def scores_by_class(labels: numpy.ndarray, predicted: numpy.ndarray, names: Sequence[Any]) -> list[dict[str, Any]]:
    """Precision, recall, F1 and number of rows of each class. labels, predicted : (rows,) class indices"""
    from sklearn.metrics import precision_recall_fscore_support

    *shares, rows = precision_recall_fscore_support(labels, predicted, labels=range(len(names)), zero_division=0)
    columns = zip(names, *(share.tolist() for share in shares), map(int, rows), strict=True)
    return [dict(zip(("class", "precision", "recall", "f1", "rows"), column, strict=True)) for column in columns]


def number_scores(targets: numpy.ndarray, predictions: numpy.ndarray) -> dict[str, Any]:
    """Rows, mean absolute error, root of the mean squared error, and R2 (None for fewer than two rows)."""
    from sklearn import metrics

    rows = len(targets)
    return {
        "rows": rows,
        "mae": float(metrics.mean_absolute_error(targets, predictions)),
        "rmse": float(metrics.root_mean_squared_error(targets, predictions)),
        "r2": float(metrics.r2_score(targets, predictions)) if rows > 1 else None,
    }


def baseline_scores(training: numpy.ndarray, measured: numpy.ndarray, classes: int | None) -> dict[str, Any]:
    """The scores of who always says the most frequent class, or the mean. classes : how many; None for numbers"""
    if classes is None:
        return number_scores(measured, numpy.full(len(measured), training.mean()))
    shares = numpy.bincount(training, minlength=classes) / len(training)
    return class_scores(measured, numpy.tile(shares, (len(measured), 1)))


def show_scores(scores: dict[str, dict[str, Any]]) -> None:
    """Show a table with a line for each set of rows."""
    measured = next(iter(scores.values()), {})
    names = [name for name in _TITLES if name in measured]
    rows = [(part, found["rows"], *(_shown(found[name]) for name in names)) for part, found in scores.items()]
    show_table(("rows of", "rows", *(_TITLES[name] for name in names)), rows)


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.1f}"


def show_classes(by_class: list[dict[str, Any]]) -> None:
    """Show a table with a line for each class."""
    names = ("precision", "recall", "f1")
    rows = [(c["class"], *(f"{c[name]:.4f}" for name in names), c["rows"]) for c in by_class]
    show_table(("class", *names, "rows"), rows)
