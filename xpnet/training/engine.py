"""The training loop: epochs over batches with any step, each of which is made as a whole or not at
all.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import NamedTuple

from xpnet.backend import Step
from xpnet.optimizers import Schedule
from xpnet.steps import NetworkLock
from xpnet.training.batches import Batches
from xpnet.training.callbacks import CallbackLike, Training
from xpnet.training.epoch_batches import EpochBatches
from xpnet.training.history import History
from xpnet.training.interrupts import Interrupts
from xpnet.training.state import TrainingState


class MadeEpoch(NamedTuple):
    """An epoch that was made, as the history takes it.

    loss : the training loss
    learning_rate : of all its updates
    seconds : its wall-clock time
    validation_loss : the loss on validation rows; None without them
    """

    loss: float
    learning_rate: float
    seconds: float
    validation_loss: float | None = None


def train(
    step: Step,
    batches: Batches,
    *,
    epochs: int,
    schedule: Schedule,
    callbacks: Iterable[CallbackLike] = (),
    history: History | None = None,
    lock: NetworkLock | None = None,
    resume_from: TrainingState | None = None,
) -> History:
    """Train for a number of epochs, or until a callback stops the training.

    Parameters
    ----------
    step : Step
        The training step, with the parameters and the optimizer's state.
    batches : Batches
        What an epoch runs over.
    epochs : int
        The maximum number of epochs.
    schedule : callable
        Called before each epoch as ``schedule(epoch, losses)``: with the number of epochs in
        ``history``, 0 for the first, and the list of their training losses. It returns the learning
        rate of the epoch, a float.
    callbacks : iterable of Callback or callable, default ()
        Called in their order, transactional ones first. A plain function is called with the
        `Training` after each epoch.
    history : History, optional
        The history that the epochs are added to; None for a new one.
    lock : NetworkLock, optional
        The lock of the network, which each epoch holds while it is made; None where no other thread
        uses the step.
    resume_from : TrainingState, optional
        The state of a run that was cut off and now goes on. Its epochs count among ``epochs``.

    Returns
    -------
    History
        The history of the training.

    Raises
    ------
    InputError
        For a state that does not belong to this network, these data and these callbacks, and for a
        callback with methods that would never be called.

    Notes
    -----
    An exception, Ctrl-C included, ends the run with everything as it was after the last whole
    epoch: parameters, the optimizer's state, history and random generator are those of a run with
    this number of epochs, and training can go on from there. Where several processes train
    together, each calls its own callbacks; one that stops stops all.

    Where no callback, validation rows or schedule must look at each epoch before the next one, and
    the step makes several short epochs in less time than one by one, those of a tenth of a second
    are run, and rolled back, as one batch of epochs.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.backend import NetworkSpec
    >>> from xpnet.optimizers import Constant
    >>> from xpnet.steps import make_step
    >>> from xpnet.training import InMemory, LabeledRows, train
    >>> step = make_step(NetworkSpec(widths=(2, 2), activations=()), xpnet.get_backend("numpy"))
    >>> batches = InMemory(LabeledRows(numpy.eye(2), numpy.array([0, 1])), batch_size=2)
    >>> history = train(step, batches, epochs=3, schedule=Constant(0.1))
    >>> [round(loss, 3) for loss in history.loss]
    [0.693, 0.668, 0.645]
    """
    training = Training(step, batches, epochs, history=history, callbacks=callbacks, lock=lock)
    with Interrupts() as interrupts, step.running(), closing(training):
        begin(training, resume_from)
        epoch_batches = EpochBatches(training, schedule)
        while training.done < epochs and not training.stop:
            epochs_made = make_whole_epochs(
                training, schedule, interrupts, epoch_batches.next_size()
            )
            epoch_batches.seconds = epochs_made[-1].seconds
            end_epochs(training, interrupts)
        training.notify("train_end")
    return training.history


def begin(training: Training, resume_from: TrainingState | None) -> None:
    """Prepare the batches, the callbacks and the step, from a state where there is one."""
    training.batches.begin(training.step, training.epochs)
    resume_from = training.batches.agree(resume_from)
    if resume_from is not None:
        training.load_state(resume_from)
    training.notify("train_begin")
    if resume_from is not None:
        training.load_callbacks(resume_from)
    with training.lock.calls:
        training.batches.share_state(training.step)
    training.batches.report_to(training.step, training.report)


def make_whole_epochs(
    training: Training, schedule: Schedule, interrupts: Interrupts, count: int
) -> list[MadeEpoch]:
    """Make a batch of epochs as a whole, or leave everything as it was.

    The transactional callbacks belong to it. Other threads wait. Callbacks may use the network,
    whose parameters are whole by then.

    count : number of epochs in the batch
    """
    lock = training.lock
    interrupts.pending = False
    if lock.waiters:
        lock.yield_lock()
    with lock.calls:
        if lock.busy:
            lock.refuse()
        undo = snapshot(training)
        is_whole = False
        try:
            lock.busy = True
            if count > 1:
                epochs = run_epochs(training, schedule, count)
            else:
                epochs = [run_epoch(training, schedule)]
            lock.busy = False
            interrupts.held = True
            record_epochs(training, epochs)
            is_whole = True
        except BaseException:
            interrupts.held = True
            if not is_whole:
                undo()
            raise
        finally:
            lock.busy = False
    return epochs


def run_epoch(training: Training, schedule: Schedule) -> MadeEpoch:
    """Train on all batches, and measure the validation loss."""
    losses = training.history.loss
    batches = training.batches
    learning_rate = schedule(len(losses), losses)
    started = training.reported_at = time.perf_counter()
    loss = batches.epoch(training.step, learning_rate, last=training.done + 1 >= training.epochs)
    seconds = time.perf_counter() - started
    return MadeEpoch(loss, learning_rate, seconds, batches.validation_loss())


def run_epochs(training: Training, schedule: Schedule, count: int) -> list[MadeEpoch]:
    """Train on all batches several times."""
    past = training.history.loss
    learning_rates = [schedule(len(past) + k, past) for k in range(count)]
    started = time.perf_counter()
    losses = training.batches.epochs(training.step, learning_rates)
    seconds = (time.perf_counter() - started) / count
    return [
        MadeEpoch(loss, learning_rate, seconds)
        for loss, learning_rate in zip(losses, learning_rates, strict=True)
    ]


def record_epochs(training: Training, epochs: Sequence[MadeEpoch]) -> None:
    """Add epochs to the history, and call the transactional callbacks.

    Some are called for each epoch, and all for the last.
    """
    order = training.order
    last = len(epochs) - 1
    for k, epoch in enumerate(epochs):
        training.history.add(*epoch)
        training.done += 1
        for callback in order.at_end if k == last else order.for_each_epoch:
            callback.epoch_end(training)


def end_epochs(training: Training, interrupts: Interrupts) -> None:
    """Call the callbacks that follow whole epochs; raise the Ctrl-C that waited for their end."""
    interrupts.held = False
    interrupted = interrupts.pending  # pressed while it was held, or lost in a destructor
    for callback in training.callbacks[len(training.order.transactional) :]:
        callback.epoch_end(training)
    training.stop = training.batches.any_stops(training.stop)
    if interrupted:
        raise KeyboardInterrupt
    training.notify("between_epochs")


def snapshot(training: Training) -> Callable[[], None]:
    """Copy the state of a training before an epoch; return a function that restores it."""
    done = training.done
    stop = training.stop
    states = [(callback, callback.state()) for callback in training.order.with_state]
    lengths = [(values, len(values)) for values in vars(training.history).values()]
    has_other_callbacks = len(training.order.transactional) < len(training.callbacks)
    restore = training.batches.snapshot(training.step, rng_is_shared=has_other_callbacks)

    def undo() -> None:
        """Restore that state."""
        restore()
        training.done = done
        training.stop = stop
        for values, length in lengths:
            del values[length:]
        for callback, state in states:
            callback.load_state(state)

    return undo
