"""``xpnet train``: a model from a data file, with its scores, model file, metrics and plot."""

from contextlib import nullcontext
from typing import Any

import click

from xpnet.backend.spec import NUMERIC_LOSSES
from xpnet.cli import options
from xpnet.cli.options import files, values
from xpnet.cli.options.checks import check_all_have_effect, check_together
from xpnet.cli.settings import TrainSettings
from xpnet.distributed import use_group
from xpnet.distributed.group import TIMEOUT
from xpnet.distributed.ranks import launched
from xpnet.ops import ACTIVATIONS
from xpnet.optimizers import OPTIMIZERS

_FRACTION = values.Number(0, 1, max_open=True)
_POSITIVE = values.Number(0, min_open=True)
_COUNT = click.IntRange(min=1)
_COUNTS = values.Listed(_COUNT)
_LEVELS = values.Listed(values.LEVEL)
_data = options.options_of("What to predict")
_model = options.options_of("The model")
_training = options.options_of("The training")

_what_to_predict = options.together(
    _data(
        "--target",
        callback=files.reads,
        help="Column to predict. [default: that of a built-in data set; y in .npz, .h5 and .zarr]",
    ),
    _data(
        "--soft",
        type=values.WORDS,
        metavar="COLUMNS",
        help="Columns with the probability of each class, in place of --target: soft labels. Their "
        "names are the labels, and each row sums to 1.",
    ),
    _data(
        "--task",
        type=values.OneOf(["classify", "regress"]),
        help="Predict classes or numbers. [default: numbers with --loss, otherwise by the labels]",
    ),
    _data(
        "--class-weight",
        type=values.weights,
        help="Weights of classes in the loss: balanced, or label=weight separated by commas.",
    ),
    _data(
        "--threshold",
        type=values.threshold,
        help="Probability of the positive one of two classes from which it is predicted; or f1 or "
        "balanced_accuracy, to choose the one with the largest such score on validation rows. "
        "[default: the most probable class]",
    ),
    _data(
        "--positive-class",
        metavar="LABEL",
        help="The one of two classes that --threshold and F1 are about. [default: the one that "
        "sorts last]",
    ),
    _data(
        "--ordered",
        type=values.WORDS,
        metavar="CLASSES",
        help="Classes in rising order, such as low,middle,high, where they have one; the median "
        "class is predicted.",
    ),
    _data(
        "--weight",
        "--sample-weight",
        "weight",
        metavar="COLUMN",
        help="Column with the weight of each row, in training and in the scores, not negative; no "
        "feature.",
    ),
    _data(
        "--exposure",
        metavar="COLUMN",
        help="Column with the exposure of each row, a number above 0 that its mean is proportional "
        "to, such as years insured; no feature. For --loss poisson, tweedie and gamma.",
    ),
    _data(
        "--offset",
        type=values.WORDS,
        metavar="COLUMN",
        help="Column with a number that is added to the logarithm of the mean of each row, for the "
        "same losses, or of the odds of the second of two classes; of more classes one column for "
        "each, in their order. They are no features.",
    ),
    _data(
        "--groups",
        metavar="COLUMN",
        help="Column with the group of each row, such as a customer; no feature. Test and "
        "validation rows are of other groups than training rows.",
    ),
    _data(
        "--time",
        metavar="COLUMN",
        help="Column with the time of each row, a number or a date. Test rows are the latest "
        "rows, and validation rows the latest ones before. The column is a feature unless it is "
        "dropped.",
    ),
    _data(
        "--test-size",
        type=_FRACTION,
        default=0.25,
        help="Fraction of the rows that are not trained on, and that scores are measured on.",
    ),
    _data(
        "--holdout",
        type=values.OneOf(["random", "last"]),
        default="random",
        help="Which rows these are: random ones, or the last ones of the file.",
    ),
    _data(
        "--test",
        metavar="FILE",
        callback=files.reads,
        help="Measure the scores on the rows of this file, and train on all rows of DATA.",
    ),
    _data(
        "--final",
        is_flag=True,
        help="Train the model that is written on all rows of DATA. The scores are those of a model "
        "of the same options without the test rows.",
    ),
    _data(
        "--folds",
        type=click.IntRange(min=2),
        metavar="NUMBER",
        help="Cross-validate: measure models on this number of parts of the rows, each trained on "
        "the other parts (with --time, on the earlier ones). The model is trained on all rows.",
    ),
)

