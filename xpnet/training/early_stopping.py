"""Early stopping: the training ends when the loss no longer falls."""

from math import inf
from typing import NamedTuple

from xpnet.backend import StepState
from xpnet.training.callbacks import Callback, Training
from xpnet.training.history import History
from xpnet.typing import SavedState


class KeptEpoch(NamedTuple):
    """The best epoch of a training so far.

    epoch : its number in the history, from 1; until an epoch is better than none, the number of
        epochs that the history began with
    loss : its loss, infinity until then
    state : of the step after it; None where it is not put back
    """

    epoch: int
    loss: float
    state: StepState | None


class EarlyStopping(Callback):
    """A callback that ends the training when the loss no longer falls.

    It looks at the validation loss if there is one.

    Parameters
    ----------
    patience : int, default 10
        Number of epochs in a row without a fall after which the training ends.
    tol : float, default 1e-4
        By how much a loss must lie below the best one before it to count as a fall.
    restore_best : bool, default True
        Whether the network gets the parameters of the best epoch at the end.

    Attributes
    ----------
    kept : KeptEpoch
        The best epoch so far. One assignment replaces it, so that it is whole at any moment.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.training import EarlyStopping
    >>> net = xpnet.LogisticRegression(2, 2, backend="numpy")
    >>> stopping = EarlyStopping(patience=3, tol=1.0)
    >>> net.fit(numpy.eye(2), numpy.array([0, 1]), epochs=100, callbacks=[stopping]).epochs
    4
    """

    def __init__(self, patience: int = 10, tol: float = 1e-4, *, restore_best: bool = True) -> None:
        self.patience: int = patience
        self.tol: float = tol
        self.restore_best: bool = restore_best
        self.history: History = History()
        self.kept: KeptEpoch = KeptEpoch(0, inf, None)

    @property
    def best(self) -> float:
        """Return the loss of the best epoch, infinity before it."""
        return self.kept.loss

    @property
    def waited(self) -> int:
        """Return the number of epochs since the best one."""
        return self.history.epochs - self.kept.epoch

    @property
    def best_state(self) -> StepState | None:
        """Return the state of the step after the best epoch, or None."""
        return self.kept.state

    def max_waited(self) -> int:
        """Return the number of epochs since the best one after which the training ends.

        Returns
        -------
        int
            ``patience``.
        """
        return self.patience

    def train_begin(self, training: Training) -> None:
        """Start counting.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        self.history = training.history
        self.kept = KeptEpoch(self.history.epochs, inf, None)

    def epoch_end(self, training: Training) -> None:
        """Compare the epoch with the best one so far.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        loss = (self.history.validation_loss or self.history.loss)[-1]
        if loss < self.kept.loss - self.tol:
            state = training.step.state() if self.restore_best else None
            self.kept = KeptEpoch(self.history.epochs, loss, state)
        else:
            training.stop = training.stop or self.waited >= self.max_waited()

    def state(self) -> SavedState:
        """Return the best loss so far, its parameters, and the number of epochs since.

        Returns
        -------
        dict
            ``best``, ``waited`` and ``best_state``.
        """
        return {
            "best": self.kept.loss,
            "waited": self.waited,
            "best_state": self.kept.state and vars(self.kept.state),
        }

    def load_state(self, state: SavedState) -> None:
        """Go on counting.

        Parameters
        ----------
        state : dict
            What `state` returned.
        """
        loss = float(state["best"])
        epoch = self.history.epochs - int(state["waited"])
        best_state = None if state["best_state"] is None else StepState(**state["best_state"])
        self.kept = KeptEpoch(epoch, loss, best_state)

    def train_end(self, training: Training) -> None:
        """Put the best parameters back.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        if self.kept.state is not None:
            with training.lock.calls:
                training.step.load_state(self.kept.state)
