"""Where an array's functions come from: its array-API namespace."""

from typing import Annotated, Any, TypeAlias

import array_api_compat

Array: TypeAlias = Annotated[Any, "array"]
"""An array of any library that follows the array API standard. Its dtype decides whether a kernel may be used."""

Labels: TypeAlias = Annotated[Any, "labels"]
"""Targets of a classifier: class indices (batch,), integer, or one-hot or soft labels (batch, classes)."""

Namespace: TypeAlias = Any
"""A module that follows the array API standard."""


def namespace(array: Array) -> Namespace:
    """The array-API namespace of an array.

    array : an array of any supported library
    returns a module with the standard's functions (NumPy, CuPy and PyTorch through array-api-compat)

    Raises TypeError for what is not an array.
    """
    return array_api_compat.array_namespace(array)


def zero(array: Array) -> Array:
    """The number 0 as a 0-d array of the dtype and device of ``array``."""
    return namespace(array).zeros((), dtype=array.dtype, device=array_api_compat.device(array))
