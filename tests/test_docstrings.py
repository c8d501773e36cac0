"""Docstrings that tools can read: numpydoc finds every part of them, and their examples run."""

import doctest
import inspect
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from helpers import public_rooms
from numpydoc.validate import validate

ROOMS = [*public_rooms.ROOMS, "xpnet.models"]
"""The modules whose ``__all__`` makes up the API, and the base of the networks that it has."""

NOT_ASKED = {
    "GL08": "a method without a docstring inherits that of its base, which is checked there",
    "ES01": "a summary often says all there is to say",
    "SA01": "not every function has one beside it",
    "EX01": "asked for below, of classes and functions; methods are shown in the example of their class",
    "SS05": "it takes every first word that ends in s for a verb",
}
"""Checks of numpydoc that are not made, and why."""

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def public() -> Iterator[str]:
    """The full name of every public class and function where it is defined, once."""
    seen = set()
    for room in ROOMS:
        module = import_module(room)
        for name in module.__all__:
            value = getattr(module, name)
            if not (inspect.isclass(value) or inspect.isfunction(value)):
                continue
            full = f"{value.__module__}.{value.__qualname__}"
            if full not in seen:
                seen.add(full)
                yield full


def methods(full: str) -> Iterator[str]:
    """The public methods and properties of a class, those of xpnet's own base classes included."""
    value = found(full)
    for base in inspect.getmro(value) if inspect.isclass(value) else ():
        if base.__module__.startswith("xpnet"):
            for name, member in vars(base).items():
                # scikit-learn makes methods such as set_fit_request, docstrings included.
                if not name.startswith(("_", "set_")) and (
                    inspect.isroutine(member) or isinstance(member, property)
                ):
                    yield f"{base.__module__}.{base.__qualname__}.{name}"


def found(full: str) -> Any:
    """The object of that name."""
    return resolve_name(full)


PUBLIC = sorted(public())


@cache
def complaints(full: str) -> list[str]:
    """What numpydoc finds wrong with a docstring."""
    not_asked = set(NOT_ASKED)
    if getattr(found(full), "_is_protocol", False):
        not_asked.add("PR01")  # the constructor of a protocol, which is never called
    return [
        f"{full}: {code} {text}" for code, text in validate(full)["errors"] if code not in not_asked
    ]


@pytest.mark.parametrize("full", PUBLIC)
def test_numpydoc_finds_every_part(full: str) -> None:
    assert [line for name in [full, *methods(full)] for line in complaints(name)] == []


@pytest.mark.parametrize("full", PUBLIC)
def test_every_name_has_its_own_docstring_with_an_example(full: str) -> None:
    text = found(full).__doc__ or ""
    assert "\nExamples\n" in inspect.cleandoc(text), f"{full} shows no example"
    for method in methods(full):
        owner, _, name = method.rpartition(".")
        assert inspect.getdoc(inspect.getattr_static(found(owner), name)), (
            f"{method} has no docstring"
        )


@pytest.mark.parametrize("full", PUBLIC)
def test_examples_run(full: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where examples write their files
    value = found(full)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in doctest.DocTestFinder().find(
        value, full, module=import_module(value.__module__), globs={}
    ):
        report: list[str] = []
        runner.run(test, out=report.append)
        assert runner.failures == 0, "".join(report)
