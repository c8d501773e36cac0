"""Rows of a matrix in a given order, which make up a minibatch."""

from xpnet.ops.namespace import Array, namespace


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
