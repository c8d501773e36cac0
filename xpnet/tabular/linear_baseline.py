"""Simple models of an encoded table help its networks: trees tell which columns matter, a linear
model stands beside.

Both end up in the weights of the networks, so that files, ONNX and predictions know nothing of
them.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy
from scipy.linalg import block_diag
from scipy.sparse import block_diag as sparse_block_diag
from scipy.sparse import csr_array
from scipy.special import softmax
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.linear_model import LogisticRegression, Ridge

from xpnet.backend import NetworkSpec
from xpnet.models import Network
from xpnet.tabular.encodings import CategoryEncoding, Encoding, NumberEncoding

LinearModel = tuple[numpy.ndarray, numpy.ndarray]
"""Weights (inputs, outputs) and biases (outputs,) in float64."""
TREES, ROWS_OF_TREES, LEAF = 50, 5000, 5
LEAST_SCALE, LARGEST_SCALE = 0.2, 2.0
"""Bounds of the factors of inputs, in which columns that matter as much as all do on average have
1."""
BLEND_WEIGHTS = numpy.linspace(0.0, 1.0, 5)
"""Shares that a linear model may have in the outputs."""
LEAST_FACTOR = 1e-6
"""Members' factors that are smaller count as this large."""
PENALTIES, ITERATIONS = numpy.logspace(-2, 3, 6), 1000
MAX_OUTPUTS, MAX_ROWS = 10, 50_000
"""Networks of more outputs have no linear model beside, which takes units for each, nor have those
of more rows."""
GAIN = 0.01
"""A linear model stands beside networks where the loss on the rows set apart falls by at least this
share."""


def numbers_of_columns(
    encodings: Sequence[Encoding], *, codes: bool
) -> tuple[csr_array, list[int]]:
    """Return sums of inputs that hold a table's columns in few numbers: of bins the number itself,
    within its range.

    codes : a category is one number, the place of its value, instead of one for each value
    returns (inputs, numbers), which is sparse, and for each number the column of the table that it
    tells of
    """
    blocks, columns = [], []
    for encoding in encodings:
        width = len(encoding.labels)
        block = numpy.eye(width)
        if isinstance(encoding, CategoryEncoding) and codes:
            hot = encoding.hot + encoding.gaps
            places = numpy.where(numpy.arange(width) < hot, numpy.arange(width), 0)
            block = numpy.column_stack([places, block[:, hot:]])
        elif isinstance(encoding, NumberEncoding) and len(encoding.edges):
            wide = numpy.diff(encoding.edges) / (encoding.edges[-1] - encoding.edges[0])
            block = block[:, 1 : width - len(wide)]
            block = numpy.column_stack([numpy.pad(wide, (width - len(wide), 0)), block])
        blocks.append(block)
        columns += [encoding.column] * block.shape[1]
    return csr_array(sparse_block_diag(blocks)), columns


def scales_of_inputs(
    encodings: Sequence[Encoding], X: numpy.ndarray, Y: numpy.ndarray, weight: Any, task: str
) -> numpy.ndarray:
    """Return factors of inputs, larger for columns of the table that trees use more: (inputs,).

    A network that learns from rows alone cannot tell at first which columns are noise; trees can.
    (Grinsztajn, Oyallon, Varoquaux, Why do tree-based models still outperform deep learning on
    tabular data, 2022, finding 2.)
    """
    numbers, columns = numbers_of_columns(encodings, codes=True)
    chosen = numpy.random.default_rng(0).permutation(len(X))[:ROWS_OF_TREES]
    kind = ExtraTreesClassifier if task == "classification" else ExtraTreesRegressor
    trees = kind(TREES, min_samples_leaf=LEAF, max_features=1.0, random_state=0, n_jobs=1)
    targets = Y[chosen] if Y.ndim == 1 or Y.shape[1] > 1 else Y[chosen, 0]
    trees.fit(
        X[chosen] @ numbers.astype(X.dtype), targets, None if weight is None else weight[chosen]
    )
    uses = numpy.bincount(columns, trees.feature_importances_)
    if not uses.any():
        return numpy.ones(numbers.shape[0])
    relative = numpy.sqrt(uses * len(set(columns)) / uses.sum()).clip(LEAST_SCALE, LARGEST_SCALE)
    return numpy.concatenate(
        [numpy.full(len(encoding.labels), relative[encoding.column]) for encoding in encodings]
    )


def fit_linear(numbers: csr_array, rows: Any, apart: Any, spec: NetworkSpec) -> LinearModel | None:
    """Fit a linear model of a few numbers of the inputs; None where a class has no rows.

    numbers : (inputs, numbers); rows, apart : Rows to train on, and to choose the penalty by
    """
    outputs, kind = spec.widths[-1], rows.X.dtype
    spread = (rows.X @ numbers.astype(kind)).std(axis=0, dtype=numpy.float64)
    numbers = numbers.multiply(1 / numpy.where(spread > 0, spread, 1.0)).tocsr()
    X, there = (part.X @ numbers.astype(kind) for part in (rows, apart))
    if spec.loss == "softmax_cross_entropy":
        if len(numpy.unique(rows.Y)) < outputs:
            return None
        logistic = LogisticRegression(max_iter=ITERATIONS).fit(X, rows.Y, rows.weight)
        weights, bias = logistic.coef_, logistic.intercept_
        if outputs == 2:
            weights, bias = (numpy.concatenate([-found, found]) / 2 for found in (weights, bias))
        return numbers @ weights.T, bias
    found = [Ridge(penalty, solver="cholesky").fit(X, rows.Y, rows.weight) for penalty in PENALTIES]
    best = min(found, key=lambda ridge: _squared_error(ridge.predict(there), apart))
    return numbers @ best.coef_.reshape(outputs, -1).T, numpy.reshape(best.intercept_, outputs)


