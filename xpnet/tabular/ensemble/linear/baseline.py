"""Trees and a linear model that help the networks of a table, and become a part of their weights.

Trees measure how much each column is used: the inputs of a column that they use more are multiplied
by a larger factor in training, and ``with_scaled_inputs`` puts these factors into the first weight.

A linear model is fitted on the same rows, the linear baseline. Where it lowers the validation loss,
``with_linear`` puts it into hidden units of its own, so that the outputs are a weighted mean of the
network's and the linear model's. Predictions, files and ONNX graphs consist of networks only.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy
from scipy.linalg import block_diag
from scipy.sparse import block_diag as sparse_block_diag
from scipy.sparse import csr_array
from scipy.special import softmax
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from xpnet.backend import NetworkSpec
from xpnet.backend.blas import one_thread
from xpnet.backend.spec import CLASS_LOSSES
from xpnet.learning.labels import hard_labels
from xpnet.learning.ordered import (
    cumulative_logits,
    cumulative_of_outputs,
    outputs_of_cumulative,
)
from xpnet.learning.scikit_learn import fit_unlogged
from xpnet.learning.scores import MIN_PROBABILITY, log_losses
from xpnet.models import Network
from xpnet.ops import ordered
from xpnet.ops.offsets import has_offsets
from xpnet.tabular.encodings.encoding import Encoding
from xpnet.tabular.ensemble.balance import balanced_logits, scores_of
from xpnet.tabular.ensemble.linear.solvers import (
    LinearModel,
    fit_logistics,
    fit_ordered_logistics,
    fit_ridges,
)
from xpnet.tabular.rows.constant import targets_beside_offsets
from xpnet.tabular.rows.nested_choices import NestedEpochs, NestedOutputs
from xpnet.tabular.rows.network_splits import rows_on_host
from xpnet.tabular.rows.sparse_rows import dense_rows
from xpnet.training import LabeledRows
from xpnet.typing import SparseMatrix

MIN_LEAF_ROWS = 5
"""Rows of a leaf of these trees at least."""
MIN_INPUT_SCALE = 0.2
"""Smallest factor of an input. Columns that are used as much as all are on average have 1."""
MAX_INPUT_SCALE = 2.0
"""Largest factor of an input."""
BLEND_WEIGHTS = numpy.linspace(0.0, 1.0, 5)
"""Weights of the linear baseline in the outputs that are compared."""
MIN_MEMBER_SCALE = 1e-6
"""Smallest absolute value of a member's factor of an input that weights are divided by."""
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
"""Penalties of the squared weights of a ridge regression that are compared."""
ROWS_OF_A_NUMBER = 10
"""Rows for each number of the table from which a logistic regression needs no other penalty than 1,
which changes little there."""
PENALTIES_OF_FEW_ROWS = (1.0, 10.0, 100.0, 1000.0, 10_000.0)
"""Penalties of a logistic regression of fewer rows. With 400 rows of 2,000 numbers that say little
the best is above 1,000."""
MAX_OUTPUTS = 10
"""Number of outputs up to which networks have a linear baseline, which has units for each."""
MAX_ROWS = 50_000
"""Number of rows up to which networks have a linear baseline; with more they need none."""
MIN_GAIN = 0.01
"""The share of the validation loss that a linear baseline must take away to become a part."""
MIN_GAIN_OF_ORDERED = 0.003
"""The same share for ordered classes. Most of their log loss is noise between neighbours, so that
1 % of it may be much of what the columns tell."""
MIN_GAIN_OF_NETWORKS = 0.05
"""The share of the validation loss of a linear model alone that networks must take away to become a
part, in tables with more numbers than rows. A smaller share of a hundred rows is chance."""


