"""Rows of a matrix in a given order: how a minibatch is gathered."""

from xpnet.ops.namespace import Array, namespace


def gather(x: Array, order: object) -> Array:
    """The rows of x named by ``order``.

    x : (rows, ...); order : (batch,) integer, each within [0, rows)
    returns (batch, ...), a copy
    """
    return namespace(x).take(x, order, axis=0)
