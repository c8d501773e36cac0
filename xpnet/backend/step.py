"""The base class of every training step: what each step must be able to do.

A backend's step is a subclass of :class:`Step` that writes the abstract methods. What only some
steps can do, such as several epochs in one call, is a subclass in `xpnet.backend.capabilities`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy

from xpnet.backend.contract import Backend, on_device
from xpnet.backend.parameters import Parameters
from xpnet.backend.spec import NetworkSpec
from xpnet.ops import Array

PREDICTION_ROWS = 8192
"""Number of rows that the reference step and the generic functions forward at a time.

The intermediate results of more rows would need more memory than the outputs do.
"""


@dataclass
class StepState:
    """All that changes while a network trains, as NumPy arrays on the host. Checkpoints hold it.

    Parameters
    ----------
    params : dict of str to numpy.ndarray
        Parameters by name.
    buffers : dict of str to dict of str to numpy.ndarray
        The optimizer's arrays, by the name of the buffer (``velocity``, ``m``, ``v``) and of the
        parameter. Empty by default.
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

    params: dict[str, numpy.ndarray]
    buffers: dict[str, dict[str, numpy.ndarray]] = field(default_factory=dict)
    t: int = 0


@dataclass(frozen=True)
class BatchPart:
    """The place of some rows in a larger batch, where several processes share one batch.

    Parameters
    ----------
    total_weight : float
        Sum of the sample weights of the whole batch, or its number of rows where there are no
        weights. The loss and the gradient are sums over the part divided by it, so that those of
        all parts add up to the mean over the batch.
    first_row : int, default 0
        Number of rows of the whole batch that precede these. Dropout masks depend on it.
    penalized : bool, default True
        Whether the penalty is added to this part; exactly one part of a batch adds it.
    places : numpy.ndarray, shape (rows,), int64, optional
        The position of each of these rows in the whole batch, if the rows are not consecutive.
        Dropout masks then depend on it in place of `first_row`.

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
    places: numpy.ndarray | None = field(default=None, compare=False)


class Step(ABC):
    """A network's parameters, gradients and optimizer state, and what can be done with them.

    Attributes
    ----------
    spec : NetworkSpec
        The description that the step was made from; set by the subclass.
    params : Parameters
        Parameters by name; set by the subclass.
    penalty : float
        The part of the last returned loss that is the L2 penalty.
    takes_sparse : bool, default False
        Whether X may be a SciPy sparse matrix of compressed rows.
    takes_offsets : bool, default False
        Whether Y may have offsets of the logits behind the labels, (rows, 2 * out).

    See Also
    --------
    SeveralEpochs : Several short epochs in one call.
    WeightedEpochs : Epochs as scikit-learn makes them.
    FinitePredictions : Predictions that look for NaN in the same pass.
    ProgressReports : Reports within an epoch.
    PrefetchedOrders : The next order of the rows, drawn while the device works.
    SideBySide : Several networks at once.
    SharedMemoryEpochs : Epochs together with other processes of the machine.

    Notes
    -----
    Arguments that are arrays belong to the step's backend. X (rows, in) has the dtype of the spec.
    For softmax cross-entropy Y is class indices (rows,), integer, or one-hot or soft labels (rows,
    classes); for the other losses it is (rows, out). All but class indices have the dtype of the
    spec, and so has sample_weight (rows,). The caller has validated shapes and labels; a step
    checks neither. Memory for gradients and optimizer state is allocated at their first use; a
    step that only predicts has neither.

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
    penalty: float = 0.0
    takes_sparse: bool = False
    takes_offsets: bool = False

    @property
    def backend(self) -> Backend:
        """Return the backend that the arrays belong to."""
        return self.params.backend

    @property
    @abstractmethod
    def gradients(self) -> Parameters:
        """Return the gradient with respect to each parameter, by name.

        The last call of `gradient` computed it.
        """

    @property
    @abstractmethod
    def why(self) -> str:
        """Describe in one sentence for the user which step runs, and why."""

    def running(self) -> AbstractContextManager[None]:
        """Set up once, for many calls, what costs much, such as limits on threads.

        No array that a call inside has received may be written to before the context is left, the
        parameters excepted.

        Returns
        -------
        context manager
            The setup lasts until the context is left. By default the device of the backend is the
            current one.
        """
        return on_device(self.backend)

    @abstractmethod
    def epoch(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rate: float,
        batch_size: int,
        order: numpy.ndarray | None = None,
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
        order : numpy.ndarray, shape (rows,) or (members, rows), int64, optional
            A permutation of the rows, or one for each member. None takes them in their own order.
        sample_weight : array, shape (rows,), optional
            Weights of the rows; None for equal weights.

        Returns
        -------
        float
            The (weighted) mean over rows of the loss, penalty included, where each batch counts
            with the parameters before its update; 0.0 for no rows.
        """

    @abstractmethod
    def forward(self, X: Array) -> Array:
        """Compute the outputs of the network.

        Parameters
        ----------
        X : array, shape (rows, in)
            The inputs.

        Returns
        -------
        array, shape (rows, out)
            The outputs after the output activation: softmax for softmax cross-entropy, the logistic
            function for logistic cross-entropy, exp for the deviances poisson, gamma and tweedie,
            the identity for other losses.
        """

    @abstractmethod
    def loss(
        self,
        X: Array,
        Y: Array,
        *,
        sample_weight: Array | None = None,
        rows: numpy.ndarray | None = None,
    ) -> float:
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

    @abstractmethod
    def gradient(
        self,
        X: Array,
        Y: Array,
        *,
        sample_weight: Array | None = None,
        rows: numpy.ndarray | None = None,
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
            The place of the rows in a larger batch; None where they are the whole batch. A part may
            have no rows: its gradient is zero, or the penalty's.

        Returns
        -------
        float
            The loss, penalty included.
        """

    @abstractmethod
    def update(self, *, learning_rate: float) -> None:
        """Update the parameters once from `gradients`, by the rule of the spec.

        Parameters
        ----------
        learning_rate : float
            The learning rate of this update.
        """

    @abstractmethod
    def state(self) -> StepState:
        """Copy all that changes while the network trains.

        Returns
        -------
        StepState
            The copy, on the host.
        """

    @abstractmethod
    def load_state(self, state: StepState) -> None:
        """Take over a state.

        Parameters
        ----------
        state : StepState
            Parameters and number of updates; and the optimizer's buffers, which start from zero
            where it has none.
        """

    def snapshot(self) -> Callable[[], None]:
        """Keep a copy of all that changes while the network trains.

        Returns
        -------
        callable
            A function that restores the present state of the step. It is valid until the next
            snapshot.
        """
        state = self.state()
        return lambda: self.load_state(state)
