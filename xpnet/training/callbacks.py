"""Callbacks: told when training begins, after each epoch, and at its end."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xpnet.backend import StepState
from xpnet.dispatch import current_ranks

if TYPE_CHECKING:
    from xpnet.training.loop import Training


class Callback:
    """Does nothing; subclasses override what they care about. Set ``training.stop = True`` to end the training."""

    brief = False
    """Whether ``epoch_end`` is so short, and so much in need of being whole, that Ctrl-C waits for its end."""

    def train_begin(self, training: "Training") -> None:
        """Before the first epoch."""

    def epoch_end(self, training: "Training") -> None:
        """After each epoch; ``training.history`` has its numbers."""

    def between_epochs(self, training: "Training") -> None:
        """Once every callback has been told of the epoch's end: the moment to write down where the training is."""

    def train_end(self, training: "Training") -> None:
        """After the last epoch."""

    def close(self, training: "Training") -> None:
        """When the run is over, by its end or by an exception, Ctrl-C included: give back what ``train_begin`` took."""

    def state(self) -> dict[str, Any]:
        """What it needs to go on after an interruption: numbers, strings, lists and NumPy arrays, in dicts."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` gave; called after ``train_begin``."""


class EarlyStopping(Callback):
    """Stops when the loss (the validation loss where there is one) has not fallen by ``tol`` for ``patience`` epochs.

    restore_best : whether the parameters of the best epoch are put back at the end
    """

    def __init__(self, patience: int = 10, tol: float = 1e-4, *, restore_best: bool = True) -> None:
        self.patience, self.tol, self.restore_best = patience, tol, restore_best

    def train_begin(self, training: "Training") -> None:
        """Start counting."""
        self.best, self.waited = float("inf"), 0
        self.best_state: StepState | None = None

    def epoch_end(self, training: "Training") -> None:
        """Compare the epoch with the best one so far."""
        loss = (training.history.validation_loss or training.history.loss)[-1]
        if loss < self.best - self.tol:
            self.best, self.waited = loss, 0
            self.best_state = training.step.state() if self.restore_best else None
            return
        self.waited += 1
        training.stop = training.stop or self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """The best epoch so far, its parameters, and how long it has been waited since."""
        kept = None if self.best_state is None else vars(self.best_state)
        return {"best": self.best, "waited": self.waited, "best_state": kept}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        self.best, self.waited = float(state["best"]), int(state["waited"])
        self.best_state = None if state["best_state"] is None else StepState(**state["best_state"])

    def train_end(self, training: "Training") -> None:
        """Put the best parameters back."""
        if self.best_state is not None:
            training.step.load_state(self.best_state)


class Progress(Callback):
    """A line of progress: epoch, loss, rows per second. On several ranks, rank 0 reports.

    sink : called with each line; None prints a bar to stderr, and only where that is a terminal
    every : report each so many epochs
    """

    def __init__(self, sink: Callable[[str], Any] | None = None, *, every: int = 1) -> None:
        self.sink, self.every = sink, every
        self.bar: Any = None

    def train_begin(self, training: "Training") -> None:
        """Open the bar, where there is a terminal to show it on."""
        self.first, self.silent = training.history.epochs - training.done, current_ranks().rank > 0
        if self.sink is None and sys.stderr and sys.stderr.isatty() and not self.silent:  # pythonw has no stderr
            self.bar = _bar()
            self.task = self.bar.add_task("training", total=training.epochs, completed=training.done, loss="", speed="")
            self.bar.start()

    def epoch_end(self, training: "Training") -> None:
        """Report the epoch."""
        if self.silent:
            return
        history = training.history
        speed = f"{training.rows / max(history.seconds[-1], 1e-9):,.0f} rows/s"
        if self.bar is not None:
            self.bar.update(self.task, advance=1, loss=f"loss {history.loss[-1]:.4f}", speed=speed)
        elif self.sink is not None and (history.epochs - self.first) % self.every == 0:
            self.sink(f"epoch {history.epochs}: loss {history.loss[-1]:.4f}, {speed}")

    def close(self, training: "Training") -> None:
        """Close the bar and give the terminal its cursor back."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))
