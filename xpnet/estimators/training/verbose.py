"""The lines that scikit-learn's networks print of each epoch."""

from xpnet.estimators.training.stopping import AdaptiveLearningRate, Improvement
from xpnet.training import Callback, Training
from xpnet.training.log import log_progress


class Verbose(Callback):
    """Logs what scikit-learn's networks print after an epoch.

    improvement : the callback that measures epochs, and knows whether training stalls
    adaptive : the callback that lowers the learning rate; None where none does
    silent : whether nothing is logged
    """

    transactional = True

    def __init__(
        self,
        improvement: Improvement,
        adaptive: AdaptiveLearningRate | None,
        *,
        silent: bool,
    ) -> None:
        self.improvement = improvement
        self.adaptive = adaptive
        self.silent = silent

    def epoch_end(self, training: Training) -> None:
        """Log the lines of the epoch."""
        if self.silent:
            return
        record = self.improvement.record
        log_progress(f"Iteration {record.n_iter_}, loss = {training.history.loss[-1]:.8f}")
        subject = "Validation score" if record.is_scored else "Training loss"
        if record.is_scored:
            log_progress(f"{subject}: {self.improvement.measured:f}")
        if self.improvement.stalled:
            log_progress(
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
