"""The training of one network of a table, with its linear baseline."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy

from xpnet.backend import Backend, NetworkSpec, on_device
from xpnet.backend.blas import one_thread
from xpnet.backend.spec import CLASS_LOSSES, OUTPUT_ACTIVATIONS
from xpnet.data.sources import Source
from xpnet.distributed import distributed_batches
from xpnet.distributed.ranks import current_ranks
from xpnet.distributed.sources import source_rows
from xpnet.learning.ordered import (
    cumulative_logits,
    cumulative_of_outputs,
    outputs_of_cumulative,
    with_thresholds,
)
from xpnet.learning.scores import MIN_PROBABILITY
from xpnet.models import Network
from xpnet.models.inputs import bring, to_host
from xpnet.models.presets import initial_values
from xpnet.ops import Array
from xpnet.ops.losses import smoothed
from xpnet.ops.offsets import has_offsets, labels_and_offsets
from xpnet.tabular.ensemble.balance import (
    Totals,
    balanced_thresholds,
    totals_of,
    with_moved_thresholds,
)
from xpnet.tabular.ensemble.best_epoch import BestEpoch
from xpnet.tabular.ensemble.linear.baseline import (
    BLEND_WEIGHTS,
    LinearModel,
    best_blend,
    fit_linear,
    linear_alone,
    losses_by_blend_weight,
    moves_of_blends,
    nested_outputs,
    with_linear,
    with_scaled_inputs,
)
from xpnet.tabular.ensemble.linear.wide_tables import WideModels
from xpnet.tabular.ensemble.recipe import Recipe
from xpnet.tabular.ensemble.refit import fit_in_memory, refit, refit_epochs, trainable_step
from xpnet.tabular.rows.nested_choices import MIN_MEAN, NestedOutputs, ValidationParts
from xpnet.tabular.rows.network_splits import rows_on_host
from xpnet.tabular.rows.sparse_rows import dense_rows
from xpnet.training import LabeledRows, TrainingState, train
from xpnet.training.callbacks import CallbackLike
from xpnet.training.streamed import Streamed

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
    settings: dict[str, Any] = {
        "epochs": recipe.epochs,
        "batch_size": min(recipe.batch_size, rows.count),
        "callbacks": [training.best, *callbacks],
        "resume_from": resume_from,
    }
    Y = training_targets(recipe, rows, network.backend)
    if isinstance(rows.X, Source):
        fit_over_source(network, replace(rows, Y=Y), recipe, **settings)
    elif has_offsets(rows.Y, recipe.spec.widths[-1]):
        fit_in_memory(
            network,
            replace(rows, Y=Y),
            schedule=recipe.schedule,
            history=network.history,
            **settings,
        )
    else:
        network.fit(rows.X, Y, sample_weight=rows.weight, **settings)
    if recipe.spec.loss == "ordered_cross_entropy" and training.best_epoch:
        balance_classes(training, replace(rows, Y=Y))
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


def smoothed_targets(Y: Array, spec: NetworkSpec, share: float, backend: Backend) -> Array:
    """Return targets on a backend, of whose labels a share is spread over all classes.

    Y : as the network's loss takes them; the same where the share is 0
    """
    if not share:
        return Y
    classes = spec.widths[-1]
    like = backend.asarray(numpy.empty((0, classes), spec.dtype))
    with on_device(backend):
        labels, offsets = labels_and_offsets(backend.asarray(Y), classes)
        spread = smoothed(labels, like, share, classes)
        return spread if offsets is None else backend.xp.concat([spread, offsets], axis=1)


def fit_over_source(
    network: Network, rows: LabeledRows, recipe: Recipe, *, batch_size: int, **settings: Any
) -> None:
    """Train a network on the rows of a source; the orders come from the network's seed.

    settings : further arguments of ``train``
    """
    backend = network.backend
    weight = None if rows.weight is None else bring(rows.weight, backend, network.spec.dtype)
    data = source_rows(rows.X, network.own(bring(rows.Y, backend)), weight, current_ranks())
    orders = data.orders(numpy.random.RandomState(network.spec.seed))
    batches = distributed_batches(Streamed(data, batch_size=batch_size, rng=orders))
    with network.lock.training():
        train(
            trainable_step(network, rows),
            batches,
            schedule=recipe.schedule,
            history=network.history,
            lock=network.lock,
            **settings,
        )


def blend_weight_of(trainings: Sequence[NetworkTraining]) -> float:
    """Return the weight of the linear baseline that helps networks most, 0 for none."""
    losses = [training.losses for training in trainings if training.losses is not None]
    if not losses or len(losses) < len(trainings):
        return 0.0
    return float(BLEND_WEIGHTS[_blend_of(trainings[0], numpy.sum(losses, axis=0))])


def _blend_of(training: NetworkTraining, losses: numpy.ndarray) -> int:
    """Return the index of the blend weight that helps networks like this one most.

    losses : (blend weights,)
    """
    prefers_linear = training.wide is not None
    return best_blend(losses, training.network.spec.loss, prefers_linear=prefers_linear)


def nested_predictions(
    trainings: Sequence[NetworkTraining], folds: Sequence[int]
) -> list[numpy.ndarray | None]:
    """Return the outputs of the validation rows of each network by choices of other rows.

    The blend weight of a part of them is that of their other parts and of other networks. Networks
    of the same rows divide them alike.

    folds : the number of the validation rows of each network
    returns arrays (validation rows, outputs), None where the choices were not followed
    """
    may_blend = all(training.losses is not None for training in trainings)
    predictions: list[numpy.ndarray | None] = []
    for training, fold in zip(trainings, folds, strict=True):
        nested = training.nested
        if nested is None:
            predictions.append(None)
            continue
        indices = [0] * nested.parts.count
        if may_blend:
            losses = nested.losses + sum(
                _losses_beside(other, is_same=other_fold == fold)
                for other, other_fold in zip(trainings, folds, strict=True)
                if other is not training
            )
            indices = [_blend_of(training, of_others) for of_others in losses]
        predictions.append(nested.of_weights(numpy.array(indices)))
    return predictions


def _losses_beside(other: NetworkTraining, *, is_same: bool) -> numpy.ndarray:
    """Return the losses of another network by blend weights, of the same rows by their parts."""
    assert other.losses is not None
    return other.nested.losses if is_same and other.nested is not None else other.losses


def with_baselines(
    recipes: Sequence[Recipe],
    trainings: Sequence[NetworkTraining],
    *,
    refitted: bool,
    constant: numpy.ndarray | None = None,
) -> list[Network]:
    """Return networks of unscaled inputs, with linear baselines in their weights if these help.

    recipes : for each network the recipe that describes it, whatever dropout and updates it had,
        and the factors of its inputs
    refitted : whether with the parameters after the epochs on all rows, where there are such, and
        at the level of all rows
    constant : (outputs,) what all networks predict, whatever they have learned; None for that
    """
    blend_weight = blend_weight_of(trainings)
    networks = []
    for recipe, training in zip(recipes, trainings, strict=True):
        trained = training.network
        values, moves = training.network.values(), training.moves
        spec = replace(recipe.spec, seed=trained.spec.seed)
        if refitted and training.refitted is not None:
            values, moves = training.refitted, training.refitted_moves
        wide = training.wide
        linear = training.refitted_linear if refitted else training.linear
        if constant is not None:
            values = with_constant(spec, values, constant)
        elif linear is not None and wide is not None and blend_weight == 1:
            spec, values = linear_alone(spec, linear)
        elif linear is not None and blend_weight:
            spec, values = with_linear(spec, values, linear, blend_weight)
            if moves is not None:
                values = with_moves(spec, values, moves[BLEND_WEIGHTS == blend_weight][0])
        if recipe.input_scales is not None:
            values = with_scaled_inputs(spec, values, recipe.input_scales)
        totals = training.final_totals if refitted else training.totals
        if totals is not None and constant is None:
            values = with_shift(spec, values, totals.shift)
        network = Network(
            spec, values, recipe.learning_rate, backend=recipe.backend, dtype=spec.dtype
        )
        network.history, network.how_trained = trained.history, how_trained_in(recipe, trained)
        networks.append(network)
    return networks


def with_constant(
    spec: NetworkSpec, values: dict[str, numpy.ndarray], constant: numpy.ndarray
) -> dict[str, numpy.ndarray]:
    """Return parameters that predict a constant for all rows: shares of classes, or numbers.

    constant : (outputs,), as it is predicted
    """
    if spec.loss == "softmax_cross_entropy":
        constant = numpy.log(constant.clip(MIN_PROBABILITY))
    elif spec.loss == "ordered_cross_entropy":
        constant = outputs_of_cumulative(cumulative_logits(constant.clip(MIN_PROBABILITY)))
    elif OUTPUT_ACTIVATIONS[spec.loss] == "exp":
        constant = numpy.log(constant.clip(MIN_MEAN))
    last = spec.layer_names[-1]
    weights, biases = values[last["weight"]], values[last["bias"]]
    constants = numpy.broadcast_to(constant.astype(biases.dtype), biases.shape).copy()
    return values | {last["weight"]: numpy.zeros_like(weights), last["bias"]: constants}


def with_moves(
    spec: NetworkSpec, values: dict[str, numpy.ndarray], moves: numpy.ndarray
) -> dict[str, numpy.ndarray]:
    """Return parameters of ordered classes whose cumulative logits have moved.

    moves : (members, classes - 1)
    """
    biases = values[spec.bias_names[-1]]
    logits = cumulative_of_outputs(biases.astype(numpy.float64)) + moves.reshape(
        *biases.shape[:-1], -1
    )
    moved = outputs_of_cumulative(logits).astype(biases.dtype)
    return values | {spec.bias_names[-1]: moved}


def with_shift(
    spec: NetworkSpec, values: dict[str, numpy.ndarray], shift: numpy.ndarray
) -> dict[str, numpy.ndarray]:
    """Return parameters with a shift of the outputs before their activation.

    shift : (outputs,)
    """
    name = spec.layer_names[-1]["bias"]
    return values | {name: (values[name] + shift).astype(values[name].dtype)}


def how_trained_in(recipe: Recipe, trained: Network) -> str:
    """Return how a network was trained, if not as it predicts. trained : the trained network"""
    if recipe.training_backend is recipe.backend:
        return trained.how_trained
    return "; ".join(filter(None, [f"trained by {trained.why_step}", trained.how_trained]))
