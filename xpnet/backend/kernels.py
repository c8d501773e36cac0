"""How a backend's kernels lie over the reference: ``Operations`` has every name of ``xpnet.ops``.

Whether a kernel may be used is decided here and nowhere else: from the dtypes its table declares and from which
arguments the reference annotates as ``Array``.
"""

import inspect
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from xpnet import ops
from xpnet.backend.contract import Backend, Kernel, dtype_name


class Operations:
    """The operations of ``xpnet.ops`` as one backend runs them.

    Each operation is an attribute: the backend's kernel runs where the dtypes allow it, the operation of ``xpnet.ops``
    elsewhere.

    Parameters
    ----------
    backend : Backend
        The backend whose kernels are used.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.backend import Operations
    >>> ops = Operations(xpnet.get_backend("numpy"))
    >>> ops.softmax(numpy.zeros((1, 4)))
    array([[0.25, 0.25, 0.25, 0.25]])
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def __getattr__(self, name: str) -> Callable[..., Any]:
        # Reached once for each name: the result is kept as an attribute.
        chosen = _overlay(name, self.backend.kernels.get(name))
        setattr(self, name, chosen)
        return chosen


def _overlay(name: str, kernel: Kernel | Callable[..., Any] | None) -> Callable[..., Any]:
    reference = getattr(ops, name)
    if kernel is None:
        return reference
    launch, takes = _declared(kernel).launch, cache(partial(_takes, _declared(kernel).dtypes))
    arrays = _array_arguments(name)

    def run(*args: Any, **kwargs: Any) -> Any:
        """Launch the kernel where it is eligible, else the reference; see the docstring that is set below."""
        dtype = args[0].dtype
        eligible = takes(dtype)
        for array in args[1:arrays]:
            if array is not None and array.dtype != dtype:
                eligible = False
        return (launch if eligible else reference)(*args, **kwargs)

    run.__name__, run.__doc__ = name, reference.__doc__
    return run


def _takes(dtypes: frozenset[str], dtype: Any) -> bool:
    return dtype_name(dtype) in dtypes


def _declared(kernel: Kernel | Callable[..., Any]) -> Kernel:
    """A bare function in a table is a kernel for the default dtypes."""
    return kernel if isinstance(kernel, Kernel) else Kernel(kernel)


def _array_arguments(name: str) -> int:
    """How many leading arguments of an operation are arrays, or may be None instead."""
    annotations = [p.annotation for p in inspect.signature(getattr(ops, name)).parameters.values()]
    arrays = ops.Array, ops.Array | None
    return next((i for i, found in enumerate(annotations) if found not in arrays), len(annotations))
