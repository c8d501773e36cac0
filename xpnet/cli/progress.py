"""Lines on stderr that say what a training does, also without a terminal."""

import sys
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import Self

from xpnet.cli.output import as_options, echo, visible
from xpnet.distributed import current_ranks

SECONDS_BETWEEN_LINES = 10.0
"""Seconds without a line after which one says that the command is still working."""


class ProgressLines:
    """Prints lines on stderr, and where there is no terminal at least one every ten seconds.

    stage : what the command is doing, which changes; quiet : whether nothing is printed
    """

    def __init__(self, stage: str, *, quiet: bool) -> None:
        self.quiet = quiet
        self.stage = stage
        self._started = self._printed = monotonic()
        self._ended = Event()
        self._clock = Thread(target=self._print_while_silent, daemon=True)

    def __enter__(self) -> Self:
        # A terminal shows a line that moves.
        if not self.quiet and not sys.stderr.isatty() and not current_ranks().rank:
            self._clock.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._clock.is_alive():
            self._clock.join()

    def say(self, name: str, value: str) -> None:
        """Print a name and a value, on the first of several ranks."""
        self._printed = monotonic()
        if not self.quiet and not current_ranks().rank:
            echo(visible(f"{name:<9} {as_options(value)}"), err=True)

    def _print_while_silent(self) -> None:
        """Print a line whenever there has been none for some seconds."""
        while not self._ended.wait(max(0.0, self._printed + SECONDS_BETWEEN_LINES - monotonic())):
            if monotonic() - self._printed >= SECONDS_BETWEEN_LINES:
                self.say("working", f"{self.stage}, {monotonic() - self._started:.0f} s")
