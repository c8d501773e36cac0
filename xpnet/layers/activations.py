"""The activations as layers, element by element; ``xpnet.ops`` documents their formulas."""

from xpnet import ops
from xpnet.backend import Backend
from xpnet.errors import InputError, did_you_mean
from xpnet.layers.layer import Layer, check_same_shape
from xpnet.ops import ActivationName, Array, namespace


class Activation(Layer):
    """An activation as a layer, ``out = f(inputs)``.

    Parameters
    ----------
    activation : str, a name in `xpnet.ops.ACTIVATIONS`
        The function, such as ``"tanh"``, ``"elu"`` or ``"gelu"``. The operation of that name in
        ``xpnet.ops`` documents its formula.
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    Raises
    ------
    InputError
        For an unknown name.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import Activation
    >>> layer = Activation("tanh")
    >>> layer.forward(numpy.array([[-1.0, 0.0, 2.0]])).round(4)
    array([[-0.7616,  0.    ,  0.964 ]])
    >>> layer.backward(numpy.ones((1, 3))).round(4)
    array([[0.42  , 1.    , 0.0707]])
    """

    def __init__(self, activation: ActivationName, *, backend: str | Backend | None = None) -> None:
        super().__init__(backend=backend)
        if activation not in ops.ACTIVATIONS:
            raise InputError(
                f"`activation` must be one of {', '.join(ops.ACTIVATIONS)}; got {activation!r}. "
                f"{did_you_mean(activation, ops.ACTIVATIONS)}".rstrip()
            )
        self.activation = activation

    def forward(self, inputs: Array) -> Array:
        """Compute the activation of each input.

        Parameters
        ----------
        inputs : array, any shape
            The inputs.

        Returns
        -------
        array, shape of the inputs
            The outputs.
        """
        operations, inputs = self._coerce(inputs)
        out, kept = ops.ACTIVATIONS[self.activation].over(operations).forward(inputs)
        # The output belongs to the caller, who may change it before the backward pass.
        self.cache: Array = namespace(out).astype(out, out.dtype) if kept is out else kept
        return out

    def backward(self, d_out: Array) -> Array:
        """Compute the gradient with respect to the inputs, ``d_inputs = d_out * f'(inputs)``.

        Parameters
        ----------
        d_out : array, shape of the output
            The gradient of the loss with respect to the output.

        Returns
        -------
        array, shape of the inputs
            The gradient of the loss with respect to the inputs.

        Raises
        ------
        InputError
            Before a forward pass, or when ``d_out`` has another shape than the output.
        """
        operations = self._recall()
        kept = self.cache
        check_same_shape("d_out", d_out, kept.shape)
        return ops.ACTIVATIONS[self.activation].over(operations).backward(d_out, kept)


class ReLU(Activation):
    """The rectified linear unit, ``out = max(0, inputs)``; see `xpnet.ops.relu`.

    Parameters
    ----------
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> layer = xpnet.ReLU()
    >>> layer.forward(numpy.array([[-1.0, 0.5, 2.0]]))
    array([[0. , 0.5, 2. ]])
    >>> layer.backward(numpy.ones((1, 3)))
    array([[0., 1., 1.]])
    """

    def __init__(self, *, backend: str | Backend | None = None) -> None:
        super().__init__("relu", backend=backend)
