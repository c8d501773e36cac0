"""How well probabilities match labels, measured by scikit-learn."""

from collections.abc import Sequence
from typing import Any

import numpy

from xpnet.cli.output import show_table


def score(labels: numpy.ndarray, probabilities: numpy.ndarray) -> dict[str, Any]:
    """Rows, accuracy and log loss.

    labels : (rows,) class indices; probabilities : (rows, classes)
    """
    from sklearn.metrics import accuracy_score, log_loss

    classes = range(probabilities.shape[1])
    # scikit-learn wants rows that sum to 1 in float64, which rows rounded to float32 do not.
    exact = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=numpy.float64)
    return {
        "rows": len(labels),
        "accuracy": float(accuracy_score(labels, probabilities.argmax(axis=1))),
        "log_loss": float(log_loss(labels, exact, labels=classes)),
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
    rows = [(name, s["rows"], f"{s['accuracy']:.4f}", f"{s['log_loss']:.4f}") for name, s in scores.items()]
    show_table(("rows of", "rows", "accuracy", "log loss"), rows)


def show_classes(by_class: list[dict[str, Any]]) -> None:
    """A table with a line for each class."""
    names = ("precision", "recall", "f1")
    rows = [(c["class"], *(f"{c[name]:.4f}" for name in names), c["rows"]) for c in by_class]
    show_table(("class", *names, "rows"), rows)
