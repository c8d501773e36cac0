"""``xpnet train``: a model from a data file, with its scores, its model file, its metrics and its plot."""

from pathlib import Path
from typing import Any

import click

from xpnet.cli.config import check_toml, read_config
from xpnet.cli.distributed import distributed
from xpnet.cli.files import keeps_checkpoints, reads, reads_labels
from xpnet.cli.options import check_folder, computing, output_option, reading
from xpnet.cli.settings import DEFAULT_RATE, SCHEDULES, ClassWeight, Number, Settings, Sizes
from xpnet.ops import ACTIVATIONS


def check_plot(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """The path, if matplotlib is there and draws files of its ending."""
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


def _check_together(settings: Settings) -> None:
    """Raise click.UsageError for options that would have no effect together."""
    if settings.optimizer != "sgd" and settings.schedule != "constant":
        raise click.UsageError(f"--schedule {settings.schedule} is for --optimizer sgd; received {settings.optimizer}.")
    if settings.optimizer == "lbfgs" and (settings.patience is not None or settings.checkpoint_dir or settings.dropout):
        raise click.UsageError(
            "--optimizer lbfgs makes no epochs over minibatches: leave --patience, --dropout and --checkpoint-dir out."
        )
    if settings.task == "regress" and settings.class_weight is not None:
        raise click.UsageError("--class-weight is for classes; leave it out with --task regress.")


_SHARE = Number(0, 1, max_open=True)


@click.command()
@click.argument("data", required=False, callback=reads)
@click.option(
    "--target",
    callback=reads_labels,
    help="Column of the labels; built-in data sets and .npz (there: y) need none.",
)
@click.option("--task", type=click.Choice(["classify", "regress"]), help="[default: what the labels look like]")
@reading
@click.option(
    "--missing", type=click.Choice(["error", "impute"]), default="error", show_default=True, help="Empty cells."
)
@click.option("--hidden", type=Sizes(), default="", help="Sizes of hidden layers, such as 100,50. [default: none]")
@click.option("--activation", type=click.Choice(list(ACTIVATIONS)), default="relu", show_default=True)
@click.option(
    "--dropout", type=_SHARE, default=0.0, show_default=True, help="Share of hidden units left out in training."
)
@click.option("--alpha", type=Number(0), default=1e-4, show_default=True, help="Strength of the L2 penalty.")
@click.option("--class-weight", type=ClassWeight(), help="balanced, or label=weight with commas between.")
@click.option("--epochs", type=click.IntRange(min=1), default=100, show_default=True, help="Passes over the rows.")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Rows a minibatch.")
@click.option("--optimizer", "--solver", type=click.Choice(list(DEFAULT_RATE)), default="adam", show_default=True)
@click.option(
    "--lr",
    type=Number(0, min_open=True),
    help="Learning rate. [default: 0.001, for sgd 0.01; ten times that without hidden layers]",
)
@click.option("--schedule", type=click.Choice(SCHEDULES), default="constant", show_default=True, help="Of sgd's rate.")
@click.option("--momentum", type=Number(0, 1), default=0.9, show_default=True, help="Of sgd.")
@click.option(
    "--test-size", type=_SHARE, default=0.25, show_default=True, help="Share of the rows to measure on at the end."
)
@click.option("--validation-size", type=_SHARE, default=0.0, show_default=True, help="Share of the others to watch.")
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    help="Stop after so many epochs without a better validation loss, and keep the best one.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of split, weights, order."
)
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True)
@click.option("--scale/--no-scale", default=True, show_default=True, help="Bring features to mean 0 and deviation 1.")
@output_option("-o", "--output", help="Write the model here (safetensors).")
@output_option("--metrics-json", help="Write settings, losses and scores here.")
@output_option("--plot", help="Draw the losses by epoch here (.png, .svg, .pdf).", check=check_plot)
@output_option("--save-config", help="Write the options here, for --config.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    callback=read_config,
    is_eager=True,
    expose_value=False,
    help="Take options from this TOML file; those given beside it count.",
)
@click.option(
    "--checkpoint-dir",
    type=click.Path(path_type=Path),
    callback=keeps_checkpoints,
    help="Keep here what --resume needs, epoch by epoch.",
)
@click.option(
    "--resume", is_flag=True, help="Go on from the last checkpoint, if there is one; give the other options as before."
)
@computing
@distributed
def train(**options: Any) -> None:
    """Train a model on DATA: a data set of scikit-learn's (digits, iris, wine, breast_cancer, diabetes), a file, or -.

    Files end in .csv, .tsv, .txt, .parquet (also .gz, .bz2, .zst behind it), .npz, .npy, .h5 or .zarr; a folder of
    .parquet files is one table. Text labels and few whole numbers are classes, other numbers are predicted as numbers;
    --task says otherwise. Columns of text are categories. Dates, identifiers and constant columns are left out and
    told. How features are prepared and what the classes are called is kept in the model file, so that predict and
    evaluate need nothing else.

    mpirun -n 4 xpnet train DATA --distributed mpi trains on four processes, each of which reads DATA.
    """
    if options["data"] is None:
        raise click.UsageError("Missing argument 'DATA'.")
    settings = Settings(**options)
    _check_checkpoints(settings.checkpoint_dir, settings.resume)
    _check_together(settings)
    if settings.save_config is not None:
        check_toml(settings.to_dict())
    from xpnet.cli.training import run

    run(settings)
