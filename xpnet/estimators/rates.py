"""scikit-learn's three schedules of the learning rate, and which update a solver makes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

SMALLEST_RATE = 1e-6
"""Below this an adaptive learning rate ends the training, as in scikit-learn."""


@dataclass
class LearningRate:
    """The learning rate of the next epoch; estimators keep it as ``_optimizer``, under scikit-learn's name.

    solver : for which it was begun
    learning_rate_init : of the first epoch; power_t : how fast it falls
    schedule : ``"constant"``, ``"invscaling"`` or ``"adaptive"``
    """

    solver: str
    learning_rate_init: float
    schedule: str
    power_t: float
    learning_rate: float = field(init=False)

    def __post_init__(self) -> None:
        self.learning_rate = self.learning_rate_init

    def __call__(self, epoch: int, losses: Sequence[float]) -> float:
        return self.learning_rate

    def fall(self, t: int) -> None:
        """Lower a learning rate that falls with the number of rows seen."""
        self.learning_rate = self.learning_rate_init / (t + 1) ** self.power_t

    def lower(self) -> bool:
        """Lower an adaptive learning rate when training no longer improves; returns whether there was a lower one."""
        if self.schedule != "adaptive" or self.learning_rate <= SMALLEST_RATE:
            return False
        self.learning_rate /= 5.0
        return True
