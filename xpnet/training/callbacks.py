"""A training under way, and the callbacks whose methods the training loop calls as it goes on.

Callbacks see the training, which holds them: their types name each other.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from xpnet.backend import Step
from xpnet.errors import InputError
from xpnet.steps import NetworkLock
from xpnet.training.batches import Batches
from xpnet.training.history import History
from xpnet.training.hooks import HOOKS, HOOKS_OF_AN_EPOCH, check_methods
from xpnet.training.rng import rng_state, set_rng_state
from xpnet.training.state import TrainingState
from xpnet.typing import RandomGenerator, SavedState

MIN_REPORT_SECONDS = 0.1
"""Minimum seconds between two reports of the progress within an epoch."""


class Callback:
    """The base of all callbacks; a subclass overrides the methods that it needs.

    A callback ends the training with ``training.stop = True``.

    Attributes
    ----------
    transactional : bool, default False
        Whether ``epoch_end`` belongs to the epoch: Ctrl-C waits for its end, and an exception in it
        rolls the epoch back; ``load_state`` then gets what ``state`` returned before. A callback
        that sets ``brief``, an earlier name of this attribute, is transactional, too.
    sees_each_epoch : bool, default True
        Whether ``epoch_end`` and ``between_epochs`` must be called after each epoch. If no callback
        of a training must see each, several short epochs may be made at once, in a tenth of a
        second, and the methods are called after the last of them. See also `max_epochs_at_once`.
    state_key : str, default ""
        The key under which checkpoints hold what ``state`` returns; empty for the name of the
        class. Several callbacks with one key are numbered in the order in which they are called.

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

    transactional = False
    sees_each_epoch = True
    state_key = ""

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

    def max_epochs_at_once(self) -> float:
        """Return how many of the next epochs may be made before ``epoch_end`` is called for them.

        The loop asks transactional callbacks that override it. Afterwards ``epoch_end`` is called
        for each of these epochs in turn: it finds the history and ``training.done`` as after that
        epoch, and the network as after the last one. It must not stop the training, nor change the
        learning rate, before the last one.

        Returns
        -------
        float
            The maximum number of epochs, at least 1; infinity for no limit.
        """
        return 1

    def within_epoch(self, training: "Training") -> None:
        """Take note of the progress within a long epoch, a few times a second.

        ``training.rows_done`` of ``training.rows`` have been trained on. It is not called in an
        epoch that takes less than a tenth of a second, nor for a step that cannot report.

        Parameters
        ----------
        training : Training
            The training under way.
        """

    def between_epochs(self, training: "Training") -> None:
        """Act when ``epoch_end`` of every callback has been called.

        Save the state of the training here: all callbacks have taken note of the epoch.

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

    def state(self) -> dict[str, object]:
        """Return what the callback needs to go on after an interruption.

        A training goes on with the callbacks that override this method, and with any others.

        Returns
        -------
        dict
            Numbers, strings, lists and NumPy arrays, in dicts.
        """
        return {}

    def load_state(self, state: dict[str, object]) -> None:
        """Go on from a state, after `train_begin`.

        Parameters
        ----------
        state : dict
            What `state` returned.
        """


class FunctionCallback(Callback):
    """A callback that calls a function after each epoch.

    function : called with the `Training`
    """

    state_key = "function"

    def __init__(self, function: Callable[["Training"], None]) -> None:
        self.function = function

    def epoch_end(self, training: "Training") -> None:
        """Call the function."""
        self.function(training)


class CallOrder(NamedTuple):
    """Callbacks by when the training loop calls them.

    listeners : for the name of each of the loop's methods the callbacks that override it
    transactional : those whose state is rolled back with an epoch
    at_end : the transactional ones with an ``epoch_end``, for the end of a batch of epochs
    with_state : the transactional ones with a ``state``
    for_each_epoch : those of ``at_end`` that are called for each epoch of a batch
    need_each_epoch : whether a callback must be called after an epoch before the next one is made
    """

    listeners: dict[str, list[Callback]]
    transactional: list[Callback]
    at_end: list[Callback]
    with_state: list[Callback]
    for_each_epoch: list[Callback]
    need_each_epoch: bool


def call_order(callbacks: list[Callback]) -> CallOrder:
    """Return when the training loop calls which callbacks, each kind in the given order."""
    methods = [(callback, own_methods(type(callback))) for callback in callbacks]
    transactional = [entry for entry in methods if is_transactional(entry[0])]
    observers = [
        (callback, names)
        for callback, names in methods
        if callback.sees_each_epoch and not names.isdisjoint(HOOKS_OF_AN_EPOCH)
    ]
    return CallOrder(
        listeners={
            hook: [callback for callback, names in methods if hook in names] for hook in HOOKS
        },
        transactional=[callback for callback, _ in transactional],
        at_end=[callback for callback, names in transactional if "epoch_end" in names],
        with_state=[callback for callback, names in transactional if "state" in names],
        for_each_epoch=[callback for callback, _ in observers if is_transactional(callback)],
        need_each_epoch=not all(
            is_transactional(callback) and "max_epochs_at_once" in names
            for callback, names in observers
        ),
    )


def as_callbacks(callbacks: "Iterable[CallbackLike]") -> list[Callback]:
    """Return callbacks, and functions as callbacks, in the order in which they are called:
    transactional ones first.

    Raises InputError for other objects.
    """
    checked = [
        callback if isinstance(callback, Callback) else _function_callback(callback)
        for callback in callbacks
    ]
    return sorted(checked, key=is_transactional, reverse=True)


def is_transactional(callback: Callback) -> bool:
    """Return whether the state of a callback is rolled back with an epoch."""
    return bool(callback.transactional or getattr(callback, "brief", False))


def callbacks_with_state(callbacks: Iterable[Callback]) -> dict[str, Callback]:
    """Return the callbacks that override ``state`` by the keys of their states: the second of one
    key is ``key 2``.
    """
    callbacks_by_key: dict[str, Callback] = {}
    counts: Counter[str] = Counter()
    for callback in callbacks:
        if "state" not in own_methods(type(callback)):
            continue
        key = callback.state_key or type(callback).__name__
        counts[key] += 1
        callbacks_by_key[key if counts[key] == 1 else f"{key} {counts[key]}"] = callback
    return callbacks_by_key


def _function_callback(function: object) -> Callback:
    """Return the callback that calls a function. Raises InputError for another object."""
    if not callable(function) or isinstance(function, type):
        raise InputError(
            "`callbacks` must hold instances of xpnet.training.Callback, or functions; "
            f"got {function!r}."
        )
    return FunctionCallback(function)


_own_methods: "WeakKeyDictionary[type[Callback], frozenset[str]]" = WeakKeyDictionary()


def own_methods(kind: type[Callback]) -> frozenset[str]:
    """Return the names of the methods of `Callback` that a subclass overrides.

    Raises InputError for a public method that looks like one of the loop's, and is none.
    """
    names = _own_methods.get(kind)  # each fit asks for the same few kinds
    if names is None:
        check_methods(kind)
        names = frozenset(
            name for name in vars(Callback) if getattr(kind, name) is not getattr(Callback, name)
        )
        _own_methods[kind] = names
    return names


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
        callbacks: "Iterable[CallbackLike]" = (),
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
                key: callback.state()
                for key, callback in callbacks_with_state(self.callbacks).items()
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
            For other callbacks with a state, and for a part that its callback cannot go on from.
        """
        for callback, part in self._parts_of_callbacks(state.callbacks):
            try:
                callback.load_state(part)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise InputError(
                    "A resumed training must have the callbacks it began with; got "
                    f"{type(callback).__name__}, which cannot load the state kept for it: "
                    f"{error!r}; pass the same callbacks."
                ) from error

    def _parts_of_callbacks(
        self, parts: Mapping[str, SavedState]
    ) -> list[tuple[Callback, SavedState]]:
        """Return each callback whose state belongs to a training's state, with that part of it.

        Raises InputError unless these are the callbacks that the training began with.

        parts : by the keys of callbacks; earlier versions kept an empty part for each callback
            without a state, too, and still earlier ones numbered all callbacks by their places
        """
        callbacks = callbacks_with_state(self.callbacks)
        expected = [key for key, part in parts.items() if part or key in callbacks]
        if parts and all(key.isdecimal() for key in parts):
            callbacks = {str(number): callback for number, callback in enumerate(self.callbacks)}
            expected = list(parts)
        if callbacks.keys() != set(expected):
            raise InputError(
                "A resumed training must have the callbacks with a state that it began with, "
                f"{', '.join(expected) or 'none'}; got {', '.join(callbacks) or 'none'}; pass the "
                "same callbacks."
            )
        return [(callback, parts[key]) for key, callback in callbacks.items()]

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


CallbackLike: TypeAlias = Callback | Callable[[Training], None]
"""A callback, or a function that is called after each epoch."""
