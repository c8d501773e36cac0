"""Operations on the rows of a matrix: their affine map, some of them in a given order, their softmax."""

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


def gather(x: Array, order: object) -> Array:
    """Copy some rows of an array, in a given order.

    Parameters
    ----------
    x : array, shape (rows, ...)
        The array.
    order : array of int, shape (batch,)
        Indices of the rows, each within [0, rows).

    Returns
    -------
    array, shape (batch, ...)
        The rows.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.gather(numpy.array([[1.0], [2.0], [3.0]]), numpy.array([2, 0]))
    array([[3.],
           [1.]])
    """
    return namespace(x).take(x, order, axis=0)


def softmax(x: Array, axis: int = -1) -> Array:
    """Compute the softmax along an axis, ``exp(x - max x) / sum exp(x - max x)``.

    Parameters
    ----------
    x : array, any shape with at least one axis
        The logits.
    axis : int, default -1
        The axis along which the sum is taken.

    Returns
    -------
    array, shape of x
        Probabilities, which sum to 1 along the axis.

    Notes
    -----
    The shift by the maximum cancels, and keeps exp from overflowing.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.softmax(numpy.array([0.0, 0.0, 1000.0]))
    array([0., 0., 1.])
    """
    xp = namespace(x)
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return e / xp.sum(e, axis=axis, keepdims=True)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """Compute the logarithm of the softmax along an axis, ``(x - max x) - log sum exp(x - max x)``.

    Parameters
    ----------
    x : array, any shape with at least one axis
        The logits.
    axis : int, default -1
        The axis along which the sum is taken.

    Returns
    -------
    array, shape of x
        Logarithms of the probabilities.

    Notes
    -----
    No probability is rounded to 0 before its logarithm is taken.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.log_softmax(numpy.array([0.0, 0.0, 1000.0]))
    array([-1000., -1000.,     0.])
    """
    xp = namespace(x)
    shifted = x - xp.max(x, axis=axis, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))