_the_model = options.together(
    _model(
        "--model",
        type=values.OneOf(["tabular", "mlp", "linear"]),
        default="tabular",
        help="Kind of model: tabular (one network on binned numbers or several, by --quality), "
        "mlp (one network on scaled numbers) or linear (no hidden layers).",
    ),
    _model(
        "--quality",
        type=click.IntRange(1, 5),
        help="Quality of a tabular model, from 1 for the least time to 5 for the lowest error. "
        "[default: 3]",
    ),
    _model(
        "--hidden",
        type=_COUNTS,
        help="Sizes of the hidden layers, such as 100,50. [default: by the model]",
    ),
    _model(
        "--members",
        type=_COUNT,
        help="Members of each network, which share most weights. "
        "[default: 2 or 4 by quality, else 1]",
    ),
    _model(
        "--activation",
        type=values.OneOf(list(ACTIVATIONS)),
        default="relu",
        help="Activation function of the hidden layers.",
    ),
    _model(
        "--dropout",
        type=_FRACTION,
        help="Dropout probability of hidden units. [default: 0.1 for tabular classes, else 0; the "
        "third of several networks has 0, or 0.05 for numbers]",
    ),
    _model(
        "--loss",
        type=values.OneOf(sorted(NUMERIC_LOSSES)),
        help="Loss function for numbers; poisson suits counts, gamma suits positive amounts. "
        "[default: squared_error]",
    ),
    _model(
        "--quantile",
        type=_LEVELS,
        help="Quantiles to predict with --loss quantile, such as 0.1,0.5,0.9.",
    ),
    _model(
        "--monotonic",
        type=values.signs,
        metavar="COLUMNS",
        help="Columns of numbers with which no prediction falls, or rises, such as age=1,price=-1: "
        "of numbers, of the second of two classes, or of --ordered classes.",
    ),
)

_the_training = options.together(
    _training(
        "--epochs",
        type=_COUNT,
        help="Maximum number of passes over the rows. [default: 400, from 10,000 rows on at most "
        "100 to 200 by quality; else 200]",
    ),
    _training(
        "--patience",
        type=_COUNT,
        help="Epochs without a better validation loss after which training stops; it keeps the "
        "best epoch. [default: 3 + b/4 to 4 + b/2 by quality, b the number of the best epoch; "
        "else 10]",
    ),
    _training(
        "--validation-size",
        type=values.Number(0, 0.5),
        default=0.125,
        help="Fraction of the training rows that the validation loss is measured on; with 0 all "
        "epochs are trained.",
    ),
    _training(
        "--time-limit",
        type=_POSITIVE,
        metavar="SECONDS",
        help="Maximum seconds of training; of each one with --final and --folds.",
    ),
    _training(
        "--batch-size",
        type=_COUNT,
        help="Rows of a minibatch. [default: 64 or 128, by the number of rows]",
    ),
    _training(
        "--optimizer",
        type=values.OneOf(list(OPTIMIZERS)),
        default=TrainSettings.optimizer,
        help="Optimizer that minimises the loss.",
    ),
    _training(
        "--lr",
        type=_POSITIVE,
        help="Learning rate. [default: 0.004 to 0.008 by quality, 0.02 without hidden layers, "
        "else 0.002]",
    ),
    _training(
        "--weight-decay",
        type=values.Number(0),
        help="Decoupled weight decay, of optimizers that have one. "
        "[default: 0.05 for tabular classes, 0.03 at quality 2; 0.01 for tabular numbers; "
        "else 0.0003]",
    ),
    _training(
        "--jobs",
        type=values.Jobs(),
        default=1,
        metavar="NUMBER",
        help="Networks that are trained at the same time; -1 means one for each core.",
    ),
    _training(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),
        default=0,
        help="Seed of the random numbers: the split, initial weights, order of the rows, dropout.",
    ),
    _training(
        "--dtype",
        type=values.OneOf(["float32", "float64"]),
        default="float32",
        help="Floating-point type of parameters and computations.",
    ),
)

