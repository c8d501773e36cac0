"""Abilities that only some training steps have.

Each ability is a subclass of :class:`Step`. A step that has it is an instance of that class, and
``isinstance(step, SideBySide)`` asks for it. Callers go without an ability that is not there.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy

from xpnet.backend.group import SharedMemoryGroup
from xpnet.backend.step import Step
from xpnet.ops import Array
from xpnet.typing import RandomGenerator, SparseMatrix

TrainNetworks = Callable[[int, Sequence[float]], list[float]]
"""A function that trains some networks for an epoch; see `SideBySide.side_by_side`."""


class SeveralEpochs(Step):
    """A step that can make several short epochs in one call, in less time than one by one.

    Attributes
    ----------
    penalties : sequence of float
        The part of each of the losses that `epochs` returned last that is the L2 penalty.

    Examples
    --------
    >>> import xpnet
    >>> from xpnet.backend import NetworkSpec, SeveralEpochs
    >>> from xpnet.steps import make_step
    >>> spec = NetworkSpec(widths=(2, 3, 2), activations=("relu",))
    >>> isinstance(make_step(spec, xpnet.get_backend("numba")), SeveralEpochs)
    True
    """

    penalties: Sequence[float] = ()

    @abstractmethod
    def epochs_at_once(self, rows: int, batch_size: int) -> int:
        """Return how many epochs a call of `epochs` may make in less time than as many calls.

        Parameters
        ----------
        rows : int
            Number of rows.
        batch_size : int
            Rows of a batch.

        Returns
        -------
        int
            The maximum number of epochs in a call; 1 if nothing is gained.
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


class WeightedEpochs(Step):
    """A step that brings its own `weighted_epoch`.

    Examples
    --------
    >>> import xpnet
    >>> from xpnet.backend import NetworkSpec, WeightedEpochs
    >>> from xpnet.steps import make_step
    >>> spec = NetworkSpec(widths=(2, 3, 2), activations=("relu",))
    >>> isinstance(make_step(spec, xpnet.get_backend("numba")), WeightedEpochs)
    True
    """

    @abstractmethod
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


class FinitePredictions(Step):
    """A step that looks for NaN and infinity in the pass that predicts.

    Examples
    --------
    >>> import xpnet
    >>> from xpnet.backend import NetworkSpec, FinitePredictions
    >>> from xpnet.steps import make_step
    >>> spec = NetworkSpec(widths=(2, 3, 2), activations=("relu",))
    >>> isinstance(make_step(spec, xpnet.get_backend("numba")), FinitePredictions)
    True
    """

    @abstractmethod
    def forward_finite(self, X: numpy.ndarray | SparseMatrix) -> Array | None:
        """Compute the outputs as `forward` does, unless X holds NaN or infinity.

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


class ProgressReports(Step):
    """A step that reports its progress within an epoch.

    Attributes
    ----------
    report : callable or None
        The step calls it between batches, a few times a second, with the number of rows that have
        been trained on in this epoch. None, the initial value, if nobody listens.

    Examples
    --------
    >>> import xpnet
    >>> from xpnet.backend import NetworkSpec, ProgressReports
    >>> from xpnet.steps import make_step
    >>> spec = NetworkSpec(widths=(2, 3, 2), activations=("relu",))
    >>> isinstance(make_step(spec, xpnet.get_backend("numpy")), ProgressReports)
    True
    """

    report: Callable[[int], None] | None = None


class PrefetchedOrders(Step):
    """A step that has the next order of the rows drawn while its device works on an epoch.

    Attributes
    ----------
    prefetch_order : callable or None
        Called once within the next `epoch`, while the device is at work. It returns the order of
        the following epoch, which the step may copy to the device before it receives this same
        array. None, the initial value, if there is no such function.

    Examples
    --------
    >>> import xpnet
    >>> from xpnet.backend import NetworkSpec, PrefetchedOrders
    >>> from xpnet.steps import make_step
    >>> spec = NetworkSpec(widths=(2, 3, 2), activations=("relu",))
    >>> isinstance(make_step(spec, xpnet.get_backend("numba")), PrefetchedOrders)
    False
    """

    prefetch_order: Callable[[], numpy.ndarray] | None = None


class SideBySide(Step):
    """A step that can train several networks of one shape at once, each on one thread.

    Examples
    --------
    >>> import xpnet
    >>> from xpnet.backend import NetworkSpec, SideBySide
    >>> from xpnet.steps import make_step
    >>> spec = NetworkSpec(widths=(2, 3, 2), activations=("relu",))
    >>> isinstance(make_step(spec, xpnet.get_backend("numba")), SideBySide)
    True
    """

    @abstractmethod
    def side_by_side(
        self,
        steps: Sequence["Step"],
        X: Array,
        Y: Array,
        *,
        batch_size: int,
        rows: Sequence[numpy.ndarray | None],
        rngs: Sequence[RandomGenerator | None] | None,
    ) -> AbstractContextManager[TrainNetworks | None]:
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

        Returns
        -------
        context manager
            It gives a function of the index of a network, and of learning rates, one for each
            network from that index on. The function trains these networks for an epoch and returns
            their losses, as `epoch` does. It gives None if each network must be trained by itself.
        """


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


class SharedMemoryEpochs(Step):
    """A step that can train together with the processes of one machine, in shared memory.

    Examples
    --------
    >>> import xpnet
    >>> from xpnet.backend import NetworkSpec, SharedMemoryEpochs
    >>> from xpnet.steps import make_step
    >>> spec = NetworkSpec(widths=(2, 3, 2), activations=("relu",))
    >>> isinstance(make_step(spec, xpnet.get_backend("numba")), SharedMemoryEpochs)
    True
    """

    @abstractmethod
    def shared_memory_epoch(
        self,
        rows: EpochRows,
        *,
        learning_rate: float,
        is_row_mean: bool,
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
        is_row_mean : bool
            Whether batches count by their rows in the loss, as in `WeightedEpochs.weighted_epoch`,
            not by their weights.
        max_grad_norm : float or None
            The norm to which a greater gradient is scaled before an update.
        group : SharedMemoryGroup
            The ranks.

        Returns
        -------
        float or None
            The loss. None if nothing was done: the ranks have no shared memory, or ``is_row_mean``
            is true and the weights of a batch are all zero.
        """
