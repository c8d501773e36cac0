"""Operations on the rows of a matrix: affine map, gather, softmax.

The operations for members are at the end. Members are k networks that share weights and have scales
and last layers of their own. Arrays of all members have the members first: (members, batch, units).
"""

from collections.abc import Sequence
from itertools import pairwise

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
    >>> weight, bias = numpy.array([[1.0, 2.0], [3.0, 4.0]]), numpy.array([0.5, -0.5])
    >>> ops.affine(numpy.array([[1.0, 1.0]]), weight, bias)
    array([[4.5, 5.5]])
    """
    return x @ weight + bias


def affine_backward(d_out: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Compute the gradient of a loss with respect to the three inputs of `affine`.

    Parameters
    ----------
    d_out : array, shape (batch, out)
        The gradient of the loss with respect to the output.
    x : array, shape (batch, in)
        The inputs.
    weight : array, shape (in, out)
        The weights.

    Returns
    -------
    d_x : array, shape (batch, in)
        The gradient with respect to the inputs, ``d_out @ weight.T``.
    d_weight : array, shape (in, out)
        The gradient with respect to the weights, ``x.T @ d_out``.
    d_bias : array, shape (out,)
        The gradient with respect to the biases, the sum of the rows of ``d_out``.

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


def gather(x: Array, order: Array) -> Array:
    """Copy rows of an array, in the order of their indices.

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
    The shift by the maximum cancels; with it exp cannot overflow.

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


def multi_softmax(x: Array, *, target: float | Sequence[float] = 0.0) -> Array:
    """Compute the probabilities of several targets' classes, a softmax over the logits of each.

    Parameters
    ----------
    x : array, shape (..., outputs)
        The logits of the classes of all targets, one target behind the other.
    target : float or sequence of float, default 0.0
        The number of the target that each output belongs to; outputs side by side with one number
        are one target's.

    Returns
    -------
    array, shape of x
        Probabilities, which add up to 1 for each target.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.multi_softmax(numpy.zeros((1, 5)), target=[0, 0, 1, 1, 1]).round(2)
    array([[0.5 , 0.5 , 0.33, 0.33, 0.33]])
    """
    return namespace(x).concat(
        [softmax(x[..., columns]) for columns in targets_of(target, x.shape[-1])], axis=-1
    )


def targets_of(target: float | Sequence[float], outputs: int) -> list[slice]:
    """Return the outputs of each target as a slice.

    target : the number of the target that each output belongs to, or one number for all outputs
    """
    numbers = target if isinstance(target, Sequence) else (target,) * outputs
    ends = [k for k in range(1, outputs) if numbers[k] != numbers[k - 1]]
    return [slice(start, end) for start, end in pairwise([0, *ends, outputs])]


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


def member_scale(x: Array, scale: Array) -> Array:
    """Scale the units of each member by numbers of its own, ``x * scale``.

    Parameters
    ----------
    x : array, shape (members, batch, units) or (batch, units)
        The numbers of each member, or one batch for all members.
    scale : array, shape (members, units)
        The factors of each member.

    Returns
    -------
    array, shape (members, batch, units)
        The scaled numbers.

    References
    ----------
    Y. Wen, D. Tran, J. Ba, BatchEnsemble, ICLR 2020; Y. Gorishniy, A. Kotelnikov, A. Babenko, TabM,
    ICLR 2025.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.member_scale(numpy.array([[1.0, 2.0]]), numpy.array([[1.0, 1.0], [-1.0, 0.5]]))
    array([[[ 1.,  2.]],
    <BLANKLINE>
           [[-1.,  1.]]])
    """
    return x * scale[:, None, :]


def member_scale_backward(d_out: Array, x: Array, scale: Array) -> tuple[Array, Array]:
    """Compute the gradient of a loss with respect to the two inputs of `member_scale`.

    Parameters
    ----------
    d_out : array, shape (members, batch, units)
        The gradient of the loss with respect to the output.
    x : array, shape (members, batch, units) or (batch, units)
        The numbers that were scaled.
    scale : array, shape (members, units)
        The factors.

    Returns
    -------
    d_x : array, shape of x
        The gradient with respect to x, ``d_out * scale``, summed over the members if they have one
        batch.
    d_scale : array, shape (members, units)
        The gradient with respect to the factors, the sum over the batch of ``d_out * x``.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> x, scale = numpy.array([[3.0, 4.0]]), numpy.array([[1.0, 2.0], [0.5, 0.0]])
    >>> d_out = numpy.ones((2, 1, 2))
    >>> d_x, d_scale = ops.member_scale_backward(d_out, x, scale)
    >>> d_scale
    array([[3., 4.],
           [3., 4.]])
    """
    d_x = _sum_over_members(d_out * scale[:, None, :], x.ndim)
    return d_x, namespace(d_out).sum(d_out * x, axis=1)


def member_product(x: Array, weight: Array) -> Array:
    """Compute ``x @ weight`` for each member, with one weight for all members or one for each.

    Parameters
    ----------
    x : array, shape (members, batch, in) or (batch, in)
        The inputs of each member, or one batch for all members.
    weight : array, shape (in, out) or (members, in, out)
        The weight that all members share, or one for each.

    Returns
    -------
    array, shape (members, batch, out)
        The products; of shape (batch, out) where neither argument has members.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.member_product(numpy.array([[[1.0]], [[2.0]]]), numpy.array([[3.0]]))
    array([[[3.]],
    <BLANKLINE>
           [[6.]]])
    """
    if x.ndim == 3 and weight.ndim == 2:
        # One product multiplies the rows of all members by the shared weight.
        return namespace(x).reshape(_rows(x) @ weight, (*x.shape[:2], weight.shape[1]))
    return x @ weight


def member_product_backward(d_out: Array, x: Array, weight: Array) -> tuple[Array, Array]:
    """Compute the gradient of a loss with respect to the two inputs of `member_product`.

    Parameters
    ----------
    d_out : array, shape of the output
        The gradient of the loss with respect to the output.
    x : array, shape (members, batch, in) or (batch, in)
        The inputs.
    weight : array, shape (in, out) or (members, in, out)
        The weight.

    Returns
    -------
    d_x : array, shape of x
        The gradient with respect to the inputs, ``d_out @ weight.T``, summed over the members where
        they have one batch.
    d_weight : array, shape of the weight
        The gradient with respect to the weight, ``x.T @ d_out``, summed over the members where they
        share it.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> x, weight = numpy.array([[[1.0]], [[2.0]]]), numpy.array([[3.0]])
    >>> d_x, d_weight = ops.member_product_backward(numpy.ones((2, 1, 1)), x, weight)
    >>> d_weight
    array([[3.]])
    """
    xp = namespace(d_out)
    if x.ndim == 3 and weight.ndim == 2:
        return xp.reshape(_rows(d_out) @ weight.T, x.shape), _rows(x).T @ _rows(d_out)
    d_x = d_out @ xp.matrix_transpose(weight)
    return _sum_over_members(d_x, x.ndim), xp.matrix_transpose(x) @ d_out


def _rows(x: Array) -> Array:
    """Return the rows of all members, one member behind the other."""
    return namespace(x).reshape(x, (x.shape[0] * x.shape[1], x.shape[2]))


def _sum_over_members(gradient: Array, dimensions: int) -> Array:
    """Sum the gradient over the members if the array itself has no dimension for members."""
    return namespace(gradient).sum(gradient, axis=0) if gradient.ndim > dimensions else gradient
