"""The losses as layers: cross-entropies of labels, errors and deviances of numbers."""

from collections.abc import Sequence

from xpnet.backend import Backend, all_within, dtype_name
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.errors import InputError, did_you_mean
from xpnet.layers.layer import Layer
from xpnet.ops import Array, Labels, namespace

INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
"""Names of the dtypes that class indices may have."""


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

    no_gradient: tuple[str, ...] = ("labels", "sample_weight")

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
        ops, logits, labels, sample_weight = self._coerce(logits, labels, sample_weight)
        check_labels(logits, labels)
        loss, gradient = ops.softmax_cross_entropy(logits, labels, sample_weight)
        self.cache: Array = gradient
        return float(loss)

    def backward(self, d_out: float = 1.0) -> tuple[Array, None]:
        """Compute the gradient with respect to the logits.

        Parameters
        ----------
        d_out : float, default 1.0
            The gradient of a result with respect to the loss; 1 if the loss is the result.

        Returns
        -------
        d_logits : array, shape (batch, classes)
            The gradient with respect to the logits, ``d_out * (s * softmax(logits) - labels) /
            batch``. The factor ``s`` is the sum of the labels of a row: 1 for class indices,
            one-hot labels and probabilities.
        d_labels : None
            Labels are not trained.

        Raises
        ------
        InputError
            Before a forward pass.
        """
        self._recall()
        return d_out * self.cache, None


class ElementwiseLoss(Layer):
    """A loss that compares outputs and targets item by item.

    Parameters
    ----------
    loss : str
        The loss by its name in ``xpnet.ops``, which documents its formula:
        ``"logistic_cross_entropy"``, ``"multi_softmax_cross_entropy"``,
        ``"ordered_cross_entropy"``, ``"squared_error"``, ``"absolute_error"``, ``"huber"``,
        ``"quantile"``, ``"poisson"``, ``"gamma"`` or ``"tweedie"``.
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.
    **numbers : float or sequence of float
        The ``delta`` of Huber's loss, the ``quantile``, the ``power`` of Tweedie's deviance, or the
        ``target`` that an output belongs to: one number, or one for each output.

    Raises
    ------
    InputError
        For an unknown name.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import ElementwiseLoss
    >>> layer = ElementwiseLoss("squared_error")
    >>> layer.forward(numpy.array([[0.0, 1.0]]), numpy.array([[1.0, 1.0]]))
    0.5
    >>> layer.backward()[0]
    array([[-1.,  0.]])
    >>> layer = ElementwiseLoss("huber", delta=2.0)
    >>> layer.forward(numpy.array([[0.0, 1.0]]), numpy.array([[5.0, 2.0]]))
    8.5
    """

    no_gradient: tuple[str, ...] = ("targets", "sample_weight")

    def __init__(
        self, loss: str, *, backend: str | Backend | None = None, **numbers: float | Sequence[float]
    ) -> None:
        super().__init__(backend=backend)
        losses = [name for name in OUTPUT_ACTIVATIONS if name != "softmax_cross_entropy"]
        if loss not in losses:
            raise InputError(
                f"`loss` must be one of {', '.join(losses)}; got {loss!r}. "
                f"{did_you_mean(loss, losses)}".rstrip()
            )
        self.loss: str = loss
        self.numbers: dict[str, float | Sequence[float]] = numbers

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
        ops, outputs, targets, sample_weight = self._coerce(outputs, targets, sample_weight)
        if outputs.ndim != 2 or tuple(outputs.shape) != tuple(targets.shape):
            raise InputError(
                "`outputs` and `targets` must be matrices of one shape (batch, out); got "
                f"{tuple(outputs.shape)} and {tuple(targets.shape)}. Reshape the targets."
            )
        function = getattr(ops, self.loss)
        loss, gradient = function(outputs, targets, sample_weight, **self.numbers)
        self.cache: Array = gradient
        return float(loss)

    def backward(self, d_out: float = 1.0) -> tuple[Array, None]:
        """Compute the gradient with respect to the outputs.

        Parameters
        ----------
        d_out : float, default 1.0
            The gradient of a result with respect to the loss; 1 if the loss is the result.

        Returns
        -------
        d_outputs : array, shape (batch, out)
            The gradient with respect to the outputs. The operation in ``xpnet.ops`` documents its
            formula.
        d_targets : None
            Targets are not trained.

        Raises
        ------
        InputError
            Before a forward pass.
        """
        self._recall()
        return d_out * self.cache, None


def check_labels(logits: Array, labels: Labels) -> None:
    """Raise InputError unless ``labels`` can be labels of ``logits`` (batch, classes)."""
    if logits.ndim != 2:
        raise InputError(
            "`logits` must be a matrix (batch, classes); got shape "
            f"{tuple(logits.shape)}. Reshape them."
        )
    if labels.ndim == 1:
        check_index_labels(labels, tuple(logits.shape))
    elif tuple(labels.shape) != tuple(logits.shape):
        raise InputError(
            "`labels` must be class indices (batch,) or one row for each row of logits, "
            f"{tuple(logits.shape)}; got shape {tuple(labels.shape)}. Pass one label for each row."
        )


def check_index_labels(labels: Labels, shape: tuple[int, ...]) -> None:
    """Raise InputError unless ``labels`` are integers from 0 to classes - 1, one for each row.

    shape : (batch, classes), the shape of the logits
    """
    batch, classes = shape
    if labels.shape[0] != batch or dtype_name(labels.dtype) not in INTEGERS:
        raise InputError(
            f"Class indices must be integers, one for each of {batch} rows; got {labels.dtype} of "
            f"shape {tuple(labels.shape)}. Encode labels as integers from 0 to {classes - 1}, or "
            "one-hot."
        )
    if batch and not all_within(labels, classes):
        xp = namespace(labels)
        minimum, maximum = int(xp.min(labels)), int(xp.max(labels))
        raise InputError(
            f"Class indices must be between 0 and {classes - 1}; got values from {minimum} to "
            f"{maximum}. Encode labels without gaps, or widen the last layer."
        )
