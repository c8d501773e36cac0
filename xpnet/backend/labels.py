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
    if isinstance(labels, numpy.ndarray):
        unsigned, most = _unsigned(labels.dtype)
        if classes <= most:  # As an unsigned integer a negative number is larger than any class.
            numbers = labels.view(unsigned)
            largest: int = numbers.item(numbers.argmax())  # where it is takes less time than the maximum itself
            return largest < classes
    xp = namespace(labels)
    return int(xp.min(labels)) >= 0 and int(xp.max(labels)) < classes


@cache
def _unsigned(dtype: numpy.dtype) -> tuple[numpy.dtype, int]:
    """The unsigned integers of that width, and 2 ** (bits - 1): negative ones become at least as large."""
    return numpy.dtype(dtype.str.replace("i", "u")), 2 ** (8 * dtype.itemsize - 1)
