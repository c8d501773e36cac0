"""``xpnet train``: a classifier from a data file, with its scores, its model file, its metrics and its plot."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xpnet.cli.options import check_folder, computing, output_option
from xpnet.cli.output import show_facts, to_json, write_text, write_whole
from xpnet.errors import InputError

if TYPE_CHECKING:
    from xpnet.cli.samples import Samples

DEFAULT_RATE = {"sgd": 1e-2, "adam": 1e-3, "adamw": 1e-3}


class Sizes(click.ParamType):
    """Sizes of the hidden layers: integers with commas between them, or nothing for no hidden layer."""

    name = "sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The sizes; fails for anything but positive integers."""
        if isinstance(value, tuple):
            return value
        try:
            sizes = tuple(int(part) for part in value.split(",")) if value.strip() else ()
        except ValueError:
            sizes = (0,)
        if min(sizes, default=1) < 1:
            self.fail(f"layer sizes are positive integers such as 100,50; received {value!r}.", param, ctx)
        return sizes


@dataclass(frozen=True)
class Settings:
    """The options of one training, as given."""

    data: str
    target: str | None
    hidden: tuple[int, ...]
    epochs: int
    batch_size: int
    optimizer: str
    lr: float | None
    test_size: float
    seed: int
    dtype: str
    scale: bool
    output: Path | None
    metrics_json: Path | None
    plot: Path | None
    backend: str | None
    checkpoint_dir: Path | None
    resume: bool

    @property
    def learning_rate(self) -> float:
        """The rate asked for, or the optimizer's usual one."""
        return DEFAULT_RATE[self.optimizer] if self.lr is None else self.lr


def _check_plot(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    if path is None:
        return None
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        raise click.UsageError("Plots are drawn by matplotlib, which is not installed. pip install 'xpnet[plot]'.") from None
    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.lower().lstrip(".") not in known:
        raise click.BadParameter(f"a plot ends in one of .{', .'.join(sorted(known))}; received {path.name}.", ctx, param)
    return path


@click.command()
@click.argument("data")
@click.option("--target", help="Column of the labels; a built-in data set and .npz (there: y) need none.")
@click.option("--hidden", type=Sizes(), default="", help="Sizes of hidden layers, such as 100,50; default: none, logistic regression.")
@click.option("--epochs", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Rows a minibatch.")
@click.option("--optimizer", type=click.Choice(list(DEFAULT_RATE)), default="adam", show_default=True)
@click.option("--lr", type=click.FloatRange(min=0, min_open=True), help="Learning rate; default: 0.001, for sgd 0.01.")
@click.option(
    "--test-size",
    type=click.FloatRange(min=0, max=1, max_open=True),
    default=0.25,
    show_default=True,
    help="Share of the rows held out to measure on; 0 for none.",
)
@click.option("--seed", type=click.IntRange(min=0, max=2**32 - 1), default=0, show_default=True, help="Of split, weights and order.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True)
@click.option("--scale/--no-scale", default=True, show_default=True, help="Bring each feature to mean 0 and deviation 1.")
@output_option("-o", "--output", help="Write the model here, as safetensors.")
@output_option("--metrics-json", help="Write settings, losses and scores here.")
@click.option(
    "--checkpoint-dir",
    type=click.Path(path_type=Path),
    help="Keep what is needed to go on after an interruption in this folder, epoch by epoch.",
)
@click.option("--resume", is_flag=True, help="Go on from the last whole checkpoint.")
@computing
@output_option("--plot", help="Draw the loss by epoch here (.png, .svg, .pdf).")
def train(**options: Any) -> None:
    """Train a classifier on DATA: digits, iris, wine, breast_cancer, or a .csv, .tsv, .parquet or .npz file.

    Labels may be text or whole numbers, all other columns must hold numbers. How features were scaled and what the
    classes are called is kept in the model file, so that predict and evaluate need only that.
    """
    settings = Settings(**options)
    _check_plot(settings.plot)
    _check_checkpoints(settings)
    run(settings)


def run(settings: Settings) -> None:
    """Train, then write and show what came of it."""
    from xpnet.cli.samples import read_samples

    samples = read_samples(settings)
    model = build(settings, samples)
    started = time.perf_counter()
    history = _fit(model, settings, samples)
    seconds = time.perf_counter() - started
    scores = _scores(model, samples)
    if settings.output is not None:
        model.save(settings.output, extra=samples.extra)
    metrics = {"scores": scores, "seconds": seconds, "history": history.to_dict()}
