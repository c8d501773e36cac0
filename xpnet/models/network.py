"""The network that all models and estimators are made of: how it is trained."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy

from xpnet.backend import Step
from xpnet.distributed import count_rows, distributed_batches, distributed_step
from xpnet.errors import InputError, warn_user
from xpnet.models.inputs import check_finite, check_some_rows, is_sparse, require
from xpnet.models.prediction import PredictingNetwork
from xpnet.ops import Array
from xpnet.ops.offsets import has_offsets
from xpnet.optimizers import Schedule
from xpnet.training import (
    History,
    InMemory,
    LabeledRows,
    TrainingState,
    train,
)
from xpnet.training.callbacks import CallbackLike
from xpnet.training.rng import host_generator
from xpnet.typing import ArrayLike, RandomSource

EXPLOSION = 1000.0
"""Ratio of the last training loss to the first from which a warning names the learning rate."""


class Network(PredictingNetwork):
    """A dense network with its parameters, on one backend.

    Until arrays arrive, the parameters lie on the host; the first arrays decide library, device and
    dtype, unless the constructor named them. The models of this module, and the estimators, are
    made of it.

    Parameters
    ----------
    spec : NetworkSpec
        Widths, activations, loss, penalty and update.
    initial : dict of str to array, or a function that returns one
        The parameters to begin with, by name, on the host.
    learning_rate : float or Schedule
        The learning rate, or a function that is called before each epoch as ``learning_rate(epoch,
        losses)``: with the number of epochs made so far, 0 for the first, and the list of their
        training losses.
    backend : str, Backend, Choice or None
        A name or a backend; None adopts the library and device of the first arrays. A Choice is
        where it lives from the start.
    dtype : {"float32", "float64"} or None
        None adopts that of the first arrays.
    compiled : bool, default True
        False trains with the reference step even where a compiled one exists.
    rng : int, numpy.random.Generator or numpy.random.RandomState, optional
        Where ``fit`` draws the orders of the rows from; None for NumPy's global generator.

    Attributes
    ----------
    spec : NetworkSpec
        The network as it is now.
    history : History
        Losses and learning rates of every epoch so far.
    choice : Choice
        The backend the network lives on, and why.
    placement : Placement
        What decides where the network lives: the user, who named the backend, so that arrays of any
        library are brought there, the arrays that came first, or those that will come.
    settled : bool
        Whether backend and dtype are final; else the first arrays decide what is open.
    lock : NetworkLock
        What lets threads share the network.
    extra : dict of str to JSON values
        What files keep with the model.

    Raises
    ------
    InputError
        For sizes that are not positive integers and numbers outside their range.

    Notes
    -----
    Threads may share a network: one call at a time uses it, the others wait for their turn. While
    one thread is within ``fit``, others may predict, save and copy between two epochs, and get the
    parameters of a whole epoch; a second ``fit``, ``step`` or ``to`` waits until the first has
    ended. A network can be pickled and copied: the copy has its own parameters and optimizer, and
    lives nowhere until arrays arrive, unless its backend was named.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> net = xpnet.FeedforwardNeuralNet(2, 8, 2, learning_rate=0.5, rng=0)
    >>> X = numpy.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    >>> y = numpy.array([0, 1, 1, 0])
    >>> history = net.fit(X, y, epochs=500)
    >>> net.predict(X).argmax(axis=1)
    array([0, 1, 1, 0])
    """

    @property
    def schedule(self) -> Schedule:
        """Return what gives each epoch its learning rate."""
        return self._schedule

    @property
    def next_learning_rate(self) -> float:
        """Return the learning rate of the next epoch or step."""
        return self._schedule(self.history.epochs, self.history.loss)

    def step(self, X: ArrayLike, Y: ArrayLike) -> float:
        """Make one update from all rows as one batch.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, in)
            The rows; sparse ones where arrays are NumPy's.
        Y : array, shape (rows,) or (rows, classes)
            Class indices, or one-hot or soft labels.

        Returns
        -------
        float
            The loss before the update.

        Raises
        ------
        InputError
            For shapes or labels that do not fit.
        """
        with self.lock.training():
            X, Y, _ = self.checked(X, Y)
            step = self.trainable(sparse=is_sparse(X))
            batch_size = max(count_rows(step, X), 1)
            learning_rate = self.next_learning_rate
            return self.exclusively(
                step.epoch, X, Y, learning_rate=learning_rate, batch_size=batch_size
            )

    def fit(
        self,
        X: ArrayLike,
        Y: ArrayLike | None = None,
        *,
        epochs: int,
        batch_size: int | None = None,
        shuffle: bool = True,
        rng: RandomSource = None,
        callbacks: Iterable[CallbackLike] = (),
        sample_weight: ArrayLike | None = None,
        validation: tuple[ArrayLike, ArrayLike] | Callable[[], float] | None = None,
        resume_from: TrainingState | None = None,
        own_batches: bool = False,
    ) -> History:
        """Train for a number of epochs; a second call goes on where the first ended.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, in)
            The rows: at least one, and finite; sparse ones where arrays are NumPy's.
        Y : array, shape (rows,) or (rows, outputs)
            Class indices, or one-hot or soft labels; of a loss of numbers the numbers. The training
            copies them. There is no training without it.
        epochs : int
            How many passes over the rows to make.
        batch_size : int, optional
            Rows of a batch; None for all rows at once.
        shuffle : bool, default True
            Whether each epoch has a new order of the rows.
        rng : int, numpy.random.Generator or numpy.random.RandomState, optional
            Where orders are drawn from; None for the generator that the model was made with.
        callbacks : iterable of Callback or of functions
            Called at each epoch; a function is called with the `xpnet.training.Training`.
        sample_weight : array, shape (rows,), optional
            Not negative. The training copies them.
        validation : tuple of X and Y, or callable, optional
            Rows on which the loss is measured after each epoch, or a function without arguments
            that measures a loss by itself. It must not train the network.
        resume_from : TrainingState, optional
            Where a run that was cut off goes on (``Checkpoint.latest(directory)``). Call ``fit`` as
            the first time: the epochs made before the interruption count among ``epochs``. None
            begins a new training.
        own_batches : bool, default False
            Whether each member has an order of the rows, and so batches, of its own. False gives
            all members one batch at a time.

        Returns
        -------
        History
            ``history.loss`` has one float for each epoch of this and earlier calls.

        Raises
        ------
        InputError
            For shapes, labels or numbers that do not fit, for no rows, and for NaN or infinity.
        ModelInUseError
            When a callback trains the network that calls it.

        Warns
        -----
        RuntimeWarning
            Where the loss of the last epoch is not finite, or a thousand times that of the first.
        """
        with self.lock.training():
            X, Y, sample_weight = self.checked(X, Y, sample_weight)
            with self.on_device():
                step = self.trainable(sparse=is_sparse(X))
                rows = count_rows(step, X)
                check_some_rows(rows)
                check_finite(Y=Y, sample_weight=sample_weight)
                are_counts = epochs >= 0 and (batch_size is None or batch_size >= 1)
                require(
                    are_counts,
                    "`epochs` must be at least 0 and `batch_size` at least 1",
                    (epochs, batch_size),
                )
                batches = InMemory(
                    LabeledRows(
                        contiguous_rows(X),
                        self.own(Y),
                        None if sample_weight is None else self.own(sample_weight),
                    ),
                    batch_size=min(batch_size or rows, rows),
                    shuffle=shuffle,
                    rng=host_generator(self.rng if rng is None else rng),
                    members=self.spec.members if own_batches else 1,
                    measure=self._validation_measure(validation),
                    check=partial(check_finite, X=X),
                )
                history = train(
                    step,
                    distributed_batches(batches),
                    epochs=epochs,
                    schedule=self.schedule,
                    callbacks=callbacks,
                    history=self.history,
                    lock=self.lock,
                    resume_from=resume_from,
                )
        _warn_of_exploded_loss(history)
        return history

    def loss(self, X: ArrayLike, Y: ArrayLike) -> float:
        """Measure the loss on rows; changes nothing.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, in)
            The rows; sparse ones where arrays are NumPy's.
        Y : array, shape (rows,) or (rows, classes)
            Class indices, or one-hot or soft labels.

        Returns
        -------
        float
            The mean loss, penalty included.

        Raises
        ------
        InputError
            For shapes or labels that do not fit.
        """
        return self.exclusively(self._measure(X, Y))

    def gradient(self, X: ArrayLike, Y: ArrayLike) -> float:
        """Fill ``gradients`` with those of the loss on rows, as one batch; the parameters stay.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, in)
            The rows; sparse ones where arrays are NumPy's.
        Y : array, shape (rows,) or (rows, classes)
            Class indices, or one-hot or soft labels.

        Returns
        -------
        float
            The loss, penalty included.

        Raises
        ------
        InputError
            For shapes or labels that do not fit.
        """
        X, Y, _ = self.checked(X, Y)
        return self.exclusively(self.trainable(sparse=is_sparse(X)).gradient, X, Y)

    def _validation_measure(
        self, validation: tuple[ArrayLike, ArrayLike] | Callable[[], float] | None
    ) -> Callable[[], float] | None:
        """Return the function that measures the validation loss; None without one."""
        if validation is None or callable(validation):
            return validation
        received: object = validation
        count = len(received) if isinstance(received, Sequence) else 0
        if count != 2:
            got = f"{count} of them" if count else type(received).__name__
            raise InputError(
                "`validation` must be a pair of rows and labels, or a function that returns a "
                f"loss; got {got}. Pass validation=(X, Y)."
            )
        return self._measure(*validation)

    def _measure(self, X: ArrayLike, Y: ArrayLike) -> Callable[[], float]:
        """Return a function that measures the loss on rows, for calls while no other thread
        computes.
        """
        rows, labels, _ = self.checked(X, Y)
        return lambda: distributed_step(self.step_for(rows)).loss(rows, labels)


def trainable_on(network: Network, rows: LabeledRows) -> Step:
    """Return the step that trains a network on rows, which may be sparse or have offsets, for use
    within ``lock.training()``.

    Raises InputError for such rows where the step takes none.
    """
    offsets = has_offsets(rows.Y, network.spec.widths[-1])
    return network.trainable(sparse=is_sparse(rows.X), offsets=offsets)


def contiguous_rows(X: Array) -> Array:
    """Return X with contiguous rows, copied once here, not once an epoch by a compiled step."""
    if isinstance(X, numpy.ndarray) and X.strides[1] != X.itemsize:
        return numpy.ascontiguousarray(X)
    return X


def _warn_of_exploded_loss(history: History) -> None:
    """Warn where the last loss is not finite, or far larger than the first."""
    losses = history.loss
    if not losses:
        return
    limit = EXPLOSION * max(abs(losses[0]), 1.0)
    if not losses[-1] <= limit:  # NaN is on neither side
        warn_user(
            f"The training loss must fall; it was {losses[0]:.3g} in the first epoch and "
            f"{losses[-1]:.3g} in the last, at the learning rate {history.learning_rate[-1]:.3g}. "
            "Make a new network with a smaller learning_rate.",
            RuntimeWarning,
        )
