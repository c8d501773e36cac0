"""The hook by which models and estimators reach the room above them that writes files."""

from collections.abc import Callable
from typing import Any

_openers: list[Callable[[], object]] = []


def register_model_files(opener: Callable[[], object]) -> None:
    """Register how the room that writes files is reached.

    opener : returns a module with ``save``, ``export_model`` and ``Checkpoint``; it is called when
        one is needed
    """
    _openers[:] = [opener]


def model_files() -> Any:
    """Return the module that writes files."""
    return _openers[0]()
