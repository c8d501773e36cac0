"""Members: k networks in one, which share weights and differ by what they scale and by their heads.

Arrays of all members have the members first: (members, batch, units).
"""

from xpnet.ops.namespace import Array, namespace


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
    Y. Wen, D. Tran, J. Ba, BatchEnsemble, ICLR 2020; Y. Gorishniy, A. Kotelnikov, A. Babenko, TabM, ICLR 2025.

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
    """Compute the gradient of a loss by the two inputs of `member_scale`.

    Parameters
    ----------
    d_out : array, shape (members, batch, units)
        The gradient of the loss by the output.
    x : array, shape (members, batch, units) or (batch, units)
        What was scaled.
    scale : array, shape (members, units)
        The factors.

    Returns
    -------
    d_x : array, shape of x
        The gradient by what was scaled, ``d_out * scale``, summed over the members where they have one batch.
    d_scale : array, shape (members, units)
        The gradient by the factors, the sum over the batch of ``d_out * x``.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> d_out, x, scale = numpy.ones((2, 1, 2)), numpy.array([[3.0, 4.0]]), numpy.array([[1.0, 2.0], [0.5, 0.0]])
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
    if x.ndim == 3 and weight.ndim == 2:  # rows of all members go through the shared weight in one product
        return namespace(x).reshape(_rows(x) @ weight, (*x.shape[:2], weight.shape[1]))
    return x @ weight


def member_product_backward(d_out: Array, x: Array, weight: Array) -> tuple[Array, Array]:
    """Compute the gradient of a loss by the two inputs of `member_product`.

    Parameters
    ----------
    d_out : array, shape of the output
        The gradient of the loss by the output.
    x : array, shape (members, batch, in) or (batch, in)
        The inputs.
    weight : array, shape (in, out) or (members, in, out)
        The weight.

    Returns
    -------
    d_x : array, shape of x
        The gradient by the inputs, ``d_out @ weight.T``, summed over the members where they have one batch.
    d_weight : array, shape of the weight
        The gradient by the weight, ``x.T @ d_out``, summed over the members where they share it.

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
    """The gradient by an array of so many dimensions: with two it was given to all members."""
    return namespace(gradient).sum(gradient, axis=0) if gradient.ndim > dimensions else gradient
