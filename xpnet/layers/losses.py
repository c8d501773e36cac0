"""The losses of independent binary outputs, of regression and of counts."""

from xpnet.errors import InputError
from xpnet.layers.cross_entropy import CategoricalCrossEntropy
from xpnet.layers.layer import Layer
from xpnet.ops import Array


class ElementwiseLoss(Layer):
    """A loss that compares outputs and targets item by item, by an operation of ``xpnet.ops`` that subclasses name.

    Parameters
    ----------
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import LOSSES
    >>> layer = LOSSES["squared_error"]()
    >>> round(layer.forward(numpy.array([[0.0, 1.0]]), numpy.array([[1.0, 1.0]])), 4)
    0.5
    >>> layer.backward()[0].round(4)
    array([[-1.,  0.]])
    """

    operation: str
    no_gradient = ("targets", "sample_weight")

    def forward(self, outputs: Array, targets: Array, sample_weight: Array | None = None) -> float:
        """Compute the loss: summed over the outputs of a row, then averaged over the rows.

        Parameters
        ----------
        outputs : array, shape (batch, out)
            The outputs of the last affine layer.
        targets : array, shape (batch, out)
            The targets.
        sample_weight : array, shape (batch,), optional
            Weights of the rows in the mean; None for equal weights.

        Returns
        -------
        float
            The loss.

        Raises
        ------
        InputError
            When the shapes differ.
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
        """Compute the gradient by the outputs.

        Parameters
        ----------
        d_out : float, default 1.0
            The gradient by the loss; 1 where nothing is computed from the loss.

        Returns
        -------
        d_outputs : array, shape (batch, out)
            The gradient by the outputs; its formula stands at the operation in ``xpnet.ops``.
        d_targets : None
            Targets are not trained.

        Raises
        ------
        InputError
            Before a forward pass.
        """
        _, d_outputs = self._recall()
        return d_out * d_outputs, None


class LogisticCrossEntropy(ElementwiseLoss):
    """Binary cross-entropy of independent logits z; see `xpnet.ops.logistic_cross_entropy`."""

    operation = "logistic_cross_entropy"


class SquaredError(ElementwiseLoss):
    """Half the mean squared error; see `xpnet.ops.squared_error`."""

    operation = "squared_error"


class Poisson(ElementwiseLoss):
    """Half the Poisson deviance of the prediction exp(o); see `xpnet.ops.poisson`."""

    operation = "poisson"


LOSSES: dict[str, type[CategoricalCrossEntropy | ElementwiseLoss]] = {
    "softmax_cross_entropy": CategoricalCrossEntropy,
    "logistic_cross_entropy": LogisticCrossEntropy,
    "squared_error": SquaredError,
    "poisson": Poisson,
}
