"""The number of epochs that the training loop makes in one batch, between two looks at them."""

from math import inf

from xpnet.optimizers import Schedule
from xpnet.training.callbacks import Training

MAX_BATCH_SECONDS = 0.1
"""Maximum seconds of a batch of epochs. Ctrl-C and other threads wait for its end."""


class EpochBatches:
    """Chooses the sizes of the batches of epochs of a training.

    A batch has one epoch where a callback, the schedule or the validation rows need each epoch.

    training : the training under way; schedule : computes its learning rates
    """

    def __init__(self, training: Training, schedule: Schedule) -> None:
        self.training = training
        self.seconds: float = inf  # of the last epoch: the first is made alone, which shows it
        need_each = training.order.need_each_epoch or getattr(schedule, "sees_losses", True)
        self.max_epochs: int = 1 if need_each else training.batches.epochs_at_once(training.step)

    def next_size(self) -> int:
        """Return the number of epochs of the next batch."""
        if self.max_epochs == 1:
            return 1
        training = self.training
        in_time = int(MAX_BATCH_SECONDS / max(self.seconds, 1e-9))
        limits = (callback.max_epochs_at_once() for callback in training.order.for_each_epoch)
        allowed = min(in_time, self.max_epochs, training.epochs - training.done, *limits)
        return max(int(allowed), 1)
