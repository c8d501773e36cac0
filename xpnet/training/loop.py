"""The training loop: epochs of minibatches, over any step, each of which is made as a whole or not at all."""

import signal
import time
from collections.abc import Callable, Iterable
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field
from math import isfinite
from threading import get_ident, main_thread
from types import FrameType
from typing import Any, Self

import numpy

from xpnet.backend import NetworkSpec, Step, StepState
from xpnet.distributed import Ranks, ranks_of
from xpnet.errors import InputError
from xpnet.ops import Array, namespace
from xpnet.optimizers import Schedule
from xpnet.steps import NetworkLock
from xpnet.training.callbacks import Callback
from xpnet.training.streams import prefetched, set_stream_state, stream_state

BETWEEN_REPORTS = 0.1
"""Seconds at least between two words on how far an epoch is."""

ROWS_DRAWN_AGAIN = 2**13
"""Rows that are shuffled again, at most, on the way back to the beginning of an epoch."""


@dataclass(repr=False)
class History:
    """Lists with one number for each epoch.

    Parameters
    ----------
    loss : list of float
        The mean loss over the batches of the epoch, penalty included, each batch before its update.
    learning_rate : list of float
        The learning rate of the epoch.
    seconds : list of float
        The wall-clock time of the epoch.
    validation_loss : list of float
        The loss on validation data after the epoch; empty without such data.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> net = xpnet.LogisticRegression(2, 2, learning_rate=0.1, backend="numpy")
    >>> history = net.fit(numpy.eye(2), numpy.array([0, 1]), epochs=3)
    >>> history.epochs, history.learning_rate
    (3, [0.1, 0.1, 0.1])
    """

    loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)

    def __repr__(self) -> str:
        numbers = {"loss": self.loss, "validation_loss": self.validation_loss}
        last = [f"{name}={values[-1]:.4g}" for name, values in numbers.items() if values]
        return f"History({', '.join([f'epochs={self.epochs}', *last])})"

    @property
    def epochs(self) -> int:
        """Return the number of epochs made."""
        return len(self.loss)

    def add(
        self,
        loss: float,
        learning_rate: float,
        seconds: float,
        validation_loss: float | None = None,
    ) -> None:
        """Add one epoch.

        Parameters
        ----------
        loss : float
            The mean loss.
        learning_rate : float
            The learning rate.
        seconds : float
            The wall-clock time.
        validation_loss : float, optional
            The loss on validation data; None without such data.
        """
        self.loss.append(loss)
        self.learning_rate.append(learning_rate)
        self.seconds.append(seconds)
        if validation_loss is not None:
            self.validation_loss.append(validation_loss)

    def to_dict(self) -> dict[str, list[float]]:
        """Copy the lists, ready for JSON.

        Returns
        -------
        dict of str to list of float
            The lists by name.
        """
        return asdict(self)


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
        The state of the random stream that orders are drawn from, as NumPy gives it; None for no stream.
    callbacks : dict of str to dict
        The state of each callback, by its place in the list.

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
    rng: dict[str, Any] | None
    callbacks: dict[str, dict[str, Any]]


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
    _reported_at: float = field(default=0.0, init=False)
    _stream: Any = field(
        default=None, init=False, repr=False, compare=False
    )  # a state of the random stream
    _drawn: int = field(
        default=0, init=False, repr=False, compare=False
    )  # orders that were drawn since then

    @property
    def ranks(self) -> Ranks:
        """Return the processes that train together, of which this is one; alone outside of `xpnet.use_group`."""
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
        began = {"rows": state.rows, **asdict(state.spec)}
        here = {"rows": self.rows, **asdict(self.step.spec)}
        others = [name for name in here if began[name] != here[name]]
        if others:
            was, now = (
                ", ".join(f"{name}={facts[name]!r}" for name in others) for facts in (began, here)
            )
            raise InputError(
                f"A training goes on with the network and the data it began with: {was}; received {now}. Give the "
                "settings and data as before."
            )
        set_stream_state(self.rng, state.rng)
        with self.lock.calls:
            self.step.load_state(state.step)
        for name, values in state.history.items():
            getattr(self.history, name)[:] = values
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
        """Tell the callbacks how far an epoch is, a few times a second.

        Parameters
        ----------
        rows : int
            How many rows have been trained on in this epoch.
        """
        now = time.perf_counter()
        if now - self._reported_at >= BETWEEN_REPORTS:
            self.rows_done, self._reported_at = rows, now
            self.notify("within_epoch")

    def close(self) -> None:
        """Tell the callbacks that the training is over, however it ended."""
        self.step.report = None
        self.notify("close")

    def notify(self, event: str) -> None:
        """Call a method of every callback, in order.

        Parameters
        ----------
        event : {"train_begin", "epoch_end", "within_epoch", "between_epochs", "train_end", "close"}
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
        Whether it was pressed, held or not. Python drops an exception that is raised in a destructor or in a callback
        of the garbage collector, so work that ends although this is true must raise it again.

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
    ...         if interrupts.pending:
    ...             raise KeyboardInterrupt
    ... except KeyboardInterrupt:
    ...     print("Ctrl-C")
    this work is not cut
    Ctrl-C
    """

    held = pending = False
    _before: Any = None

    def __enter__(self) -> Self:
        if get_ident() == main_thread().ident:
            before = signal.getsignal(signal.SIGINT)
            if before is signal.default_int_handler or isinstance(
                getattr(before, "__self__", None), Interrupts
            ):
                self._before = signal.signal(signal.SIGINT, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.pending = True
        if not self.held:
            raise KeyboardInterrupt


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
    own_batches: bool = False,
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
        Called in their order, brief ones first. A plain function is called with the training after each epoch.
    resume_from : TrainingState, optional
        The state of a run that was cut off and now goes on. Its epochs count among ``training.epochs``.
    epoch : callable, optional
        Called in place of ``training.step.epoch``, with its signature.
    check : callable, optional
        Called when the first epoch has left a loss or a parameter that is not finite; it raises if the data are to
        blame.
    own_batches : bool, default False
        Whether each member of the network has an order of the rows of its own.

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
    told = [c if isinstance(c, Callback) else _of_function(c) for c in callbacks]
    training.callbacks = sorted(told, key=lambda callback: not callback.brief)
    within = [callback for callback in told if callback.brief]
    step, history, ranks = training.step, training.history, training.ranks
    shuffled = shuffle and batch_size < training.rows
    members = step.spec.members if own_batches else 1
    ahead = shuffled and step.prefetches_orders and members == 1
    draw_one = prefetched(training) if ahead else lambda: training.rng.permutation(training.rows)
    draw = draw_one if members == 1 else lambda: numpy.stack([draw_one() for _ in range(members)])
    compute = step.epoch if epoch is None else epoch
    settings = {
        "rows": training.rows,
        "batch_size": batch_size,
        "epochs": training.epochs,
        "shuffle": shuffle,
    }
    ranks.check_alike(
        step.spec, **settings, weighted=sample_weight is not None, validated=validate is not None
    )

    def make_epoch() -> None:
        nonlocal check
        learning_rate = schedule(len(history.loss), history.loss)
        started = training._reported_at = time.perf_counter()
        order = (
            draw() if shuffled else None
        )  # kept until the validation, so that no later epoch takes more memory
        how: dict[str, Any] = {
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "sample_weight": sample_weight,
        }
        # What there is to say of numbers that are not finite, check says.
        with nullcontext() if check is None else numpy.errstate(invalid="ignore"):
            loss = compute(X, Y, **how, order=order)
        # NaN or infinity in X always shows, as the gradient of the first weight has products with every number of X. So
        # X is not read through before, which takes as long as some of the batches.
        if check is not None and not (isfinite(loss) and all(map(is_finite, step.params.groups))):
            check()
        check = None
        history.add(loss, learning_rate, time.perf_counter() - started, validate and validate())
        training.done += 1

    with Interrupts() as interrupts, step.running(), closing(training):
        _begin(training, resume_from)
        step.report = training.report
        while training.done < training.epochs and not training.stop:
            interrupts.pending = False
            _whole(training, make_epoch, interrupts, within, orders=members if shuffled else 0)
            interrupts.held = False
            pressed = interrupts.pending  # while it was held, or lost on its way
            for callback in training.callbacks[len(within) :]:
                callback.epoch_end(training)
            if ranks.several:  # one that stops stops all
                training.stop = bool(ranks.sum(numpy.array([training.stop], "int64"))[0])
            if pressed:
                raise KeyboardInterrupt
            training.notify("between_epochs")
        training.notify("train_end")
    return history


def _remember(training: Training, within: list[Callback], *, orders: int) -> Callable[[], None]:
    """Note where a training is before an epoch; what is returned puts it back.

    To read a stream takes as long as to shuffle hundreds of rows, or thousands of a RandomState. So it is read once for
    several orders, which are drawn again on the way back, unless callbacks may draw from it, too.

    within : the callbacks that belong to an epoch
    orders : how many orders of the rows an epoch draws
    """
    done, stop, states = training.done, training.stop, [callback.state() for callback in within]
    lists = [(values, len(values)) for values in vars(training.history).values()]
    rng, restore = training.rng, training.step.snapshot()
    if orders:
        shared = len(within) < len(training.callbacks)
        if shared or training._stream is None or training._drawn * training.rows > ROWS_DRAWN_AGAIN:
            training._stream, training._drawn = stream_state(rng), 0
        training._drawn += orders

    def go_back() -> None:
        restore()
        training.done, training.stop = done, stop
        for values, length in lists:
            del values[length:]
        for callback, state in zip(within, states, strict=True):
            callback.load_state(state)
        if orders:
            set_stream_state(rng, training._stream)
            for _ in range(training._drawn - orders):
                rng.permutation(training.rows)

    return go_back


def _whole(
    training: Training,
    make_epoch: Callable[[], None],
    interrupts: Interrupts,
    within: list[Callback],
    *,
    orders: int,
) -> None:
    """Make an epoch with the callbacks that belong to it, or leave everything as it was.

    Other threads wait. Callbacks may use the network, whose parameters are whole by then.
    """
    lock = training.lock
    if lock.wanted:
        lock.give_way()
    with lock.calls:
        if lock.busy:
            lock.refuse()
        go_back = _remember(training, within, orders=orders)
        whole = False
        try:
            lock.busy = True
            make_epoch()
            lock.busy = False
            interrupts.held = True
            for callback in within:
                callback.epoch_end(training)
            whole = True
        except BaseException:
            interrupts.held = True
            if not whole:
                go_back()
            raise
        finally:
            lock.busy = False


def _begin(training: Training, resume_from: TrainingState | None) -> None:
    """Tell the callbacks that the training begins, and on several ranks have all of them begin with the same."""
    resume_from = training.ranks.broadcast(resume_from)
    if resume_from is not None:
        training.load_state(resume_from)
    training.notify("train_begin")
    if resume_from is not None:
        training.load_callbacks(resume_from)
    if training.ranks.several:
        with training.lock.calls:
            training.step.broadcast_state()


def _of_function(function: Callable[[Training], None]) -> Callback:
    """Make a callback of a plain function, which is called after each epoch."""
    callback = Callback()
    vars(callback)["epoch_end"] = function
    return callback


def is_finite(array: Array) -> bool:
    """Tell whether an array, or a SciPy sparse matrix, holds neither NaN nor infinity."""
    if hasattr(array, "tocsr"):
        array = array.data
    if type(array) is numpy.ndarray:
        if array.dtype.kind != "f":
            return True
        with numpy.errstate(all="ignore"):
            total = numpy.add.reduce(
                array, axis=None
            )  # one pass and no temporary; large finite numbers overflow
        return isfinite(total) or bool(numpy.isfinite(array).all())
    xp = namespace(array)
    return not xp.isdtype(array.dtype, "real floating") or bool(xp.all(xp.isfinite(array)))
