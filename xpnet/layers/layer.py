"""The base of all layers chooses a backend, and refuses a backward pass without a forward pass."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

from xpnet.backend import Backend, Operations, dtype_name, floating_dtype
from xpnet.dispatch.choose import choose
from xpnet.errors import InputError
from xpnet.ops import Array


class Layer:
    """A layer that runs on a named backend, or on the one its arrays call for.

    Parameters
    ----------
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    Attributes
    ----------
    no_gradient : tuple of str
        The arguments of ``forward`` by which ``backward`` computes no gradient, such as the targets of a loss.
    """

    no_gradient: tuple[str, ...] = ()

    def __init__(self, *, backend: str | Backend | None = None) -> None:
        self.backend = backend
        self._ops: Operations | None = None
        self.cache: Any = None

    def __repr__(self) -> str:
        given = {name: getattr(self, name, None) for name in signature(type(self)).parameters}
        given["backend"] = getattr(self.backend, "name", self.backend)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items() if value)})"

    def _coerce(self, *arrays: Any) -> tuple[Any, ...]:
        """Choose the backend for this pass; returns its operations, and the arrays brought to it. None stays None."""
        choice = choose(*arrays, backend=self.backend)
        self._ops = choice.ops
        return choice.ops, *(None if a is None else choice.backend.asarray(a) for a in arrays)

    def _recall(self) -> tuple[Operations, Any]:
        """Return the operations and the cache of the last forward pass."""
        if self._ops is None:
            name = type(self).__name__
            raise InputError(
                f"{name}.backward follows a forward pass; none was made. Call {name}.forward first."
            )
        return self._ops, self.cache


def as_floats(backend: Backend, arrays: Sequence[Array | None]) -> Sequence[Array]:
    """Return arrays with whole numbers as floating-point ones, wide as the others: products would wrap around.

    Arrays without whole numbers are returned as they are, and None is.
    """
    names = [dtype_name(array.dtype) for array in arrays if array is not None]
    if not any("int" in name for name in names):
        return arrays
    wide = next((name for name in names if "int" not in name), floating_dtype(arrays[0], backend))
    return [None if array is None else backend.asarray(array, dtype=wide) for array in arrays]


def check_same_shape(what: str, received: Any, expected: tuple[int, ...]) -> None:
    """Raise InputError unless ``received`` has the shape of the layer's output."""
    if tuple(received.shape) != tuple(expected):
        raise InputError(
            f"{what} has the shape of the layer's output, {tuple(expected)}; received {tuple(received.shape)}. "
            "Pass the gradient by the output of the last forward pass."
        )
