"""The plot of ``xpnet train``, drawn by matplotlib (the extra ``plot``)."""

import io
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xpnet.modelfile.disk import write_whole
from xpnet.training import History


def draw_losses(path: Path, history: History, title: str) -> None:
    """Draw the losses by epoch, on a logarithmic axis, in the format the file's ending names."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    epochs = range(1, history.epochs + 1)
    axes.plot(epochs, history.loss, label="training rows, mean over the epoch")
    if history.validation_loss:
        axes.plot(epochs, history.validation_loss, label="held-out rows, after the epoch")
    axes.set(title=title, xlabel="epoch", ylabel="cross-entropy", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix.lstrip(".").lower(), dpi=150)
    write_whole(path, drawn.getvalue())
