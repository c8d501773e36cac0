"""What all models share: where they live, how they predict, step and fit."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy

from xpnet.backend import Backend, NetworkSpec
from xpnet.dispatch import current_ranks
from xpnet.errors import InputError
from xpnet.models.checks import check_finite, check_inputs, check_rows, check_some_rows, check_spec
from xpnet.models.placed import Placed
from xpnet.models.placement import Placement, check_dense_off_host, is_sparse
from xpnet.models.xavier import host_stream
from xpnet.ops import Array, Labels
from xpnet.optimizers import Schedule, as_schedule
from xpnet.steps import grouped
from xpnet.training import Callback, History, Training, TrainingState, run, share_stream

CHECKED_FIRST = 8
"""With so many numbers of X for each parameter, it takes as long to look for NaN in X before the first epoch as to keep
the parameters and the optimizer's state for a way back.
"""


class Network(Placed):
    """A dense network with its parameters, on one backend.

    Until arrays arrive, the parameters lie on the host; the first arrays decide library, device and dtype, unless the
    constructor named them. The models of this module, and the estimators, are made of it.

    Parameters
    ----------
    spec : NetworkSpec
        Widths, activations, loss, penalty and update.
    initial : dict of str to array, or a function that returns one
        The parameters to begin with, by name, on the host.
    learning_rate : float or Schedule
        The learning rate, or a function of the epoch and of the losses so far.
    backend : str, Backend, Placement or None
        A name or a backend; None adopts the library and device of the first arrays.
    dtype : {"float32", "float64"} or None
        None adopts that of the first arrays.
    compiled : bool, default True
        False trains with the reference step even where a compiled one exists.
    rng : int, numpy.random.Generator or numpy.random.RandomState, optional
        Where ``fit`` draws the orders of the rows from; None for NumPy's global stream.

    Attributes
    ----------
    spec : NetworkSpec
        The network as it is now.
    history : History
        Losses and learning rates of every epoch so far.
    extra : dict of str to JSON values
        What files keep with the model.

    Raises
    ------
    InputError
        For sizes that are not positive integers and numbers outside their range.

    Notes
    -----
    Threads may share a network: one call at a time uses it, the others wait for their turn. While one thread is within
    ``fit``, others may predict, save and copy between two epochs, and get the parameters of a whole epoch; a second
    ``fit``, ``step`` or ``to`` waits until the first has ended. A network can be pickled and copied: the copy has its
    own parameters and optimizer, and lives nowhere until arrays arrive, unless its backend was named.

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

    def __init__(
        self,
        spec: NetworkSpec,
        initial: dict[str, Any] | Callable[[], dict[str, Any]],
        learning_rate: float | Schedule,
        *,
        backend: str | Backend | Placement | None,
        dtype: str | None,
        compiled: bool = True,
        rng: Any = None,
    ) -> None:
        dtype_wanted = dtype or "float64"
        self.spec = check_spec(spec if spec.dtype == dtype_wanted else replace(spec, dtype=dtype_wanted))
        self.rng = None if rng is None else host_stream(rng)
        self.learning_rate, self._schedule = learning_rate, as_schedule(learning_rate)
        self.history = History()
        self.compiled, self._fixed_dtype = compiled, dtype is not None
        self._placement = backend if isinstance(backend, Placement) else Placement.of(backend)
        self._begin(initial() if callable(initial) else initial)

    def __repr__(self) -> str:
        widths, names = "-".join(map(str, self.spec.widths)), dict.fromkeys(self.spec.activations)
        settled = self._placement.settled or self._placement.named
        place = f"{self.dtype_} on {self.backend_}" if settled else self.dtype_
        facts = [widths, *names, self.spec.rule.name, place, f"{self.history.epochs} epochs"]
        return f"{type(self).__name__}({', '.join(facts)})"

    @property
    def next_learning_rate(self) -> float:
        """The learning rate of the next epoch or step."""
        return self._schedule(self.history.epochs, self.history.loss)

    def predict(self, X: Array) -> Array:
        """Predict class probabilities.

        Parameters
        ----------
        X : array, shape (rows, in)
            The rows, of the network's library, or NumPy's or lists; SciPy's sparse matrices where arrays are NumPy's.

        Returns
        -------
        array, shape (rows, out)
            Probabilities (what the output activation gives), on the network's library, device and dtype.

        Raises
        ------
        InputError
            For another number of columns.
        MixedArraysError
            For arrays of another library.
        """
        with self._making.taken():
            X = self._enter_rows(X)
            step = self.step_for(X)
        return step.forward(check_inputs(X, self.spec.widths[0]))

    def predict_finite(self, X: Array) -> Array | None:
        """Predict as ``predict`` does, unless X holds NaN or infinity; looking costs no pass over X.

        Parameters
        ----------
        X : numpy.ndarray, shape (rows, in)
            The rows, of as many columns as the network takes; the network lives on the host.

        Returns
        -------
        numpy.ndarray, shape (rows, out), or None
            None where a value is not finite.
        """
        with self._making.taken():
            if not self._placement.settled:
                self._adopt([X])
            step = self._step or self._ready()
        return step.forward_finite(X)

    def step(self, X: Array, Y: Labels) -> float:
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
        with self._changing.taken():
            with self._making.taken():
                X, Y, _ = self._check(X, Y, None)
            check_dense_off_host(X, self.backend)
            batch_size = max(current_ranks().count(X.shape[0]), 1)
            return self.trainable(sparse=is_sparse(X)).epoch(X, Y, learning_rate=self.next_learning_rate, batch_size=batch_size)

    def fit(
        self,
        X: Array,
        Y: Labels,
        *,
        epochs: int,
        batch_size: int | None = None,
        shuffle: bool = True,
        rng: Any = None,
        callbacks: Iterable[Callback | Callable[[Training], None]] = (),
        sample_weight: Array | None = None,
        validation: tuple[Array, Labels] | None = None,
        resume_from: TrainingState | None = None,
    ) -> History:
        """Train for so many epochs; a second call goes on where the first ended.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, in)
            The rows: at least one, and finite; sparse ones where arrays are NumPy's.
        Y : array, shape (rows,) or (rows, classes)
            Class indices, or one-hot or soft labels. The training copies them.
        epochs : int
            How many passes over the rows to make.
        batch_size : int, optional
            Rows of a batch; None for all rows at once.
        shuffle : bool, default True
            Whether each epoch has a new order of the rows.
        rng : int, numpy.random.Generator or numpy.random.RandomState, optional
            Where orders are drawn from; None for the stream that the model was made with.
        callbacks : iterable of Callback or of functions
            Told of each epoch; a function is called with the `xpnet.training.Training`.
        sample_weight : array, shape (rows,), optional
            Not negative. The training copies them.
        validation : tuple of X and Y, optional
            Rows on which the loss is measured after each epoch.
        resume_from : TrainingState, optional
            Where a run that was cut off goes on (``Checkpoint.latest(directory)``). Call ``fit`` as the first time: the
            epochs made before the interruption count among ``epochs``. None begins anew.

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
        """
        with self._changing.taken():
            with self._making.taken():
                X, Y, sample_weight = self._check(X, Y, sample_weight)
            check_dense_off_host(X, self.backend)
            ranks = current_ranks()
            rows = ranks.count(X.shape[0])
            check_some_rows(rows)
            # Of several ranks only one may have NaN, which the others would learn from without a word.
            checks_first = ranks.several or prod(X.shape) <= CHECKED_FIRST * self._parameter_count
            check_finite(Y=Y, sample_weight=sample_weight, **({"X": X} if checks_first else {}))
            if epochs < 0 or (batch_size is not None and batch_size < 1):
                raise InputError(
                    f"epochs is not negative and batch_size at least 1; received {epochs} and {batch_size}."
                )
            validate = None if validation is None else self._measure(*validation)
            stream = share_stream(host_stream(self.rng if rng is None else rng))
            return run(
                Training(self.trainable(sparse=is_sparse(X)), rows, epochs, self.history, stream),
                by_rows(X),
                self.own(Y),
                batch_size=min(batch_size or rows, rows),
                shuffle=shuffle,
                schedule=self._schedule,
                sample_weight=None if sample_weight is None else self.own(sample_weight),
                validate=validate,
                callbacks=callbacks,
                resume_from=resume_from,
                # What X spoils is undone, and only then is there a reason to read it all.
                check=None if checks_first else lambda: check_finite(X=X),
            )

    @property
    def _parameter_count(self) -> int:
        return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(self.spec.widths))

    def loss(self, X: Array, Y: Labels) -> float:
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
        return self._measure(X, Y)()

    def gradient(self, X: Array, Y: Labels) -> float:
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
        with self._making.taken():
            X, Y, _ = self._check(X, Y, None)
            check_dense_off_host(X, self.backend)
            step = grouped(self.step_for(X), self.backend)
        return step.gradient(X, Y)

    def _measure(self, X: Array, Y: Labels) -> Callable[[], float]:
        with self._making.taken():
            X, Y, _ = self._check(X, Y, None)
        return lambda: grouped(self.step_for(X), self.backend).loss(X, Y)

    def _check(self, X: Array, Y: Labels, sample_weight: Array | None) -> tuple[Array, Labels, Array | None]:
        """Bring a batch to the network's backend and validate it."""
        given = [X, Y] if sample_weight is None else [X, Y, sample_weight]
        X, Y, *weights = self._enter(*given)
        check_rows(check_inputs(X, self.spec.widths[0]), Y, self.spec.widths[-1], *weights)
        return X, Y, weights[0] if weights else None


def by_rows(X: Array) -> Array:
    """X with rows that lie in one piece each: compiled steps read row by row, and copy once here, not once an epoch."""
    if isinstance(X, numpy.ndarray) and X.strides[1] != X.itemsize:
        return numpy.ascontiguousarray(X)
    return X
