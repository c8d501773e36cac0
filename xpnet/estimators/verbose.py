"""The lines that scikit-learn's networks print of each epoch."""

from collections.abc import Callable

from xpnet.estimators.stopping import AdaptiveLearningRate, Improvement
from xpnet.training import Callback, Training


class Verbose(Callback):
    """Prints what scikit-learn's networks print after an epoch.

    improvement : the callback that measures epochs, and knows whether training stalls
    adaptive : the callback that lowers the learning rate; None where none does
    silent : whether nothing is printed; sink : called with each line
    """

    transactional = True

    def __init__(
        self,
        improvement: Improvement,
        adaptive: AdaptiveLearningRate | None,
        *,
        silent: bool,
        sink: Callable[[str], object] = print,
    ) -> None:
        self.improvement = improvement
        self.adaptive = adaptive
        self.silent = silent
        self.sink = sink

    def epoch_end(self, training: Training) -> None:
        """Print the lines of the epoch."""
        if self.silent:
            return
        record = self.improvement.record
        self.sink(f"Iteration {record.n_iter_}, loss = {training.history.loss[-1]:.8f}")
        subject = "Validation score" if record.is_scored else "Training loss"
        if record.is_scored:
            self.sink(f"{subject}: {self.improvement.measured:f}")
        if self.improvement.stalled:
            self.sink(
                f"{subject} did not improve more than tol={self.improvement.tol:f} for "
                f"{self.improvement.patience} consecutive epochs. {self._action()}"
            )

    def _action(self) -> str:
        """Return the sentence on what follows from a training that stalls."""
        if self.adaptive is None:
            return "Stopping."
        if self.adaptive.lowered is None:
            return "Learning rate too small. Stopping."
        return f"Setting learning rate to {self.adaptive.lowered:f}"