def numbers_of_columns(
    encodings: Sequence[Encoding], *, codes: bool
) -> tuple[SparseMatrix, list[int]]:
    """Return sums of inputs that hold each column of a table in few numbers.

    The bins of a number become one number, which is the number itself within the range of the bins.

    codes : whether a category becomes one number, the index of its value, and not one for each
        value
    returns the sums, sparse (inputs, numbers), and for each number the index of its column
    """
    blocks: list[numpy.ndarray] = []
    columns: list[int] = []
    for encoding in encodings:
        block = encoding.as_codes() if codes else encoding.as_numbers()
        blocks.append(block)
        columns += [encoding.column] * block.shape[1]
    return csr_array(sparse_block_diag(blocks)), columns


def sums_of_inputs(X: numpy.ndarray | SparseMatrix, sums: SparseMatrix) -> numpy.ndarray:
    """Return the sums of the inputs of rows: (rows, numbers), the product of X and sums.

    Most numbers are one input; the others are sums of inputs that lie side by side. So the dense
    rows are read once, which is faster than a product with a sparse matrix.

    X : (rows, inputs), sparse rows are made dense; sums : (inputs, numbers)
    """
    dense = dense_rows(X)
    columns = sums.tocsc()
    columns.sort_indices()
    values = columns.data.astype(dense.dtype)
    ends = columns.indptr
    result = numpy.zeros((len(dense), columns.shape[1]), dense.dtype)
    is_one_input = numpy.diff(ends) == 1
    of_one = ends[:-1][is_one_input]
    result[:, is_one_input] = dense[:, columns.indices[of_one]] * values[of_one]
    for number in numpy.flatnonzero(numpy.diff(ends) > 1):
        entries = slice(ends[number], ends[number + 1])
        inputs = columns.indices[entries]
        factors = numpy.zeros(inputs[-1] - inputs[0] + 1, dense.dtype)
        factors[inputs - inputs[0]] = values[entries]
        result[:, number] = dense[:, inputs[0] : inputs[-1] + 1] @ factors
    return result


def scales_of_inputs(
    encodings: Sequence[Encoding], rows: LabeledRows, task: str, *, outputs: int, trees: int
) -> numpy.ndarray:
    """Return factors of inputs, larger for columns of the table that trees use more: (inputs,).

    A network that learns from rows alone cannot know at first which columns are noise; trees can.
    (Grinsztajn, Oyallon, Varoquaux, Why do tree-based models still outperform deep learning on
    tabular data, 2022, finding 2.)

    rows : that trees are fitted to; outputs : of the networks; trees : number of trees

    Beside offsets trees are fitted to what these leave of the labels.
    """
    sums, columns = numbers_of_columns(encodings, codes=True)
    inputs = sums_of_inputs(rows.X, sums)
    targets = rows.Y
    are_labels = task == "classification" and not has_offsets(targets, outputs)
    if are_labels:
        targets = hard_labels(targets)
    elif task == "classification":
        targets = targets_beside_offsets(rows, outputs)
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    kind = ExtraTreesClassifier if are_labels else ExtraTreesRegressor
    forest = kind(trees, min_samples_leaf=MIN_LEAF_ROWS, max_features=1.0, random_state=0, n_jobs=1)
    fit_unlogged(forest, inputs, targets, rows.weight)
    with numpy.errstate(invalid="ignore"):  # of trees whose cuts separate no labels
        uses = numpy.bincount(columns, numpy.nan_to_num(forest.feature_importances_))
    if not uses.any():
        return numpy.ones(sums.shape[0])
    relative = numpy.sqrt(uses * len(set(columns)) / uses.sum())
    relative = relative.clip(MIN_INPUT_SCALE, MAX_INPUT_SCALE)
    widths = [len(encoding.labels) for encoding in encodings]
    return numpy.repeat(relative[[encoding.column for encoding in encodings]], widths)


class LinearChoice(NamedTuple):
    """The linear models of a network's training rows, and the best of them for validation rows.

    models : of the penalties that are compared
    best : the one with the lowest loss of validation rows
    losses : (models,) sums of the losses of validation rows; () for one model
    """

    models: Sequence[LinearModel]
    best: LinearModel
    losses: Sequence[float]


