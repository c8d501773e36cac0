"""``xpnet train``: a classifier from a data file, with its scores, its model file, its metrics and its plot."""

from pathlib import Path
from typing import Any

import click

from xpnet.cli.options import check_folder, computing, output_option
from xpnet.cli.settings import DEFAULT_RATE, Number, Settings, Sizes


def _check_plot(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    if path is None:
        return None
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        raise click.UsageError(
            "Plots are drawn by matplotlib, which is not installed. pip install 'xpnet[plot]'."
        ) from None
    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix.lower().lstrip(".") not in known:
        raise click.BadParameter(f"a plot ends in .{', .'.join(known)}; received {path.name}.", ctx, param)
    return path


def _check_checkpoints(folder: Path | None, resume: bool) -> None:
    """A folder that can be written in, and that holds no other run unless that is to go on."""
    if folder is None:
        if resume:
            raise click.UsageError("--resume goes on from the last checkpoint; name its folder with --checkpoint-dir.")
        return
    from xpnet import Checkpoint

    check_folder(folder if folder.exists() else folder.parent, "to keep checkpoints there")
    if not resume and folder.exists() and Checkpoint.latest(folder) is not None:
        raise click.UsageError(
            f"{folder} holds the checkpoints of another run. Add --resume, or choose another folder."
        )


@click.command()
@click.argument("data")
@click.option("--target", help="Column of the labels; built-in data sets and .npz (there: y) need none.")
@click.option("--hidden", type=Sizes(), default="", help="Sizes of hidden layers, such as 100,50. [default: none]")
@click.option("--epochs", type=click.IntRange(min=1), default=100, show_default=True, help="Passes over the rows.")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Rows a minibatch.")
@click.option("--optimizer", type=click.Choice(list(DEFAULT_RATE)), default="adam", show_default=True)
@click.option(
    "--lr",
    type=Number(0, min_open=True),
    help="Learning rate. [default: 0.001, for sgd 0.01; ten times that without hidden layers]",
)
@click.option(
    "--test-size",
    type=Number(0, 1, max_open=True),
    default=0.25,
    show_default=True,
    help="Share of the rows held out to measure on; 0 for none.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of split, weights, order."
)
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True)
@click.option("--scale/--no-scale", default=True, show_default=True, help="Bring features to mean 0 and deviation 1.")
@output_option("-o", "--output", help="Write the model here (safetensors).")
@output_option("--metrics-json", help="Write settings, losses and scores here.")
@output_option("--plot", help="Draw the loss by epoch here (.png, .svg, .pdf).", check=_check_plot)
@click.option(
    "--checkpoint-dir", type=click.Path(path_type=Path), help="Keep here what --resume needs, epoch by epoch."
)
@click.option(
    "--resume", is_flag=True, help="Go on from the last checkpoint, if there is one; give the other options as before."
)
@computing
def train(**options: Any) -> None:
    """Train a classifier on DATA: digits, iris, wine, breast_cancer, or a .csv, .tsv, .parquet or .npz file.

    Labels may be text or whole numbers; all other columns must hold numbers. How features are scaled and what the
    classes are called is kept in the model file, so that predict and evaluate need nothing else.
    """
    settings = Settings(**options)
    _check_checkpoints(settings.checkpoint_dir, settings.resume)
    from xpnet.cli.training import run

    run(settings)
