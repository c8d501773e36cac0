"""Choose the backend that computes, and say why. A backend is imported when it is first used."""

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import array_api_compat
from numpy import ndarray

from xpnet.backend import Backend, GenericBackend, Operations
from xpnet.errors import BackendError, MixedArraysError, did_you_mean
from xpnet.ops import Array

if TYPE_CHECKING:  # the module takes a third of the time of importing xpnet
    from importlib.metadata import EntryPoint

VARIABLE = "XPNET_BACKEND"
"""The environment variable that names a backend."""

_WITHOUT_BACKEND = {"dask", "array_api_strict"}
"""Libraries that compute on their own arrays and have no backend of their own."""

_PROPER_NAMES = {"cupy": "CuPy", "jax": "JAX", "torch": "PyTorch"}
"""Names of libraries as their authors write them, by the package's name."""

_loaded: dict[str, Backend] = {}


def _environment() -> tuple[Mapping[str, str] | Mapping[bytes, bytes], str | bytes]:
    """Return the mapping behind ``os.environ``, and the key of `VARIABLE` in it.

    Every call of a function asks whether the variable is set. ``os.environ`` raises and catches a
    KeyError if it is not, which takes about 1 us, 40 % of ``xpnet.softmax`` of a few numbers;
    the mapping takes 0.02 us. The mapping is private to CPython: without it ``os.environ`` is used.
    """
    try:
        return os.environ._data, os.environ.encodekey(VARIABLE)  # type: ignore[attr-defined]
    except AttributeError:
        return os.environ, VARIABLE


_ENVIRONMENT, _ENCODED = _environment()
_context: ContextVar[Backend | None] = ContextVar("xpnet_backend", default=None)
_library_of_type: dict[type, str] = {}


class Choice(NamedTuple):
    """The backend that computes, and why it was chosen.

    Parameters
    ----------
    backend : Backend
        The backend.
    reason : str
        Why it was chosen, as a clause for a person to read.

    Examples
    --------
    >>> from xpnet.dispatch import choose
    >>> choice = choose(backend="numpy")
    >>> choice.backend.name, choice.reason
    ('numpy', 'named by the backend argument')
    """

    backend: Backend
    reason: str

    @property
    def ops(self) -> Operations:
        """Return the backend's operations, made once for each backend."""
        return _operations(self.backend)


_operations: Callable[[Any], Operations] = cache(Operations)
_generic: Callable[[str, Any, Any], GenericBackend] = cache(GenericBackend)


@contextmanager
def use_backend(backend: str | Backend) -> Iterator[None]:
    """Compute on one backend inside a ``with`` block, unless an argument names another.

    Parameters
    ----------
    backend : str or Backend
        The backend or its name.

    Yields
    ------
    None
        The choice holds in this thread or task until the block is left.

    Raises
    ------
    BackendError
        When the block is entered, for a backend that is not known or not usable.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> with xpnet.use_backend("numpy"):
    ...     xpnet.softmax(numpy.zeros(2))
    array([0.5, 0.5])
    """
    token = _context.set(get_backend(backend) if isinstance(backend, str) else backend)
    try:
        yield
    finally:
        _context.reset(token)


def choose(*arrays: object, backend: str | Backend | None = None) -> Choice:
    """Choose the backend that computes on some arrays.

    Parameters
    ----------
    *arrays : array or array_like
        The arrays of one call.
    backend : str or Backend, optional
        The ``backend`` argument of that call.

    Returns
    -------
    Choice
        The backend and the reason.

    Raises
    ------
    BackendError
        For a name that is unknown or unusable.
    MixedArraysError
        For arrays of two libraries or of two devices.

    Notes
    -----
    The first of these decides:

    1. the ``backend`` argument,
    2. the innermost `use_backend`,
    3. the environment variable XPNET_BACKEND, read at this call,
    4. the type of the arrays: CuPy's run on ``cupy``; NumPy's, other host data and no arrays at all
       on ``numba``; those of any other array-API library in its own namespace and on its own
       device, without kernels.

    No library is imported that the user has not imported, and host data goes to a GPU only if a
    backend is named.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.dispatch import choose
    >>> choose(numpy.zeros(3)).backend.name
    'numba'
    """
    if backend is not None:
        return _chosen(backend, "named by the backend argument")
    if (inside := _context.get()) is not None:
        return _chosen(inside, "named by use_backend")
    if _ENCODED in _ENVIRONMENT and (name := os.environ.get(VARIABLE)) is not None:
        try:
            return _chosen(name, f"named by {VARIABLE}")
        except BackendError as error:
            raise BackendError(
                f"{error} The environment variable {VARIABLE} names it: correct or unset it."
            ) from error
    return by_arrays(*arrays)