def fit_linear(
    sums: SparseMatrix,
    rows: LabeledRows,
    validation: LabeledRows,
    spec: NetworkSpec,
    deadline: float,
    penalties: Sequence[float] | None = None,
) -> LinearChoice | None:
    """Fit linear models of sums of the inputs; None where a class has no rows.

    BLAS has one thread meanwhile: more take as long, and keep other cores busy.

    sums : (inputs, numbers); validation : rows by which the penalty is chosen
    deadline : the monotonic time, in seconds, at which the solver ends
    penalties : that are compared, in rising order; None for those of the loss
    """
    with one_thread:
        numbers = sums_of_inputs(rows.X, sums)
        spread = numbers.std(axis=0, dtype=numpy.float64)
        factors = 1 / numpy.where(spread > 0, spread, 1.0)
        numbers *= factors.astype(numbers.dtype)
        if spec.loss in CLASS_LOSSES:
            classes = spec.widths[-1]
            if len(numpy.unique(hard_labels(rows.Y, classes))) < classes:
                return None
            penalties = penalties or penalties_of_labels(*numbers.shape)
            fit = fit_ordered_logistics if spec.loss == "ordered_cross_entropy" else fit_logistics
            models = fit(
                numbers, rows.Y, rows.weight, penalties, classes=classes, deadline=deadline
            )
            losses = []
            if len(penalties) > 1:
                numbers_val = sums_of_inputs(validation.X, sums) * factors
                probabilities = [
                    probabilities_of(model.outputs(numbers_val), spec.loss) for model in models
                ]
                losses = [_log_loss(of, validation) for of in probabilities]
        else:
            numbers_val = sums_of_inputs(validation.X, sums) * factors
            models = fit_ridges(numbers, rows.Y, rows.weight, penalties or PENALTIES)
            losses = [_squared_error(ridge.outputs(numbers_val), validation) for ridge in models]
    of_inputs = [
        replace(model, weights=sums @ (factors[:, None] * model.weights)) for model in models
    ]
    best = int(numpy.argmin(losses)) if losses else 0
    return LinearChoice(of_inputs, of_inputs[best], losses)


def probabilities_of(outputs: numpy.ndarray, loss: str) -> numpy.ndarray:
    """Return the probabilities of classes. outputs : (..., classes) of a loss of classes"""
    is_ordered = loss == "ordered_cross_entropy"
    return numpy.asarray(ordered(outputs) if is_ordered else softmax(outputs, axis=-1))


def penalties_of_labels(rows: int, numbers: int) -> Sequence[float]:
    """Return the penalties of a logistic regression that are compared, in rising order."""
    return PENALTIES_OF_FEW_ROWS if rows < ROWS_OF_A_NUMBER * numbers else (1.0,)


def _squared_error(predicted: numpy.ndarray, rows: LabeledRows) -> float:
    """Return the weighted sum of half the squared errors, as in ``xpnet.ops.squared_error``."""
    errors = (predicted.reshape(len(predicted), -1) - rows.Y) ** 2
    return _weighted_sum(errors.sum(axis=1) / 2, rows.weight)


def _weighted_sum(losses: numpy.ndarray, weight: numpy.ndarray | None) -> float:
    """Return the sum of losses (rows,), each times its weight if there are weights."""
    return float(losses.sum() if weight is None else losses @ weight)


