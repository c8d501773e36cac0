"""The contract of a backend, and the choice between its kernels and ``xpnet.ops``.

No class must be inherited: any object with the attributes of :class:`Backend` is a backend. Only
:class:`Operations` decides whether a kernel may be used. It compares the dtypes that the kernel
declares with the dtypes of the arguments that the reference annotates as ``Array``.
"""

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy

from xpnet import ops
from xpnet.ops import Array, Labels, Namespace, namespace

Operation: TypeAlias = Callable[..., Any]
"""An operation of ``xpnet.ops``, or a kernel with its name and signature; its name is known
only when a program runs.
"""


@dataclass(frozen=True)
class Kernel:
    """A fused function with the name and signature of an operation in ``xpnet.ops``.

    Parameters
    ----------
    launch : callable
        Called like the operation. It allocates what it returns, takes arrays of any strides and
        validates nothing.
    dtypes : frozenset of str, default {"float32", "float64"}
        Names of the dtypes it takes. All ``Array`` arguments of a call must share one of them;
        otherwise the operation of ``xpnet.ops`` runs.

    Examples
    --------
    >>> from scipy import special
    >>> from xpnet.backend import Kernel
    >>> def softmax(x, axis=-1):
    ...     return special.softmax(x, axis=axis)
    >>> Kernel(softmax, dtypes=frozenset({"float64"})).dtypes
    frozenset({'float64'})
    """

    launch: Operation
    dtypes: frozenset[str] = frozenset({"float32", "float64"})


@runtime_checkable
class Backend(Protocol):
    """The attributes and methods that make an object a backend.

    Attributes
    ----------
    name : str
        The name by which users choose the backend.
    xp : module
        A namespace that follows the array API standard.
    kernels : mapping of str to Kernel
        Kernels by the name of the operation they replace. Every other operation runs from
        ``xpnet.ops``.
    in_place : bool, default False
        Optional. Whether arrays can be written in place and a reshaped slice is a view, so that
        parameters can share one flat buffer.
    compile_step : callable
        Optional. ``compile_step(spec)`` takes a `NetworkSpec` and returns a `Step`, or as text for
        the user the reason why it compiles none.
    one_blas_thread : callable
        Optional. Returns a context manager in which BLAS uses one thread, for algorithms that run
        outside a step.
    with_precision : callable
        Optional. ``with_precision(name)`` returns the backend with matrix products of float32 in
        another precision: ``fp32``, or ``auto`` for the one that takes the least time, unless the
        user has named one.
    at : callable
        Optional, for a library with several devices. ``at(array)`` returns the backend on the
        device of an array; the same object for the same device.
    on_device : callable
        Optional, for a library that computes on a current device. ``on_device()`` returns a context
        manager in which the device of this backend is the current one.

    Notes
    -----
    The object, or a function that makes it, is registered under the entry-point group
    ``xpnet.backends``. Importing its module must be cheap and must not fail where its library or
    hardware is missing. A registered function is called when the backend is first asked for; it
    raises `xpnet.BackendError` with the reason and the remedy where the backend cannot be used.

    Examples
    --------
    >>> import xpnet
    >>> from xpnet.backend import Backend
    >>> isinstance(xpnet.get_backend("numpy"), Backend)
    True
    """

    name: str
    xp: Namespace
    kernels: Mapping[str, Kernel]

    def asarray(self, data: object, *, dtype: str | None = None) -> Array:
        """Convert data to an array of this backend, without a copy where none is needed.

        Parameters
        ----------
        data : array or array_like
            An array of this backend, or host data: a NumPy array, a list, a frame.
        dtype : str, optional
            Name of the dtype of the result, such as ``float32``. None keeps the dtype of the data.

        Returns
        -------
        array
            The data, in the same shape.
        """

    def to_numpy(self, array: Array) -> numpy.ndarray:
        """Convert an array of this backend to a NumPy array on the host.

        Parameters
        ----------
        array : array
            An array of this backend.

        Returns
        -------
        numpy.ndarray
            The same values, shape and dtype.
        """

    def synchronize(self) -> None:
        """Wait until the device has finished all work that was queued."""

    def device(self, array: Array) -> str:
        """Name the device of an array.

        Parameters
        ----------
        array : array
            An array of this backend.

        Returns
        -------
        str
            The name, such as ``cpu`` or ``cuda:0``.
        """

    def describe(self) -> dict[str, str]:
        """Report the software and hardware of the backend: versions, threads or GPU.

        Returns
        -------
        dict of str to str
            Facts by name, for the user.
        """


def with_precision(backend: Backend, precision: str) -> Backend:
    """Return a backend with another precision of matrix products, where it has a choice of them.

    Parameters
    ----------
    backend : Backend
        The backend.
    precision : str
        ``fp32``; or ``auto``, for the precision that takes the least time, unless the user has
        named one.

    Returns
    -------
    Backend
        The backend in that precision, or the same backend.

    Examples
    --------
    >>> import xpnet
    >>> from xpnet.backend import with_precision
    >>> with_precision(xpnet.get_backend("numba"), "fp32").precision
    'fp32'
    >>> with_precision(xpnet.get_backend("numpy"), "fp32").name
    'numpy'
    """
    change = getattr(backend, "with_precision", None)
    return backend if change is None else change(precision)


