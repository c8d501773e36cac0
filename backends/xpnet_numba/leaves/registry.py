"""How a leaf is declared and compiled: alone, per dtype, on first need, into a C function that is called by address."""

from collections.abc import Callable
from functools import cache
from typing import Any

from numba import types

from xpnet_numba.runtime.compiling import c_function
from xpnet_numba.step.job import RULE_TYPE

Function = Callable[..., None]
Kind = Callable[[Any], Any]

ITEMS = {"float32": types.float32, "float64": types.float64}


def MATRIX(item: Any) -> Any:
    """A two-dimensional array of the network's dtype, row by row."""
    return types.Array(item, 2, "C")


def VECTOR(item: Any) -> Any:
    """A one-dimensional array of the network's dtype."""
    return types.Array(item, 1, "C")


def INDICES(item: Any) -> Any:
    """A one-dimensional array of int64: the numbers of rows."""
    return types.Array(types.int64, 1, "C")


def RESULT(item: Any) -> Any:
    """An array of one float64, to be set: a C function called by address returns nothing."""
    return types.Array(types.float64, 1, "C")


def NUMBER(item: Any) -> Any:
    """A float64."""
    return types.float64


def COUNT(item: Any) -> Any:
    """An int64."""
    return types.int64


def RULE(item: Any) -> Any:
    """The numbers of an update rule, :class:`xpnet_numba.step.job.Rule`."""
    return RULE_TYPE


_leaves: dict[str, tuple[Function, tuple[Kind, ...]]] = {}


def leaf(*kinds: Kind) -> Callable[[Function], Function]:
    """Declare a leaf by the kinds of its arguments."""

    def declare(function: Function) -> Function:
        _leaves[function.__name__] = function, kinds
        return function

    return declare


@cache
def compiled(name: str, dtype: str) -> Any:
    """The leaf as a C function; its ``address`` is what ``llvm.call`` takes."""
    function, kinds = _leaves[name]
    return c_function(function, types.void(*(kind(ITEMS[dtype]) for kind in kinds)))


def address(name: str, dtype: str) -> int:
    """Where the compiled leaf begins."""
    return compiled(name, dtype).address


def names() -> list[str]:
    """Every leaf that has been declared."""
    return list(_leaves)