def moves_of_blends(network: Network, linear: LinearModel, rows: LabeledRows) -> numpy.ndarray:
    """Return what must be added to blended cumulative logits so that classes have their shares.

    The mean of two scores varies less than each of them. So beside the mean of their thresholds the
    outer classes would have too small a probability.

    rows : that the network has learned from
    returns (blend weights, members, classes - 1)
    """
    spec = network.spec
    scores = scores_of(network, rows)
    of_linear = linear.outputs(rows_on_host(rows).X)[:, 0] - linear.biases[0]
    biases = numpy.atleast_2d(network.values()[spec.bias_names[-1]]).astype(numpy.float64)
    of_network, other = cumulative_of_outputs(biases), cumulative_of_outputs(linear.biases)
    return numpy.stack(
        [
            balanced_logits((1 - weight) * scores + weight * of_linear, rows, spec.widths[-1])
            - ((1 - weight) * of_network + weight * other)
            for weight in BLEND_WEIGHTS
        ]
    )


def losses_by_blend_weight(
    network: Network,
    linear: LinearModel,
    validation: LabeledRows,
    moves: numpy.ndarray | None = None,
) -> numpy.ndarray:
    """Return the validation loss for each of BLEND_WEIGHTS: (blend weights,).

    validation : rows where the network computes; moves : of `moves_of_blends`, or None
    """
    outputs = network.backend.to_numpy(network.predict_members(validation.X))
    members = numpy.asarray(outputs, numpy.float64)
    rows = rows_on_host(validation)
    of_linear = linear.outputs(rows.X)
    loss = _squared_error if network.spec.loss == "squared_error" else _log_loss
    blends = blended_outputs(members, of_linear, network.spec.loss, moves)
    return numpy.array([loss(blended, rows) for blended in blends])


def blended_outputs(
    members: numpy.ndarray,
    of_linear: numpy.ndarray,
    loss: str,
    moves: numpy.ndarray | None = None,
) -> list[numpy.ndarray]:
    """Return numbers or probabilities (rows, outputs) for each of BLEND_WEIGHTS.

    members : (members, rows, outputs), numbers or probabilities; of_linear : numbers, logits, or
        the outputs of ordered classes, whose cumulative logits are blended
    moves : of `moves_of_blends`; None for none
    """
    if loss == "squared_error":
        mean = members.mean(axis=0)
        return [(1 - weight) * mean + weight * of_linear for weight in BLEND_WEIGHTS]
    probabilities = members.clip(MIN_PROBABILITY)
    if loss == "ordered_cross_entropy":
        cumulative = cumulative_logits(probabilities)
        other = cumulative_of_outputs(of_linear)
        weights = BLEND_WEIGHTS[:, None, None, None]
        blends = (1 - weights) * cumulative + weights * other
        outputs = outputs_of_cumulative(blends if moves is None else blends + moves[:, :, None])
        return [probabilities_of(blended, loss).mean(axis=0) for blended in outputs]
    logits = numpy.log(probabilities)
    return [
        softmax((1 - weight) * logits + weight * of_linear, axis=-1).mean(axis=0)
        for weight in BLEND_WEIGHTS
    ]


def _log_loss(probabilities: numpy.ndarray, rows: LabeledRows) -> float:
    """Return the weighted sum of the log losses of labels. probabilities : (rows, classes)"""
    return _weighted_sum(log_losses(probabilities, rows.Y), rows.weight)


def nested_outputs(
    nested: NestedEpochs,
    models: Sequence[LinearModel],
    X: numpy.ndarray,
    loss: str,
    moves: numpy.ndarray | None = None,
) -> NestedOutputs:
    """Return the outputs of validation rows, whose choices other validation rows make.

    models : linear baselines of several penalties, none for no baseline
    X : (rows, inputs) of the validation rows, on the host
    moves : of `moves_of_blends`, of the models' best; None for none
    """
    parts = nested.parts
    if not models:
        outputs = numpy.stack([outputs.mean(axis=0) for outputs in nested.outputs])
        rows = numpy.arange(len(parts.part_of_row))
        of_parts = [parts.losses_of_others(mean[None])[k] for k, mean in enumerate(outputs)]
        return NestedOutputs(
            parts, outputs[parts.part_of_row, rows][None], numpy.array(of_parts)[:, None]
        )
    of_models = [model.outputs(X) for model in models]
    best = [0] * parts.count
    if len(models) > 1:
        of_others = [parts.losses_of_others(outputs[None]) for outputs in of_models]
        best = numpy.argmin(of_others, axis=0).tolist()
    blends = numpy.empty((len(BLEND_WEIGHTS), *of_models[0].shape))
    losses = numpy.empty((parts.count, len(BLEND_WEIGHTS)))
    for part, (members, model) in enumerate(zip(nested.outputs, best, strict=True)):
        blended = blended_outputs(members.astype(numpy.float64), of_models[model], loss, moves)
        in_part = parts.part_of_row == part
        for weight, blend in enumerate(blended):
            losses[part, weight] = parts.losses_of_others(blend[None])[part]
            blends[weight, in_part] = blend[in_part]
    return NestedOutputs(parts, blends, losses)


