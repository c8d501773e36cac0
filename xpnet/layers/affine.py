"""The affine (fully connected) layer."""

from xpnet.errors import InputError
from xpnet.layers.layer import Layer, as_floats, check_same_shape
from xpnet.ops import Array


class Affine(Layer):
    """The affine (fully connected) layer, ``out = inputs @ weight + bias``.

    Parameters
    ----------
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    See Also
    --------
    xpnet.ops.affine_backward : The gradient, and its source.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.layers import Affine
    >>> layer = Affine()
    >>> weight, bias = numpy.array([[1.0, 2.0], [3.0, 4.0]]), numpy.array([0.5, -0.5])
    >>> layer.forward(numpy.array([[1.0, 1.0]]), weight, bias)
    array([[4.5, 5.5]])
    >>> d_inputs, d_weight, d_bias = layer.backward(numpy.array([[1.0, 0.0]]))
    >>> d_inputs
    array([[1., 3.]])
    """

    def forward(self, inputs: Array, weight: Array, bias: Array) -> Array:
        """Map each row of the inputs, ``out = inputs @ weight + bias``.

        Parameters
        ----------
        inputs : array, shape (batch, in)
            The inputs.
        weight : array, shape (in, out)
            The weights.
        bias : array, shape (out,)
            The biases.

        Returns
        -------
        array, shape (batch, out)
            The outputs. They are floating-point even if all three arguments hold whole numbers.

        Raises
        ------
        InputError
            When the shapes do not fit.
        MixedArraysError
            For arrays of two libraries.
        """
        ops, inputs, weight, bias = self._coerce(inputs, weight, bias)
        inputs, weight, bias = as_floats(ops.backend, inputs, weight, bias)
        check_affine_shapes(inputs, weight, bias, max_axes=2)
        self.cache: tuple[Array, Array] = inputs, weight
        out: Array = ops.affine(inputs, weight, bias)
        return out

    def backward(self, d_out: Array) -> tuple[Array, Array, Array]:
        """Compute the gradient with respect to each of the three inputs.

        Parameters
        ----------
        d_out : array, shape (batch, out)
            The gradient of the loss with respect to the output.

        Returns
        -------
        d_inputs : array, shape (batch, in)
            The gradient with respect to the inputs, ``d_out @ weight.T``.
        d_weight : array, shape (in, out)
            The gradient with respect to the weights, ``inputs.T @ d_out``.
        d_bias : array, shape (out,)
            The gradient with respect to the biases, the sum of the rows of ``d_out``.

        Raises
        ------
        InputError
            Before a forward pass, or when ``d_out`` has another shape than the output.
        """
        ops = self._recall()
        inputs, weight = self.cache
        check_same_shape("d_out", d_out, (inputs.shape[0], weight.shape[1]))
        gradients: tuple[Array, Array, Array] = ops.affine_backward(d_out, inputs, weight)
        return gradients


def check_affine_shapes(inputs: Array, weight: Array, bias: Array, *, max_axes: int) -> None:
    """Raise InputError unless the shapes fit.

    max_axes : maximum number of axes of inputs and of weight: 2, or 3 with members
    """
    axes_fit = (
        2 <= inputs.ndim <= max_axes and 2 <= weight.ndim <= max_axes and 1 <= bias.ndim < max_axes
    )
    if not axes_fit or inputs.shape[-1] != weight.shape[-2] or bias.shape[-1] != weight.shape[-1]:
        shapes = [tuple(array.shape) for array in (inputs, weight, bias)]
        raise InputError(
            "`inputs`, `weight` and `bias` must have shapes (batch, in), (in, out) and (out,), in "
            f"MemberAffine perhaps with members first; got {shapes[0]}, {shapes[1]} and "
            f"{shapes[2]}. Check the sizes, or transpose the weight."
        )
