"""Plugin of pytest: values inside xpnet have the types that their annotations say.

``make types-at-run-time`` runs tests with it. typeguard checks arguments, results and variables;
one of another type fails the first test that shows it. Arguments that tests pass to xpnet are left
out, and so is the whole of a test with the marker ``wrong_types``: they are wrong on purpose.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Unpack, get_origin

import numpy
import pytest
import scipy.sparse
import typeguard
from typing_extensions import get_protocol_members, is_protocol

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = f"{ROOT / 'xpnet'}/"
"""Folder of the functions that are checked, as file names of their code begin."""

_seen: dict[str, str] = {}
"""What has another type, by the place and the text that precedes the value."""
_reported: set[str] = set()


def record(error: typeguard.TypeCheckError, memo: object) -> None:
    """Keep a violation; typeguard calls this from the function that it checks."""
    checked = _first_of_the_package(sys._getframe(1))
    caller = checked.f_back
    text = str(error)
    if text.startswith("argument "):
        if caller is None or not _is_of_the_package(caller):
            return
        shown = caller
    else:
        shown = checked
    place = f"{Path(shown.f_code.co_filename).relative_to(ROOT)}:{shown.f_lineno}"
    name = checked.f_code.co_name
    _seen.setdefault(f"{place} {name} {text.partition(' (')[0]}", f"{place}: {name}: {text}")


def _first_of_the_package(frame: FrameType) -> FrameType:
    while not _is_of_the_package(frame) and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _is_of_the_package(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(PACKAGE)


def _checker_of(origin: Any, arguments: tuple[Any, ...], extras: object) -> Any:
    """Return a checker for what typeguard checks in another way or not at all.

    It asks for each type.
    """
    if is_protocol(origin):
        return _check_members
    if origin is tuple and any(_is_unpacked(argument) for argument in arguments):
        return _check_is_tuple
    return _check_is_callable if origin is Callable else None


def _is_unpacked(argument: Any) -> bool:
    """Return whether a part of a tuple's type stands for several items."""
    return get_origin(argument) is Unpack or getattr(argument, "__unpacked__", False)


def _check_is_tuple(value: Any, origin: Any, arguments: object, memo: object) -> None:
    """Check a tuple whose items typeguard cannot count."""
    if not isinstance(value, tuple):
        raise typeguard.TypeCheckError("is not a tuple")


def _check_is_callable(value: Any, origin: Any, arguments: object, memo: object) -> None:
    """Check a function alone: typeguard drops types that only a checker imports from its list."""
    if not callable(value):
        raise typeguard.TypeCheckError("is not callable")


def _check_members(value: Any, origin: Any, arguments: object, memo: object) -> None:
    """Check that an object, or a module, has the members of a protocol.

    mypy compares their signatures, which libraries do not have for what they compile. A scalar of
    NumPy is an array without axes. A step's rows are arrays by their annotation, and may be a
    sparse matrix where the backend takes one. ``EACH_ROW`` stands for the weights of a loss, and is
    cast to an array. Properties are not evaluated: some are for matrices alone.
    """
    if origin.__name__ == "Array" and (scipy.sparse.issparse(value) or _is_each_row(value)):
        return
    names = dir(numpy.ndarray) if isinstance(value, numpy.generic) else dir(value)
    missing = sorted(get_protocol_members(origin) - set(names))
    if missing:
        raise typeguard.TypeCheckError(f"has no {', '.join(missing)} of {origin.__name__}")


def _is_each_row(value: object) -> bool:
    """Return whether this is ``EACH_ROW`` of the losses, which are imported with checks, later."""
    losses = sys.modules.get("xpnet.ops.losses")
    return losses is not None and value is getattr(losses, "EACH_ROW", object())


class Finder(typeguard.TypeguardFinder):
    """Adds checks to modules of xpnet that are imported from now on."""

    def should_instrument(self, module_name: str) -> bool:
        """Return whether a module gets checks. Numba compiles ops.updates, and cannot with them."""
        return super().should_instrument(module_name) and module_name != "xpnet.ops.updates"


# Before any conftest.py is imported, which imports xpnet.
typeguard.checker_lookup_functions.insert(0, _checker_of)
typeguard.config.typecheck_fail_callback = record
typeguard.install_import_hook(["xpnet"], cls=Finder)


@pytest.fixture(autouse=True)
def types_hold(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the first test that shows a violation, unless it passes wrong types on purpose."""
    yield
    new = [text for key, text in _seen.items() if key not in _reported]
    if request.node.get_closest_marker("wrong_types"):
        for key in _seen.keys() - _reported:
            del _seen[key]
        return
    _reported.update(_seen)
    if new:
        pytest.fail("\n".join(new), pytrace=False)
