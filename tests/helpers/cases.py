"""Many small cases in one test."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest

WARNINGS_READ = {"catch_warnings", "warns"}
"""Functions by which a test reads or replaces the warnings of the whole process."""


def each_case(names: str | tuple[str, ...], cases: Iterable[Any]) -> Callable[[Any], Any]:
    """Make one test of a function and its cases, each of which is a subtest.

    It is used as ``pytest.mark.parametrize`` is, where a case takes less time than a test itself.
    The fixtures of the function are made once.

    names : of the function's arguments that a case has; cases : a value, or one for each name
    """
    arguments = (names,) if isinstance(names, str) else names
    table = [(case,) if isinstance(names, str) else case for case in cases]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        parameters = inspect.signature(function).parameters
        fixtures = [one for name, one in parameters.items() if name not in arguments]

        def run(subtests: pytest.Subtests, **made: Any) -> None:
            if "subtests" in parameters:
                made["subtests"] = subtests
            for case in table:
                values = dict(zip(arguments, case, strict=True))
                with subtests.test(**{name: repr(value)[:80] for name, value in values.items()}):
                    function(**made, **values)

        subtests = inspect.Parameter("subtests", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        others = [one for one in fixtures if one.name != "subtests"]
        run.__signature__ = inspect.Signature([subtests, *others])  # type: ignore[attr-defined]
        run.__name__ = function.__name__
        run.__doc__ = function.__doc__
        run.__module__ = function.__module__
        if WARNINGS_READ.intersection(function.__code__.co_names):
            return pytest.mark.thread_unsafe(run)
        return run

    return decorate
