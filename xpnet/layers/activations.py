"""The activations, element by element: a layer for each in ``xpnet.ops.ACTIVATIONS``."""

from xpnet.layers.layer import Layer, check_same_shape
from xpnet.ops import ActivationName, Array

__all__ = ["ACTIVATIONS", "Identity", "Logistic", "ReLU", "Softplus", "Tanh"]


class ReLU(Layer):
    """The rectified linear unit, ``out = max(0, inputs)``.

    Parameters
    ----------
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    References
    ----------
    X. Glorot, A. Bordes, Y. Bengio, Deep Sparse Rectifier Neural Networks, 2011.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import ReLU
    >>> layer = ReLU()
    >>> layer.forward(numpy.array([[-1.0, 0.0, 2.0]]))
    array([[0., 0., 2.]])
    >>> layer.backward(numpy.ones((1, 3)))
    array([[0., 0., 1.]])
    """

    def forward(self, inputs: Array) -> Array:
        """Take the larger of 0 and each input; NaN stays NaN.

        Parameters
        ----------
        inputs : array, any shape
            The inputs.

        Returns
        -------
        array, shape of the inputs
            The outputs, ``max(0, inputs)``.
        """
        ops, inputs = self._enter(inputs)
        self.cache = inputs
        return ops.relu(inputs)

    def backward(self, d_out: Array) -> Array:
        """Compute the gradient by the inputs: ``d_inputs = d_out`` where ``inputs > 0``, else 0.

        Parameters
        ----------
        d_out : array, shape of the output
            The gradient of the loss by the output.

        Returns
        -------
        array, shape of the inputs
            The gradient of the loss by the inputs; where an input is NaN, ``d_out`` passes.

        Raises
        ------
        InputError
            Before a forward pass, or when ``d_out`` has another shape than the output.
        """
        ops, inputs = self._recall()
        check_same_shape("d_out", d_out, inputs.shape)
        return ops.relu_backward(d_out, inputs)


class Tanh(Layer):
    """The hyperbolic tangent, ``out = tanh(inputs)``.

    Parameters
    ----------
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import Tanh
    >>> layer = Tanh()
    >>> layer.forward(numpy.array([[-1.0, 0.0, 2.0]])).round(4)
    array([[-0.7616,  0.    ,  0.964 ]])
    >>> layer.backward(numpy.ones((1, 3))).round(4)
    array([[0.42  , 1.    , 0.0707]])
    """

    def forward(self, inputs: Array) -> Array:
        """Compute the hyperbolic tangent of each input.

        Parameters
        ----------
        inputs : array, any shape
            The inputs.

        Returns
        -------
        array, shape of the inputs
            The outputs, between -1 and 1.
        """
        ops, inputs = self._enter(inputs)
        self.cache = ops.tanh(inputs)
        return self.cache

    def backward(self, d_out: Array) -> Array:
        """Compute the gradient by the inputs: ``d_inputs = d_out * (1 - out**2)``.

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
        ops, out = self._recall()
        check_same_shape("d_out", d_out, out.shape)
        return ops.tanh_backward(d_out, out)


class Logistic(Layer):
    """The logistic function, ``out = 1 / (1 + exp(-inputs))``.

    Parameters
    ----------
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import Logistic
    >>> layer = Logistic()
    >>> layer.forward(numpy.array([[-1.0, 0.0, 2.0]])).round(4)
    array([[0.2689, 0.5   , 0.8808]])
    >>> layer.backward(numpy.ones((1, 3))).round(4)
    array([[0.1966, 0.25  , 0.105 ]])
    """

    def forward(self, inputs: Array) -> Array:
        """Compute the logistic function of each input.

        Parameters
        ----------
        inputs : array, any shape
            The inputs.

        Returns
        -------
        array, shape of the inputs
            The outputs, between 0 and 1.
        """
        ops, inputs = self._enter(inputs)
        self.cache = ops.logistic(inputs)
        return self.cache

    def backward(self, d_out: Array) -> Array:
        """Compute the gradient by the inputs: ``d_inputs = d_out * out * (1 - out)``.

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
        ops, out = self._recall()
        check_same_shape("d_out", d_out, out.shape)
        return ops.logistic_backward(d_out, out)


class Softplus(Layer):
    """Softplus, ``out = log(1 + exp(inputs))``, a smooth ReLU.

    Parameters
    ----------
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import Softplus
    >>> layer = Softplus()
    >>> layer.forward(numpy.array([[-1.0, 0.0, 2.0]])).round(4)
    array([[0.3133, 0.6931, 2.1269]])
    >>> layer.backward(numpy.ones((1, 3))).round(4)
    array([[0.2689, 0.5   , 0.8808]])
    """

    def forward(self, inputs: Array) -> Array:
        """Compute the softplus function of each input.

        Parameters
        ----------
        inputs : array, any shape
            The inputs.

        Returns
        -------
        array, shape of the inputs
            The outputs, not negative.
        """
        ops, inputs = self._enter(inputs)
        self.cache = ops.softplus(inputs)
        return self.cache

    def backward(self, d_out: Array) -> Array:
        """Compute the gradient by the inputs: ``d_inputs = d_out * (1 - exp(-out))``.

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
        ops, out = self._recall()
        check_same_shape("d_out", d_out, out.shape)
        return ops.softplus_backward(d_out, out)


class Identity(Layer):
    """The identity, ``out = inputs``, for a layer without activation.

    Parameters
    ----------
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import Identity
    >>> layer = Identity()
    >>> layer.forward(numpy.array([[-1.0, 0.0, 2.0]]))
    array([[-1.,  0.,  2.]])
    >>> layer.backward(numpy.ones((1, 3)))
    array([[1., 1., 1.]])
    """

    def forward(self, inputs: Array) -> Array:
        """Return the inputs.

        Parameters
        ----------
        inputs : array, any shape
            The inputs.

        Returns
        -------
        array, shape of the inputs
            The inputs themselves.
        """
        _, inputs = self._enter(inputs)
        self.cache = inputs.shape
        return inputs

    def backward(self, d_out: Array) -> Array:
        """Return the gradient by the output, which is also that by the inputs.

        Parameters
        ----------
        d_out : array, shape of the output
            The gradient of the loss by the output.

        Returns
        -------
        array, shape of the inputs
            The gradient of the loss by the inputs: ``d_out`` itself.

        Raises
        ------
        InputError
            Before a forward pass, or when ``d_out`` has another shape than the output.
        """
        _, shape = self._recall()
        check_same_shape("d_out", d_out, shape)
        return d_out


ACTIVATIONS: dict[ActivationName, type[ReLU | Tanh | Logistic | Softplus | Identity]] = {
    "relu": ReLU,
    "tanh": Tanh,
    "logistic": Logistic,
    "softplus": Softplus,
    "identity": Identity,
}
