"""A training under way, as callbacks see it, and its state, as a checkpoint holds it."""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from xpnet.backend import NetworkSpec, Step, StepState
from xpnet.errors import InputError
from xpnet.steps import NetworkLock
from xpnet.training.batches import Batches
from xpnet.training.callbacks import (
    Callback,
    CallOrder,
    as_callbacks,
    by_state_key,
    call_order,
)
from xpnet.training.history import History
from xpnet.training.rng import rng_state, set_rng_state
from xpnet.typing import RandomGenerator, SavedState

MIN_REPORT_SECONDS = 0.1
"""Minimum seconds between two reports of the progress within an epoch."""


@dataclass
class TrainingState:
    """The state of a training after a whole epoch, as a checkpoint holds it.

    Parameters
    ----------
    spec : NetworkSpec
        The network.
    step : StepState
        Its parameters, the optimizer's buffers and the number of updates.
    history : dict of str to list of float
        The numbers of all epochs so far, by name.
    rows : int
        Number of rows it trains on.
    done : int
        Number of epochs that were made in this run.
    stop : bool
        Whether a callback has ended the training.
    rng : dict or None
        The state of the random generator that orders are drawn from, as NumPy gives it; None
        without a generator.
    callbacks : dict of str to dict
        The state of each callback, by its `Callback.state_key`. States of earlier versions are
        numbered instead, by the place of the callback in the list.

    See Also
    --------
    xpnet.Checkpoint.latest : Read the state from a folder.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.training import Callback
    >>> class Keep(Callback):
    ...     def between_epochs(self, training):
    ...         self.kept = training.state()
    >>> keep = Keep()
    >>> net = xpnet.LogisticRegression(2, 2, backend="numpy")
    >>> history = net.fit(numpy.eye(2), numpy.array([0, 1]), epochs=2, callbacks=[keep])
    >>> keep.kept.done, keep.kept.step.t
    (2, 2)
    """

    spec: NetworkSpec
    step: StepState
    history: dict[str, list[float]]
    rows: int
    done: int
    stop: bool
    rng: SavedState | None
    callbacks: dict[str, SavedState]


