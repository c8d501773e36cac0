"""Whether numbers are finite: asked of the data only where the first epoch gives a reason."""

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy

from xpnet.backend import Parameters
from xpnet.ops import Array, namespace


def is_finite(array: Array) -> bool:
    """Whether an array, or what stands in a SciPy sparse matrix, holds neither NaN nor infinity."""
    if hasattr(array, "tocsr"):
        array = array.data
    if type(array) is numpy.ndarray:
        if array.dtype.kind != "f":
            return True
        with numpy.errstate(all="ignore"):
            total = numpy.add.reduce(array, axis=None)  # one pass and no temporary; large finite numbers overflow
        return isfinite(total) or bool(numpy.isfinite(array).all())
    xp = namespace(array)
    return not xp.isdtype(array.dtype, "real floating") or bool(xp.all(xp.isfinite(array)))


def checked(
    epoch: Callable[..., float], params: Parameters, check: Callable[[], None]
) -> Callable[..., float]:
    """An epoch that calls ``check`` where it has left a loss or a parameter that is not finite.

    NaN or infinity in X always does that, as the gradient of the first weight has products with every number of X. So
    nobody has to read all of X before, which takes as long as some of the batches.
    """

    def checked_epoch(*data: Any, **how: Any) -> float:
        with numpy.errstate(invalid="ignore"):  # what there is to say of it, check says
            loss = epoch(*data, **how)
        if not (isfinite(loss) and all(map(is_finite, params.groups))):
            check()
        return loss

    return checked_epoch
