"""The base class of every training step, and the only contract that the training loop uses.

A backend's step is a subclass of :class:`Step`. It must write the abstract methods. Each other
method has a default here that is correct for every step. A step overrides those that it can do
faster: predictions that look for NaN in the same pass, weighted epochs, a snapshot of its state,
orders that are drawn while a device works, epochs together with other processes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy

from xpnet.backend.contract import Backend, on_device
from xpnet.backend.group import SharedMemoryGroup
from xpnet.backend.parameters import Parameters
from xpnet.backend.spec import NetworkSpec
from xpnet.ops import Array
from xpnet.typing import RandomGenerator, SparseMatrix

PREDICTION_ROWS = 8192
"""Number of rows that the reference step and the default methods forward at a time.

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


@dataclass(frozen=True)
class EpochRows:
    """The rows of an epoch, their order, and the size of their batches.

    Parameters
    ----------
    X : array, shape (rows, in)
        The inputs.
    Y : array, shape (rows,) or (rows, out)
        The labels or targets.
    batch_size : int
        Rows of a batch; the last batch may have fewer.
    order : numpy.ndarray, shape (rows,), int64, optional
        A permutation of the rows. None takes them in their own order.
    sample_weight : array, shape (rows,), optional
        Weights of the rows; None for equal weights.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.backend import EpochRows
    >>> rows = EpochRows(numpy.eye(4), numpy.array([0, 1, 0, 1]), batch_size=2)
    >>> rows.order is None
    True
    """

    X: Array
    Y: Array
    batch_size: int
    order: numpy.ndarray | None = None
    sample_weight: Array | None = None


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
    penalties : list of float
        The same for each of the losses that `epochs` returned last.
    takes_sparse : bool, default False
        Whether X may be a SciPy sparse matrix of compressed rows.
    report : callable or None
        A step that reports its progress calls this between batches, a few times a second, with the
        number of rows that have been trained on in this epoch. None, the initial value, if nobody
        listens.
    prefetches_orders : bool, default False
        Whether the step calls `prefetch_order`. It does if its device works asynchronously.
    prefetch_order : callable or None
        Called once within the next `epoch`, while the device is at work. It returns the order of
        the following epoch, which the step may copy to the device before it receives this same
        array. None, the initial value, if there is no such function.

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
    penalties: Sequence[float] = ()
    takes_sparse: bool = False
    report: Callable[[int], None] | None = None
    prefetches_orders: bool = False
    prefetch_order: Callable[[], numpy.ndarray] | None = None

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

    def epochs(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rates: Sequence[float],
        batch_size: int,
        orders: Sequence[numpy.ndarray] | None = None,
        sample_weight: Array | None = None,
    ) -> list[float]:
        """Train for several epochs, each as `epoch` makes it.

        Parameters
        ----------
        X : array, shape (rows, in)
            The inputs.
        Y : array, shape (rows,) or (rows, out)
            The labels or targets.
        learning_rates : sequence of float
            The learning rate of each epoch.
        batch_size : int
            Rows of a batch; the last batch may have fewer.
        orders : sequence of numpy.ndarray, optional
            The order of each epoch. None takes the rows in their own order.
        sample_weight : array, shape (rows,), optional
            Weights of the rows; None for equal weights.

        Returns
        -------
        list of float
            The loss of each epoch.
        """
        losses = []
        penalties = []
        for k, learning_rate in enumerate(learning_rates):
            loss = self.epoch(
                X,
                Y,
                learning_rate=learning_rate,
                batch_size=batch_size,
                order=None if orders is None else orders[k],
                sample_weight=sample_weight,
            )
            losses.append(loss)
            penalties.append(self.penalty)
        self.penalties = penalties
        return losses

    def epochs_at_once(self, rows: int, batch_size: int) -> int:
        """Tell how many epochs a call of `epochs` may make in less time than as many calls.

        Parameters
        ----------
        rows : int
            Number of rows.
        batch_size : int
            Rows of a batch.

        Returns
        -------
        int
            The maximum number of epochs in a call; 1, the default, if nothing is gained.
        """
        return 1

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

    def forward_finite(self, X: numpy.ndarray | SparseMatrix) -> Array | None:
        """Compute the outputs of the network as `forward` does, and look for NaN and infinity in X.

        Parameters
        ----------
        X : numpy.ndarray or scipy sparse matrix, shape (rows, in)
            The inputs, on the host, of any dtype. They may be a large file, of which a few rows at
            a time are checked and converted.

        Returns
        -------
        array, shape (rows, out), or None
            None where X holds NaN or infinity.
        """
        outputs: list[Any] = []
        for start in range(0, max(X.shape[0], 1), PREDICTION_ROWS):
            part = numpy.asarray(X[start : start + PREDICTION_ROWS], dtype=self.spec.dtype)
            if not numpy.isfinite(part).all():
                return None
            outputs.append(self.forward(part))
        return outputs[0] if len(outputs) == 1 else numpy.concatenate(outputs)

    def weighted_epoch(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rate: float,
        batch_size: int,
        order: numpy.ndarray | None = None,
        sample_weight: Array | None = None,
        max_grad_norm: float | None = None,
    ) -> float:
        """Train as `epoch` does, with the loss and the clipping that scikit-learn's users expect.

        A batch whose weights are all zero changes nothing. If the norm of a batch's gradient, over
        all parameters, is greater than ``max_grad_norm``, the gradient is scaled to that norm
        (Pascanu, Mikolov, Bengio, 2013).

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
        max_grad_norm : float, optional
            The greatest norm of a gradient; None for no limit.

        Returns
        -------
        float
            The mean of the losses of the batches, weighted by their rows, not by their weights.
        """
        self.prefetch_order = None
        count = self.count_rows(X)
        total = 0.0
        penalty = 0.0
        order = numpy.arange(count) if order is None else order
        weights = None if sample_weight is None else self.backend.to_numpy(sample_weight)
        for start in range(0, count, batch_size):
            rows = order[start : start + batch_size]
            if weights is not None and not weights[rows].any():
                continue
            total += len(rows) * self.gradient(X, Y, sample_weight=sample_weight, rows=rows)
            penalty += len(rows) * self.penalty
            if max_grad_norm is not None:
                self.clip_gradients(max_grad_norm)
            self.update(learning_rate=learning_rate)
            if self.report is not None:
                self.report(start + len(rows))
        self.penalty = penalty / count if count else 0.0
        return total / count if count else 0.0

    def broadcast_state(self) -> None:
        """Copy the parameters and the optimizer state of rank 0 to all ranks."""
        return

    def count_rows(self, X: Array) -> int:
        """Count the rows to train on, in all processes that train together.

        Parameters
        ----------
        X : array, shape (rows, in)
            The rows of this process.

        Returns
        -------
        int
            The number of rows.
        """
        return int(X.shape[0])

    def clip_gradients(self, max_norm: float) -> None:
        """Clip the norm of all gradients together: scale them by min(1, max_norm / ||g||).

        Parameters
        ----------
        max_norm : float
            The greatest norm.
        """
        groups = self.gradients.groups
        norm = sum(float(self.backend.xp.sum(g * g)) for g in groups) ** 0.5
        if norm > max_norm:
            self.gradients.replace_groups([g * (max_norm / norm) for g in groups])

    def shared_memory_epoch(
        self,
        rows: EpochRows,
        *,
        learning_rate: float,
        by_rows: bool,
        max_grad_norm: float | None,
        group: SharedMemoryGroup,
    ) -> float | None:
        """Train as `epoch` does, together with all ranks of a group, in shared memory.

        The ranks pass the same arguments, begin with the parameters and the optimizer state of rank
        0, and end with equal ones.

        Parameters
        ----------
        rows : EpochRows
            All rows, which every rank has.
        learning_rate : float
            The learning rate of every update.
        by_rows : bool
            Whether the loss is that of `weighted_epoch`, a mean weighted by the rows of batches.
        max_grad_norm : float or None
            The norm to which a greater gradient is scaled before an update.
        group : SharedMemoryGroup
            The ranks.

        Returns
        -------
        float or None
            The loss. None if nothing was done: the ranks have no shared memory, or ``by_rows`` is
            true and the weights of a batch are all zero. The default is None.
        """
        return None

    @contextmanager
    def side_by_side(
        self,
        steps: Sequence["Step"],
        X: Array,
        Y: Array,
        *,
        batch_size: int,
        rows: Sequence[numpy.ndarray | None],
        rngs: Sequence[RandomGenerator | None] | None,
    ) -> Iterator[Callable[[int, Sequence[float]], list[float]] | None]:
        """Train several networks of one shape at once, each on one thread.

        Parameters
        ----------
        steps : sequence of Step
            The networks' steps, of this class, of which this is the first. Their specs may differ
            only in penalty, seed and the numbers of the update rule. They train on equal numbers
            of rows.
        X : array, shape (rows, in)
            The inputs of all networks.
        Y : array, shape (rows,) or (rows, out)
            The labels or targets.
        batch_size : int
            Rows of a batch; the last batch may have fewer.
        rows : sequence of numpy.ndarray, shape (n,), int64, or None
            For each network the rows that it trains on; None for all.
        rngs : sequence of numpy.random.Generator over PCG64, or None
            The random generator of each network. The order of an epoch is drawn from it, as its
            method `permutation` does; None if rows are not shuffled.

        Yields
        ------
        callable or None
            A function of the index of a network, and of learning rates, one for each network from
            that index on. It trains these networks for an epoch and returns their losses, as
            `epoch` does. None, the default, if each network must be trained by itself.
        """
        yield None
