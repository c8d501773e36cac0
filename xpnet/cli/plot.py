"""Plots of ``xpnet train``, ``evaluate`` and ``explain``, by matplotlib (the extra ``plot``)."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

import numpy

from xpnet.modelfile.disk import write_whole

MAX_COUNTED_CLASSES = 30
"""Maximum number of classes for which a confusion matrix shows its counts."""

_LOSS_TITLES = {
    "softmax_cross_entropy": "cross-entropy (nats per row)",
    "logistic_cross_entropy": "cross-entropy (nats per row)",
}
"""Labels of the axis of losses. The label of another loss is its name."""


class Losses(TypedDict):
    """The losses of a network by epoch."""

    loss: list[float]
    validation_loss: list[float]


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


def draw_losses(path: Path, histories: Sequence[Losses], title: str, loss: str) -> None:
    """Draw the losses of all networks by epoch, on a logarithmic axis if all are positive.

    histories : ``loss`` and ``validation_loss`` of each network; loss : its name
    """
    from matplotlib.ticker import MaxNLocator, NullFormatter

    curves = [
        losses for history in histories for losses in (history["loss"], history["validation_loss"])
    ]
    positive = all(value > 0 for values in curves for value in values)
    with _axes(path, title, 7, 4.5) as axes:
        for place, history in enumerate(histories):
            name = f"network {place + 1}, " if len(histories) > 1 else ""
            for style, losses, part in (
                ("-", history["loss"], "training"),
                ("--", history["validation_loss"], "validation"),
            ):
                if losses:
                    epochs = range(1, len(losses) + 1)
                    axes.plot(epochs, losses, style, color=f"C{place}", label=name + part)
        axes.set(xlabel="epoch", ylabel=_LOSS_TITLES.get(loss, f"{loss.replace('_', ' ')} per row"))
        if positive:
            axes.set_yscale("log")
            low, high = axes.get_ylim()
            axes.yaxis.set_major_formatter("{x:g}")
            # Beyond two powers of ten, labels of the numbers between them would overlap.
            axes.yaxis.set_minor_formatter("{x:g}" if high / low < 10 else NullFormatter())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", ncols=1 + (len(histories) > 2))


def draw_classes(
    path: Path,
    labels: numpy.ndarray,
    probabilities: numpy.ndarray,
    classes: Sequence[object],
    predicted: numpy.ndarray,
    title: str,
) -> None:
    """Draw a confusion matrix, and how often the most probable class is right.

    labels, predicted : (rows,) class indices; probabilities : (rows, classes)
    """
    from sklearn.calibration import CalibrationDisplay
    from sklearn.metrics import ConfusionMatrixDisplay

    size = min(4 + 0.45 * len(classes), 14)
    # A dollar would begin a formula.
    names = [str(name)[:20].replace("$", r"\$") for name in classes]
    settings = {
        "labels": range(len(classes)),
        "display_labels": names,
        "include_values": len(classes) <= MAX_COUNTED_CLASSES,
    }
    with _axes(path, title, size + 5, size, ncols=2, width_ratios=(size, 4)) as (axes, right):
        ConfusionMatrixDisplay.from_predictions(
            labels, predicted, xticks_rotation="vertical", ax=axes, **settings
        )
        confidence = probabilities.max(axis=1).clip(0, 1)
        CalibrationDisplay.from_predictions(
            labels == probabilities.argmax(axis=1),
            confidence,
            n_bins=10,
            strategy="quantile",
            ax=right,
        )
        right.set(
            title="reliability",
            xlabel="probability of the most probable class",
            ylabel="fraction that is right",
        )


def draw_importances(
    path: Path, importances: numpy.ndarray, names: Sequence[str], what: str, title: str
) -> None:
    """Draw a bar for each column. importances : (columns, repeats)"""
    from xpnet.estimators.views.inspection import MAX_BARS, ImportanceDisplay

    with _axes(path, title, 7, 1.5 + 0.3 * min(len(names), MAX_BARS)) as axes:
        ImportanceDisplay(importances, names).plot(axes)
        axes.set(xlabel=what)


def draw_against(
    path: Path, targets: numpy.ndarray, predictions: numpy.ndarray, title: str
) -> None:
    """Draw true against predicted numbers, with the line on which both are equal.

    targets, predictions : (rows,)
    """
    from sklearn.metrics import PredictionErrorDisplay

    with _axes(path, title, 6, 6) as axes:
        PredictionErrorDisplay(y_true=targets, y_pred=predictions).plot(
            axes,
            kind="actual_vs_predicted",
            scatter_kwargs={"s": 12, "alpha": 0.5, "rasterized": True},
        )
