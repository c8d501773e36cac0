"""The state of a training, as a checkpoint holds it."""

from dataclasses import dataclass

from xpnet.backend import NetworkSpec, StepState
from xpnet.typing import SavedState


@dataclass
class TrainingState:
    """The state of a training after a whole epoch, as a checkpoint holds it.

    Parameters
    ----------
    spec : NetworkSpec
        The network.
    step : StepState
        Its parameters, the optimizer's buffers and the number of updates.
    history : dict of str to list of float
        The numbers of all epochs so far, by name.
    rows : int
        Number of rows it trains on.
    done : int
        Number of epochs that were made in this run.
    stop : bool
        Whether a callback has ended the training.
    rng : dict or None
        The state of the random generator that orders are drawn from, as NumPy gives it; None
        without a generator.
    callbacks : dict of str to dict
        The state of each callback that has one, by its `Callback.state_key`. States of earlier
        versions are numbered instead, by the place of the callback in the list.

    See Also
    --------
    xpnet.Checkpoint.latest : Read the state from a folder.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.training import Callback
    >>> class Keep(Callback):
    ...     def between_epochs(self, training):
    ...         self.kept = training.state()
    >>> keep = Keep()
    >>> net = xpnet.LogisticRegression(2, 2, backend="numpy")
    >>> history = net.fit(numpy.eye(2), numpy.array([0, 1]), epochs=2, callbacks=[keep])
    >>> keep.kept.done, keep.kept.step.t
    (2, 2)
    """

    spec: NetworkSpec
    step: StepState
    history: dict[str, list[float]]
    rows: int
    done: int
    stop: bool
    rng: SavedState | None
    callbacks: dict[str, SavedState]
