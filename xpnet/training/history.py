"""What training leaves behind: one entry an epoch."""

from dataclasses import asdict, dataclass, field


@dataclass
class History:
    """Lists with one number for each epoch.

    loss : mean loss over the epoch's batches, penalty included, each batch before its update
    learning_rate : of that epoch
    seconds : wall-clock time of that epoch
    validation_loss : loss on validation data after the epoch; empty without such data
    """

    loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """Number of epochs made."""
        return len(self.loss)

    def to_dict(self) -> dict[str, list[float]]:
        """The lists by name, ready for JSON."""
        return asdict(self)