def coerce(x: object) -> tuple[Operations, Array]:
    """Return the operations of the backend that computes on an array, and the array on it.

    This gives what `choose` gives, with a short path for NumPy arrays: it takes 0.05 us, and
    `choose` 1 us, a third of ``xpnet.softmax`` of a few numbers.
    """
    if type(x) is ndarray and _context.get() is None and _ENCODED not in _ENVIRONMENT:
        return _host_operations(), x
    choice = choose(x)
    return choice.ops, choice.backend.asarray(x)


def coerce_pair(first: object, second: object) -> tuple[Operations, Array, Array]:
    """Return the operations of the backend that computes on two arrays, and the arrays on it.

    This gives what `choose` gives, with the short path of `coerce`.
    """
    if type(first) is ndarray and type(second) is ndarray:
        if _context.get() is None and _ENCODED not in _ENVIRONMENT:
            return _host_operations(), first, second
    choice = choose(first, second)
    return choice.ops, choice.backend.asarray(first), choice.backend.asarray(second)


@cache
def _host_operations() -> Operations:
    """Return the operations that run on host data by default."""
    return _host_choice().ops


def _chosen(backend: str | Backend, reason: str) -> Choice:
    """Return the choice of a backend, or of the one with a name, with its reason."""
    return Choice(get_backend(backend) if isinstance(backend, str) else backend, reason)


def by_arrays(*arrays: object) -> Choice:
    """Return the backend for the type of the arrays, whatever backend is named; see `choose`."""
    if all_numpy(arrays):
        return _host_choice()
    libraries = {library: array for array in arrays if (library := library_of(array))}
    if len(libraries) > 1:
        raise MixedArraysError(
            "All arrays of one call must belong to one library; got "
            f"{' and '.join(sorted(libraries))}. Convert them first, or name a backend."
        )
    if not libraries or "numpy" in libraries:  # lists and frames beside NumPy's arrays, or alone
        return _host_choice()
    library, array = libraries.popitem()
    device = _one_device([array for array in arrays if library_of(array)])
    reason = f"the arrays are {_PROPER_NAMES.get(library, library)}'s"
    if not _has_backend(library):
        backend = _generic(library, array_api_compat.array_namespace(array), device)
        return Choice(backend, reason)
    own = get_backend(library)
    return Choice(own.at(array) if hasattr(own, "at") else own, reason)


@cache
def _has_backend(library: str) -> bool:
    """Return whether a backend has the name of a library."""
    return library in _registered()


def all_numpy(arrays: Sequence[object]) -> bool:
    """Return whether all are NumPy's own arrays. This quick check suffices for most calls."""
    for array in arrays:
        if type(array) is not ndarray:
            return False
    return True


def library_of(array: object) -> str:
    """Name the top-level package whose array this is.

    It is "" for host data that is no array (lists, frames, scalars).
    """
    kind = type(array)
    if kind not in _library_of_type:
        _library_of_type[kind] = _library_that_defines(kind, array)
    return _library_of_type[kind]


def _library_that_defines(kind: type, array: object) -> str:
    """Name the package of an array of a type that is met for the first time; see `library_of`."""
    if not array_api_compat.is_array_api_obj(array):
        return ""
    # Only an array's own module can have defined its type, so no library is imported by asking.
    package = kind.__module__.partition(".")[0]
    return "jax" if package == "jaxlib" else package


