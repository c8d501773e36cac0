"""Plots of ``xpnet train`` and ``xpnet evaluate``, drawn by matplotlib (the extra ``plot``)."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xpnet.estimators import LossCurveDisplay
from xpnet.modelfile.disk import write_whole

_NAMED = 30  # classes that still have room for their names and counts


def draw_losses(path: Path, history: dict[str, list[float]], title: str, loss: str) -> None:
    """Draw the losses by epoch, on a logarithmic axis where all are positive, in the format the file's ending names."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    losses, validation = history["loss"], history["validation_loss"]
    LossCurveDisplay(loss_curve=losses, validation_loss_curve=validation).plot(axes)
    positive = all(value > 0 for value in (*losses, *validation))
    axes.set(title=title, ylabel=loss, yscale="log" if positive else "linear")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    _save(figure, path)


def draw_classes(
    path: Path, labels: numpy.ndarray, probabilities: numpy.ndarray, classes: Sequence[Any], title: str
) -> None:
    """Draw how many rows of each class were predicted to be of which, and how often predictions so sure are right.

    labels : (rows,) class indices; probabilities : (rows, classes)
    """
    from sklearn.calibration import CalibrationDisplay
    from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

    predicted, size = probabilities.argmax(axis=1), min(4 + 0.45 * len(classes), 14)
    counts = confusion_matrix(labels, predicted, labels=range(len(classes)))
    figure = Figure(figsize=(size + 5, size), layout="constrained")
    axes, right = figure.subplots(1, 2, width_ratios=(size, 4))
    named = len(classes) <= _NAMED
    names = [_short(str(name)) for name in classes] if named else None
    display = ConfusionMatrixDisplay(counts, display_labels=names)
    display.plot(ax=axes, cmap="Blues", include_values=named, xticks_rotation="vertical" if named else "horizontal")
    axes.set_title(title)
    sure = probabilities.max(axis=1).clip(0, 1)
    CalibrationDisplay.from_predictions(labels == predicted, sure, n_bins=10, strategy="quantile", ax=right)
    right.set(title="reliability", xlabel="probability of the predicted class", ylabel="share that is right")
    right.grid(alpha=0.3)
    _save(figure, path)


def draw_importances(path: Path, importances: numpy.ndarray, names: Sequence[str], what: str, title: str) -> None:
    """Draw a bar for each column. importances : (columns, repeats)"""
    from xpnet.estimators.inspection import MOST_BARS, ImportanceDisplay

    figure = Figure(figsize=(7, 1.5 + 0.3 * min(len(names), MOST_BARS)), layout="constrained")
    axes = figure.add_subplot()
    ImportanceDisplay(importances, names).plot(axes)
    axes.set(title=title, xlabel=what)
    axes.grid(alpha=0.3, axis="x")
    _save(figure, path)


def draw_against(path: Path, targets: numpy.ndarray, predictions: numpy.ndarray, title: str) -> None:
    """Draw predicted against true numbers, with the line on which both are equal. targets, predictions : (rows,)"""
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(targets, predictions, s=12, alpha=0.5, rasterized=True)
    ends = [min(targets.min(), predictions.min()), max(targets.max(), predictions.max())]
    axes.plot(ends, ends, color="black", linewidth=1)
    axes.set(title=title, xlabel="true", ylabel="predicted")
    axes.grid(alpha=0.3)
    _save(figure, path)


def _short(name: str) -> str:
    # A dollar would begin a formula.
    shown = name if len(name) <= 20 else f"{name[:19]}…"
    return shown.replace("$", r"\$")


def _save(figure: Figure, path: Path) -> None:
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix.lstrip(".").lower(), dpi=150)
    write_whole(path, drawn.getvalue())
