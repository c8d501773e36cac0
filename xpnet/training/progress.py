"""The progress of a training on a terminal or in a notebook."""

import sys
from typing import TYPE_CHECKING

from xpnet.training.callbacks import Callback, Training

if TYPE_CHECKING:  # few trainings show a bar
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


class Progress(Callback):
    """A callback that shows epoch, loss and rows per second on stderr or in a notebook.

    It is updated within a long epoch, too. Without a terminal or a notebook nothing is shown. Of
    several processes that train together, one shows it.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.training import Progress
    >>> net = xpnet.LogisticRegression(2, 2, backend="numpy")
    >>> history = net.fit(numpy.eye(2), numpy.array([0, 1]), epochs=1, callbacks=[Progress()])
    """

    bar: "Bar | None" = None

    def train_begin(self, training: Training) -> None:
        """Open the bar or the line, if there is a place to show it.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        self.in_line: bool = training.is_main_process and _is_in_notebook()
        has_terminal = sys.stderr is not None and sys.stderr.isatty()  # pythonw has no stderr
        if training.is_main_process and has_terminal and not self.in_line:
            self._open_bar(training)

    def _open_bar(self, training: Training) -> None:
        """Show a bar on the terminal of stderr."""
        from rich.console import Console  # imported late: few trainings show a bar
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = (
            "{task.description}",
            BarColumn(),
            MofNCompleteColumn(),
            "{task.fields[loss]}",
            "{task.fields[speed]}",
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=Console(stderr=True))
        self.task: TaskID = self.bar.add_task(
            "training", total=training.epochs, completed=training.done, loss="", speed=""
        )
        self.bar.start()

    def within_epoch(self, training: Training) -> None:
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

    def epoch_end(self, training: Training) -> None:
        """Report the epoch.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        loss = training.history.loss[-1]
        seconds = max(training.history.seconds[-1], 1e-9)
        speed = f"{training.rows / seconds:,.0f} rows/s"
        if self.in_line:
            _write_over(f"epoch {training.done} of {training.epochs}: loss {loss:.4f}, {speed}")
        elif self.bar is not None:
            self.bar.update(
                self.task, completed=training.done, loss=f"loss {loss:.4f}", speed=speed
            )

    def close(self, training: Training) -> None:
        """Close the bar and give the terminal its cursor back; a notebook keeps the last line.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _is_in_notebook() -> bool:
    """Return whether the program runs in a notebook of Jupyter."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and type(ipython.get_ipython()).__name__ == "ZMQInteractiveShell"


def _write_over(text: str) -> None:
    """Write over the last line of a notebook's cell; the kernel sends it a few times a second."""
    sys.stdout.write(f"\r{text:<79}")
