"""Methods that are watched while they work."""

from collections.abc import Callable
from typing import Any

import pytest


def watch_calls(
    patch: pytest.MonkeyPatch, owner: Any, name: str, note: Callable[..., object]
) -> None:
    """Have ``note`` called with the arguments of a method before each of its calls."""
    method = getattr(owner, name)

    def watched(*arguments: Any, **named: Any) -> Any:
        note(*arguments, **named)
        return method(*arguments, **named)

    patch.setattr(owner, name, watched)


def watch_results(
    patch: pytest.MonkeyPatch, owner: Any, name: str, note: Callable[[Any], object]
) -> None:
    """Have ``note`` called with what each call of a method returns."""
    method = getattr(owner, name)

    def watched(*arguments: Any, **named: Any) -> Any:
        result = method(*arguments, **named)
        note(result)
        return result

    patch.setattr(owner, name, watched)
