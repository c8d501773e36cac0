"""Ctrl-C while a training runs: it is raised where all numbers agree."""

import signal
from threading import current_thread, main_thread
from types import FrameType
from typing import Any, Self


class Interrupts:
    """Within ``with Interrupts() as interrupts:`` Ctrl-C waits for its moment while ``interrupts.held`` is true.

    Python delivers Ctrl-C to the main thread, between any two instructions. Where another thread trains, or where the user
    handles SIGINT in a way of their own, nothing is changed.
    """

    def __init__(self) -> None:
        self.held = self._pending = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if current_thread() is main_thread():
            before = signal.getsignal(signal.SIGINT)
            if before is signal.default_int_handler or isinstance(getattr(before, "__self__", None), Interrupts):
                self._before = signal.signal(signal.SIGINT, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def release(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed meanwhile, and from here on at once."""
        self.held = False
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if not self.held:
            raise KeyboardInterrupt
        self._pending = True
