"""Dropout."""

from xpnet.layers.layer import Layer, check_same_shape
from xpnet.ops import Array


class Dropout(Layer):
    """Dropout in its inverted form, ``out = inputs * keep / (1 - rate)``.

    Parameters
    ----------
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    References
    ----------
    N. Srivastava and others, Dropout: A Simple Way to Prevent Neural Networks from Overfitting,
    2014.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import Dropout
    >>> layer = Dropout()
    >>> layer.forward(numpy.array([[1.0, 2.0, 3.0]]), keep=numpy.array([[1.0, 0.0, 1.0]]), rate=0.5)
    array([[2., 0., 6.]])
    >>> layer.backward(numpy.ones((1, 3)))
    array([[2., 0., 2.]])
    """

    no_gradient: tuple[str, ...] = ("keep", "rate")

    def forward(self, inputs: Array, keep: Array, rate: float) -> Array:
        """Set the units where ``keep`` is 0 to 0, and scale the others.

        Parameters
        ----------
        inputs : array, any shape
            The inputs.
        keep : array, shape of the inputs
            The mask: 1 for a unit that is kept, 0 for one that is dropped.
        rate : float
            The probability, in [0, 1), with which a unit is dropped.

        Returns
        -------
        array, shape of the inputs
            The outputs.

        Raises
        ------
        InputError
            When the shapes differ.
        """
        _, inputs, keep = self._coerce(inputs, keep)
        check_same_shape("keep", keep, inputs.shape)
        scale = keep * (1 / (1 - rate))
        self.cache: Array = scale
        return inputs * scale

    def backward(self, d_out: Array) -> Array:
        """Compute the gradient with respect to the inputs, ``d_out * keep / (1 - rate)``.

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
        self._recall()
        scale = self.cache
        check_same_shape("d_out", d_out, scale.shape)
        return d_out * scale
