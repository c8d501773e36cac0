"""``xpnet train``: a model from a data file, with its scores, its model file, its metrics and its plot."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from xpnet.backend.spec import NUMERIC_LOSSES
from xpnet.cli import options
from xpnet.distributed import use_group
from xpnet.distributed.group import TIMEOUT
from xpnet.distributed.ranks import launched
from xpnet.ops import ACTIVATIONS
from xpnet.optimizers import OPTIMIZERS


def _check_together(settings: SimpleNamespace) -> None:
    """Raise click.UsageError for options that would have no effect together, and for checkpoints of another run."""
    folder = settings.checkpoint_dir
    if settings.resume and folder is None:
        raise click.UsageError(
            "--resume goes on from the last checkpoint; name its folder with --checkpoint-dir."
        )
    if folder is not None and not settings.resume and any(folder.rglob("checkpoint-*")):
        raise click.UsageError(
            f"{folder} holds the checkpoints of another run. Add --resume, or choose another folder."
        )
    if settings.model == "linear" and settings.hidden:
        raise click.UsageError(
            "--model linear has no hidden layer; leave --hidden out, or choose --model mlp."
        )
    if settings.quantile and settings.loss != "quantile":
        raise click.UsageError("--quantile goes with --loss quantile.")


_SHARE, _POSITIVE = options.Number(0, 1, max_open=True), options.Number(0, min_open=True)
_COUNT = click.IntRange(min=1)
_COUNTS, _LEVELS = options.Listed(_COUNT), options.Listed(options.LEVEL)
_data = options.options_of("What to predict")
_model = options.options_of("The model")
_training = options.options_of("The training")


@click.command(cls=options.Grouped, short_help="Train a model on a data file, and measure it.")
@click.argument("data", callback=options.reads)
@_data(
    "--target",
    callback=options.reads,
    help="Predict this column; built-in data sets and .npz (there: y) need none.",
)
@_data(
    "--task",
    type=options.OneOf(["classify", "regress"]),
    help="Predict classes or numbers. [default: by the labels]",
)
@_data(
    "--class-weight",
    type=options.weights,
    help="Weight classes: balanced, or label=weight with commas between.",
)
@_data(
    "--test-size", type=_SHARE, default=0.25, help="Set this share of the rows apart to measure on."
)
@options.reading
@_model(
    "--model",
    type=options.OneOf(["tabular", "mlp", "linear"]),
    default="tabular",
    help="Train several networks on numbers in bins (tabular), one network on scaled numbers (mlp), or one without "
    "hidden layers (linear).",
)
@_model(
    "--hidden",
    type=_COUNTS,
    help="Give hidden layers these sizes, such as 100,50. [default: by the model]",
)
@_model(
    "--members",
    type=_COUNT,
    help="Give a network so many members, which share weights. [default: 4, else 1]",
)
@_model("--activation", type=options.OneOf(list(ACTIVATIONS)), default="relu", help="Bend by this.")
@_model(
    "--dropout",
    type=_SHARE,
    help="Leave out this share of hidden units. [default: 0.1 for classes, else 0]",
)
@_model(
    "--loss",
    type=options.OneOf(sorted(NUMERIC_LOSSES)),
    help="Minimise this for numbers; poisson is for counts, gamma for amounts. [default: squared_error]",
)
@_model(
    "--quantile",
    type=_LEVELS,
    help="Predict these quantiles, such as 0.1,0.5,0.9, with --loss quantile.",
)
@_training(
    "--epochs",
    type=_COUNT,
    help="Pass at most so often over the rows. [default: 16 to 200, by the work; else 200]",
)
@_training(
    "--patience",
    type=_COUNT,
    help="Stop after so many epochs without a better validation loss; the best one is kept. [default: 7, else 10]",
)
@_training(
    "--validation-size",
    type=options.Number(0, 0.5),
    default=0.125,
    help="Watch the loss on this share of the training rows; 0 makes all epochs.",
)
@_training(
    "--time-limit",
    type=_POSITIVE,
    metavar="SECONDS",
    help="End the training after so many seconds.",
)
@_training(
    "--batch-size", type=_COUNT, help="Update after so many rows. [default: 64 or 128, by the rows]"
)
@_training(
    "--optimizer",
    type=options.OneOf(list(OPTIMIZERS)),
    default="adamw",
    help="Optimizer that minimises the loss.",
)
@_training(
    "--lr",
    type=_POSITIVE,
    help="Learn at this rate. [default: 0.004, else 0.002; 0.02 without hidden layers]",
)
@_training(
    "--weight-decay",
    type=options.Number(0),
    help="Decoupled weight decay; none with adam and sgd. [default: 0.2 for classes, 0.01 for numbers, else 0.0003]",
)
@_training("--jobs", type=int, default=1, help="Train so many networks at a time; -1: one a core.")
@_training(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    help="Draw the split, the weights and the orders from this seed.",
)
@_training(
    "--dtype",
    type=options.OneOf(["float32", "float64"]),
    default="float32",
    help="Compute in this precision.",
)
@options.output_option("-o", "--output", help="Write the model to this file (safetensors).")
@options.output_option("--metrics-json", help="Write settings, losses and scores to this file.")
@options.plot_option(help="Draw the losses by epoch into this file (.png, .svg, .pdf).")
@options.writing_option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=options.read_config,
    is_eager=True,
    expose_value=False,
    help="Take options from this TOML file; those given beside it count.",
)
@options.writing_option(
    "--checkpoint-dir",
    type=click.Path(path_type=Path),
    callback=options.keeps_checkpoints,
    help="Keep in this folder, epoch by epoch, what --resume needs.",
)
@options.writing_option(
    "--resume",
    is_flag=True,
    help="Go on from the last checkpoint, if there is one; give data and other options as before.",
)
@options.computing
@options.machine_option(
    "--distributed",
    metavar="NAME",
    help="Train on all processes that a launcher has started, joined by mpi or torch.",
)
@options.machine_option(
    "--timeout",
    type=_POSITIVE,
    default=TIMEOUT,
    metavar="SECONDS",
    help="End all processes when one has waited for another for so long.",
)
def train(distributed: str | None, timeout: float, **given: Any) -> None:
    """Train a model on DATA: a data set of scikit-learn's (digits, iris, wine, breast_cancer, diabetes), a file, or -.

    Files end in .csv, .tsv, .txt (also .gz, .bz2, .zst behind it), .parquet, .npz, .npy, .h5 or .zarr; a folder of
    .parquet files is one table, and - is text on standard input. Text labels and few whole numbers are classes, other
    numbers are predicted as numbers; --task says otherwise. Text becomes categories, dates become numbers, gaps are
    states of their own. What is left out is told. The model file keeps all that predict, evaluate and export need.

    \b
    Examples:
      xpnet train passengers.csv --target survived -o model.safetensors
      xpnet train houses.parquet --target price --id number --plot loss.png
      xpnet train visits.csv --target visits --loss poisson --time-limit 60
      xpnet train rides.csv --target minutes --loss quantile --quantile 0.05,0.5,0.95
      xpnet train digits --model mlp --hidden 100,50
      mpirun -n 4 xpnet train DATA --distributed mpi
    """
    settings = SimpleNamespace(**given)
    if distributed is None and (launcher := launched()) is not None:
        group = "torch" if launcher == "torchrun" else "mpi"
        raise click.UsageError(
            f"{launcher} has started several of this command, and each would train alone. Add --distributed {group}, "
            f"or start it without {launcher}."
        )
    # Every rank runs the command, which lets rank 0 alone print and write.
    with nullcontext() if distributed is None else use_group(distributed, timeout=timeout):
        _check_together(settings)
        from xpnet.cli.training import run

        run(settings)
