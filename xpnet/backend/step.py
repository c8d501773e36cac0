"""What a training step offers. The training loop drives every step through this contract alone."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from xpnet.backend.group import NearGroup
from xpnet.backend.parameters import Parameters
from xpnet.backend.spec import NetworkSpec
from xpnet.ops import Array

SECONDS_PER_PRODUCT = 6e-9
"""Of training a row, for each weight, on a slow machine: what is guessed before anything has been measured."""


@dataclass
class StepState:
    """All that changes while a network trains, as NumPy arrays on the host. Checkpoints hold it.

    Parameters
    ----------
    params : dict of str to numpy.ndarray
        Parameters by name.
    buffers : dict of str to dict of str to numpy.ndarray
        The optimizer's arrays, by the name of the buffer (``velocity``, ``m``, ``v``) and of the parameter. Empty by
        default.
    t : int, default 0
        Number of updates made.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.backend import NetworkSpec, StepState
    >>> from xpnet.steps import make_step
    >>> step = make_step(NetworkSpec(widths=(1, 2), activations=()), xpnet.get_backend("numpy"))
    >>> step.load_state(StepState({"W1": numpy.ones((1, 2)), "b1": numpy.zeros(2)}, t=7))
    >>> step.state().t
    7
    """

    params: dict[str, Any]
    buffers: dict[str, dict[str, Any]] = field(default_factory=dict)
    t: int = 0


@dataclass(frozen=True)
class BatchPart:
    """The place of some rows in a larger batch, where several processes share one batch.

    Parameters
    ----------
    total_weight : float
        Sum of the sample weights of the whole batch, or its number of rows where there are no weights. The loss and the
        gradient are sums over the part divided by it, so that those of all parts add up to the mean over the batch.
    first_row : int, default 0
        How many rows of the whole batch come before these. Dropout masks depend on it.
    penalized : bool, default True
        Whether the penalty is added to this part; exactly one part of a batch adds it.
    places : numpy.ndarray, shape (rows,), int64, optional
        Where each of these rows stands in the whole batch, if they do not lie one after the other. Dropout masks then
        depend on it in place of `first_row`.

    Examples
    --------
    The two halves of a batch of 64 rows:

    >>> from xpnet.backend import BatchPart
    >>> first = BatchPart(total_weight=64)
    >>> second = BatchPart(total_weight=64, first_row=32, penalized=False)
    """

    total_weight: float
    first_row: int = 0
    penalized: bool = True
    places: Any = field(default=None, compare=False)


class Step(Protocol):
    """A network's parameters, gradients and optimizer state, and what can be done with them.

    Attributes
    ----------
    spec : NetworkSpec
        The description that the step was made from.
    params : Parameters
        Parameters by name.

    Notes
    -----
    Arrays that come in belong to the step's backend. X (rows, in) has the dtype of the spec. For softmax cross-entropy
    Y is class indices (rows,), integer, or one-hot or soft labels (rows, classes); for the other losses it is (rows,
    out). All but class indices have the dtype of the spec, as has sample_weight (rows,). The caller has validated
    shapes and labels; a step checks neither. Memory for gradients and optimizer state is allocated when they are first
    needed; a step that only predicts has neither.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.backend import NetworkSpec
    >>> from xpnet.steps import make_step
    >>> spec = NetworkSpec(widths=(2, 3, 2), activations=("relu",))
    >>> step = make_step(spec, xpnet.get_backend("numpy"))
    >>> step.forward(numpy.ones((1, 2)))
    array([[0.5, 0.5]])
    """

    spec: NetworkSpec
    params: Parameters

    @property
    def penalty(self) -> float:
        """The part of the last returned loss that is the L2 penalty."""

    @property
    def gradients(self) -> Parameters:
        """The gradient by each parameter, by name, as the last `gradient` computed it."""

    @property
    def why(self) -> str:
        """One sentence for a person: what runs here, and why."""

    def running(self) -> AbstractContextManager[None]:
        """Set up once, for many calls, what would be costly to set up for each: the limits on threads, say.

        Nobody may write to an array that calls inside received, but for the parameters.

        Returns
        -------
        context manager
            The setup lasts until the context is left.
        """

    def epoch(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rate: float,
        batch_size: int,
        order: Any = None,
        sample_weight: Array | None = None,
    ) -> float:
        """Train on all rows once, in minibatches: for each the gradient, then the update.

        Parameters
        ----------
        X : array, shape (rows, in)
            The inputs.
        Y : array, shape (rows,) or (rows, out)
            The labels or targets.
        learning_rate : float
            The learning rate of every update.
        batch_size : int
            Rows of a batch; the last batch may have fewer.
        order : numpy.ndarray, shape (rows,), int64, optional
            A permutation of the rows. None takes them in their own order.
        sample_weight : array, shape (rows,), optional
            Weights of the rows; None for equal weights.

        Returns
        -------
        float
            The (weighted) mean over rows of the loss, penalty included, where each batch counts with the parameters
            before its update; 0.0 for no rows.
        """

    def forward(self, X: Array) -> Array:
        """Compute the outputs of the network.

        Parameters
        ----------
        X : array, shape (rows, in)
            The inputs.

        Returns
        -------
        array, shape (rows, out)
            The outputs after the output activation: softmax for softmax cross-entropy, the logistic function for
            logistic cross-entropy, the identity for squared error, exp for poisson.
        """

    def loss(self, X: Array, Y: Array, *, sample_weight: Array | None = None, rows: Any = None) -> float:
        """Measure the mean loss, without gradient, dropout or update.

        Parameters
        ----------
        X : array, shape (rows, in)
            The inputs.
        Y : array, shape (rows,) or (rows, out)
            The labels or targets.
        sample_weight : array, shape (rows,), optional
            Weights of the rows; None for equal weights.
        rows : numpy.ndarray, shape (n,), int64, optional
            Indices of the rows of X, Y and sample_weight that count; None for all.

        Returns
        -------
        float
            The (weighted) mean loss over the rows, penalty included; 0.0 for no rows.

        Notes
        -----
        The memory it needs does not grow with the number of rows.
        """

    def gradient(
        self,
        X: Array,
        Y: Array,
        *,
        sample_weight: Array | None = None,
        rows: Any = None,
        part: BatchPart | None = None,
    ) -> float:
        """Compute `gradients` from the rows as one batch, penalty included, and update nothing.

        Parameters
        ----------
        X : array, shape (rows, in)
            The inputs.
        Y : array, shape (rows,) or (rows, out)
            The labels or targets.
        sample_weight : array, shape (rows,), optional
            Weights of the rows; None for equal weights.
        rows : numpy.ndarray, shape (n,), int64, optional
            Indices of the rows of X, Y and sample_weight that make up the batch; None for all.
        part : BatchPart, optional
            The place of the rows in a larger batch; None where they are the whole batch. A part may have no rows: its
            gradient is zero, or the penalty's.

        Returns
        -------
        float
            The loss, penalty included.
        """

    def update(self, *, learning_rate: float) -> None:
        """Update the parameters once from `gradients`, by the rule of the spec.

        Parameters
        ----------
        learning_rate : float
            The learning rate of this update.
        """

    def state(self) -> StepState:
        """Copy all that changes while the network trains.

        Returns
        -------
        StepState
            The copy, on the host.
        """

    def load_state(self, state: StepState) -> None:
        """Take over a state.

        Parameters
        ----------
        state : StepState
            Parameters and number of updates; and the optimizer's buffers, which start from zero where it has none.
        """


class ReportingStep(Step, Protocol):
    """A step that says within a long epoch how far it has come.

    Attributes
    ----------
    report : callable or None
        Called between batches, a few times a second, with the number of rows that have been trained on in this epoch;
        None, as at first, for nobody.
    """

    report: Callable[[int], None] | None


class DrawingStep(Step, Protocol):
    """A step whose device works by itself, so that the order of the next epoch can be drawn beside it.

    Attributes
    ----------
    draws_ahead : bool
        Whether `draw_next` is called.
    draw_next : callable or None
        Called once within the next `epoch`, while the device is at work; returns the order of the epoch after it, which
        the step may copy to the device before it is given this very array. None, as at first, for nobody.
    """

    draws_ahead: bool
    draw_next: Callable[[], Any] | None


class CheckingStep(Step, Protocol):
    """A step that looks for NaN and infinity in the same pass over X that computes the outputs."""

    def forward_finite(self, X: Array) -> Array | None:
        """Compute the outputs of the network as `forward` does, or return None where X holds NaN or infinity."""


class CommonStep(Step, Protocol):
    """A step that can share batches with the ranks of a group as it shares them among threads."""

    def epoch_in_common(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rate: float,
        batch_size: int,
        order: Any,
        sample_weight: Array | None,
        group: NearGroup,
    ) -> float | None:
        """Train as `epoch` does, together with all ranks of a group. They pass the same arguments, begin with the
        parameters and the optimizer of rank 0, and end with the same ones.

        Nothing is done, and None returned, where the ranks have no memory in common.
        """


class WeightingStep(Step, Protocol):
    """A step that can report the loss of an epoch with sample weights as scikit-learn does."""

    def epoch_by_batch_rows(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rate: float,
        batch_size: int,
        order: Any = None,
        sample_weight: Array | None = None,
    ) -> float | None:
        """Train as `epoch` does. The loss is the mean over the batches, each counted by its rows, not by its weights.

        Nothing is done, and None returned, where the weights of a batch are all zero.
        """
