"""Callbacks are told when training begins, after each epoch, and at its end: early stopping, and a bar of progress."""

import sys
from typing import TYPE_CHECKING, Any

from xpnet.backend import StepState

if TYPE_CHECKING:
    from xpnet.training.loop import Training


class Callback:
    """The base of all callbacks, whose methods do nothing; a subclass overrides those that it needs.

    A callback ends the training with ``training.stop = True``.

    Attributes
    ----------
    brief : bool, default False
        Whether ``epoch_end`` belongs to the epoch: Ctrl-C waits for its end, and an exception in it undoes the epoch;
        ``load_state`` then gets back what ``state`` returned before.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.training import Callback
    >>> class StopAt(Callback):
    ...     def __init__(self, loss):
    ...         self.loss = loss
    ...     def epoch_end(self, training):
    ...         training.stop = training.history.loss[-1] < self.loss
    >>> net = xpnet.LogisticRegression(2, 2, learning_rate=1.0, backend="numpy")
    >>> history = net.fit(numpy.eye(2), numpy.array([0, 1]), epochs=100, callbacks=[StopAt(0.5)])
    >>> history.epochs
    2
    """

    brief = False

    def train_begin(self, training: "Training") -> None:
        """Prepare, before the first epoch.

        Parameters
        ----------
        training : Training
            The training under way.
        """

    def epoch_end(self, training: "Training") -> None:
        """Take note of an epoch that was made.

        ``training.history`` has its numbers.

        Parameters
        ----------
        training : Training
            The training under way.
        """

    def within_epoch(self, training: "Training") -> None:
        """Take note of how far a long epoch is, a few times a second.

        ``training.rows_done`` of ``training.rows`` have been trained on. An epoch that takes less than a moment says
        nothing, nor does one whose step cannot be asked.

        Parameters
        ----------
        training : Training
            The training under way.
        """

    def between_epochs(self, training: "Training") -> None:
        """Act when ``epoch_end`` of every callback has been called.

        This is the moment to write down the state of the training.

        Parameters
        ----------
        training : Training
            The training under way.
        """

    def train_end(self, training: "Training") -> None:
        """Finish, after the last epoch.

        Parameters
        ----------
        training : Training
            The training under way.
        """

    def close(self, training: "Training") -> None:
        """Give back what `train_begin` took.

        It is called when the run is over, by its end or by an exception, Ctrl-C included.

        Parameters
        ----------
        training : Training
            The training under way.
        """

    def state(self) -> dict[str, Any]:
        """Return what the callback needs to go on after an interruption.

        Returns
        -------
        dict
            Numbers, strings, lists and NumPy arrays, in dicts.
        """
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state, after `train_begin`.

        Parameters
        ----------
        state : dict
            What `state` returned.
        """


class EarlyStopping(Callback):
    """A callback that ends the training when the loss no longer falls.

    It looks at the validation loss if there is one.

    Parameters
    ----------
    patience : int, default 10
        Number of epochs in a row without a fall after which the training ends.
    tol : float, default 1e-4
        By how much a loss must lie below the best one before it to count as a fall.
    restore_best : bool, default True
        Whether the network gets the parameters of the best epoch at the end.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.training import EarlyStopping
    >>> net = xpnet.LogisticRegression(2, 2, backend="numpy")
    >>> stopping = EarlyStopping(patience=3, tol=1.0)
    >>> net.fit(numpy.eye(2), numpy.array([0, 1]), epochs=100, callbacks=[stopping]).epochs
    4
    """

    def __init__(self, patience: int = 10, tol: float = 1e-4, *, restore_best: bool = True) -> None:
        self.patience, self.tol, self.restore_best = patience, tol, restore_best

    def train_begin(self, training: "Training") -> None:
        """Start counting.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        self.best, self.waited = float("inf"), 0
        self.best_state: StepState | None = None

    def epoch_end(self, training: "Training") -> None:
        """Compare the epoch with the best one so far.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        loss = (training.history.validation_loss or training.history.loss)[-1]
        if loss < self.best - self.tol:
            self.best, self.waited = loss, 0
            self.best_state = training.step.state() if self.restore_best else None
            return
        self.waited += 1
        training.stop = training.stop or self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """Return the best loss so far, its parameters, and the number of epochs since.

        Returns
        -------
        dict
            ``best``, ``waited`` and ``best_state``.
        """
        return {
            "best": self.best,
            "waited": self.waited,
            "best_state": self.best_state and vars(self.best_state),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on counting.

        Parameters
        ----------
        state : dict
            What `state` returned.
        """
        self.best, self.waited = float(state["best"]), int(state["waited"])
        self.best_state = None if state["best_state"] is None else StepState(**state["best_state"])

    def train_end(self, training: "Training") -> None:
        """Put the best parameters back.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        if self.best_state is not None:
            with training.lock.calls:
                training.step.load_state(self.best_state)


class Progress(Callback):
    """A callback that shows epoch, loss and rows per second: a bar on a terminal's stderr, a line in a notebook.

    Both move within a long epoch; elsewhere nothing is shown. On several ranks, rank 0 shows it.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.training import Progress
    >>> net = xpnet.LogisticRegression(2, 2, backend="numpy")
    >>> history = net.fit(numpy.eye(2), numpy.array([0, 1]), epochs=1, callbacks=[Progress()])
    """

    bar: Any = None

    def train_begin(self, training: "Training") -> None:
        """Open the bar or the line, if there is a place to show it.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        first, ipython = training.ranks.rank == 0, sys.modules.get("IPython")
        self.in_line = (
            first
            and ipython is not None
            and type(ipython.get_ipython()).__name__ == "ZMQInteractiveShell"
        )
        if (
            first and not self.in_line and sys.stderr and sys.stderr.isatty()
        ):  # pythonw has no stderr
            from rich.console import Console  # imported late: few trainings show a bar
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

            numbers = (
                MofNCompleteColumn(),
                "{task.fields[loss]}",
                "{task.fields[speed]}",
                TimeRemainingColumn(),
            )
            self.bar = Progress(
                "{task.description}", BarColumn(), *numbers, console=Console(stderr=True)
            )
            self.task = self.bar.add_task(
                "training", total=training.epochs, completed=training.done, loss="", speed=""
            )
            self.bar.start()

    def within_epoch(self, training: "Training") -> None:
        """Move the bar or the line.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        rows = f"{training.rows_done:,} of {training.rows:,} rows"
        if self.in_line:
            _write_over(f"epoch {training.done + 1} of {training.epochs}: {rows}")
        elif self.bar is not None:
            self.bar.update(
                self.task, completed=training.done + training.rows_done / training.rows, speed=rows
            )

    def epoch_end(self, training: "Training") -> None:
        """Report the epoch.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        loss, seconds = training.history.loss[-1], max(training.history.seconds[-1], 1e-9)
        speed = f"{training.rows / seconds:,.0f} rows/s"
        if self.in_line:
            _write_over(f"epoch {training.done} of {training.epochs}: loss {loss:.4f}, {speed}")
        elif self.bar is not None:
            self.bar.update(
                self.task, completed=training.done, loss=f"loss {loss:.4f}", speed=speed
            )

    def close(self, training: "Training") -> None:
        """Close the bar and give the terminal its cursor back; a notebook keeps the last line.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _write_over(text: str) -> None:
    """Write over the last line of a notebook's cell, whose kernel sends what is written a few times a second."""
    sys.stdout.write(f"\r{text:<79}")
