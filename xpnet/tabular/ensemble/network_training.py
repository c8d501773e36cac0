"""The training of one network of a table, with its linear baseline."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy

from xpnet.backend import Backend, NetworkSpec
from xpnet.backend.blas import one_thread
from xpnet.backend.spec import CLASS_LOSSES, OUTPUT_ACTIVATIONS
from xpnet.data.sources import Source
from xpnet.learning.ordered import with_thresholds
from xpnet.models import Network
from xpnet.models.inputs import to_host
from xpnet.models.presets import initial_values
from xpnet.ops import Array
from xpnet.tabular.ensemble.balance import (
    Totals,
    balanced_thresholds,
    totals_of,
    with_moved_thresholds,
)
from xpnet.tabular.ensemble.best_epoch import BestEpoch
from xpnet.tabular.ensemble.linear.baseline import (
    LinearModel,
    fit_linear,
    losses_by_blend_weight,
    moves_of_blends,
    nested_outputs,
)
from xpnet.tabular.ensemble.linear.wide_tables import WideModels
from xpnet.tabular.ensemble.recipe import Recipe
from xpnet.tabular.ensemble.refit import refit, refit_epochs
from xpnet.tabular.ensemble.training_on_rows import smoothed_targets, train_on
from xpnet.tabular.rows.nested_choices import NestedOutputs, ValidationParts
from xpnet.tabular.rows.network_splits import rows_on_host
from xpnet.tabular.rows.sparse_rows import dense_rows
from xpnet.training import LabeledRows, TrainingState
from xpnet.training.callbacks import CallbackLike

MAX_ROWS_OF_MEAN = 10_000
"""Maximum number of rows whose mean is taken where units begin; more move it by little."""
LINEAR_SHARE = 0.2
"""Share of the time of a network after which the solver of its linear baseline ends."""


@dataclass(eq=False)
class NetworkTraining:
    """One network with its training, which may be under way, interrupted or over.

    network : the network; best : its early stopping
    linear : the linear baseline, None for none; losses : (blend weights,) validation losses of its
    blends, or None
    penalized : linear baselines of all penalties, of which ``linear`` is the best
    nested : outputs of validation rows by choices of other validation rows; None before the end,
    and where these are not followed
    refitted : parameters after the epochs on all rows, None without such epochs
    wide : linear models of a table with more numbers than rows, which carry it; None for another
    totals : of the training rows by the best epoch, for means with a logarithmic link; None for
        other outputs, and before the end
    final_totals : of all rows of the fit by the parameters that predict new rows; None likewise
    thresholds : the last biases that balance ordered classes over the training rows; None for other
        classes, and before the end
    moves, refitted_moves : of blends of such classes, see `moves_of_blends`, by the training rows
        and by all rows; None likewise
    """

    network: Network
    best: BestEpoch
    linear: LinearModel | None = None
    losses: numpy.ndarray | None = None
    penalized: Sequence[LinearModel] = ()
    nested: NestedOutputs | None = None
    refitted: dict[str, numpy.ndarray] | None = None
    wide: WideModels | None = None
    totals: Totals | None = None
    final_totals: Totals | None = None
    thresholds: numpy.ndarray | None = None
    moves: numpy.ndarray | None = None
    refitted_moves: numpy.ndarray | None = None

    @property
    def refitted_linear(self) -> LinearModel | None:
        """Return the linear baseline of a network that goes on with all rows."""
        return self.linear if self.wide is None else self.wide.refitted or self.linear

    @property
    def best_epoch(self) -> int:
        """Return the number of the epoch that is kept, 0 before the first whole epoch."""
        return self.best.kept.epoch

    @property
    def validation_loss(self) -> float:
        """Return the validation loss of the best epoch, blended with the linear baseline."""
        return self.best.kept.loss if self.losses is None else float(self.losses.min())

    def balanced(self, nested: numpy.ndarray | None) -> numpy.ndarray | None:
        """Return outputs of validation rows at the level of the training rows.

        nested : (rows, outputs), or None
        """
        return (
            nested
            if nested is None or self.totals is None
            else nested * numpy.exp(self.totals.shift)
        )

    def keep_best(self) -> None:
        """Give the network the parameters of its best epoch, as a training does that ends."""
        kept = self.best.kept
        if kept.state is not None:
            self.network.load_values(kept.state.params)
        if self.thresholds is not None:
            put_thresholds(self.network, self.thresholds)


def begin_training(
    recipe: Recipe,
    seed: int,
    rows: LabeledRows,
    validation: LabeledRows | None,
    *,
    parts: ValidationParts | None,
    seconds: float,
    wide: WideModels | None = None,
) -> NetworkTraining:
    """Fit a linear baseline, and make the network whose training may take the rest of the time.

    seed : of the network's initial weights, orders and dropout
    parts : of the validation rows, of which the others choose; None for no parts
    wide : the linear models of a table with more numbers than rows; None for another
    """
    started = time.monotonic()
    choice = None
    if wide is None and recipe.input_sums is not None and validation is not None:
        choice = fit_linear(
            recipe.input_sums,
            rows_on_host(rows),
            rows_on_host(validation),
            recipe.spec,
            started + LINEAR_SHARE * seconds,
        )
    network = new_network(recipe, seed, rows)
    seconds_left = seconds - (time.monotonic() - started)
    best = BestEpoch(network, validation, recipe.patience, seconds_left, parts)
    if wide is not None:
        return NetworkTraining(network, best, wide.validated, penalized=[wide.validated], wide=wide)
    if choice is None:
        return NetworkTraining(network, best)
    return NetworkTraining(network, best, choice.best, penalized=choice.models)


def new_network(recipe: Recipe, seed: int, rows: LabeledRows) -> Network:
    """Return a network that is not trained.

    seed : of its initial weights, orders and dropout; rows : its training rows
    """
    rng = numpy.random.default_rng(seed)
    spec = replace(recipe.spec, seed=seed)
    values = initial_values(recipe.spec, rng)
    if spec.loss == "ordered_cross_entropy":
        values = with_thresholds(spec, values, to_host(rows.Y), to_host(rows.weight))
    if any(spec.monotonic):
        values = with_centred_units(spec, values, rows)
    backend = recipe.training_backend
    return Network(spec, values, recipe.schedule, backend=backend, dtype=spec.dtype, rng=rng)


def with_centred_units(
    spec: NetworkSpec, values: dict[str, numpy.ndarray], rows: LabeledRows
) -> dict[str, numpy.ndarray]:
    """Return first parameters whose first hidden units are 0 at the mean of the inputs.

    The weights of monotonic inputs have one sign in each unit, and bins are not negative: half of
    the units would begin with no rows in which they are not 0.
    """
    names = spec.layer_names[0]
    if spec.layers == 1 or isinstance(rows.X, Source):
        return values
    X = dense_rows(to_host(rows.X)[: min(rows.count, MAX_ROWS_OF_MEAN)])
    mean = X.mean(axis=0, dtype=numpy.float64)
    inputs = mean * values[names["scale_in"]] if "scale_in" in names else mean
    bias = -(inputs @ values[names["weight"]])
    shape = values[names["bias"]].shape
    of_members = bias if bias.shape == shape else bias.mean(axis=0)
    return {**values, names["bias"]: of_members.reshape(shape)}


def train_network(
    training: NetworkTraining,
    recipe: Recipe,
    rows: LabeledRows,
    validation: LabeledRows | None,
    *,
    callbacks: Sequence[CallbackLike],
    resume_from: TrainingState | None,
) -> None:
    """Train a network, and measure how far its linear baseline helps.

    callbacks : are called besides the early stopping
    """
    network = training.network
    learned_rows = replace(rows, Y=training_targets(recipe, rows, network.backend))
    train_on(
        network,
        learned_rows,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        callbacks=[training.best, *callbacks],
        resume_from=resume_from,
    )
    if recipe.spec.loss == "ordered_cross_entropy" and training.best_epoch:
        balance_classes(training, learned_rows)
    if validation is not None:
        with one_thread:  # The products of few rows are small.
            measure_baseline(training, validation)


def balance_classes(training: NetworkTraining, rows: LabeledRows) -> None:
    """Predict each ordered class as often as the training rows of a trained network have it.

    The outputs of validation rows at the epochs that others choose get the same thresholds.
    """
    network = training.network
    before = network.values()[network.spec.bias_names[-1]]
    training.thresholds = balanced_thresholds(network, rows)
    put_thresholds(network, training.thresholds)
    nested = training.best.nested
    if nested is not None:
        nested.outputs = [
            with_moved_thresholds(outputs, before, training.thresholds)
            for outputs in nested.outputs
        ]
    if training.linear is not None:
        training.moves = moves_of_blends(network, training.linear, rows)


def put_thresholds(network: Network, thresholds: numpy.ndarray) -> None:
    """Replace the last biases of a network. thresholds : in their shape"""
    values = network.values()
    name = network.spec.bias_names[-1]
    network.load_values(values | {name: thresholds.astype(values[name].dtype)})


def measure_totals(
    training: NetworkTraining, rows: LabeledRows, validation: LabeledRows | None
) -> None:
    """Add up what a trained network predicts, where its outputs have a logarithmic link.

    rows : its training rows; validation : other rows of the fit; None for none
    """
    if OUTPUT_ACTIVATIONS[training.network.spec.loss] != "exp":
        return
    training.totals = training.final_totals = totals_of(training.network, rows)
    if validation is not None:
        training.final_totals += totals_of(training.network, validation)


def measure_baseline(training: NetworkTraining, validation: LabeledRows) -> None:
    """Compare the blends of a network and its linear baseline by validation rows."""
    network = training.network
    if training.linear is not None:
        training.losses = losses_by_blend_weight(
            network, training.linear, validation, training.moves
        )
    nested = training.best.nested
    if nested is not None and nested.outputs:
        X = rows_on_host(validation).X
        training.nested = nested_outputs(
            nested, training.penalized, X, network.spec.loss, training.moves
        )
        if training.wide is not None:
            choose_apart(training, training.nested)


def choose_apart(training: NetworkTraining, nested: NestedOutputs) -> None:
    """Compare blend weights by validation rows that have not chosen the network's epoch.

    The loss of the best epoch is lower than that of new rows, and most so where networks know their
    rows by heart: it would favour them beside the linear baseline.
    """
    own = nested.own_losses
    training.losses = own.sum(axis=0)
    training.nested = replace(nested, losses=training.losses - own)


def refit_network(
    training: NetworkTraining,
    recipe: Recipe,
    rows: LabeledRows,
    *,
    seconds: float,
    callbacks: Sequence[CallbackLike],
) -> None:
    """Train a network on, on all rows, and put back the parameters of its best epoch.

    rows : all rows, with scaled inputs; seconds : after these no epoch begins
    """
    network = training.network
    classes = recipe.spec.widths[-1] if recipe.spec.loss in CLASS_LOSSES else 1
    epochs = refit_epochs(training.best_epoch, recipe.refit_share, network.history, classes)
    epochs = min(epochs, recipe.epochs_with_refit - network.history.epochs)
    if epochs <= 0:
        return
    validated = network.values()
    learned_rows = replace(rows, Y=training_targets(recipe, rows, network.backend))
    refit(
        network,
        learned_rows,
        epochs=epochs,
        best_epoch=training.best_epoch,
        batch_size=min(recipe.batch_size, rows.count),
        learning_rate=recipe.schedule(training.best_epoch - 1, network.history.loss),
        seconds=seconds,
        callbacks=callbacks,
    )
    if training.thresholds is not None:
        put_thresholds(network, balanced_thresholds(network, learned_rows))
    if training.moves is not None and training.refitted_linear is not None:
        training.refitted_moves = moves_of_blends(network, training.refitted_linear, learned_rows)
    refitted = network.values()
    if training.totals is not None:
        training.final_totals = totals_of(network, rows)
    network.load_values(validated)
    training.refitted = refitted


def training_targets(recipe: Recipe, rows: LabeledRows, backend: Backend) -> Array:
    """Return the targets of rows on a backend, smoothed where the recipe says so."""
    return smoothed_targets(rows.Y, recipe.spec, recipe.label_smoothing, backend)