def best_blend(losses: numpy.ndarray, loss: str, *, prefers_linear: bool = False) -> int:
    """Return the index of the blend weight with the lowest loss if it gains enough.

    losses : (blend weights,), summed over the networks; loss : its name
    prefers_linear : whether it must gain beside the linear baseline alone, and not beside the
        networks alone
    """
    usual = len(losses) - 1 if prefers_linear else 0
    best = int(numpy.argmin(losses))
    min_gain = MIN_GAIN_OF_ORDERED if loss == "ordered_cross_entropy" else MIN_GAIN
    if prefers_linear:
        min_gain = MIN_GAIN_OF_NETWORKS
    gains = losses[best] < (1 - min_gain) * losses[usual]
    return best if gains else usual


def with_scaled_inputs(
    spec: NetworkSpec, values: dict[str, numpy.ndarray], scales: numpy.ndarray
) -> dict[str, numpy.ndarray]:
    """Return parameters that take inputs as they are, of those that take inputs times scales."""
    name = spec.layer_names[0]["weight"]
    return values | {name: numpy.asarray(values[name]) * scales[:, None].astype(spec.dtype)}


def with_linear(
    spec: NetworkSpec, values: dict[str, numpy.ndarray], linear: LinearModel, blend_weight: float
) -> tuple[NetworkSpec, dict[str, numpy.ndarray]]:
    """Put a linear model into hidden units of its own; each output becomes a weighted mean.

    Each member and each output y has two units of its own in each hidden layer::

        input x --+-- hidden units ------------ hidden units ---- times 1 - b --+
                  +-- +w: max(0, +x w) -- 1 --- max(0, +x w) ---- times +b -----+-- output y
                  +-- -w: max(0, -x w) -- 1 --- max(0, -x w) ---- times -b -----+

    with the blend weight b, since max(0, x w) - max(0, -x w) = x w. So the weights become

    - first layer: ``[W | +w | -w]``, the columns of w divided by the member's factors of the inputs
    - layers between: ``[[W, 0], [0, I]]``
    - last layer: ``[(1 - b) W; +b; -b]``, its bias the mean of both biases, weighted as the outputs

    and where members have factors, those of the new units are 1. Of ordered classes the score alone
    has units, and the thresholds are blended.

    returns the description of the larger network, and its parameters
    """
    units = spec.members * _outputs_with_units(spec) * 2
    first, *between, last = spec.layer_names
    new = dict(values)
    of_members = _first_weights_of_linear(spec, values.get(first.get("scale_in", "")), linear)
    new[first["weight"]] = numpy.hstack([values[first["weight"]], of_members])
    for names in between:
        new[names["weight"]] = block_diag(values[names["weight"]], numpy.eye(units))
    for names in (first, *between):
        for role, added in (("bias", 0.0), ("scale_in", 1.0), ("scale_out", 1.0)):
            is_table_input = names is first and role == "scale_in"
            if role in names and not is_table_input:
                new[names[role]] = _with_added_units(values[names[role]], units, added)
    last_weights = (1 - blend_weight) * values[last["weight"]]
    of_linear = blend_weight * _last_weights_of_linear(spec, last_weights.shape)
    new[last["weight"]] = numpy.concatenate([last_weights, of_linear], axis=-2)
    last_biases = values[last["bias"]]
    new[last["bias"]] = _blended_biases(spec, last_biases, linear.biases, blend_weight)
    widths = (spec.widths[0], *(width + units for width in spec.widths[1:-1]), spec.widths[-1])
    parameters = {name: value.astype(spec.dtype) for name, value in new.items()}
    return replace(spec, widths=widths), parameters


