"""Early stopping: the training ends when the loss no longer falls."""

from typing import TYPE_CHECKING

from xpnet.backend import StepState
from xpnet.training.callbacks import Callback
from xpnet.typing import SavedState

if TYPE_CHECKING:
    from xpnet.training.state import Training


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

    def train_begin(self, training: "Training") -> None:
        """Start counting.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        self.best: float = float("inf")
        self.waited: int = 0
        self.best_state: StepState | None = None

    def epoch_end(self, training: "Training") -> None:
        """Compare the epoch with the best one so far.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        loss = (training.history.validation_loss or training.history.loss)[-1]
        if loss < self.best - self.tol:
            self.best = loss
            self.waited = 0
            self.best_state = training.step.state() if self.restore_best else None
            return
        self.waited += 1
        training.stop = training.stop or self.waited >= self.patience

    def state(self) -> SavedState:
        """Return the best loss so far, its parameters, and the number of epochs since.

        Returns
        -------
        dict
            ``best``, ``waited`` and ``best_state``.
        """
        return {
            "best": self.best,
            "waited": self.waited,
            "best_state": self.best_state and vars(self.best_state),
        }

    def load_state(self, state: SavedState) -> None:
        """Go on counting.

        Parameters
        ----------
        state : dict
            What `state` returned.
        """
        self.best = float(state["best"])
        self.waited = int(state["waited"])
        self.best_state = None if state["best_state"] is None else StepState(**state["best_state"])

    def train_end(self, training: "Training") -> None:
        """Put the best parameters back.

        Parameters
        ----------
        training : Training
            The training under way.
        """
        if self.best_state is not None:
            with training.lock.calls:
                training.step.load_state(self.best_state)
