"""A limit of time: the training ends after the first epoch beyond it."""

from math import inf
from time import monotonic

from xpnet.training.callbacks import Callback, Training
from xpnet.typing import SavedState


class TimeLimit(Callback):
    """A callback that ends the training when a number of seconds is over, after a whole epoch.

    Epochs that are made at once, in a tenth of a second, end together.

    Parameters
    ----------
    seconds : float or None, default None
        The limit; None for none. Seconds of a run that was cut off and now goes on count.

    Attributes
    ----------
    reached : bool
        Whether the limit has ended the training.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.training import TimeLimit
    >>> net = xpnet.LogisticRegression(2, 2, backend="numpy")
    >>> limit = TimeLimit(0.01)
    >>> history = net.fit(numpy.eye(2), numpy.array([0, 1]), epochs=10**9, callbacks=[limit])
    >>> history.epochs < 10**9
    True
    """

    transactional = True
    sees_each_epoch = False
    state_key = "TimeLimit"

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds: float = inf if seconds is None else seconds
        self.began: float = monotonic()
        self.reached: bool = False

    def train_begin(self, training: Training) -> None:
        """Start the clock.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        self.began = monotonic()
        self.reached = False

    def epoch_end(self, training: Training) -> None:
        """Stop the training if the time is over.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        self.reached = not training.stop and monotonic() - self.began > self.seconds
        training.stop = training.stop or self.reached

    def state(self) -> SavedState:
        """Return the seconds so far.

        Returns
        -------
        dict
            ``seconds`` and ``reached``.
        """
        return {"seconds": monotonic() - self.began, "reached": self.reached}

    def load_state(self, state: SavedState) -> None:
        """Go on with the clock.

        Parameters
        ----------
        state : dict
            What `state` returned.
        """
        self.began = monotonic() - float(state["seconds"])
        self.reached = bool(state["reached"])
