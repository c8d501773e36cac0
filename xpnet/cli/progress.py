"""Lines on stderr on the progress of a command, also without a terminal."""

import logging
import sys
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import Self

from xpnet.distributed import current_ranks
from xpnet.training.log import LOGGER, log_named

SECONDS_BETWEEN_LINES = 10.0
"""Seconds without a line after which one says that the command is still working."""


class ProgressLines(logging.Handler):
    """Logs lines, and where there is no terminal at least one every ten seconds.

    stage : what the command is doing, which changes; quiet : whether nothing is logged
    """

    def __init__(self, stage: str, *, quiet: bool) -> None:
        super().__init__()
        self.quiet = quiet
        self.stage = stage
        self._started = self._logged = monotonic()
        self._ended = Event()
        self._clock = Thread(target=self._log_while_silent, daemon=True)

    def __enter__(self) -> Self:
        LOGGER.addHandler(self)
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
        LOGGER.removeHandler(self)
        self._ended.set()
        if self._clock.is_alive():
            self._clock.join()

    def log(self, name: str, value: str) -> None:
        """Log a name and a value."""
        if not self.quiet:
            log_named(name, value)

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of a line, of the fit or of the command."""
        self._logged = monotonic()

    def _log_while_silent(self) -> None:
        """Log a line whenever there has been none for some seconds."""
        while not self._ended.wait(max(0.0, self._logged + SECONDS_BETWEEN_LINES - monotonic())):
            if monotonic() - self._logged >= SECONDS_BETWEEN_LINES:
                self.log("working", f"{self.stage}, {monotonic() - self._started:.0f} s")
