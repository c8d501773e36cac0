"""The training loop: epochs of minibatches, over any step."""

import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from xpnet.backend import Step
from xpnet.dispatch import current_ranks
from xpnet.errors import InputError
from xpnet.ops import Array
from xpnet.optimizers import Schedule
from xpnet.training.ahead import drawn_ahead
from xpnet.training.callbacks import Callback
from xpnet.training.finite import checked
from xpnet.training.history import History
from xpnet.training.interrupts import Interrupts
from xpnet.training.ranks import check_alike, share_parameters, share_state
from xpnet.training.state import TrainingState, set_stream_state, stream_state

BETWEEN_REPORTS = 0.1  # seconds at least between two words on how far an epoch is


@dataclass
class Training:
    """A training under way, as callbacks see it.

    Parameters
    ----------
    step : Step
        The training step, with the parameters and the optimizer's state.
    rows : int
        Number of training rows.
    epochs : int
        The most epochs that this run makes.
    history : History
        The record of this run and of those before it on the same model; empty by default.
    rng : numpy.random.Generator or RandomState, optional
        The source of the orders of the rows.
    stop : bool, default False
        Whether the training ends after this epoch; callbacks set it.
    done : int, default 0
        Number of epochs that were made in this run, those before an interruption included.
    callbacks : list of Callback
        The callbacks, in the order in which they are called; none by default.

    Attributes
    ----------
    rows_done : int
        How many rows of a long epoch have been trained on, as `Callback.within_epoch` is told.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.backend import NetworkSpec
    >>> from xpnet.steps import make_step
    >>> from xpnet.training import Training
    >>> spec = NetworkSpec(widths=(2, 2), activations=())
    >>> training = Training(make_step(spec, xpnet.get_backend("numpy")), rows=4, epochs=10)
    >>> training.done, training.state().step.t
    (0, 0)
    """

    step: Step
    rows: int
    epochs: int
    history: History = field(default_factory=History)
    rng: Any = None
    stop: bool = False
    done: int = 0
    callbacks: list[Callback] = field(default_factory=list)
    rows_done: int = field(default=0, init=False)
    _told: float = field(default=0.0, init=False)
    _reporter: Any = field(default=None, init=False)

    def state(self) -> TrainingState:
        """Copy all that this training needs to go on.

        Returns
        -------
        TrainingState
            The copy. It is consistent between two epochs.
        """
        return TrainingState(
            spec=self.step.spec,
            step=self.step.state(),
            history=self.history.to_dict(),
            rows=self.rows,
            done=self.done,
            stop=self.stop,
            rng=stream_state(self.rng),
            callbacks={str(k): callback.state() for k, callback in enumerate(self.callbacks)},
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
            For the state of another network, of other data, or of another kind of random stream.
        """
        if (state.spec, state.rows) != (self.step.spec, self.rows):
            raise InputError(
                f"A training goes on with the network and the data it began with: widths {state.spec.widths}, "
                f"{state.rows} rows, and the same settings; received widths {self.step.spec.widths}, {self.rows} rows."
            )
        set_stream_state(self.rng, state.rng)
        self.step.load_state(state.step)
        self.history.load(state.history)
        self.done, self.stop = state.done, state.stop

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
                f"A training goes on with the callbacks it began with, {len(state.callbacks)} of them; "
                f"received {len(self.callbacks)}."
            )
        for k, callback in enumerate(self.callbacks):
            try:
                callback.load_state(state.callbacks[str(k)])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise InputError(
                    f"A training goes on with the callbacks it began with, in their order; {type(callback).__name__}, "
                    f"number {k + 1}, cannot go on from the state that was kept for it: {error!r}."
                ) from error

    def listen_to(self, reporter: Any) -> None:
        """Have whoever walks over the rows report, until the training is over.

        Parameters
        ----------
        reporter : xpnet.backend.step.ReportingStep
            The step, or what walks over the rows in its place.
        """
        self._reporter, self.rows_done = reporter, self.rows  # as after an epoch
        reporter.report = self.report

    def report(self, rows: int) -> None:
        """Tell the callbacks that want to know how far an epoch is, a few times a second.

        Parameters
        ----------
        rows : int
            How many rows have been trained on in this epoch.
        """
        now, begins = time.perf_counter(), rows <= self.rows_done
        self.rows_done = rows
        if begins or now - self._told < BETWEEN_REPORTS:
            self._told = now if begins else self._told
            return
        self._told = now
        for callback in self.callbacks:
            if callback.watches_rows:
                callback.within_epoch(self)

    def close(self) -> None:
        """Tell the callbacks that the training is over, however it ended."""
        if self._reporter is not None:
            self._reporter.report = None
        self.tell("close")

    def tell(self, event: str) -> None:
        """Call a method of every callback, in order.

        Parameters
        ----------
        event : {"train_begin", "epoch_end", "between_epochs", "train_end", "close"}
            The name of the method.
        """
        for callback in self.callbacks:
            if getattr(type(callback), event) is not getattr(Callback, event):
                getattr(callback, event)(self)


def run(
    training: Training,
    X: Array,
    Y: Array,
    *,
    batch_size: int,
    shuffle: bool,
    schedule: Schedule,
    sample_weight: Array | None = None,
    validate: Callable[[], float] | None = None,
    callbacks: Iterable[Callback | Callable[[Training], None]] = (),
    resume_from: TrainingState | None = None,
    epoch: Callable[..., float] | None = None,
    check: Callable[[], None] | None = None,
) -> History:
    """Train for ``training.epochs`` epochs, or until a callback stops it.

    Parameters
    ----------
    training : Training
        The training, which holds the step and the history.
    X : array, shape (rows, in)
        The inputs, as the step takes them.
    Y : array, shape (rows,) or (rows, out)
        The labels or targets, as the step takes them.
    batch_size : int
        Rows of a batch.
    shuffle : bool
        Whether each epoch has a new order of the rows. A batch of all rows needs none.
    schedule : callable
        The learning rate of an epoch, by its number and the losses before it.
    sample_weight : array, shape (rows,), optional
        Weights of the rows; None for equal weights.
    validate : callable, optional
        Called after each epoch; returns the validation loss.
    callbacks : iterable of Callback or callable
        Called in their order. A plain function is called with the training after each epoch.
    resume_from : TrainingState, optional
        The state of a run that was cut off and now goes on. Its epochs count among ``training.epochs``.
    epoch : callable, optional
        Called in place of ``training.step.epoch``, with its signature.
    check : callable, optional
        Called when the first epoch has left a loss or a parameter that is not finite; it raises if the data are to
        blame.

    Returns
    -------
    History
        The history of the training.

    Raises
    ------
    InputError
        For a state that does not belong to this network, these data and these callbacks.

    Notes
    -----
    An exception, Ctrl-C included, ends the run with everything as it was after the last whole epoch: parameters, the
    optimizer's state, history and random stream are those of a run with this number of epochs, and training can go on
    from there. On several ranks every rank calls its own callbacks; one that stops stops all.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.backend import NetworkSpec
    >>> from xpnet.optimizers import Constant
    >>> from xpnet.steps import make_step
    >>> from xpnet.training import Training, run
    >>> spec = NetworkSpec(widths=(2, 2), activations=())
    >>> training = Training(make_step(spec, xpnet.get_backend("numpy")), rows=2, epochs=3)
    >>> X, Y = numpy.eye(2), numpy.array([0, 1])
    >>> history = run(training, X, Y, batch_size=2, shuffle=False, schedule=Constant(0.1))
    >>> [round(loss, 3) for loss in history.loss]
    [0.693, 0.668, 0.645]
    """
    training.callbacks = [c if isinstance(c, Callback) else _Function(c) for c in callbacks]
    shuffled = shuffle and batch_size < training.rows
    make_epoch = training.step.epoch if epoch is None else epoch
    ranks, history = current_ranks(), training.history
    several = ranks.several
    if several:
        check_alike(
            ranks,
            training.step.spec,
            rows=training.rows,
            batch_size=batch_size,
            epochs=training.epochs,
            shuffle=shuffle,
            weighted=sample_weight is not None,
            validated=validate is not None,
        )
    ahead = shuffled and getattr(training.step, "draws_ahead", False)
    orders = drawn_ahead(training, epoch) if ahead else training.rng
    with Interrupts() as interrupts, training.step.running(), closing(training):
        _begin(training, ranks.share(resume_from) if several else resume_from)
        if several:
            share_state(training.step, ranks)
        for callback in training.callbacks:
            if callback.watches_rows:
                training.listen_to(epoch if hasattr(epoch, "report") else training.step)
        brief = _until_last_brief(training.callbacks)
        while training.done < training.epochs and not training.stop:
            saved: _Saved | None = _Saved(training)
            interrupts.raised = False
            try:
                started = time.perf_counter()
                learning_rate = schedule(len(history.loss), history.loss)
                order = None  # lets go of the last one: a later epoch takes no more memory than the first
                order = orders.permutation(training.rows) if shuffled else None
                loss = (checked(make_epoch, training.step.params, check) if check else make_epoch)(
                    X, Y, learning_rate=learning_rate, batch_size=batch_size, order=order, sample_weight=sample_weight
                )
                if several:
                    share_parameters(training.step, ranks)
                history.add(loss, learning_rate, time.perf_counter() - started, validate and validate())
                training.done += 1
                for callback in training.callbacks[:brief]:
                    interrupts.held = callback.brief
                    callback.epoch_end(training)
                check, saved = None, None
            except BaseException:
                interrupts.held = True
                if saved is not None:
                    saved.restore(training)
                raise
            interrupts.held = False
            if interrupts.raised:  # and lost on its way
                interrupts.pending = True
            for callback in training.callbacks[brief:]:
                callback.epoch_end(training)
            if several:
                training.stop = ranks.any(training.stop)
            if interrupts.pending:
                interrupts.release()
            for callback in training.callbacks:
                if type(callback).between_epochs is not Callback.between_epochs:
                    callback.between_epochs(training)
        training.tell("train_end")
    return history


class _Saved:
    """The state of a training before an epoch, with that of the callbacks whose ``epoch_end`` belongs to the epoch."""

    def __init__(self, training: Training) -> None:
        self.step, self.rng = training.step.state(), _saved_stream(training.rng)
        self.done, self.stop = training.done, training.stop
        self.lengths = {name: len(values) for name, values in vars(training.history).items()}
        self.brief = [(callback, callback.state()) for callback in training.callbacks if callback.brief]

    def restore(self, training: Training) -> None:
        """Put the training back into that state."""
        training.step.load_state(self.step)
        if self.rng is not None:
            set_stream_state(training.rng, self.rng)
        training.done, training.stop = self.done, self.stop
        for name, length in self.lengths.items():
            del getattr(training.history, name)[length:]
        for callback, state in self.brief:
            callback.load_state(state)


def _until_last_brief(callbacks: list[Callback]) -> int:
    """How many callbacks there are up to the last one that is brief."""
    return max((number for number, callback in enumerate(callbacks, 1) if callback.brief), default=0)


def _saved_stream(rng: Any) -> Any:
    """The state of a stream; None for one that can only be drawn from."""
    return stream_state(rng) if hasattr(rng, "get_state") or hasattr(rng, "bit_generator") else None


def _begin(training: Training, resume_from: TrainingState | None) -> None:
    if resume_from is None:
        training.tell("train_begin")
        return
    training.load_state(resume_from)
    training.tell("train_begin")
    training.load_callbacks(resume_from)


class _Function(Callback):
    """A plain function as a callback."""

    def __init__(self, function: Callable[["Training"], None]) -> None:
        self.function = function

    def epoch_end(self, training: Training) -> None:
        """Call the function."""
        self.function(training)
