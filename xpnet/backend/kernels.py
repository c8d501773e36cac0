"""A backend's kernels lie over the reference: ``Operations`` has every name of ``xpnet.ops``.

Whether a kernel may be used is decided here and nowhere else: from the dtypes its table declares and from which
arguments the reference annotates as ``Array``.
"""

import inspect
from collections.abc import Callable
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
    chosen = _ByDtype(_declared(kernel), reference)
    arrays, parameters = _array_arguments(name), len(_parameters(name))
    made: Any = _over_arrays(chosen, reference, arrays)
    # Python calls with fewer kinds of arguments in less time, which an operation on few numbers notices.
    if arrays == 1:
        made = _over_one_argument(chosen) if parameters == 1 else _over_one_array(chosen)
    made.__name__, made.__doc__ = name, reference.__doc__
    return made


def _over_one_argument(chosen: "_ByDtype") -> Callable[..., Any]:
    return lambda x: chosen[x.dtype](x)


def _over_one_array(chosen: "_ByDtype") -> Callable[..., Any]:
    def run(x: Any, *args: Any, **kwargs: Any) -> Any:
        """Only the first argument decides."""
        return chosen[x.dtype](x, *args, **kwargs) if kwargs else chosen[x.dtype](x, *args)

    return run


def _over_arrays(chosen: "_ByDtype", reference: Callable[..., Any], arrays: int) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        """The reference runs, too, where the arrays have several dtypes."""
        dtype = args[0].dtype
        function = chosen[dtype]
        for array in args[1:arrays]:
            if array is not None and array.dtype != dtype:
                function = reference
        return function(*args, **kwargs)

    return run


class _ByDtype(dict[Any, Callable[..., Any]]):
    """The kernel for the dtypes that it takes, the reference for others; found out once for each dtype."""

    def __init__(self, kernel: Kernel, reference: Callable[..., Any]) -> None:
        self._kernel, self._reference = kernel, reference

    def __missing__(self, dtype: Any) -> Callable[..., Any]:
        takes = dtype_name(dtype) in self._kernel.dtypes
        self[dtype] = function = self._kernel.launch if takes else self._reference
        return function


def _declared(kernel: Kernel | Callable[..., Any]) -> Kernel:
    """A bare function in a table is a kernel for the default dtypes."""
    return kernel if isinstance(kernel, Kernel) else Kernel(kernel)


def _array_arguments(name: str) -> int:
    """Count the leading arguments of an operation that are arrays, or may be None instead."""
    annotations = [parameter.annotation for parameter in _parameters(name)]
    arrays = ops.Array, ops.Array | None
    return next((i for i, found in enumerate(annotations) if found not in arrays), len(annotations))


def _parameters(name: str) -> list[inspect.Parameter]:
    return list(inspect.signature(getattr(ops, name)).parameters.values())
