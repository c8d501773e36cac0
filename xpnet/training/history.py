"""What training leaves behind: one entry an epoch."""

from dataclasses import asdict, dataclass, field


@dataclass(repr=False)
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

    def __repr__(self) -> str:
        numbers = {"loss": self.loss, "validation_loss": self.validation_loss}
        last = [f"{name}={values[-1]:.4g}" for name, values in numbers.items() if values]
        return f"History({', '.join([f'epochs={self.epochs}', *last])})"

    @property
    def epochs(self) -> int:
        """Number of epochs made."""
        return len(self.loss)

    def add(self, loss: float, learning_rate: float, seconds: float, validation_loss: float | None = None) -> None:
        """One more epoch."""
        self.loss.append(loss)
        self.learning_rate.append(learning_rate)
        self.seconds.append(seconds)
        if validation_loss is not None:
            self.validation_loss.append(validation_loss)

    def load(self, lists: dict[str, list[float]]) -> None:
        """Take over the lists of :meth:`to_dict`, in place."""
        for name, values in lists.items():
            getattr(self, name)[:] = values

    def to_dict(self) -> dict[str, list[float]]:
        """The lists by name, ready for JSON."""
        return asdict(self)