def on_device(backend: Backend) -> AbstractContextManager[None]:
    """Make the device of a backend the current one, where its library has a current device.

    Parameters
    ----------
    backend : Backend
        The backend that computes within the context.

    Returns
    -------
    context manager
        The device is current until the context is left.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.backend import on_device
    >>> with on_device(xpnet.get_backend("numpy")):
    ...     print(numpy.zeros(2))
    [0. 0.]
    """
    enter = getattr(backend, "on_device", None)
    return nullcontext() if enter is None else enter()


def dtype_name(dtype: object) -> str:
    """Name a dtype of any library as NumPy names it.

    Parameters
    ----------
    dtype : dtype
        The dtype of an array of any library, such as ``torch.float32``.

    Returns
    -------
    str
        The name, such as ``float32``.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.backend import dtype_name
    >>> dtype_name(numpy.zeros(3, dtype="float32").dtype)
    'float32'
    """
    # The type is part of the cache's key, since dtypes of two libraries may not be comparable.
    kind: type = type(dtype)
    return _name(kind, dtype)


def floating_dtype(array: object, backend: Backend) -> str:
    """Name the floating-point dtype in which computations with data are made.

    Parameters
    ----------
    array : array or array_like
        The data.
    backend : Backend
        The backend that computes.

    Returns
    -------
    {"float32", "float64"}
        The dtype of the array; for whole numbers and lists the default of the backend's library.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.backend import floating_dtype
    >>> floating_dtype(numpy.zeros(3, dtype="float32"), xpnet.get_backend("numpy"))
    'float32'
    >>> floating_dtype([1, 2, 3], xpnet.get_backend("numpy"))
    'float64'
    """
    name = dtype_name(array.dtype) if hasattr(array, "dtype") else ""
    if name in ("float32", "float64"):
        return name
    return dtype_name(backend.xp.__array_namespace_info__().default_dtypes()["real floating"])


@cache
def _name(kind: type, dtype: object) -> str:
    """Return the name of a dtype: its own ``name``, or the end of its text (``torch.float32``)."""
    return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]


class Operations:
    """The operations of ``xpnet.ops`` as one backend runs them.

    Each operation is an attribute: the backend's kernel runs if the dtypes allow it, and otherwise
    the operation of ``xpnet.ops``.

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

    def __getattr__(self, name: str) -> Operation:
        # Reached once for each name: the result is kept as an attribute.
        chosen = _overlay(name, self.backend.kernels.get(name))
        setattr(self, name, chosen)
        return chosen


def _overlay(name: str, kernel: Kernel | None) -> Operation:
    """Make a function that runs the kernel if all arrays have one of its dtypes."""
    reference: Operation = getattr(ops, name)
    if kernel is None:
        return reference
    annotations = [
        parameter.annotation for parameter in inspect.signature(reference).parameters.values()
    ]
    or_none = ops.Array, ops.Array | None
    arrays = next(
        (i for i, kind in enumerate(annotations) if kind not in or_none), len(annotations)
    )

    by_dtype: dict[object, Operation] = {}

    def choose(dtype: object) -> Operation:
        """Return the kernel if it takes the dtype, or else the reference; keep the choice."""
        return by_dtype.setdefault(
            dtype, kernel.launch if dtype_name(dtype) in kernel.dtypes else reference
        )

    def by_first(x: Array, *args: object, **kwargs: object) -> object:
        """Call the function for the dtype of the first array."""
        function = by_dtype.get(x.dtype) or choose(x.dtype)
        if not args and not kwargs:  # a plain call is faster, as few numbers show
            return function(x)
        return function(x, *args, **kwargs)

    def by_all(first: Array, /, *args: Array | None, **kwargs: object) -> object:
        """Call the function for the dtype of all arrays, the reference where they differ."""
        dtype = first.dtype
        function = by_dtype.get(dtype) or choose(dtype)
        for array in args[: arrays - 1]:
            if array is not None and array.dtype != dtype:
                function = reference
        return function(first, *args, **kwargs)

    # `by_first` is measurably faster in calls with small arrays.
    operation: Operation = by_first if arrays == 1 else by_all
    operation.__name__ = name
    operation.__doc__ = reference.__doc__
    operation.__code__ = operation.__code__.replace(co_name=name)  # the name in tracebacks
    return operation


def all_within(labels: Labels, classes: int) -> bool:
    """Return whether every class index lies between 0 and ``classes - 1``.

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
        unsigned, maximum = _unsigned(labels.dtype)
        # As an unsigned integer, a negative number is larger than any class.
        if classes <= maximum:
            numbers = labels.view(unsigned)
            largest: int = numbers.item(numbers.argmax())  # argmax is faster than max
            return largest < classes
    xp = namespace(labels)
    return int(xp.min(labels)) >= 0 and int(xp.max(labels)) < classes


@cache
def _unsigned(dtype: numpy.dtype) -> tuple[numpy.dtype, int]:
    """Return the unsigned dtype of the same width, and 2 ** (bits - 1).

    As unsigned integers, negative numbers are at least that large.
    """
    return numpy.dtype(dtype.str.replace("i", "u")), 2 ** (8 * dtype.itemsize - 1)
