"""Whether class indices may be used as such: asked before every step, so in one pass where it can be."""

from functools import cache

import numpy

from xpnet.ops import Labels, namespace


def all_within(labels: Labels, classes: int) -> bool:
    """Whether every label lies from 0 to ``classes`` - 1.

    labels : (batch,), at least one, integers of any library
    """
    if isinstance(labels, numpy.ndarray) and classes <= 2 ** (8 * labels.itemsize - 1):
        # Read without its sign a negative number is at least that large: one pass tells, not two.
        return bool(numpy.maximum.reduce(labels.view(_unsigned(labels.dtype))) < classes)
    xp = namespace(labels)
    return int(xp.min(labels)) >= 0 and int(xp.max(labels)) < classes


@cache
def _unsigned(dtype: numpy.dtype) -> numpy.dtype:
    return numpy.dtype(dtype.str.replace("i", "u"))
