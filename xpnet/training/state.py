"""The record of a training, and all that it needs to go on with the same numbers."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy

from xpnet.backend import NetworkSpec, StepState
from xpnet.distributed import Ranks
from xpnet.errors import InputError


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
        """Number of epochs made."""
        return len(self.loss)

    def add(self, loss: float, learning_rate: float, seconds: float, validation_loss: float | None = None) -> None:
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

    def load(self, lists: dict[str, list[float]]) -> None:
        """Take over lists, in place.

        Parameters
        ----------
        lists : dict of str to list of float
            What `to_dict` returned.
        """
        for name, values in lists.items():
            getattr(self, name)[:] = values

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


def stream_state(rng: Any) -> dict[str, Any] | None:
    """Return the state of a random stream.

    Parameters
    ----------
    rng : numpy.random.Generator, RandomState, numpy.random or None
        The stream; ``numpy.random`` is NumPy's global stream.

    Returns
    -------
    dict or None
        The state, as NumPy gives it; None for None.

    See Also
    --------
    set_stream_state : Put a stream into a state.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.training import stream_state
    >>> stream_state(numpy.random.default_rng(0))["bit_generator"]
    'PCG64'
    """
    if rng is None:
        return None
    return rng.get_state(legacy=False) if _is_legacy(rng) else rng.bit_generator.state


def set_stream_state(rng: Any, state: dict[str, Any] | None) -> None:
    """Put a random stream into the state of another of its kind.

    Parameters
    ----------
    rng : numpy.random.Generator, RandomState, numpy.random or None
        The stream that is changed.
    state : dict or None
        What `stream_state` returned.

    Raises
    ------
    InputError
        For the state of a stream of another kind, and for a position outside the stream's buffer.

    See Also
    --------
    stream_state : Return the state of a stream.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.training import set_stream_state, stream_state
    >>> one, other = numpy.random.default_rng(0), numpy.random.default_rng(1)
    >>> set_stream_state(other, stream_state(one))
    >>> one.random() == other.random()
    True
    """
    present = stream_state(rng)
    if _kind(present) != _kind(state):
        raise InputError(
            f"A training goes on with the kind of random stream it began with, {_kind(state)}; "
            f"received {_kind(present)}. Pass the same kind of rng."
        )
    if rng is None or state is None:
        return
    for position, last in ((_position(state), 624), (int(state.get("buffer_pos", 0)), 4)):
        if not 0 <= position <= last:
            raise InputError(f"A random stream has a position between 0 and {last}; received {position}.")
    if _is_legacy(rng):
        rng.set_state(state)
    else:
        rng.bit_generator.state = state


def broadcast_stream(rng: Any, ranks: Ranks) -> Any:
    """Put a random stream into the state that it has on rank 0, and return it."""
    if ranks.several:
        set_stream_state(rng, ranks.broadcast(stream_state(rng)))
    return rng


def _position(state: dict[str, Any]) -> int:
    """The position of a stream in its buffer, which NumPy does not check."""
    inner = state["state"]
    return int(inner.get("pos", 0)) if isinstance(inner, dict) else 0


def _is_legacy(rng: Any) -> bool:
    """Tell whether it is a RandomState or NumPy's global stream."""
    return hasattr(rng, "get_state")


def _kind(state: dict[str, Any] | None) -> str:
    """The bit generator of a state, and whether it belongs to a legacy stream, which keeps a spare normal number."""
    if state is None:
        return "none"
    return f"{'RandomState' if 'has_gauss' in state else 'Generator'} over {state.get('bit_generator')}"


def host_stream(rng: Any = None) -> Any:
    """Return a stream of random numbers: ``rng`` itself, for a seed a new Generator, for None NumPy's global stream.

    Raises InputError for what is neither.
    """
    if rng is None:
        return numpy.random
    if isinstance(rng, int | numpy.integer):
        return numpy.random.default_rng(rng)
    if not hasattr(rng, "permutation"):
        raise InputError(
            f"rng is a seed (a whole number), a numpy.random.Generator or RandomState, or None; received {rng!r}."
        )
    return rng
