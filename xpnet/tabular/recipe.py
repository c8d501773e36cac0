"""The recipe of a tabular estimator: all settings that its networks share.

Every number that ``"auto"`` stands for is a constant at the head of this file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy
from scipy.sparse import csr_array

from xpnet.backend import Backend, NetworkSpec
from xpnet.backend.spec import Loss
from xpnet.data.sources import Source
from xpnet.estimators.parameters import hidden_sizes
from xpnet.models.inputs import one_each
from xpnet.optimizers import OPTIMIZERS, Constant, Optimizer, Schedule
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.linear_baseline import (
    MAX_OUTPUTS,
    MAX_ROWS,
    numbers_of_columns,
    scales_of_inputs,
)
from xpnet.training import Callback, LabeledRows, TrainingState

HIDDEN_WIDTHS = (128, 128)
"""Units of the hidden layers."""
MEMBERS = 4
"""Members of each network."""
NETWORK_COUNTS = ((50_000, 1, 1), (10_000, 1, 3), (0, 3, 4))
"""Smallest number of rows, minimum and maximum number of networks.

The maximum is trained where few epochs are enough.
"""
BATCH_SIZES = ((3000, 128), (0, 64))
"""Smallest number of rows, and rows of a batch."""
WORK_OF_A_ROW = 36_000_000
"""Multiplications in training for each row of a table of USUAL_COLUMNS columns; more columns have
more in proportion."""
USUAL_COLUMNS = 30
"""Number of columns up to which a table has WORK_OF_A_ROW."""
MIN_EPOCHS = 16
"""Smallest number of epochs that ``max_iter="auto"`` stands for."""
MAX_EPOCHS = 200
"""Largest number of epochs that ``max_iter="auto"`` stands for."""
SGD_MOMENTUM = 0.9
"""Momentum of ``solver="sgd"``."""
FALL_BEGIN = 2 / 3
"""The share of the epochs after which the learning rate begins to fall."""
FINAL_SHARE = 0.02
"""The share of the learning rate that is left at the end."""

Watchers = tuple[Sequence[Callback], TrainingState | None]
"""Callbacks that see the training of one network, and the state from which it goes on."""
Watch = Callable[[int], Watchers]
"""Returns what watches the training of the network of a number."""


@dataclass(frozen=True)
class Recipe:
    """Settings that all networks of a fit share.

    spec : the network, without a seed
    batch_size : rows of a batch
    epochs : largest number of epochs
    schedule : the learning rate of each epoch
    learning_rate : the learning rate of the first epoch
    patience : epochs without a lower validation loss after which a training ends
    label_smoothing : the share of a label that is spread over all classes
    backend : what computes, None for the best one for NumPy's arrays
    input_scales : (inputs,) factors of the inputs in training, or None
    input_sums : (inputs, numbers) sums of inputs that the linear baseline takes, or None for no
    baseline
    deadline : the monotonic time, in seconds, at which all networks must be trained
    watch : returns the callbacks of a network, None for no callbacks
    """

    spec: NetworkSpec
    batch_size: int
    epochs: int
    schedule: Schedule
    learning_rate: float
    patience: int
    label_smoothing: float
    backend: str | Backend | None
    input_scales: numpy.ndarray | None
    input_sums: csr_array | None
    deadline: float
    watch: Watch | None


def make_recipe(
    estimator: Any,
    encoder: Any,
    rows: LabeledRows,
    *,
    outputs: int,
    networks: int,
    deadline: float,
    watch: Watch | None,
) -> Recipe:
    """Return the recipe of an estimator's parameters for encoded rows.

    encoder : the fitted encoder; outputs : of each network; networks : the smallest number that is
    trained
    """
    spec = network_spec(estimator, inputs=rows.X.shape[1], outputs=outputs)
    batch_size, epochs = estimator.batch_size, estimator.max_iter
    if isinstance(batch_size, str):
        batch_size = next(size for minimum, size in BATCH_SIZES if len(rows.X) >= minimum)
    learning_rate = estimator.learning_rate_init
    schedule: Schedule = Constant(learning_rate)
    if isinstance(epochs, str):
        epochs = affordable_epochs(spec, networks, encoder.n_features_in_)
        schedule = falling(learning_rate, epochs)
    input_scales, input_sums = helpers_of(estimator, encoder, spec, rows)
    return Recipe(
        spec=spec,
        batch_size=int(batch_size),
        epochs=int(epochs),
        schedule=schedule,
        learning_rate=learning_rate,
        patience=estimator.n_iter_no_change,
        label_smoothing=getattr(estimator, "label_smoothing", 0.0),
        backend=estimator.backend,
        input_scales=input_scales,
        input_sums=input_sums,
        deadline=deadline,
        watch=watch,
    )


def network_counts(networks: int | str, rows: int) -> tuple[int, int]:
    """Return the smallest and the largest number of networks for a number of rows."""
    if not isinstance(networks, str):
        return networks, networks
    return next((low, high) for minimum, low, high in NETWORK_COUNTS if rows >= minimum)


def network_spec(estimator: Any, *, inputs: int, outputs: int) -> NetworkSpec:
    """Return the description of the networks that an estimator's parameters describe."""
    sizes = estimator.hidden_layer_sizes
    hidden = hidden_sizes(HIDDEN_WIDTHS if isinstance(sizes, str) else sizes)
    members = MEMBERS if isinstance(estimator.members, str) else estimator.members
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


def optimizer_of(estimator: Any) -> Optimizer:
    """Return the optimizer that an estimator's parameters name, with the numbers of the recipe."""
    numbers = {"momentum": SGD_MOMENTUM, "weight_decay": estimator.weight_decay}
    optimizer = OPTIMIZERS[estimator.solver]
    used = {name: numbers[name] for name in optimizer.numbers() if name in numbers}
    return optimizer(**used)


def affordable_epochs(spec: NetworkSpec, networks: int, columns: int) -> int:
    """Return the number of epochs in which a row costs no more multiplications than it may.

    networks : how many are trained; columns : of the table
    """
    first, *others = (inputs * outputs for inputs, outputs in pairwise(spec.widths))
    # The first layer has no gradient with respect to its inputs.
    work_of_an_epoch = networks * spec.members * (2 * first + 3 * sum(others))
    allowed = WORK_OF_A_ROW * max(columns, USUAL_COLUMNS) / USUAL_COLUMNS
    return int(min(MAX_EPOCHS, max(MIN_EPOCHS, allowed // work_of_an_epoch)))


def falling(learning_rate: float, epochs: int) -> Schedule:
    """Return a learning rate that is constant for two thirds of the epochs and falls linearly."""
    return lambda epoch, _: (
        learning_rate * min(1.0, max(FINAL_SHARE, (1 - epoch / epochs) / (1 - FALL_BEGIN)))
    )


def helpers_of(
    estimator: Any, encoder: Any, spec: NetworkSpec, rows: LabeledRows
) -> tuple[numpy.ndarray | None, csr_array | None]:
    """Return the factors of the inputs, and the sums of inputs that a linear baseline takes.

    Both are None where the user has chosen the hidden layers or the encoder, and for rows of a
    source; the sums also where a linear baseline takes too long or cannot be a part of the network.
    """
    chosen_by_user = not isinstance(estimator.hidden_layer_sizes, str)
    if chosen_by_user or not isinstance(encoder, TableEncoder) or isinstance(rows.X, Source):
        return None, None
    encodings = encoder.encodings_
    scales = scales_of_inputs(encodings, rows.X, rows.Y, rows.weight, estimator._task)
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
