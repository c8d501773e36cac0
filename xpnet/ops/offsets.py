"""Offsets: known numbers that are added to the logits of rows, in training and in prediction.

The targets of rows with offsets have twice as many columns as the network has outputs: the labels,
and behind them the offsets. So whatever divides, shuffles or sends targets takes the offsets along,
and a network, whose outputs are the logits for an offset of 0, knows nothing of them.
"""

from xpnet.ops.activations import logistic
from xpnet.ops.namespace import Array, Labels, namespace
from xpnet.ops.rows import softmax


def has_offsets(targets: Labels, outputs: int) -> bool:
    """Return whether targets have offsets behind the labels of a network with some outputs."""
    return targets.ndim == 2 and targets.shape[1] == 2 * outputs


def labels_and_offsets(targets: Labels, outputs: int) -> tuple[Labels, Array | None]:
    """Return the labels of rows and their offsets, (rows, outputs) each; None for no offsets.

    targets : (rows,) or (rows, outputs), or with offsets (rows, 2 * outputs)
    """
    if not has_offsets(targets, outputs):
        return targets, None
    return targets[:, :outputs], targets[:, outputs:]


def with_offsets(probabilities: Array, offsets: Array) -> Array:
    """Return the probabilities whose logits are those of others plus offsets.

    probabilities : (rows, outputs), of one output that of the second of two classes
    offsets : (rows, outputs)
    """
    xp = namespace(probabilities)
    if probabilities.shape[1] == 1:
        odds = xp.log(probabilities) - xp.log1p(-probabilities)
        return logistic(odds + offsets)
    return softmax(xp.log(probabilities) + offsets)
