"""The losses: cross-entropy of classes and of independent binary outputs, errors and deviances of numbers."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from xpnet.backend import Backend, all_within, dtype_name
from xpnet.errors import InputError
from xpnet.layers.layer import Layer
from xpnet.ops import Array, Labels, namespace

INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))


class CategoricalCrossEntropy(Layer):
    """Softmax and cross-entropy, ``loss = -1/N sum_ik labels_ik log softmax(logits)_ik``.

    Parameters
    ----------
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    See Also
    --------
    xpnet.ops.softmax_cross_entropy : The formulas, and their source.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import CategoricalCrossEntropy
    >>> layer = CategoricalCrossEntropy()
    >>> round(layer.forward(numpy.zeros((1, 2)), numpy.array([0])), 4)
    0.6931
    >>> d_logits, _ = layer.backward()
    >>> d_logits
    array([[-0.5,  0.5]])
    """

    no_gradient = ("labels", "sample_weight")

    def forward(self, logits: Array, labels: Labels, sample_weight: Array | None = None) -> float:
        """Compute the mean cross-entropy of a batch.

        Parameters
        ----------
        logits : array, shape (batch, classes)
            The outputs of the last affine layer.
        labels : array, shape (batch, classes) or (batch,)
            One-hot or soft labels, or class indices: integers from 0 to ``classes - 1``.
        sample_weight : array, shape (batch,), optional
            Weights of the rows in the mean; None for equal weights.

        Returns
        -------
        float
            The loss.

        Raises
        ------
        InputError
            For shapes that do not fit, and for class indices outside the classes.
        """
        weights = [] if sample_weight is None else [sample_weight]
        ops, logits, labels, *weights = self._coerce(logits, labels, *weights)
        check_labels(logits, labels)
        loss, self.cache = ops.softmax_cross_entropy(logits, labels, *weights)
        return float(loss)

    def backward(self, d_out: float = 1.0) -> tuple[Array, None]:
        """Compute the gradient by the logits.

        Parameters
        ----------
        d_out : float, default 1.0
            The gradient by the loss; 1 where nothing is computed from the loss.

        Returns
        -------
        d_logits : array, shape (batch, classes)
            The gradient by the logits, ``d_out * (s * softmax(logits) - labels) / batch``. The factor ``s`` is the sum
            of the labels of a row: 1 for class indices, one-hot labels and probabilities.
        d_labels : None
            Labels are not trained.

        Raises
        ------
        InputError
            Before a forward pass.
        """
        _, d_logits = self._recall()
        return d_out * d_logits, None


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
    numbers: Mapping[str, Any] = MappingProxyType({})
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
        ops, outputs, targets, *weights = self._coerce(outputs, targets, *weights)
        if outputs.ndim != 2 or tuple(outputs.shape) != tuple(targets.shape):
            raise InputError(
                f"Outputs and targets are matrices of one shape (batch, out); received {tuple(outputs.shape)} and "
                f"{tuple(targets.shape)}. Reshape the targets."
            )
        loss, self.cache = getattr(ops, self.operation)(outputs, targets, *weights, **self.numbers)
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


class AbsoluteError(ElementwiseLoss):
    """The mean absolute error, which is least at the median; see `xpnet.ops.absolute_error`."""

    operation = "absolute_error"


class Gamma(ElementwiseLoss):
    """Half the gamma deviance of the prediction exp(o); see `xpnet.ops.gamma`."""

    operation = "gamma"


class Huber(ElementwiseLoss):
    """Huber's loss: half the squared error up to ``delta``, and from there on a line; see `xpnet.ops.huber`.

    Parameters
    ----------
    delta : float or sequence of float, default 1.0
        The error at which the line begins; one, or one for each output.
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import Huber
    >>> Huber(delta=2.0).forward(numpy.array([[0.0, 1.0]]), numpy.array([[5.0, 2.0]]))
    8.5
    """

    operation = "huber"

    def __init__(self, delta: float | Sequence[float] = 1.0, *, backend: str | Backend | None = None) -> None:
        super().__init__(backend=backend)
        self.numbers = {"delta": delta}


class Quantile(ElementwiseLoss):
    """The pinball loss, which is least at quantiles of the targets; see `xpnet.ops.quantile`.

    Parameters
    ----------
    quantile : float or sequence of float, default 0.5
        The levels, between 0 and 1; one, or one for each output.
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import Quantile
    >>> Quantile([0.25, 0.75]).forward(numpy.array([[0.0, 0.0]]), numpy.array([[4.0, 4.0]]))
    4.0
    """

    operation = "quantile"

    def __init__(self, quantile: float | Sequence[float] = 0.5, *, backend: str | Backend | None = None) -> None:
        super().__init__(backend=backend)
        self.numbers = {"quantile": quantile}


class Tweedie(ElementwiseLoss):
    """Half the Tweedie deviance of the prediction exp(o); see `xpnet.ops.tweedie`.

    Parameters
    ----------
    power : float or sequence of float, default 1.5
        The power of the mean that the variance grows with, between 1 and 2; one, or one for each output.
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import Tweedie
    >>> Tweedie(1.5).forward(numpy.array([[0.0]]), numpy.array([[4.0]]))
    2.0
    """

    operation = "tweedie"

    def __init__(self, power: float | Sequence[float] = 1.5, *, backend: str | Backend | None = None) -> None:
        super().__init__(backend=backend)
        self.numbers = {"power": power}


LOSSES: dict[str, type[CategoricalCrossEntropy | ElementwiseLoss]] = {
    "softmax_cross_entropy": CategoricalCrossEntropy,
    "logistic_cross_entropy": LogisticCrossEntropy,
    "squared_error": SquaredError,
    "poisson": Poisson,
    "absolute_error": AbsoluteError,
    "huber": Huber,
    "quantile": Quantile,
    "gamma": Gamma,
    "tweedie": Tweedie,
}


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
