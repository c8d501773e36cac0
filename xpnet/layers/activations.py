"""The activations, element by element: a layer for each in ``xpnet.ops.ACTIVATIONS``, where formulas are documented."""

from xpnet import ops
from xpnet.layers.layer import Layer, check_same_shape
from xpnet.ops import ActivationName, Array, namespace

__all__ = [
    "ACTIVATIONS",
    "ELU",
    "GELU",
    "Activation",
    "GELUTanh",
    "Identity",
    "LeakyReLU",
    "Logistic",
    "ReLU",
    "SiLU",
    "Softplus",
    "Tanh",
]


class Activation(Layer):
    """An activation of ``xpnet.ops.ACTIVATIONS`` as a layer, ``out = f(inputs)``; each has a subclass of its own.

    Parameters
    ----------
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import ACTIVATIONS
    >>> layer = ACTIVATIONS["tanh"]()
    >>> layer.forward(numpy.array([[-1.0, 0.0, 2.0]])).round(4)
    array([[-0.7616,  0.    ,  0.964 ]])
    >>> layer.backward(numpy.ones((1, 3))).round(4)
    array([[0.42  , 1.    , 0.0707]])
    """

    activation: ActivationName

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
        self.cache = namespace(out).astype(out, out.dtype) if kept is out else kept
        return out

    def backward(self, d_out: Array) -> Array:
        """Compute the gradient by the inputs, ``d_inputs = d_out * f'(inputs)``.

        Parameters
        ----------
        d_out : array, shape of the output
            The gradient of the loss by the output.

        Returns
        -------
        array, shape of the inputs
            The gradient of the loss by the inputs.

        Raises
        ------
        InputError
            Before a forward pass, or when ``d_out`` has another shape than the output.
        """
        operations, kept = self._recall()
        check_same_shape("d_out", d_out, kept.shape)
        return ops.ACTIVATIONS[self.activation].over(operations).backward(d_out, kept)


class ReLU(Activation):
    """The rectified linear unit, ``out = max(0, inputs)``; see `xpnet.ops.relu`."""

    activation = "relu"


class Tanh(Activation):
    """The hyperbolic tangent, ``out = tanh(inputs)``; see `xpnet.ops.tanh`."""

    activation = "tanh"


class Logistic(Activation):
    """The logistic function, ``out = 1 / (1 + exp(-inputs))``; see `xpnet.ops.logistic`."""

    activation = "logistic"


class Softplus(Activation):
    """Softplus, ``out = log(1 + exp(inputs))``; see `xpnet.ops.softplus`."""

    activation = "softplus"


class LeakyReLU(Activation):
    """Leaky ReLU, ``out = max(inputs, 0.01 inputs)``; see `xpnet.ops.leaky_relu`."""

    activation = "leaky_relu"


class ELU(Activation):
    """The exponential linear unit, ``out = inputs`` above 0, else ``exp(inputs) - 1``; see `xpnet.ops.elu`."""

    activation = "elu"


class SiLU(Activation):
    """The sigmoid linear unit, ``out = inputs / (1 + exp(-inputs))``; see `xpnet.ops.silu`."""

    activation = "silu"


class GELU(Activation):
    """The Gaussian error linear unit, ``out = inputs Phi(inputs)``; see `xpnet.ops.gelu`."""

    activation = "gelu"


class GELUTanh(Activation):
    """The tanh form of the Gaussian error linear unit; see `xpnet.ops.gelu_tanh`."""

    activation = "gelu_tanh"


class Identity(Activation):
    """The identity, ``out = inputs``, for a layer without activation; see `xpnet.ops.identity`."""

    activation = "identity"


ACTIVATIONS: dict[ActivationName, type[Activation]] = {kind.activation: kind for kind in Activation.__subclasses__()}
