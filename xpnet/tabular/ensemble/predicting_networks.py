"""The networks that predict: trained ones, with linear baselines, a constant or a shift in them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy

from xpnet.backend import NetworkSpec
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.learning.ordered import (
    cumulative_logits,
    cumulative_of_outputs,
    outputs_of_cumulative,
)
from xpnet.learning.scores import MIN_PROBABILITY
from xpnet.models import Network
from xpnet.tabular.ensemble.linear.baseline import (
    BLEND_WEIGHTS,
    best_blend,
    linear_alone,
    with_linear,
    with_scaled_inputs,
)
from xpnet.tabular.ensemble.network_training import NetworkTraining
from xpnet.tabular.ensemble.recipe import Recipe
from xpnet.tabular.rows.nested_choices import MIN_MEAN


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
