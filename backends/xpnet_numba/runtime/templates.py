"""Functions made from a template, so that one loop serves many formulas and dtypes.

A closure would do as well, but for Numba's cache a closure over compiled functions is a new function in each process.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any


def filled_in(template: Callable[..., Any], name: str, **values: Any) -> Callable[..., Any]:
    """A copy of a module's function under another name, in which some of the global names have the values given."""
    made = FunctionType(template.__code__, {**template.__globals__, **values}, name)  # type: ignore[attr-defined]
    made.__qualname__, made.__doc__ = name, template.__doc__
    return made
