"""Exceptions of signal handlers, kept apart from those of a compiler that they interrupt.

Python calls a signal handler between any two instructions of the main thread. Where that is within
``torch.compile``, the compiler takes the handler's exception for one of its own: it wraps it, or
goes on without what it was about to compile.
"""

import signal
from collections.abc import Callable
from threading import current_thread, main_thread
from types import FrameType
from typing import Self

Handler = Callable[[int, FrameType | None], object]


class HandlerErrors:
    """A context that notes the first exception that a signal handler raises.

    Attributes
    ----------
    first : BaseException or None
        The exception; None as long as no handler has raised one.
    """

    first: BaseException | None = None

    def __enter__(self) -> Self:
        self._noting: dict[int, Handler] = {}
        self._before: dict[int, Handler] = {}
        if current_thread() is main_thread():  # no other thread calls or sets handlers
            for number in signal.valid_signals():
                handler = signal.getsignal(number)
                if callable(handler):
                    self._before[number] = handler
                    self._noting[number] = self._note_errors_of(handler)
                    signal.signal(number, self._noting[number])
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            if signal.getsignal(number) is self._noting[number]:  # a handler may set another one
                signal.signal(number, handler)

    def _note_errors_of(self, handler: Handler) -> Handler:
        """Return a handler that does the same, and notes what it raises."""

        def noting(number: int, frame: FrameType | None) -> object:
            """Call the handler."""
            try:
                return handler(number, frame)
            except BaseException as error:
                self.first = self.first or error
                raise

        return noting

    def check(self) -> None:
        """Raise the exception of a handler, if there is one."""
        if self.first is not None:
            raise self.first
