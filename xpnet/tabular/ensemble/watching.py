"""Callbacks and logged lines that follow a fit."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic

from xpnet.tabular.columns.records import enumerated
from xpnet.tabular.ensemble.recipe import Watch, Watchers
from xpnet.training import Callback, Training
from xpnet.training.callbacks import CallbackLike
from xpnet.training.log import log_named
from xpnet.typing import Transformer

SECONDS_BETWEEN_LINES = 10.0
"""Seconds after which a network that is being trained gets another line."""

EVERY_EPOCH = 2
"""The value of ``verbose`` from which each epoch of a network has a line."""

Callbacks = Iterable[CallbackLike] | Callable[[int], Iterable[CallbackLike]]
"""Callbacks that all networks share, or a function of a network's number that returns them."""


@dataclass(frozen=True)
class Watching:
    """The callbacks and logged lines that follow one fit.

    make : returns the watchers of the network of a number; None for none
    callbacks : of the user
    verbose : 0 for no lines, 1 for lines, `EVERY_EPOCH` or more for one of each epoch, too
    """

    make: Watch | None = None
    callbacks: Callbacks = ()
    verbose: int = 0

    def encoded(self, encoder: Transformer) -> None:
        """Log the line on columns that are not used, and why."""
        left_out = getattr(encoder, "left_out_", {})
        if self.verbose and left_out:
            reasons = (f"{column}: {reason}" for column, reason in left_out.items())
            log_named("left out", enumerated(reasons))

    def of_network(self, number: int) -> Watchers:
        """Return the callbacks of a network, and the state from which its training goes on."""
        watchers = Watchers((), None) if self.make is None else Watchers(*self.make(number))
        lines = []
        if self.verbose:
            lines = [NetworkLines(number + 1, every_epoch=self.verbose >= EVERY_EPOCH)]
        own = self.callbacks(number) if callable(self.callbacks) else self.callbacks
        return Watchers([*watchers.callbacks, *lines, *own], watchers.state)


class NetworkLines(Callback):
    """Logs the progress of a network every ten seconds, or each epoch, and at its end.

    number : of the network, from 1
    """

    def __init__(self, number: int, *, every_epoch: bool) -> None:
        self.title: str = f"network {number}"
        self.every_epoch: bool = every_epoch
        self.started: float = monotonic()
        self.logged: float = self.started

    def train_begin(self, training: Training) -> None:
        """Start the clock."""
        self.started = monotonic()
        self.logged = self.started

    def within_epoch(self, training: Training) -> None:
        """Log a line about a long epoch."""
        if self._is_due():
            rows = f"{training.rows_done:,} of {training.rows:,} rows"
            self._log(f"epoch {training.done + 1} of {training.epochs}, {rows}")

    def epoch_end(self, training: Training) -> None:
        """Log a line if each epoch has one, or if the last one is old."""
        if self.every_epoch or self._is_due():
            self._log(f"epoch {training.done} of {training.epochs}, {_losses(training)}")

    def train_end(self, training: Training) -> None:
        """Log how the training ended."""
        self._log(f"{training.done} epochs, {_losses(training)}")

    def _is_due(self) -> bool:
        """Return whether the last line is old enough for another one."""
        return monotonic() - self.logged >= SECONDS_BETWEEN_LINES

    def _log(self, text: str) -> None:
        """Log a text with the seconds since the beginning."""
        self.logged = monotonic()
        log_named(self.title, f"{text}, {self.logged - self.started:.0f} s")


def _losses(training: Training) -> str:
    """Return the losses of the last epoch, as text."""
    history = training.history
    if not history.loss:
        return "no loss"
    text = f"loss {history.loss[-1]:.4g}"
    validation = history.validation_loss
    return f"{text}, validation loss {validation[-1]:.4g}" if validation else text
