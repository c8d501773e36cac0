"""The base class of callbacks, whose methods the training loop calls as it goes on."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from xpnet.errors import InputError

if TYPE_CHECKING:
    from xpnet.training.state import Training


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


HOOKS = (
    "train_begin",
    "epoch_end",
    "within_epoch",
    "between_epochs",
    "train_end",
    "close",
)
"""Names of the methods that the training loop calls."""

HOOKS_OF_AN_EPOCH = ("epoch_end", "within_epoch", "between_epochs")
"""Names of those that it calls for each epoch."""

HOOK_LIKE = re.compile(r"(on|before|after)_.*|.*_(begin|start|end)")
"""Names that other libraries give to methods of callbacks."""


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


def as_callbacks(
    callbacks: Iterable[Callback | Callable[["Training"], None]],
) -> list[Callback]:
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


def by_state_key(callbacks: Iterable[Callback]) -> dict[str, Callback]:
    """Return callbacks by the keys of their states: the second of one key is ``key 2``."""
    callbacks_by_key: dict[str, Callback] = {}
    counts: Counter[str] = Counter()
    for callback in callbacks:
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
        _check_methods(kind)
        names = frozenset(
            name for name in vars(Callback) if getattr(kind, name) is not getattr(Callback, name)
        )
        _own_methods[kind] = names
    return names


def _check_methods(kind: type[Callback]) -> None:
    """Raise InputError for a public method that looks like one of the loop's, and is none."""
    for name in dir(kind):
        if name in HOOKS or name.startswith("_") or not HOOK_LIKE.fullmatch(name):
            continue
        if callable(getattr(kind, name)):
            from difflib import get_close_matches  # only this error needs it

            bare = re.sub(r"^(on|before|after)_", "", name).replace("start", "begin")
            (suggestion,) = get_close_matches(bare, HOOKS, n=1, cutoff=0.0)
            raise InputError(
                f"The methods of a callback must be {', '.join(HOOKS)}; got {name!r} of "
                f"{kind.__name__}, which would never be called; did you mean {suggestion!r}?"
            )
