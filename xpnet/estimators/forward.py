"""Predictions straight from weights and biases. Nothing is kept between calls: threads may share an estimator."""

from collections.abc import Sequence

from xpnet.backend import Operations
from xpnet.backend.spec import Activation, Loss
from xpnet.ops import Array, namespace

LOSSES: dict[str, Loss] = {
    "softmax": "softmax_cross_entropy",
    "logistic": "logistic_cross_entropy",
    "identity": "squared_error",
    "exp": "poisson",
}
"""The loss that belongs to an output activation."""

ROWS = 2048
"""Rows at a time: what hidden layers give for them stays near a core, and their memory does not grow with the rows."""


def network_logits(
    ops: Operations, X: Array, coefs: list[Array], intercepts: list[Array], activations: Sequence[Activation]
) -> Array:
    """What the last affine layer gives: (rows, in) -> (rows, out). X may be sparse."""
    starts = range(0, max(X.shape[0], 1), ROWS)
    blocks = [_block(ops, X[a : min(a + ROWS, X.shape[0]), :], coefs, intercepts, activations) for a in starts]
    return blocks[0] if len(blocks) == 1 else namespace(blocks[0]).concat(blocks)


def outputs(ops: Operations, logits: Array, loss: Loss) -> Array:
    """The output activation that belongs to the loss: softmax, logistic, exp, or none. (rows, out) -> (rows, out)"""
    if loss == "softmax_cross_entropy":
        return ops.softmax(logits)
    if loss == "logistic_cross_entropy":
        return ops.logistic(logits)
    return namespace(logits).exp(logits) if loss == "poisson" else logits


def _block(
    ops: Operations, x: Array, coefs: list[Array], intercepts: list[Array], activations: Sequence[Activation]
) -> Array:
    for weight, bias, activation in zip(coefs, intercepts, (*activations, "identity"), strict=True):
        # A sparse x is multiplied by SciPy, and what comes out is dense.
        x = x @ weight
        x = ops.bias_relu(x, bias) if activation == "relu" else getattr(ops, activation)(x + bias)
    return x
