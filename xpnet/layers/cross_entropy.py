"""Softmax and categorical cross-entropy in one layer: what a classifier's logits are trained with."""

from xpnet.backend import all_within, dtype_name
from xpnet.errors import InputError
from xpnet.layers.layer import Layer
from xpnet.ops import Array, Labels, namespace

INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))


class CategoricalCrossEntropy(Layer):
    """loss = -1/N sum_ik labels_ik log softmax(logits)_ik.

    Softmax and logarithm are one operation, log p = (z - max z) - log sum exp(z - max z), so that no logit overflows
    and no probability is rounded to zero before its logarithm is taken.
    """

    def forward(self, logits: Array, labels: Labels, sample_weight: Array | None = None) -> float:
        """The mean cross-entropy of a batch.

        logits : (batch, classes)
        labels : one-hot or soft (batch, classes), or class indices (batch,), integers from 0 to classes - 1
        sample_weight : (batch,), optional: the mean becomes a weighted one
        returns loss : float

        Raises InputError for shapes that do not fit, and for class indices outside the classes.
        """
        weights = [] if sample_weight is None else [sample_weight]
        ops, logits, labels, *weights = self._enter(logits, labels, *weights)
        check_labels(logits, labels)
        loss, self.cache = ops.softmax_cross_entropy(logits, labels, *weights)
        return float(loss)

    def backward(self, d_out: float = 1.0) -> tuple[Array, None]:
        """d_logits = d_out (softmax(logits) - labels) / N.

        d_out : the gradient by the loss, 1 where the loss ends the graph
        returns d_logits (batch, classes), and None for the labels, which are not trained

        Where a row of labels does not sum to 1, softmax(logits) counts that sum. (Bishop, Pattern Recognition and
        Machine Learning, 2006, eq. 4.109.) Raises InputError before a forward pass.
        """
        _, d_logits = self._recall()
        return d_out * d_logits, None


def check_labels(logits: Array, labels: Labels) -> None:
    """Raise InputError unless ``labels`` can be labels of ``logits`` (batch, classes)."""
    if logits.ndim != 2:
        raise InputError(f"Logits are a matrix (batch, classes); received shape {tuple(logits.shape)}. Reshape them.")
    if labels.ndim == 1:
        check_index_labels(labels, tuple(logits.shape))
    elif tuple(labels.shape) != tuple(logits.shape):
        raise InputError(
            f"Labels are class indices (batch,) or one row for each row of logits, {tuple(logits.shape)}; "
            f"received shape {tuple(labels.shape)}. Give each row of logits its label."
        )


def check_index_labels(labels: Labels, shape: tuple[int, ...]) -> None:
    """Raise InputError unless ``labels`` (batch,) are integers from 0 to classes - 1, for shape (batch, classes)."""
    batch, classes = shape
    if labels.shape[0] != batch or dtype_name(labels.dtype) not in INTEGERS:
        raise InputError(
            f"Class indices are integers, one for each of {batch} rows; received {labels.dtype} of shape "
            f"{tuple(labels.shape)}. Encode labels as integers from 0 to {classes - 1}, or one-hot."
        )
    if batch and not all_within(labels, classes):
        xp = namespace(labels)
        least, most = int(xp.min(labels)), int(xp.max(labels))
        raise InputError(
            f"Class indices lie between 0 and {classes - 1}; received values from {least} to {most}. "
            "Encode labels without gaps, or widen the last layer."
        )
