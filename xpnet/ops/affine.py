"""The affine map, x W + b, and its gradient."""

from xpnet.ops.namespace import Array, namespace


def affine(x: Array, weight: Array, bias: Array) -> Array:
    """Compute the affine map of each row, ``x @ weight + bias``.

    Parameters
    ----------
    x : array, shape (batch, in)
        The inputs.
    weight : array, shape (in, out)
        The weights.
    bias : array, shape (out,)
        The biases.

    Returns
    -------
    array, shape (batch, out)
        The outputs.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.affine(numpy.array([[1.0, 1.0]]), numpy.array([[1.0, 2.0], [3.0, 4.0]]), numpy.array([0.5, -0.5]))
    array([[4.5, 5.5]])
    """
    return x @ weight + bias


def affine_backward(d_out: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Compute the gradient of a loss by the three inputs of `affine`.

    Parameters
    ----------
    d_out : array, shape (batch, out)
        The gradient of the loss by the output.
    x : array, shape (batch, in)
        The inputs.
    weight : array, shape (in, out)
        The weights.

    Returns
    -------
    d_x : array, shape (batch, in)
        The gradient by the inputs, ``d_out @ weight.T``.
    d_weight : array, shape (in, out)
        The gradient by the weights, ``x.T @ d_out``.
    d_bias : array, shape (out,)
        The gradient by the biases, the sum of the rows of ``d_out``.

    References
    ----------
    I. Goodfellow, Y. Bengio, A. Courville, Deep Learning, 2016, section 6.5.6.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> x, weight = numpy.array([[1.0, 1.0]]), numpy.array([[1.0, 2.0], [3.0, 4.0]])
    >>> d_x, d_weight, d_bias = ops.affine_backward(numpy.array([[1.0, 0.0]]), x, weight)
    >>> d_x
    array([[1., 3.]])
    """
    xp = namespace(x)
    return d_out @ weight.T, x.T @ d_out, xp.sum(d_out, axis=0)
