"""The data of an epoch: training rows in batches, and the loss on validation rows."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypedDict, TypeVar

import numpy

from xpnet.backend import Backend, Operations, ProgressReports, SeveralEpochs, Step
from xpnet.ops import Array, namespace
from xpnet.training.orders import DrawnOrder, OrderDrawer
from xpnet.typing import RandomGenerator

Value = TypeVar("Value")

RunEpoch = Callable[..., float]
"""A function that makes an epoch over rows in memory: it is called as `Step.epoch` is, and returns
the loss.
"""

RunEpochs = Callable[..., list[float]]
"""A function that makes several epochs: it is called as `SeveralEpochs.epochs` is, and
returns the losses.
"""


@dataclass
class LabeledRows:
    """Rows with their targets and weights, ready for a step.

    Parameters
    ----------
    X : array, shape (rows, in)
        The inputs, on the step's backend or as a SciPy sparse matrix (CSR).
    Y : array, shape (rows,) or (rows, out)
        Class indices, or targets.
    weight : array, shape (rows,), optional
        Weights of the rows; None for equal weights.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.training import LabeledRows
    >>> LabeledRows(numpy.eye(2), numpy.array([0, 1])).count
    2
    """

    X: Any
    Y: Any
    weight: Any = None

    @property
    def count(self) -> int:
        """Number of rows in this process."""
        return int(self.X.shape[0])

    def take(self, indices: numpy.ndarray, backend: Backend) -> "LabeledRows":
        """Take a selection of the rows.

        Parameters
        ----------
        indices : numpy.ndarray, shape (n,), int64
            The rows that are taken.
        backend : Backend
            Where the arrays live.

        Returns
        -------
        LabeledRows
            Copies of these rows.
        """
        gather = Operations(backend).gather
        positions = backend.asarray(indices)
        X = self.X[indices] if hasattr(self.X, "tocsr") else gather(self.X, positions)
        weight = None if self.weight is None else gather(self.weight, positions)
        return LabeledRows(X, gather(self.Y, positions), weight)

    def parts(self, backend: Backend, dtype: str) -> Generator["LabeledRows", None, None]:
        """Yield the rows piece by piece; those in memory are one piece.

        Parameters
        ----------
        backend : Backend
            Where the pieces are brought.
        dtype : {"float32", "float64"}
            Their dtype.

        Yields
        ------
        LabeledRows
            One piece at least.
        """
        yield self


class OrderedBatches(TypedDict):
    """The keyword arguments of `Step.epoch` but for the weights."""

    learning_rate: float
    batch_size: int
    order: DrawnOrder | None


class EpochSettings(OrderedBatches):
    """The keyword arguments of `Step.epoch`."""

    sample_weight: Array | None


class Batches(ABC):
    """The data that an epoch runs over, as the training loop knows them.

    Attributes
    ----------
    rows : int
        Number of rows in an epoch.
    rng : numpy.random.Generator or RandomState, or None
        The random generator that the orders of the rows are drawn from; checkpoints hold its state.
    is_main_process : bool
        Whether this process shows progress and writes checkpoints: True, unless several processes
        train together.

    See Also
    --------
    InMemory : Batches of rows in memory.
    Streamed : Batches of rows that are read block by block.

    Examples
    --------
    Batches that a simulation makes, as many as one likes:

    >>> import numpy
    >>> import xpnet
    >>> from xpnet.backend import NetworkSpec
    >>> from xpnet.optimizers import Constant
    >>> from xpnet.steps import make_step
    >>> from xpnet.training import Batches, train
    >>> class Simulated(Batches):
    ...     rows = 64
    ...     rng = numpy.random.default_rng(0)
    ...     def epoch(self, step, learning_rate, *, last=False):
    ...         X = self.rng.normal(size=(64, 2))
    ...         Y = (X[:, 0] > 0).astype(int)
    ...         return step.epoch(X, Y, learning_rate=learning_rate, batch_size=16)
    >>> step = make_step(NetworkSpec(widths=(2, 2), activations=()), xpnet.get_backend("numpy"))
    >>> history = train(step, Simulated(), epochs=20, schedule=Constant(0.5))
    >>> history.loss[-1] < history.loss[0]
    True
    """

    rows: int
    rng: RandomGenerator | None = None
    is_main_process: bool = True

    @property
    def leads(self) -> bool:
        """Return `is_main_process`, of which this is an earlier name."""
        return self.is_main_process

    @abstractmethod
    def epoch(self, step: Step, learning_rate: float, *, last: bool = False) -> float:
        """Train a step on all rows once.

        Parameters
        ----------
        step : Step
            The training step.
        learning_rate : float
            The learning rate of every update.
        last : bool, default False
            Whether no epoch follows, so that nothing is prepared for it.

        Returns
        -------
        float
            The loss of the epoch.
        """

    def epochs(self, step: Step, learning_rates: Sequence[float]) -> list[float]:
        """Train a step on all rows several times.

        Parameters
        ----------
        step : Step
            The training step.
        learning_rates : sequence of float
            The learning rate of each epoch.

        Returns
        -------
        list of float
            The loss of each epoch.
        """
        return [self.epoch(step, learning_rate) for learning_rate in learning_rates]

    def epochs_at_once(self, step: Step) -> int:
        """Return how many epochs a call of `epochs` may make in less time than as many calls.

        Parameters
        ----------
        step : Step
            The training step.

        Returns
        -------
        int
            The maximum number of epochs in a call; 1, the default, if nothing is gained or each
            epoch has validation rows.
        """
        return 1

    def validation_loss(self) -> float | None:
        """Measure the loss on the validation rows.

        Returns
        -------
        float or None
            The loss; None without validation rows.
        """
        return None

    def begin(self, step: Step, epochs: int) -> None:
        """Prepare the step, before the first epoch.

        Parameters
        ----------
        step : Step
            The training step.
        epochs : int
            The maximum number of epochs.
        """
        return

    def snapshot(self, step: Step, *, rng_is_shared: bool) -> Callable[[], None]:
        """Note all that an epoch changes, so that the epoch can be undone.

        Parameters
        ----------
        step : Step
            The training step.
        rng_is_shared : bool
            Whether callbacks may draw from `rng`, too.

        Returns
        -------
        callable
            A function that puts step and random generator back. It is valid until the next
            snapshot.
        """
        return step.snapshot()

    def report_to(self, step: Step, report: Callable[[int], None] | None) -> None:
        """Have the progress within an epoch reported, where the step can do that.

        Parameters
        ----------
        step : Step
            The training step.
        report : callable or None
            Called a few times a second with the number of rows that have been trained on in this
            epoch. None ends the reports.
        """
        if isinstance(step, ProgressReports):
            step.report = report

    def share_state(self, step: Step) -> None:
        """Give all processes the parameters and the optimizer state of the first one.

        Parameters
        ----------
        step : Step
            The training step.
        """
        return

    def agree(self, value: Value) -> Value:
        """Return the value that all processes go on with.

        Parameters
        ----------
        value : object
            The value of this process.

        Returns
        -------
        object
            The value itself, unless several processes train together.
        """
        return value

    def any_stops(self, stop: bool) -> bool:
        """Return whether any process stops the training.

        Parameters
        ----------
        stop : bool
            Whether this process does.

        Returns
        -------
        bool
            The same on every process.
        """
        return stop


class InMemory(Batches):
    """Batches of rows in memory, in a new order each epoch.

    Parameters
    ----------
    data : LabeledRows
        The rows, as the step takes them.
    batch_size : int
        Rows of a batch; the last batch may have fewer.
    shuffle : bool, default True
        Whether each epoch has a new order of the rows. A batch of all rows needs none.
    rng : numpy.random.Generator or RandomState, optional
        Where the orders are drawn from; needed where rows are shuffled.
    members : int, default 1
        Number of orders in an epoch: one for all members of the network, or one for each.
    measure : callable, optional
        Called without arguments after each epoch; returns the validation loss.
    run_epoch : callable, optional
        Called in place of `Step.epoch`, with the step and the arguments of that method.
    run_epochs : callable, optional
        Called in place of `SeveralEpochs.epochs` in the same way. None with ``run_epoch`` for
        epochs that are made one by one.
    check : callable, optional
        Called without arguments when the first epoch has left a loss or a parameter that is not
        finite; it raises an error if the data are to blame.

    Examples
    --------
    >>> import numpy
    >>> from xpnet.training import InMemory, LabeledRows
    >>> data = LabeledRows(numpy.eye(4), numpy.array([0, 1, 0, 1]))
    >>> batches = InMemory(data, batch_size=2, rng=numpy.random.default_rng(0))
    >>> batches.rows
    4
    """

    def __init__(
        self,
        data: LabeledRows,
        *,
        batch_size: int,
        shuffle: bool = True,
        rng: RandomGenerator | None = None,
        members: int = 1,
        measure: Callable[[], float] | None = None,
        run_epoch: RunEpoch | None = None,
        run_epochs: RunEpochs | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        self.data = data
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.rng = rng
        self.members = members
        self.measure = measure
        self.run_epoch = run_epoch
        self.run_epochs = run_epochs
        self._check = check
        self.count_rows(data.count)

    def count_rows(self, rows: int) -> None:
        """Set the number of rows in an epoch, where other processes have some of them.

        Parameters
        ----------
        rows : int
            The number of rows in all processes.
        """
        self.rows = rows
        shuffled = self.shuffle and self.batch_size < rows
        self._orders = self._order_drawer(rows) if shuffled else None

    def _order_drawer(self, rows: int) -> OrderDrawer:
        """Return the drawer of the orders of the rows."""
        return OrderDrawer(self.rng, rows, self.members)

    def epoch(self, step: Step, learning_rate: float, *, last: bool = False) -> float:
        order = None if self._orders is None else self._orders.draw(step, last=last)
        settings: EpochSettings = {
            "learning_rate": learning_rate,
            "batch_size": self.batch_size,
            "sample_weight": self.data.weight,
            "order": order,
        }
        if self._check is not None:
            return self._checked_epoch(step, settings)
        return self._run_epoch(step, settings)

    def epochs(self, step: Step, learning_rates: Sequence[float]) -> list[float]:
        assert isinstance(step, SeveralEpochs)
        orders = None
        if self._orders is not None:  # drawn all at once: nothing is prepared for a next epoch
            orders = [self._orders.draw(step, last=True) for _ in learning_rates]
        run_epochs = type(step).epochs if self.run_epochs is None else self.run_epochs
        return run_epochs(
            step,
            self.data.X,
            self.data.Y,
            learning_rates=learning_rates,
            batch_size=self.batch_size,
            orders=orders,
            sample_weight=self.data.weight,
        )

    def epochs_at_once(self, step: Step) -> int:
        runs_singly = self.measure or (self.run_epoch and not self.run_epochs)
        if runs_singly or not isinstance(step, SeveralEpochs):
            return 1
        return step.epochs_at_once(self.rows, self.batch_size)

    def _run_epoch(self, step: Step, settings: EpochSettings) -> float:
        """Make an epoch. settings : the keyword arguments of ``Step.epoch``"""
        if self.run_epoch is None:
            return step.epoch(self.data.X, self.data.Y, **settings)
        return self.run_epoch(step, self.data.X, self.data.Y, **settings)

    def _checked_epoch(self, step: Step, settings: EpochSettings) -> float:
        """Make the first epoch, and call ``check`` if it leaves a number that is not finite.

        NaN or infinity in X always shows: the gradient of the first weight has products with every
        number of X. So X is not read beforehand, which takes as long as several batches.
        """
        assert self._check is not None
        with numpy.errstate(invalid="ignore"):  # `check` reports values that are not finite
            loss = self._run_epoch(step, settings)
        if not (isfinite(loss) and all(map(is_finite, step.params.groups))):
            self._check()
        self._check = None
        return loss

    def check_now(self) -> None:
        """Check the data before the first epoch, not after it."""
        if self._check is not None:
            self._check()
        self._check = None

    def validation_loss(self) -> float | None:
        return None if self.measure is None else self.measure()

    def snapshot(self, step: Step, *, rng_is_shared: bool) -> Callable[[], None]:
        restore_step = step.snapshot()
        if self._orders is None:
            return restore_step
        restore_rng = self._orders.snapshot(shared=rng_is_shared)

        def restore() -> None:
            """Put the step and the random generator back."""
            restore_step()
            restore_rng()

        return restore


def is_finite(array: Any) -> bool:
    """Return whether an array, or a SciPy sparse matrix, holds neither NaN nor infinity."""
    if hasattr(array, "tocsr"):
        array = array.data
    if type(array) is numpy.ndarray:
        if array.dtype.kind != "f":
            return True
        with numpy.errstate(all="ignore"):
            total = numpy.add.reduce(array, axis=None)  # no temporary; large numbers may overflow
        return isfinite(total) or bool(numpy.isfinite(array).all())
    xp = namespace(array)
    return not xp.isdtype(array.dtype, "real floating") or bool(xp.all(xp.isfinite(array)))