library_of_backend: Callable[[Any], str] = cache(lambda backend: library_of(backend.asarray(0.0)))
"""Name the package whose arrays a backend computes.

The answer is kept for each backend, since a GPU makes an array by a kernel.
"""


@cache
def _host_choice() -> Choice:
    """Choose Numba for host data, or NumPy, with a warning, if Numba cannot be used."""
    try:
        return _chosen("numba", "NumPy arrays and host data run on Numba by default")
    except BackendError as error:
        message = f"NumPy computes, which is slower, since Numba cannot be used: {error}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
        return _chosen("numpy", f"NumPy arrays run on NumPy, since Numba cannot be used: {error}")


def warn_without_numba() -> None:
    """Warn that NumPy computes, where Numba is not installed; importing xpnet calls this.

    The command ``xpnet`` warns when it computes, and ``xpnet doctor`` shows it as a fact. Who names
    a backend in the environment is not warned.
    """
    if "xpnet_command" in sys.modules or VARIABLE in os.environ or not _is_missing("numba"):
        return
    with suppress(BackendError):  # xpnet is not installed, so that it has no backend at all
        _host_choice()


def _is_missing(package: str) -> bool:
    """Return whether a package is not installed, without importing it."""
    try:
        return find_spec(package) is None
    except ImportError:  # a finder of the program refuses it
        return True
    except ValueError:  # a stand-in of the program, which has no specification
        return False


def _one_device(arrays: Sequence[object]) -> object:
    """Return the device of all arrays, or None if no array has one.

    Raises MixedArraysError for arrays on several devices.
    """
    devices = {}
    for array in arrays:
        with suppress(AttributeError):  # JAX's tracers have no device; they take the default
            devices[str(array_api_compat.device(array))] = array_api_compat.device(array)
    if len(devices) > 1:
        raise MixedArraysError(
            "All arrays of one call must be on one device; got "
            f"{' and '.join(sorted(devices))}. Move them first."
        )
    return next(iter(devices.values()), None)


def available_backends() -> list[str]:
    """List the backends that are installed.

    No backend is imported, so one of them may still be unusable on this machine.

    Returns
    -------
    list of str
        The names, sorted.

    Examples
    --------
    >>> import xpnet
    >>> "numpy" in xpnet.available_backends()
    True
    """
    return sorted(_registered())


def get_backend(name: str) -> Backend:
    """Get a backend by its name; it is imported when it is first asked for.

    Parameters
    ----------
    name : str
        One of `available_backends`.

    Returns
    -------
    Backend
        The backend.

    Raises
    ------
    BackendError
        When no such backend is installed, or when it cannot be used on this machine; the message
        lists the backends, or gives the reason and the remedy.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> backend = xpnet.get_backend("numpy")
    >>> backend.device(numpy.zeros(3))
    'cpu'
    """
    if name in _loaded:
        return _loaded[name]
    registered = _registered()
    if name not in registered:
        names = (
            ", ".join(sorted(registered))
            or "those that are installed, and none is: pip install xpnet"
        )
        raise BackendError(
            f"A backend must be one of {names}; got {name!r}. {_advice(name, registered)}"
        )
    entry = registered[name]
    try:
        loaded = entry.load()
        backend = loaded() if callable(loaded) else loaded
        _ = backend.kernels  # a property may import a package that is missing
    except BackendError:
        raise
    except Exception as error:  # other packages raise anything
        raise BackendError(
            f"Backend {name!r} must be importable from {entry.value!r}; that failed: {error}. "
            "Reinstall the package that brings it."
        ) from error
    return _loaded.setdefault(name, backend)


def _advice(name: str, registered: Iterable[str]) -> str:
    """Return the advice on the name of a backend that is not installed."""
    if name in _WITHOUT_BACKEND:
        return f"Pass arrays of {name} and no backend: they are computed by {name}."
    hint = did_you_mean(name, registered)
    return hint or "Install the package that brings it."


def _registered() -> dict[str, "EntryPoint"]:
    """Return the entry points of all installed backends, by name."""
    # It takes a third of the time of importing xpnet, and most programs need one backend once.
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group="xpnet.backends")}
