"""The array-API namespace of an array: the module whose functions take it."""

from collections.abc import Sequence

import array_api_compat

from xpnet.typing import Array as Array
from xpnet.typing import Labels as Labels
from xpnet.typing import Namespace as Namespace


def namespace(array: Array) -> Namespace:
    """Find the array-API namespace of an array.

    Parameters
    ----------
    array : array
        An array of any supported library.

    Returns
    -------
    module
        The functions of the array API standard; for NumPy, CuPy and PyTorch those of
        array-api-compat.

    Raises
    ------
    TypeError
        For an object that is not an array.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.namespace(numpy.zeros(3)).__name__
    'array_api_compat.numpy'
    """
    return array_api_compat.array_namespace(array)


def number(value: float | Sequence[float], like: Array) -> Array:
    """Convert a number, or several, to an array of the dtype and device of ``like``."""
    return namespace(like).asarray(value, dtype=like.dtype, device=array_api_compat.device(like))


def zero(like: Array) -> Array:
    """Return the number 0 as a 0-d array of the dtype and device of ``like``."""
    return namespace(like).zeros((), dtype=like.dtype, device=array_api_compat.device(like))
