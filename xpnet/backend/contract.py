"""What a backend supplies. Nothing has to be inherited: any object with these attributes is a backend."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, runtime_checkable

from xpnet.ops import Array


@dataclass(frozen=True)
class Kernel:
    """A fused function with the name and signature of an operation in ``xpnet.ops``.

    launch : called like the reference; allocates what it returns, copes with any strides, validates nothing
    dtypes : names of the dtypes it takes; all ``Array`` arguments of a call must share one of them
    """

    launch: Callable[..., Any]
    dtypes: frozenset[str] = frozenset({"float32", "float64"})


@runtime_checkable
class Backend(Protocol):
    """The smallest contract that serves.

    name : how the backend is asked for
    xp : an array-API namespace
    kernels : kernels by the name of the operation they replace; what is missing runs from ``xpnet.ops``

    Three attributes are optional:

    in_place : bool, default False. Arrays can be written in place and a reshaped slice is a view, so that parameters
        live in one flat buffer.
    compile_step(spec) -> Step or str: a training step for a :class:`~xpnet.backend.NetworkSpec`, or the reason
        why there is none, as a sentence for the user.
    at(array) -> Backend: the backend on the device of an array, for a library with several devices; the same object
        for the same device.

    Importing a backend's module must be cheap and must not fail where its library or hardware is missing: what is
    registered is called, if it can be called, when the backend is first asked for, and then raises
    :class:`~xpnet.errors.BackendError` with the reason and the remedy.
    """

    name: str
    xp: Any
    kernels: Mapping[str, Kernel]

    def asarray(self, data: Any, *, dtype: str | None = None) -> Array:
        """``data`` (an array of this backend or host data) as an array of this backend; no copy where none is needed."""

    def to_numpy(self, array: Array) -> Any:
        """The array as a NumPy array on the host."""

    def synchronize(self) -> None:
        """Wait until everything asked of the device is done."""

    def device(self, array: Array) -> str:
        """The device an array lives on, such as ``cpu`` or ``cuda:0``."""

    def describe(self) -> dict[str, str]:
        """Versions, threads or card: facts by name, for a person."""


def dtype_name(dtype: Any) -> str:
    """``float32`` for the float32 of any library (NumPy calls it so, PyTorch prints ``torch.float32``)."""
    # The type comes first, since dtypes of two libraries are not meant to be compared.
    kind: Any = type(dtype)
    return _name(kind, dtype)


def floating_dtype(array: Any, backend: Backend) -> str:
    """``float32`` or ``float64``: that of the array, or for whole numbers and lists the one its library prefers."""
    found = dtype_name(array.dtype) if hasattr(array, "dtype") else ""
    if found in ("float32", "float64"):
        return found
    return dtype_name(backend.xp.__array_namespace_info__().default_dtypes()["real floating"])


@cache
def _name(kind: Any, dtype: Any) -> str:
    return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]
