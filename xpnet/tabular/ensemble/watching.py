"""Callbacks and printed lines that follow a fit."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic

from xpnet.tabular.columns.records import enumerated
from xpnet.tabular.ensemble.recipe import Watch, Watchers
from xpnet.training import Callback, Training
from xpnet.training.callbacks import CallbackLike
from xpnet.typing import Transformer

SECONDS_BETWEEN_LINES = 10.0
"""Seconds after which a network that is being trained gets another line."""

Say = Callable[[str, str], None]
"""Called with the name and the value of each line."""
Callbacks = Iterable[CallbackLike] | Callable[[int], Iterable[CallbackLike]]
"""Callbacks that all networks share, or a function of a network's number that returns them."""


class PrintedLines:
    """Prints lines, whose values stand one below the other. sink : called with each line"""

    def __init__(self, sink: Callable[[str], object] = print) -> None:
        self.sink = sink

    def __call__(self, name: str, value: str) -> None:
        """Print a name and a value."""
        self.sink(f"{name:<9} {value}")


@dataclass(frozen=True)
class Watching:
    """The callbacks and printed lines that follow one fit.

    make : returns the watchers of the network of a number; None for none
    say : called with each line, None for no lines
    callbacks : of the user
    every_epoch : whether each epoch has a line
    """

    make: Watch | None = None
    say: Say | None = None
    callbacks: Callbacks = ()
    every_epoch: bool = False

    def encoded(self, encoder: Transformer) -> None:
        """Write the line on columns that are not used, and why."""
        left_out = getattr(encoder, "left_out_", {})
        if self.say is not None and left_out:
            reasons = (f"{column}: {reason}" for column, reason in left_out.items())
            self.say("left out", enumerated(reasons))

    def of_network(self, number: int) -> Watchers:
        """Return the callbacks of a network, and the state from which its training goes on."""
        watchers = Watchers((), None) if self.make is None else Watchers(*self.make(number))
        lines = []
        if self.say is not None:
            lines = [NetworkLines(number + 1, self.say, every_epoch=self.every_epoch)]
        own = self.callbacks(number) if callable(self.callbacks) else self.callbacks
        return Watchers([*watchers.callbacks, *lines, *own], watchers.state)


class NetworkLines(Callback):
    """Logs the progress of a network every ten seconds, or each epoch, and at its end.

    number : of the network, from 1; say : called with each line
    """

    def __init__(self, number: int, say: Say, *, every_epoch: bool = False) -> None:
        self.title: str = f"network {number}"
        self.say: Say = say
        self.every_epoch: bool = every_epoch
        self.started: float = monotonic()
        self.said: float = self.started

    def train_begin(self, training: Training) -> None:
        """Start the clock."""
        self.started = monotonic()
        self.said = self.started

    def within_epoch(self, training: Training) -> None:
        """Write a line about a long epoch."""
        if self._is_due():
            rows = f"{training.rows_done:,} of {training.rows:,} rows"
            self._say(f"epoch {training.done + 1} of {training.epochs}, {rows}")

    def epoch_end(self, training: Training) -> None:
        """Write a line if each epoch has one, or if the last one is old."""
        if self.every_epoch or self._is_due():
            self._say(f"epoch {training.done} of {training.epochs}, {_losses(training)}")

    def train_end(self, training: Training) -> None:
        """Write how the training ended."""
        self._say(f"{training.done} epochs, {_losses(training)}")

    def _is_due(self) -> bool:
        """Return whether the last line is old enough for another one."""
        return monotonic() - self.said >= SECONDS_BETWEEN_LINES

    def _say(self, text: str) -> None:
        """Print a text with the seconds since the beginning."""
        self.said = monotonic()
        self.say(self.title, f"{text}, {self.said - self.started:.0f} s")


def _losses(training: Training) -> str:
    """Return the losses of the last epoch, as text."""
    history = training.history
    if not history.loss:
        return "no loss"
    text = f"loss {history.loss[-1]:.4g}"
    validation = history.validation_loss
    return f"{text}, validation loss {validation[-1]:.4g}" if validation else text
