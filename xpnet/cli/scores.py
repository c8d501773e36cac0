"""How well predictions match labels, measured by scikit-learn."""

from collections.abc import Sequence
from typing import Any

import numpy

from xpnet.cli.output import show_table

_CLASSES = ("accuracy", "balanced_accuracy", "f1", "log_loss", "roc_auc")
_NUMBERS = ("mae", "rmse", "r2")
_TITLES = {
    "balanced_accuracy": "balanced",
    "log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "f1": "F1",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R2",
}


def score_classes(labels: numpy.ndarray, probabilities: numpy.ndarray) -> dict[str, Any]:
    """Rows, accuracy, balanced accuracy, F1 (of the second of two classes, else the mean over classes), log loss and
    ROC AUC (one class against the rest, None where a class has no rows).

    labels : (rows,) class indices; probabilities : (rows, classes)
    """
    from sklearn import metrics

    count, predicted = probabilities.shape[1], probabilities.argmax(axis=1)
    # scikit-learn wants rows that sum to 1 in float64, which rows rounded to float32 do not.
    exact = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=numpy.float64)
    present = numpy.unique(labels)
    recalls = metrics.recall_score(labels, predicted, labels=present, average=None, zero_division=0)
    return {
        "rows": len(labels),
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "balanced_accuracy": float(numpy.mean(recalls)),
        "f1": float(_f1(labels, predicted, count)),
        "log_loss": float(metrics.log_loss(labels, exact, labels=range(count))),
        "roc_auc": None if len(present) < count else float(_roc_auc(labels, exact)),
    }


def _f1(labels: numpy.ndarray, predicted: numpy.ndarray, classes: int) -> float:
    from sklearn.metrics import f1_score

    average = "binary" if classes == 2 else "macro"
    return f1_score(
        labels, predicted, labels=None if classes == 2 else range(classes), average=average, zero_division=0
    )


def _roc_auc(labels: numpy.ndarray, probabilities: numpy.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    if probabilities.shape[1] == 2:
        return roc_auc_score(labels, probabilities[:, 1])
    return roc_auc_score(labels, probabilities, multi_class="ovr", labels=range(probabilities.shape[1]))


def score_numbers(targets: numpy.ndarray, predictions: numpy.ndarray) -> dict[str, Any]:
    """Rows, mean absolute error, root of the mean squared error, and R2 (None for fewer than two rows).

    targets, predictions : (rows,)
    """
    from sklearn import metrics

    return {
        "rows": len(targets),
        "mae": float(metrics.mean_absolute_error(targets, predictions)),
        "rmse": float(metrics.root_mean_squared_error(targets, predictions)),
        "r2": float(metrics.r2_score(targets, predictions)) if len(targets) > 1 else None,
    }


def score_by_class(labels: numpy.ndarray, probabilities: numpy.ndarray, classes: Sequence[Any]) -> list[dict[str, Any]]:
    """Precision, recall, F1 and number of rows of each class.

    labels : (rows,) class indices; probabilities : (rows, classes); classes : their names
    """
    from sklearn.metrics import precision_recall_fscore_support

    predicted, places = probabilities.argmax(axis=1), range(len(classes))
    columns = precision_recall_fscore_support(labels, predicted, labels=places, zero_division=0)
    names = ("precision", "recall", "f1", "rows")
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [{"class": name, **dict(zip(names, row, strict=True))} for name, row in zip(classes, rows, strict=True)]


def show_scores(scores: dict[str, dict[str, Any]]) -> None:
    """A table with a line for each set of rows."""
    measured = next(iter(scores.values()), {})
    names = [name for name in (*_CLASSES, *_NUMBERS) if name in measured]
    rows = [(part, found["rows"], *(_shown(found[name]) for name in names)) for part, found in scores.items()]
    show_table(("rows of", "rows", *(_TITLES.get(name, name) for name in names)), rows)


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.1f}"


def show_classes(by_class: list[dict[str, Any]]) -> None:
    """A table with a line for each class."""
    names = ("precision", "recall", "f1")
    rows = [(c["class"], *(f"{c[name]:.4f}" for name in names), c["rows"]) for c in by_class]
    show_table(("class", *names, "rows"), rows)