def _squared_error(predicted: numpy.ndarray, apart: Any) -> float:
    each = (predicted.reshape(len(predicted), -1) - apart.Y) ** 2
    return _sum(each.mean(axis=1), apart.weight)


def _sum(each: numpy.ndarray, weight: numpy.ndarray | None) -> float:
    return float(each.sum() if weight is None else each @ weight)


def losses_by_blend_weight(network: Network, linear: LinearModel, apart: Any) -> numpy.ndarray:
    """Return the loss on rows set apart for each of BLEND_WEIGHTS of a linear model in the outputs:
    (shares,).
    """
    members = numpy.asarray(
        network.backend.to_numpy(network.predict_members(apart.X)), numpy.float64
    )
    beside = apart.X @ linear[0] + linear[1]
    losses = []
    for share in BLEND_WEIGHTS:
        if network.spec.loss == "squared_error":
            losses.append(
                _squared_error((1 - share) * members.mean(axis=0) + share * beside, apart)
            )
        else:
            mean = softmax(
                (1 - share) * numpy.log(members.clip(1e-30)) + share * beside, axis=-1
            ).mean(axis=0)
            each = -numpy.log(mean[numpy.arange(len(mean)), apart.Y].clip(1e-30))
            losses.append(_sum(each, apart.weight))
    return numpy.array(losses)


def best_blend_weight(losses: numpy.ndarray) -> float:
    """Return the share of linear models with the least loss, 0 unless it gains much. losses :
    (shares,)
    """
    best = int(numpy.argmin(losses))
    return float(BLEND_WEIGHTS[best]) if losses[best] < (1 - GAIN) * losses[0] else 0.0


def with_scaled_inputs(
    spec: NetworkSpec, values: dict[str, Any], scales: numpy.ndarray
) -> dict[str, Any]:
    """Return parameters that take inputs as they are, of those that take inputs times scales."""
    name = spec.layer_names[0]["weight"]
    return values | {name: numpy.asarray(values[name]) * scales[:, None].astype(spec.dtype)}


def with_linear(
    spec: NetworkSpec, values: dict[str, Any], linear: LinearModel, share: float
) -> tuple[NetworkSpec, dict[str, Any]]:
    """Put a linear model into hidden units of its own: each output becomes the sum of its share and
    the network's.

    Every member and output has two units, max(0, x w) and max(0, -x w), whose difference is x w;
    further layers hand them on. Factors that a member has for its inputs are taken out of w.
    """
    units = spec.members * spec.widths[-1] * 2
    first, *between, last = spec.layer_names
    new = dict(values)
    factors = values.get(first.get("scale_in", ""), numpy.ones((spec.members, spec.widths[0])))
    factors = numpy.where(
        numpy.abs(factors) < LEAST_FACTOR, LEAST_FACTOR, factors.astype(numpy.float64)
    )
    both = numpy.stack([linear[0], -linear[0]], axis=-1)
    of_members = [(both / factor[:, None, None]).reshape(len(both), -1) for factor in factors]
    new[first["weight"]] = numpy.hstack([values[first["weight"]], *of_members])
    for names in between:
        new[names["weight"]] = block_diag(values[names["weight"]], numpy.eye(units))
    for names in (first, *between):
        for role, value in (("bias", 0.0), ("scale_in", 1.0), ("scale_out", 1.0)):
            if role in names and (names is not first or role != "scale_in"):
                of_layer = values[names[role]]
                width = [(0, 0)] * (of_layer.ndim - 1) + [(0, units)]
                new[names[role]] = numpy.pad(of_layer, width, constant_values=value)
    heads = values[last["weight"]] * (1 - share)
    difference = block_diag(*[[[1.0], [-1.0]]] * spec.widths[-1])
    of_units = numpy.zeros((spec.members, spec.members, *difference.shape))
    of_units[range(spec.members), range(spec.members)] = (
        difference  # of the member's own units alone
    )
    of_units = of_units.reshape(*heads.shape[:-2], -1, spec.widths[-1])
    new[last["weight"]] = numpy.concatenate([heads, share * of_units], axis=-2)
    new[last["bias"]] = values[last["bias"]] * (1 - share) + share * linear[1]
    widths = (spec.widths[0], *(width + units for width in spec.widths[1:-1]), spec.widths[-1])
    return replace(spec, widths=widths), {
        name: value.astype(spec.dtype) for name, value in new.items()
    }
