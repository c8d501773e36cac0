"""The check that class indices lie within their range, in one pass over them where that is possible."""

from functools import cache

import numpy

from xpnet.ops import Labels, namespace


def all_within(labels: Labels, classes: int) -> bool:
    """Tell whether every class index lies between 0 and ``classes - 1``.

    Parameters
    ----------
    labels : array, shape (batch,)
        At least one class index; integers of any library and width.
    classes : int
        Number of classes.

    Returns
    -------
    bool
        True where every class index can be used.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.backend import all_within
    >>> all_within(numpy.array([0, 2, 1]), 3)
    True
    >>> all_within(numpy.array([0, 3, -1]), 3)
    False
    """
    if isinstance(labels, numpy.ndarray) and classes <= 2 ** (8 * labels.itemsize - 1):
        # As an unsigned integer a negative number is at least 2 ** (bits - 1), so the maximum alone decides.
        return bool(numpy.maximum.reduce(labels.view(_unsigned(labels.dtype))) < classes)
    xp = namespace(labels)
    return int(xp.min(labels)) >= 0 and int(xp.max(labels)) < classes


@cache
def _unsigned(dtype: numpy.dtype) -> numpy.dtype:
    return numpy.dtype(dtype.str.replace("i", "u"))
