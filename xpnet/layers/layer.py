"""The base of all layers: it chooses a backend and checks that a forward pass was made."""

from inspect import signature
from typing import TypeVarTuple, cast

from xpnet.backend import Backend, Operations, dtype_name, floating_dtype
from xpnet.dispatch.choose import choose
from xpnet.errors import InputError
from xpnet.ops import Array

Arrays = TypeVarTuple("Arrays")
"""The types of several arrays, each of which may be None."""


class Layer:
    """A layer that runs on a named backend, or on the backend of its arrays.

    Parameters
    ----------
    backend : str or Backend, optional
        The backend that computes. None chooses it at each forward pass, by the arrays.

    Attributes
    ----------
    no_gradient : tuple of str
        The arguments of ``forward`` that ``backward`` computes no gradient for, such as the targets
        of a loss.
    """

    no_gradient: tuple[str, ...] = ()

    def __init__(self, *, backend: str | Backend | None = None) -> None:
        self.backend = backend
        self._ops: Operations | None = None
        self.cache: object = None

    def __repr__(self) -> str:
        arguments = {name: getattr(self, name, None) for name in signature(type(self)).parameters}
        arguments["backend"] = getattr(self.backend, "name", self.backend)
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items() if value)
        return f"{type(self).__name__}({shown})"

    def _coerce(self, *arrays: *Arrays) -> tuple[Operations, *Arrays]:
        """Choose the backend for this pass; return its operations, and the arrays moved to it.

        None stays None.
        """
        choice = choose(*arrays, backend=self.backend)
        self._ops = choice.ops
        moved = tuple(None if a is None else choice.backend.asarray(a) for a in arrays)
        return choice.ops, *cast(tuple[*Arrays], moved)

    def _recall(self) -> Operations:
        """Return the operations of the last forward pass."""
        if self._ops is None:
            name = type(self).__name__
            raise InputError(
                f"{name}.backward must follow a forward pass; got none. Call {name}.forward first."
            )
        return self._ops


def as_floats(backend: Backend, *arrays: *Arrays) -> tuple[*Arrays]:
    """Convert whole numbers to the floating-point dtype of the other arrays.

    Products of whole numbers could overflow. If no array holds whole numbers, the arrays are
    returned unchanged. None stays None.
    """
    optional = cast(tuple[Array | None, ...], arrays)
    names = [dtype_name(array.dtype) for array in optional if array is not None]
    if not any("int" in name for name in names):
        return arrays
    wide = next((name for name in names if "int" not in name), floating_dtype(optional[0], backend))
    moved = tuple(None if a is None else backend.asarray(a, dtype=wide) for a in optional)
    return cast(tuple[*Arrays], moved)


def check_same_shape(argument: str, array: Array, expected: tuple[int, ...]) -> None:
    """Raise InputError unless an argument has the shape of the layer's output."""
    if tuple(array.shape) != tuple(expected):
        raise InputError(
            f"`{argument}` must have the shape of the layer's output, {tuple(expected)}; got "
            f"{tuple(array.shape)}."
        )
