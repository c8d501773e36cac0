"""The training loop: epochs of minibatches, over any step."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from xpnet.backend import Step
from xpnet.ops import Array
from xpnet.optimizers import Schedule
from xpnet.training.callbacks import Callback
from xpnet.training.history import History


@dataclass
class Training:
    """A training under way, as callbacks see it.

    step : its parameters and state; rows : training rows; epochs : how many epochs this run makes at most
    history : of this run and of those before it on the same model
    stop : set it to True to end after this epoch
    rng : where orders of the rows are drawn from
    """

    step: Step
    rows: int
    epochs: int
    history: History = field(default_factory=History)
    rng: Any = None
    stop: bool = False


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
    epoch: Callable[..., float] | None = None,
) -> History:
    """Train for ``training.epochs`` epochs, or until a callback stops it.

    X : (rows, in), Y, sample_weight : as the step takes them
    batch_size : rows a batch; shuffle : draw a new order of the rows for each epoch (a batch of all rows needs none)
    validate : returns the validation loss, called after each epoch
    callbacks : told of each epoch's end, in order; a plain function is called with the training
    epoch : takes the place of ``training.step.epoch``, with its signature

    An exception in a callback, Ctrl-C included, ends the run with everything up to the last whole epoch in place.
    """
    told = [c if isinstance(c, Callback) else _Function(c) for c in callbacks]
    history = training.history
    shuffled = shuffle and batch_size < training.rows
    make_epoch = training.step.epoch if epoch is None else epoch
    with training.step.running():
        _tell(told, "train_begin", training)
        for _ in range(training.epochs):
            started = time.perf_counter()
            learning_rate = schedule(history.epochs, history.loss)
            order = training.rng.permutation(training.rows) if shuffled else None
            loss = make_epoch(
                X, Y, learning_rate=learning_rate, batch_size=batch_size, order=order, sample_weight=sample_weight
            )
            history.loss.append(loss)
            history.learning_rate.append(learning_rate)
            history.seconds.append(time.perf_counter() - started)
            if validate is not None:
                history.validation_loss.append(validate())
            _tell(told, "epoch_end", training)
            if training.stop:
                break
        _tell(told, "train_end", training)
    return history


def _tell(callbacks: list[Callback], event: str, training: Training) -> None:
    for callback in callbacks:
        getattr(callback, event)(training)


class _Function(Callback):
    """A plain function as a callback."""

    def __init__(self, function: Callable[["Training"], None]) -> None:
        self.function = function

    def epoch_end(self, training: Training) -> None:
        """Call the function."""
        self.function(training)
