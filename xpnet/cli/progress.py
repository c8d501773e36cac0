"""Lines on stderr that say what a training does, also without a terminal."""

import time
from typing import Any

import click

from xpnet.cli.output import visible
from xpnet.distributed import current_ranks
from xpnet.training import Callback, Training

SECONDS_BETWEEN_LINES = 10.0
"""Seconds after which a network that is being trained gets another line."""


def announce(name: str, value: str) -> None:
    """Print a name and a value on stderr, on the first of several ranks."""
    if not current_ranks().rank:
        click.echo(visible(f"{name:<9} {value}"), err=True)


class ProgressLines(Callback):
    """Prints a line about a network every ten seconds, and one at its end.

    number : of the network, from 1
    """

    def __init__(self, number: int) -> None:
        self.title = f"network {number}"
        self.started = self.printed = time.monotonic()

    def train_begin(self, training: Training) -> None:
        """Start the clock."""
        self.started = self.printed = time.monotonic()

    def within_epoch(self, training: Training) -> None:
        """Print a line about a long epoch."""
        if self._is_due():
            rows = f"{training.rows_done:,} of {training.rows:,} rows"
            self._print(f"epoch {training.done + 1} of {training.epochs}, {rows}")

    def epoch_end(self, training: Training) -> None:
        """Print a line if the last one is old."""
        if self._is_due():
            self._print(f"epoch {training.done} of {training.epochs}, {_losses(training)}")

    def train_end(self, training: Training) -> None:
        """Print how the training ended."""
        self._print(f"{training.done} epochs, {_losses(training)}")

    def _is_due(self) -> bool:
        return time.monotonic() - self.printed >= SECONDS_BETWEEN_LINES

    def _print(self, text: str) -> None:
        self.printed = time.monotonic()
        announce(self.title, f"{text}, {self.printed - self.started:.0f} s")


def _losses(training: Training) -> str:
    """Return the losses of the last epoch, as text."""
    history: Any = training.history
    if not history.loss:
        return "no loss"
    text = f"loss {history.loss[-1]:.4g}"
    validation = history.validation_loss
    return f"{text}, validation loss {validation[-1]:.4g}" if validation else text