_writing = options.together(
    options.output_option("-o", "--output", help="Write the model to this safetensors file."),
    options.output_option(
        "--metrics-json", help="Write settings, losses and scores to this JSON file."
    ),
    options.plot_option(help="Plot the losses by epoch into this file (.png, .svg or .pdf)."),
    options.config_option,
    options.writing_option(
        "--checkpoint-dir",
        type=files.PATH,
        callback=files.keeps_checkpoints,
        help="Folder for checkpoints, which --resume needs; one is written after each epoch, so "
        "that a run can go on after Ctrl-C or a crash.",
    ),
    options.writing_option(
        "--resume",
        is_flag=True,
        help="Continue from the last checkpoint, if there is one. Rows, columns in their order "
        "and options must be as before, but for --epochs, --time-limit, --jobs, --threads, "
        "progress and outputs.",
    ),
    options.quiet_option,
    options.verbose_option,
)

_distributed = options.together(
    options.machine_option(
        "--distributed",
        metavar="NAME",
        help="Train on all processes that a launcher has started; NAME is mpi or torch.",
    ),
    options.machine_option(
        "--timeout",
        type=_POSITIVE,
        default=TIMEOUT,
        metavar="SECONDS",
        help="With --distributed: seconds that a process waits for another before all end.",
    ),
)


@click.command(cls=options.Grouped, short_help="Train a model on a data file, and measure it.")
@click.argument("data", callback=files.reads)
@_what_to_predict
@options.reading
@options.reading_option(
    "--date-format",
    metavar="FORMAT",
    callback=values.date_format,
    help="Format of dates, such as %Y%m%d or '%d/%m/%Y %H:%M', of the columns that have it. "
    "[default: recognised, as the documentation lists]",
)
@options.reading_option(
    "--missing",
    "missing_values",
    multiple=True,
    type=values.MISSING_VALUES,
    callback=values.merged_missing_values,
    metavar="VALUES",
    help="Values that are gaps, separated by commas: of all columns, such as -999,unknown, or of "
    "one, such as 'age=-1|-9'. Words replace the usual ones in text (NA, N/A, null, ...), so that "
    "--missing '' makes NA a value, and --missing country= in that column alone. Repeatable.",
)
@options.reading_option(
    "--text-features",
    type=values.OneOf(["on", "off"]),
    help="Whether text that differs from row to row is used or left out. [default: off]",
)
@_the_model
@_the_training
@_writing
@options.computing
@_distributed
def train(distributed: str | None, timeout: float, **arguments: Any) -> None:
    """Train a model on DATA, and measure it on rows that it was not trained on.

    DATA is a data set of scikit-learn's (digits, iris, wine, breast_cancer, diabetes); a file that
    ends in .csv, .tsv or .txt (also followed by .gz, .bz2, .zst or .lz4), .parquet, .npz, .npy, .h5
    or .zarr; a folder of .parquet files, which are one table; or - for text on standard input.

    Text and a few different whole numbers are predicted as classes, other numbers as numbers;
    --task overrides this. Columns of text become categories, dates become numbers, and missing
    values are values of their own. The report names columns that are not used, and why. The model
    file holds all that predict, evaluate and export need. Progress goes to stderr, the report to
    stdout.

    \b
    Examples:
      xpnet train passengers.csv --target survived -o model.safetensors
      xpnet train houses.parquet --target price --id number --plot loss.png
      xpnet train visits.csv --target visits --loss poisson --time-limit 60
      xpnet train policies.csv --target claims --loss poisson --exposure years
      xpnet train sales.csv --target amount --time day --final -o model.safetensors
      xpnet train passengers.csv --target survived --folds 5
      xpnet train readings.csv --target dose --groups patient --test later.csv
      xpnet train rides.csv --target minutes --loss quantile --quantile 0.05,0.5,0.95
      xpnet train digits --model mlp --hidden 100,50
      mpirun -n 4 xpnet train DATA --distributed mpi
    """
    settings = TrainSettings(**arguments)
    launcher = launched() if distributed is None else None
    if launcher is not None:
        group = "torch" if launcher == "torchrun" else "mpi"
        raise click.UsageError(
            f"{launcher} has started several processes of this command, and each would train "
            f"alone. Add --distributed {group}, or start it without {launcher}."
        )
    # Every rank runs the command, which lets rank 0 alone print and write.
    with nullcontext() if distributed is None else use_group(distributed, timeout=timeout):
        check_together(settings)
        check_all_have_effect(settings, distributed)
        from xpnet.cli.training import run  # takes two seconds to import

        run(settings)
