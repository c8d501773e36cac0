"""Ctrl-C that waits while work must not be cut."""

import signal
from collections.abc import Callable
from threading import get_ident, main_thread
from types import FrameType
from typing import Self


class Interrupts:
    """A context in which Ctrl-C waits while ``held`` is true.

    Attributes
    ----------
    held : bool
        Whether Ctrl-C waits; False at first.
    pending : bool
        Whether it was pressed, held or not. Python drops an exception that is raised in a
        destructor or in a callback of the garbage collector, so work that ends although this is
        true must raise it again.

    Notes
    -----
    Python delivers Ctrl-C to the main thread, between any two instructions. If another thread
    trains, or if the user has a handler for SIGINT, nothing is changed.

    Examples
    --------
    >>> import signal
    >>> from xpnet.training import Interrupts
    >>> try:
    ...     with Interrupts() as interrupts:
    ...         interrupts.held = True
    ...         signal.raise_signal(signal.SIGINT)
    ...         print("this work is not cut")
    ...         if interrupts.pending:
    ...             raise KeyboardInterrupt
    ... except KeyboardInterrupt:
    ...     print("Ctrl-C")
    this work is not cut
    Ctrl-C
    """

    held: bool = False
    pending: bool = False
    _before: Callable[[int, FrameType | None], object] | int | None = None

    def __enter__(self) -> Self:
        if get_ident() == main_thread().ident:
            before = signal.getsignal(signal.SIGINT)
            if before is signal.default_int_handler or isinstance(
                getattr(before, "__self__", None), Interrupts
            ):
                self._before = signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        """Note Ctrl-C, and raise it unless it is held."""
        self.pending = True
        if not self.held:
            raise KeyboardInterrupt
