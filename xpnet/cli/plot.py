"""Plots of ``xpnet train``, ``evaluate`` and ``explain``, drawn by matplotlib (the extra ``plot``)."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy

from xpnet.estimators import LossCurveDisplay
from xpnet.modelfile.disk import write_whole

_COUNTED = 30  # classes that still have room for their counts


@contextmanager
def _axes(path: Path, title: str, width: float, height: float, **columns: Any) -> Iterator[Any]:
    """Yield axes to draw on, and write their figure in the format that the file's ending names.

    columns : what ``Figure.subplots`` takes, for more axes than one
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title)
    yield figure.subplots(**columns)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix.lstrip(".").lower(), dpi=150)
    write_whole(path, drawn.getvalue())


def draw_losses(path: Path, history: dict[str, list[float]], title: str, loss: str) -> None:
    """Draw the losses by epoch, on a logarithmic axis where all are positive."""
    losses, validation = history["loss"], history["validation_loss"]
    positive = all(value > 0 for value in (*losses, *validation))
    with _axes(path, title, 7, 4.5) as axes:
        LossCurveDisplay(loss_curve=losses, validation_loss_curve=validation).plot(axes)
        axes.set(ylabel=loss, yscale="log" if positive else "linear")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)


def draw_classes(
    path: Path,
    labels: numpy.ndarray,
    probabilities: numpy.ndarray,
    classes: Sequence[Any],
    title: str,
) -> None:
    """Draw how many rows of each class were predicted to be of which, and how often predictions so sure are right.

    labels : (rows,) class indices; probabilities : (rows, classes)
    """
    from sklearn.calibration import CalibrationDisplay
    from sklearn.metrics import ConfusionMatrixDisplay

    predicted, size = probabilities.argmax(axis=1), min(4 + 0.45 * len(classes), 14)
    names = [
        str(name)[:20].replace("$", r"\$") for name in classes
    ]  # a dollar would begin a formula
    how = {
        "labels": range(len(classes)),
        "display_labels": names,
        "include_values": len(classes) <= _COUNTED,
    }
    with _axes(path, title, size + 5, size, ncols=2, width_ratios=(size, 4)) as (axes, right):
        ConfusionMatrixDisplay.from_predictions(
            labels, predicted, xticks_rotation="vertical", ax=axes, **how
        )
        sure = probabilities.max(axis=1).clip(0, 1)
        CalibrationDisplay.from_predictions(
            labels == predicted, sure, n_bins=10, strategy="quantile", ax=right
        )
        right.set(
            title="reliability",
            xlabel="probability of the predicted class",
            ylabel="share that is right",
        )


def draw_importances(
    path: Path, importances: numpy.ndarray, names: Sequence[str], what: str, title: str
) -> None:
    """Draw a bar for each column. importances : (columns, repeats)"""
    from xpnet.estimators.inspection import MOST_BARS, ImportanceDisplay

    with _axes(path, title, 7, 1.5 + 0.3 * min(len(names), MOST_BARS)) as axes:
        ImportanceDisplay(importances, names).plot(axes)
        axes.set(xlabel=what)


def draw_against(
    path: Path, targets: numpy.ndarray, predictions: numpy.ndarray, title: str
) -> None:
    """Draw true against predicted numbers, with the line on which both are equal. targets, predictions : (rows,)"""
    from sklearn.metrics import PredictionErrorDisplay

    with _axes(path, title, 6, 6) as axes:
        PredictionErrorDisplay(y_true=targets, y_pred=predictions).plot(
            axes,
            kind="actual_vs_predicted",
            scatter_kwargs={"s": 12, "alpha": 0.5, "rasterized": True},
        )
