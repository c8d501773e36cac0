"""The epoch that a network keeps: the one with the lowest validation loss."""

import time
from collections.abc import Callable, Sequence
from math import inf
from typing import NamedTuple

import numpy

from xpnet.backend.blas import one_thread
from xpnet.data.sources import Source
from xpnet.learning.validation import validation_loss
from xpnet.models import Network
from xpnet.tabular.ensemble.refit import ParameterMean
from xpnet.tabular.rows.nested_choices import NestedEpochs, ValidationParts
from xpnet.training import EarlyStopping, LabeledRows, Training, rng_state, set_rng_state
from xpnet.training.early_stopping import KeptEpoch
from xpnet.training.streamed import SourceRows
from xpnet.typing import Array, SavedState

LAST_SHARE = 0.1
"""The share of the epochs, at the end, that must still have lowered a loss for it to be falling."""
SMALL_FALL = 0.01
"""The share of a loss's whole fall up to which a fall in the last epochs is of no use."""


class Patience(NamedTuple):
    """The number of epochs without a lower validation loss after which a training ends.

    It grows with the number of the best epoch, since a loss that falls slowly also stands still for
    longer. After the fifth epoch a few epochs are enough, after the hundredth they are too few.

    epochs : smallest number of these epochs
    share : of the best epoch's number, which is added to them
    """

    epochs: int
    share: float = 0.0

    def after(self, best_epoch: int) -> int:
        """Return the number of epochs for a best epoch."""
        return self.epochs + round(self.share * best_epoch)


def still_falls(losses: Sequence[float]) -> bool:
    """Return whether the last epochs lowered the loss by more than a small share of its fall."""
    last = max(1, round(LAST_SHARE * len(losses)))
    before = min(losses[:-last], default=losses[0])
    return before - min(losses[-last:]) > SMALL_FALL * (losses[0] - before)


class EndedTraining(NamedTuple):
    """A training at its end, after which further epochs only tell what rows are predicted without
    a part in it.

    epochs : number of epochs; rng : state of the generator of the orders of the rows
    """

    epochs: int
    rng: SavedState | None

    def put_back(self, training: Training) -> None:
        """Take the further epochs out of the history, and put the random generator back."""
        history = training.history
        for numbers in vars(history).values():
            del numbers[self.epochs :]
        set_rng_state(training.rng, self.rng)


class BestEpoch(EarlyStopping):
    """Early stopping by means of the parameters over the epochs, which also ends when time is over.

    The loss of the mean shows sooner that it no longer falls, and the mean is kept. Without
    validation rows the last epoch is kept. Where `xpnet.training.TimeLimit` ends a training after
    the first epoch beyond its limit, here no epoch begins that would end beyond it: the networks of
    a fit share its time.

    nested : the outputs of validation rows at the epochs that other validation rows choose; None
        where these are not followed
    ended : the end of the training where it went on for some of these rows; None where it did not
    """

    def __init__(
        self,
        network: Network,
        validation: LabeledRows | None,
        growing_patience: Patience,
        seconds: float,
        parts: ValidationParts | None = None,
    ) -> None:
        super().__init__(growing_patience.epochs, tol=0.0)
        self.growing_patience = growing_patience
        self.network: Network = network
        self.validation = validation
        self.seconds: float = seconds
        self.nested: NestedEpochs | None = None
        if parts is not None:
            self.nested = NestedEpochs(parts, growing_patience.after)
        self.ended: EndedTraining | None = None

    def max_waited(self) -> int:
        """Return the number of epochs since the best one after which the training ends."""
        return self.growing_patience.after(self.kept.epoch)

    def train_begin(self, training: Training) -> None:
        """Start counting and the clock; move the validation rows to where the network lives."""
        super().train_begin(training)
        if self.validation is not None:
            self.validation = _on_backend(self.validation, self.network.backend.asarray)
        self.mean: ParameterMean = ParameterMean()
        self.end: float = time.monotonic() + self.seconds

    def epoch_end(self, training: Training) -> None:
        """Compare the epoch with the best one so far, each by the mean of all epochs up to it."""
        if self.validation is not None:
            self._compare(training, self.validation)
        else:
            self.kept = KeptEpoch(training.history.epochs, inf, None)
        # The next epoch will take as long as this one.
        training.stop = training.stop or time.monotonic() + training.history.seconds[-1] > self.end

    def train_end(self, training: Training) -> None:
        """Put the best parameters back, and release the validation rows."""
        super().train_end(training)
        self.validation = None  # A fit would keep those of all its networks to its end.
        if self.ended is not None:
            self.ended.put_back(training)

    def _compare(self, training: Training, validation: LabeledRows) -> None:
        """Compare the validation loss of the mean parameters with the best one so far."""
        with self.mean.with_epoch(training.step.params):
            if self.nested is None:
                loss = validation_loss(training.step, validation)
            else:
                with one_thread:  # The products of few rows are small.
                    members = self.network.predict_members(validation.X)
                loss = self.nested.compare(self.network.backend.to_numpy(members))
            training.history.validation_loss.append(loss)
            self._keep_or_end(training)

    def _keep_or_end(self, training: Training) -> None:
        """Keep an epoch that is better. Where the training ends, go on for parts of few validation
        rows without which it would not.
        """
        was_stopped = training.stop
        waits = self.nested is not None and self.nested.may_go_on
        if self.ended is not None:
            training.stop = training.stop or not waits
            return
        super().epoch_end(training)
        if training.stop and waits and not was_stopped:
            self.ended = EndedTraining(training.history.epochs, rng_state(training.rng))
            training.stop = False

    def state(self) -> dict[str, object]:
        """Return the state of early stopping, and the mean of the parameters of all epochs."""
        mean = self.mean
        state = {**super().state(), "mean": mean.params, "epochs_in_mean": mean.weights}
        if self.nested is not None:
            state["held_losses"] = self.nested.losses
            state["held_best_epochs"] = self.nested.best_epochs
            state["held_epochs"] = self.nested.epochs
            state["held_outputs"] = list(self.nested.outputs)
        if self.ended is not None:
            state["ended"] = self.ended._asdict()
        return state

    def load_state(self, state: SavedState) -> None:
        """Go on comparing."""
        super().load_state(state)
        self.mean.params = dict(state["mean"])
        self.mean.weights = float(state["epochs_in_mean"])
        if "held_epochs" not in state:  # of an earlier release
            self.nested = None
        elif self.nested is not None:
            self.nested.losses = numpy.asarray(state["held_losses"])
            self.nested.best_epochs = numpy.asarray(state["held_best_epochs"])
            self.nested.epochs = int(state["held_epochs"])
            self.nested.outputs = [numpy.asarray(outputs) for outputs in state["held_outputs"]]
        if "ended" in state:
            self.ended = EndedTraining(**state["ended"])


def _on_backend(rows: LabeledRows, to_backend: Callable[[Array], Array]) -> LabeledRows:
    """Return rows on a backend; those of a source are brought there block by block later."""
    Y = to_backend(rows.Y)
    weight = None if rows.weight is None else to_backend(rows.weight)
    if isinstance(rows.X, Source):
        return SourceRows.whole(rows.X, Y, weight)
    return LabeledRows(to_backend(rows.X), Y, weight)