def _outputs_with_units(spec: NetworkSpec) -> int:
    """Return the number of outputs, from the first on, that a linear model has weights for."""
    return 1 if spec.loss == "ordered_cross_entropy" else spec.widths[-1]


def _blended_biases(
    spec: NetworkSpec, biases: numpy.ndarray, of_linear: numpy.ndarray, blend_weight: float
) -> numpy.ndarray:
    """Return the weighted mean of biases; of ordered classes, that of their thresholds.

    biases : (..., outputs) of the network; of_linear : (outputs,)
    """
    if spec.loss != "ordered_cross_entropy":
        return biases * (1 - blend_weight) + blend_weight * of_linear
    of_network = cumulative_of_outputs(biases.astype(numpy.float64))
    other = cumulative_of_outputs(of_linear)
    return outputs_of_cumulative((1 - blend_weight) * of_network + blend_weight * other)


def linear_alone(
    spec: NetworkSpec, linear: LinearModel
) -> tuple[NetworkSpec, dict[str, numpy.ndarray]]:
    """Return a network without hidden layers that is a linear model, and its parameters."""
    widths = (spec.widths[0], spec.widths[-1])
    spec = replace(spec, widths=widths, activations=(), members=1, dropout=())
    (names,) = spec.layer_names
    parameters = {names["weight"]: linear.weights, names["bias"]: linear.biases}
    return spec, {name: value.astype(spec.dtype) for name, value in parameters.items()}


def _first_weights_of_linear(
    spec: NetworkSpec, scale_in: numpy.ndarray | None, linear: LinearModel
) -> numpy.ndarray:
    """Return the weights +w and -w of each member and output, side by side: (inputs, units).

    scale_in : (members, inputs) the members' factors of the inputs, which take no part in x w; or
        None
    """
    if scale_in is None:
        scale_in = numpy.ones((spec.members, spec.widths[0]))
    tiny = numpy.abs(scale_in) < MIN_MEMBER_SCALE
    factors = numpy.where(tiny, MIN_MEMBER_SCALE, scale_in.astype(numpy.float64))
    of_units = linear.weights[:, : _outputs_with_units(spec)]
    signed = numpy.stack([of_units, -of_units], axis=-1)  # (inputs, outputs, 2)
    of_members = [signed / factor[:, None, None] for factor in factors]
    return numpy.hstack([weights.reshape(len(weights), -1) for weights in of_members])


def _last_weights_of_linear(spec: NetworkSpec, shape: tuple[int, ...]) -> numpy.ndarray:
    """Return weights that give each output the difference of its two units, for each member.

    shape : (..., hidden units, outputs) of the last weight, of which each member has one
    """
    outputs = spec.widths[-1]
    members = spec.members
    with_units = _outputs_with_units(spec)
    difference = numpy.zeros((2 * with_units, outputs))
    difference[:, :with_units] = block_diag(*[[[1.0], [-1.0]]] * with_units)
    weights = numpy.zeros((members, members, *difference.shape))
    weights[range(members), range(members)] = difference  # of the member's own units alone
    return weights.reshape(*shape[:-2], -1, outputs)


def _with_added_units(parameter: numpy.ndarray, units: int, value: float) -> numpy.ndarray:
    """Return a bias or factors (..., width) with a value for each new unit."""
    padding = [(0, 0)] * (parameter.ndim - 1) + [(0, units)]
    return numpy.pad(parameter, padding, constant_values=value)
