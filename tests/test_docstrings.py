"""Docstrings that tools can read: numpydoc finds every part of them, and their examples run.

Functions that are not public have a sentence each.
"""

import ast
import doctest
import inspect
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import NamedTuple

import pytest
from helpers import public_rooms
from numpydoc.validate import validate

ROOMS = [*public_rooms.ROOMS, "xpnet.models"]
"""The modules whose ``__all__`` makes up the API, and the base of the networks that it has."""

NOT_ASKED = {
    "GL08": "a method without a docstring inherits that of its base, which is checked there",
    "ES01": "a summary often says all there is to say",
    "SA01": "not every function has one beside it",
    "EX01": "asked for below, of classes and functions; the example of a class shows its methods",
    "SS05": "it takes every first word that ends in s for a verb",
}
"""Checks of numpydoc that are not made, and why."""

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


pytestmark = pytest.mark.docstrings


def public(room: str) -> list[str]:
    """The full names of the classes and functions that a room lists in ``__all__``, where they are
    defined.
    """
    values = [getattr(import_module(room), name) for name in import_module(room).__all__]
    listed = [value for value in values if inspect.isclass(value) or inspect.isfunction(value)]
    return [f"{value.__module__}.{value.__qualname__}" for value in listed]


def first_listed() -> dict[str, list[str]]:
    """The public names by the first room that lists them."""
    seen: set[str] = set()
    names: dict[str, list[str]] = {}
    for room in ROOMS:
        names[room] = [full for full in public(room) if full not in seen]
        seen.update(names[room])
    return names


def methods(full: str) -> Iterator[str]:
    """The public methods and properties of a class, those of xpnet's own base classes included."""
    value = resolve_name(full)
    for base in inspect.getmro(value) if inspect.isclass(value) else ():
        if base.__module__.startswith("xpnet"):
            for name, member in vars(base).items():
                # scikit-learn makes methods such as set_fit_request, docstrings included.
                if not name.startswith(("_", "set_")) and (
                    inspect.isroutine(member) or isinstance(member, property)
                ):
                    yield f"{base.__module__}.{base.__qualname__}.{name}"


@cache
def complaints(full: str) -> list[str]:
    """What numpydoc finds wrong with a docstring."""
    not_asked = set(NOT_ASKED)
    if getattr(resolve_name(full), "_is_protocol", False):
        not_asked.add("PR01")  # the constructor of a protocol, which is never called
    return [
        f"{full}: {code} {text}" for code, text in validate(full)["errors"] if code not in not_asked
    ]


NAMES = first_listed()
each_room = pytest.mark.parametrize("room", [room for room, names in NAMES.items() if names])


@each_room
def test_numpydoc_finds_every_part(room: str) -> None:
    names = [name for full in NAMES[room] for name in (full, *methods(full))]
    assert [complaint for name in names for complaint in complaints(name)] == []


@each_room
def test_every_name_has_its_own_docstring_with_an_example(room: str) -> None:
    without_example = [
        full
        for full in NAMES[room]
        if "\nExamples\n" not in inspect.cleandoc(resolve_name(full).__doc__ or "")
    ]
    assert without_example == []
    undocumented = []
    for method in {method for full in NAMES[room] for method in methods(full)}:
        owner, _, name = method.rpartition(".")
        if not inspect.getdoc(inspect.getattr_static(resolve_name(owner), name)):
            undocumented.append(method)
    assert undocumented == []


@each_room
def test_examples_run(room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where examples write their files
    reports: list[str] = []
    examples = 0
    for full in NAMES[room]:
        value = resolve_name(full)
        runner = doctest.DocTestRunner(optionflags=FLAGS)
        finder, module = doctest.DocTestFinder(), import_module(value.__module__)
        for test in finder.find(value, full, module=module, globs={}):
            runner.run(test, out=reports.append)
        examples += runner.tries
    assert reports == []
    assert examples >= len(NAMES[room])


SOURCE = Path(__file__).resolve().parents[1]

FOLDERS = "xpnet", "backends"
"""The folders whose functions all have docstrings."""


class Method(NamedTuple):
    """A function and the class whose method it is, or None."""

    owner: ast.ClassDef | None
    function: ast.FunctionDef | ast.AsyncFunctionDef


def functions_of(node: ast.AST, owner: ast.ClassDef | None = None) -> Iterator[Method]:
    """Yield all functions of a module, those within functions included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield Method(owner, child)
            yield from functions_of(child)
        else:
            yield from functions_of(child, child if isinstance(child, ast.ClassDef) else owner)


def needs_no_docstring(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a function is one of Python's protocols, a declaration, or a setter."""
    is_special = function.name.startswith("__") and function.name.endswith("__")
    is_declaration = [ast.unparse(statement) for statement in function.body] == ["..."]
    is_setter = any(ast.unparse(mark).endswith(".setter") for mark in function.decorator_list)
    return is_special or is_declaration or is_setter


@pytest.mark.repository
def test_each_function_says_what_it_does() -> None:
    """A method without a docstring overrides one of a class of xpnet."""
    paths = [path for folder in FOLDERS for path in (SOURCE / folder).rglob("*.py")]
    modules = {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    methods = [(path, method) for path, tree in modules.items() for method in functions_of(tree)]
    names: dict[str, set[str]] = {}
    bases: dict[str, set[str]] = {}
    for _, (owner, function) in methods:
        if owner is not None:
            names.setdefault(owner.name, set()).add(function.name)
            written = (ast.unparse(base) for base in owner.bases)
            bases[owner.name] = {base.partition("[")[0].rpartition(".")[2] for base in written}

    def inherits(kind: str, name: str) -> bool:
        """Return whether a base of a class, or one of its bases, has a method."""
        return any(
            name in names.get(base, ()) or inherits(base, name) for base in bases.get(kind, ())
        )

    without = [
        f"{path.relative_to(SOURCE)}:{function.lineno} {function.name}"
        for path, (owner, function) in methods
        if not (ast.get_docstring(function) or needs_no_docstring(function))
        and not (owner is not None and inherits(owner.name, function.name))
    ]
    assert len(methods) > 1000
    assert not without
