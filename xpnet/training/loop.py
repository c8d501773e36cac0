"""The training loop: epochs of minibatches, over any step, each of which is made as a whole or not at all."""

import signal
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from math import isfinite
from threading import get_ident, main_thread
from types import FrameType
from typing import Any, Self

import numpy

from xpnet.backend import Parameters, Step
from xpnet.distributed import Ranks, ranks_of
from xpnet.errors import InputError
from xpnet.ops import Array, namespace
from xpnet.optimizers import Schedule
from xpnet.steps import NetworkLock
from xpnet.training.callbacks import Callback
from xpnet.training.prefetch import prefetched
from xpnet.training.state import History, TrainingState, set_stream_state, stream_state

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
    lock : NetworkLock
        What each epoch holds while it is made; by default one of its own.

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
    lock: NetworkLock = field(default_factory=NetworkLock, repr=False, compare=False)
    rows_done: int = field(default=0, init=False)
    _told: float = field(default=0.0, init=False)

    @property
    def ranks(self) -> Ranks:
        """The processes that train together, of which this is one; alone outside of `xpnet.use_group`."""
        return ranks_of(self.step)

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
        with self.lock.calls:
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
        self.step.report = None
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


class Interrupts:
    """A context in which Ctrl-C waits while ``held`` is true.

    Attributes
    ----------
    held : bool
        Whether Ctrl-C waits; False at first.
    pending : bool
        Whether it was pressed while it was held.
    raised : bool
        Whether it was raised. Python drops an exception that is raised in a destructor or in a callback of the garbage
        collector, so work that ends although this is true must raise it again.

    Notes
    -----
    Python delivers Ctrl-C to the main thread, between any two instructions. If another thread trains, or if the user
    has a handler for SIGINT, nothing is changed.

    Examples
    --------
    >>> import signal
    >>> from xpnet.training import Interrupts
    >>> try:
    ...     with Interrupts() as interrupts:
    ...         interrupts.held = True
    ...         signal.raise_signal(signal.SIGINT)
    ...         print("this work is not cut")
    ...         interrupts.release()
    ... except KeyboardInterrupt:
    ...     print("Ctrl-C")
    this work is not cut
    Ctrl-C
    """

    held = pending = raised = False
    _before: Any = None

    def __enter__(self) -> Self:
        if get_ident() == main_thread().ident:
            before = signal.getsignal(signal.SIGINT)
            if before is signal.default_int_handler or isinstance(getattr(before, "__self__", None), Interrupts):
                self._before = signal.signal(signal.SIGINT, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def release(self) -> None:
        """Let Ctrl-C through from now on.

        Raises
        ------
        KeyboardInterrupt
            If Ctrl-C was pressed while it was held.
        """
        self.held = False
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if not self.held:
            self.raised = True
            raise KeyboardInterrupt
        self.pending = True


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
    step, history, ranks = training.step, training.history, training.ranks
    shuffled = shuffle and batch_size < training.rows
    orders = prefetched(training) if shuffled and step.prefetches_orders else training.rng
    compute = step.epoch if epoch is None else epoch
    compute = compute if check is None else _checked_once(compute, step.params, check)
    if ranks.several:
        settings = {"batch_size": batch_size, "epochs": training.epochs, "shuffle": shuffle}
        given = {"weighted": sample_weight is not None, "validated": validate is not None}
        ranks.check_alike(step.spec, rows=training.rows, **settings, **given)

    def make_epoch() -> None:
        started, learning_rate = time.perf_counter(), schedule(len(history.loss), history.loss)
        order = orders.permutation(training.rows) if shuffled else None
        loss = compute(
            X, Y, learning_rate=learning_rate, batch_size=batch_size, order=order, sample_weight=sample_weight
        )
        history.add(loss, learning_rate, time.perf_counter() - started, validate and validate())
        training.done += 1

    with Interrupts() as interrupts, step.running(), closing(training):
        _begin(training, resume_from)
        if any(callback.watches_rows for callback in training.callbacks):
            training.rows_done, step.report = training.rows, training.report  # as after an epoch
        brief = max((k for k, callback in enumerate(training.callbacks, 1) if callback.brief), default=0)
        while training.done < training.epochs and not training.stop:
            interrupts.raised = False
            _whole(training, make_epoch, training.callbacks[:brief], interrupts)
            interrupts.held = False
            if interrupts.raised:  # and lost on its way
                interrupts.pending = True
            for callback in training.callbacks[brief:]:
                callback.epoch_end(training)
            training.stop = ranks.any(training.stop)
            if interrupts.pending:
                interrupts.release()
            training.tell("between_epochs")
        training.tell("train_end")
    return history


def _whole(training: Training, make_epoch: Callable[[], None], brief: list[Callback], interrupts: Interrupts) -> None:
    """Make an epoch with the callbacks that belong to it, or leave everything as it was.

    Other threads wait. Callbacks may use the network, whose parameters are whole by then.
    """
    lock = training.lock
    lock.give_way()
    with lock.calls:
        lock.check_idle()
        saved: _Saved | None = _Saved(training)
        try:
            lock.busy = True
            make_epoch()
            lock.busy = False
            for callback in brief:
                interrupts.held = callback.brief
                callback.epoch_end(training)
            saved = None
        except BaseException:
            interrupts.held = True
            if saved is not None:
                saved.restore()
            raise
        finally:
            lock.busy = False


class _Saved:
    """The state of a training before an epoch, with that of the callbacks whose ``epoch_end`` belongs to the epoch."""

    def __init__(self, training: Training) -> None:
        self.training, self.restore_stream = training, _way_back(training.rng)
        self.done, self.stop = training.done, training.stop
        self.lengths = [(values, len(values)) for values in vars(training.history).values()]
        self.brief = [(callback, callback.state()) for callback in training.callbacks if callback.brief]
        self.restore_step = training.step.snapshot()

    def restore(self) -> None:
        """Put the training back into that state."""
        training = self.training
        self.restore_step()
        self.restore_stream()
        training.done, training.stop = self.done, self.stop
        for values, length in self.lengths:
            del values[length:]
        for callback, state in self.brief:
            callback.load_state(state)


def _way_back(rng: Any) -> Callable[[], Any]:
    """A function that puts a stream where it is now; one that can only be drawn from it leaves alone."""
    if hasattr(rng, "snapshot"):
        return rng.snapshot()
    if not (hasattr(rng, "get_state") or hasattr(rng, "bit_generator")):
        return lambda: None
    state = stream_state(rng)
    return lambda: set_stream_state(rng, state)


def _begin(training: Training, resume_from: TrainingState | None) -> None:
    """Tell the callbacks that the training begins, and on several ranks have all of them begin with the same."""
    resume_from = training.ranks.broadcast(resume_from)
    if resume_from is None:
        training.tell("train_begin")
    else:
        training.load_state(resume_from)
        training.tell("train_begin")
        training.load_callbacks(resume_from)
    with training.lock.calls:
        training.step.broadcast_state()


class _Function(Callback):
    """A plain function as a callback."""

    def __init__(self, function: Callable[["Training"], None]) -> None:
        self.function = function

    def epoch_end(self, training: Training) -> None:
        """Call the function."""
        self.function(training)


def is_finite(array: Array) -> bool:
    """Tell whether an array, or a SciPy sparse matrix, holds neither NaN nor infinity."""
    if hasattr(array, "tocsr"):
        array = array.data
    if type(array) is numpy.ndarray:
        if array.dtype.kind != "f":
            return True
        with numpy.errstate(all="ignore"):
            total = numpy.add.reduce(array, axis=None)  # one pass and no temporary; large finite numbers overflow
        return isfinite(total) or bool(numpy.isfinite(array).all())
    xp = namespace(array)
    return not xp.isdtype(array.dtype, "real floating") or bool(xp.all(xp.isfinite(array)))


def _checked_once(
    epoch: Callable[..., float], params: Parameters, check: Callable[[], None]
) -> Callable[..., float]:
    """An epoch that, the first time, calls ``check`` where it has left a loss or a parameter that is not finite.

    NaN or infinity in X always does that, as the gradient of the first weight has products with every number of X. So
    X is not read through before, which takes as long as some of the batches.
    """
    checked = False

    def checked_epoch(*data: Any, **how: Any) -> float:
        nonlocal checked
        if checked:
            return epoch(*data, **how)
        with numpy.errstate(invalid="ignore"):  # what there is to say of it, check says
            loss = epoch(*data, **how)
        if not (isfinite(loss) and all(map(is_finite, params.groups))):
            check()
        checked = True
        return loss

    return checked_epoch
