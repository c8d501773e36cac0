"""The numbers of a training, epoch by epoch."""

from dataclasses import asdict, dataclass, field


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
        """Return the number of epochs made."""
        return len(self.loss)

    def add(
        self,
        loss: float,
        learning_rate: float,
        seconds: float,
        validation_loss: float | None = None,
    ) -> None:
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

    def to_dict(self) -> dict[str, list[float]]:
        """Copy the lists, ready for JSON.

        Returns
        -------
        dict of str to list of float
            The lists by name.
        """
        return asdict(self)
