"""The other losses: independent yes-no outputs, squared error, Poisson deviance."""

from xpnet.errors import InputError
from xpnet.layers.cross_entropy import CategoricalCrossEntropy
from xpnet.layers.layer import Layer
from xpnet.ops import Array


class ElementwiseLoss(Layer):
    """A loss that compares outputs and targets item by item; subclasses name their operation."""

    operation: str

    def forward(self, outputs: Array, targets: Array, sample_weight: Array | None = None) -> float:
        """The mean over rows of the loss summed over outputs.

        outputs, targets : (batch, out); sample_weight : (batch,), optional
        returns loss : float

        Raises InputError when the shapes differ.
        """
        weights = [] if sample_weight is None else [sample_weight]
        ops, outputs, targets, *weights = self._enter(outputs, targets, *weights)
        if outputs.ndim != 2 or tuple(outputs.shape) != tuple(targets.shape):
            raise InputError(
                f"Outputs and targets are matrices of one shape (batch, out); received {tuple(outputs.shape)} and "
                f"{tuple(targets.shape)}. Reshape the targets."
            )
        loss, self.cache = getattr(ops, self.operation)(outputs, targets, *weights)
        return float(loss)

    def backward(self, d_out: float = 1.0) -> tuple[Array, None]:
        """The gradient by the outputs, computed with the loss: see the operation in ``xpnet.ops.losses``.

        d_out : the gradient by the loss
        returns d_outputs (batch, out), and None for the targets, which are not trained
        """
        _, d_outputs = self._recall()
        return d_out * d_outputs, None


class LogisticCrossEntropy(ElementwiseLoss):
    """loss = 1/N sum_ik log(1 + exp(z)) - z y: independent yes-no outputs (Bishop, 2006, eq. 4.90)."""

    operation = "logistic_cross_entropy"


class SquaredError(ElementwiseLoss):
    """loss = 1/(2N) sum_ik (o - y)^2."""

    operation = "squared_error"


class Poisson(ElementwiseLoss):
    """loss = 1/N sum_ik exp(o) - y + y (log y - o): half the Poisson deviance of exp(o)."""

    operation = "poisson"


LOSSES: dict[str, type[CategoricalCrossEntropy | ElementwiseLoss]] = {
    "softmax_cross_entropy": CategoricalCrossEntropy,
    "logistic_cross_entropy": LogisticCrossEntropy,
    "squared_error": SquaredError,
    "poisson": Poisson,
}