class Training:
    """A training under way, as callbacks see it.

    Parameters
    ----------
    step : Step
        The training step, with the parameters and the optimizer's state.
    batches : Batches
        What an epoch runs over.
    epochs : int
        The maximum number of epochs of this run.
    history : History, optional
        The record of this run and of those before it on the same model; None for a new one.
    callbacks : iterable of Callback or of functions, default ()
        The callbacks.
    lock : NetworkLock, optional
        The lock that each epoch holds while it is made; None for a new one.

    Attributes
    ----------
    callbacks : list of Callback
        The callbacks in the order in which they are called, transactional ones first.
    order : CallOrder
        Which of them are called when.
    stop : bool
        Whether the training ends after this epoch; callbacks set it.
    done : int
        Number of epochs that were made in this run, those before an interruption included.
    rows_done : int
        Number of rows of a long epoch that have been trained on, for `Callback.within_epoch`.
    reported_at : float
        The time, in seconds of a clock, of the last report of progress, or of the beginning of the
        epoch.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.backend import NetworkSpec
    >>> from xpnet.steps import make_step
    >>> from xpnet.training import InMemory, LabeledRows, Training
    >>> spec = NetworkSpec(widths=(2, 2), activations=())
    >>> batches = InMemory(LabeledRows(numpy.eye(2), numpy.array([0, 1])), batch_size=2)
    >>> training = Training(make_step(spec, xpnet.get_backend("numpy")), batches, epochs=10)
    >>> training.done, training.rows, training.state().step.t
    (0, 2, 0)
    """

    def __init__(
        self,
        step: Step,
        batches: Batches,
        epochs: int,
        *,
        history: History | None = None,
        callbacks: Iterable[Callback | Callable[["Training"], None]] = (),
        lock: NetworkLock | None = None,
    ) -> None:
        self.step = step
        self.batches = batches
        self.epochs = epochs
        self.history: History = History() if history is None else history
        self.callbacks: list[Callback] = as_callbacks(callbacks)
        self.order: CallOrder = call_order(self.callbacks)
        self.lock: NetworkLock = NetworkLock() if lock is None else lock
        self.stop: bool = False
        self.done: int = 0
        self.rows_done: int = 0
        self.reported_at: float = 0.0

    def __repr__(self) -> str:
        return f"Training({self.done} of {self.epochs} epochs, {self.rows} rows, {self.history})"

    @property
    def rows(self) -> int:
        """Return the number of rows in an epoch."""
        return self.batches.rows

    @property
    def rng(self) -> RandomGenerator | None:
        """Return the random generator that the orders of the rows are drawn from, or None."""
        return self.batches.rng

    @property
    def is_main_process(self) -> bool:
        """Return whether this process, of several, shows progress and writes files."""
        return self.batches.is_main_process

    @property
    def leads(self) -> bool:
        """Return `is_main_process`, of which this is an earlier name."""
        return self.is_main_process

    def state(self) -> TrainingState:
        """Copy all that this training needs to go on.

        Returns
        -------
        TrainingState
            The copy. It is consistent between two epochs.
        """
        with self.lock.calls:
            step = self.step.state()
        return TrainingState(
            spec=self.step.spec,
            step=step,
            history=self.history.to_dict(),
            rows=self.rows,
            done=self.done,
            stop=self.stop,
            rng=rng_state(self.rng),
            callbacks={
                key: callback.state() for key, callback in by_state_key(self.callbacks).items()
            },
        )

    def load_state(self, state: TrainingState) -> None:
        """Go on from a state, of which the callbacks get their parts from `load_callbacks`.

        Parameters
        ----------
        state : TrainingState
            The state.

        Raises
        ------
        InputError
            For the state of another network, of other data, or of another kind of random generator.
        """
        expected = {"rows": state.rows, **asdict(state.spec)}
        received = {"rows": self.rows, **asdict(self.step.spec)}
        changed = [name for name in received if expected[name] != received[name]]
        if changed:
            raise InputError(
                "A resumed training must have the network and the data it began with, "
                f"{', '.join(f'{name}={expected[name]!r}' for name in changed)}; got "
                f"{', '.join(f'{name}={received[name]!r}' for name in changed)}; "
                "pass the settings and data as before."
            )
        set_rng_state(self.rng, state.rng)
        with self.lock.calls:
            self.step.load_state(state.step)
        for name, values in state.history.items():
            getattr(self.history, name)[:] = values
        self.done = state.done
        self.stop = state.stop

    def load_callbacks(self, state: TrainingState) -> None:
        """Give each callback its part of a state.

        Parameters
        ----------
        state : TrainingState
            The state.

        Raises
        ------
        InputError
            For another number of callbacks, and for a part that its callback cannot go on from.
        """
        if len(state.callbacks) != len(self.callbacks):
            raise InputError(
                f"A resumed training must have the callbacks it began with, {len(state.callbacks)} "
                f"of them; got {len(self.callbacks)}; pass the same callbacks."
            )
        are_numbered = all(key.isdecimal() for key in state.callbacks)
        for k, (key, callback) in enumerate(by_state_key(self.callbacks).items()):
            try:
                callback.load_state(state.callbacks.get(str(k) if are_numbered else key, {}))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise InputError(
                    "A resumed training must have the callbacks it began with, in their order; got "
                    f"{type(callback).__name__} as number {k + 1}, which cannot load the state "
                    f"kept for it: {error!r}; pass the same callbacks."
                ) from error

    def report(self, rows: int) -> None:
        """Report the progress within an epoch to the callbacks, a few times a second.

        Parameters
        ----------
        rows : int
            How many rows have been trained on in this epoch.
        """
        now = time.perf_counter()
        if now - self.reported_at >= MIN_REPORT_SECONDS:
            self.rows_done = rows
            self.reported_at = now
            self.notify("within_epoch")

    def close(self) -> None:
        """Call `close` of the callbacks, however the training ended."""
        self.batches.report_to(self.step, None)
        self.notify("close")

    def notify(self, event: str) -> None:
        """Call a method of every callback, in order.

        Parameters
        ----------
        event : {"train_begin", "epoch_end", "within_epoch", "between_epochs", "train_end", "close"}
            The name of the method.
        """
        for callback in self.order.listeners[event]:
            getattr(callback, event)(self)
