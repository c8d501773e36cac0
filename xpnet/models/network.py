"""What all models share: where they live, how they predict, step and fit."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Self

import numpy

from xpnet.backend import Backend, NetworkSpec, Parameters, Step, StepState, floating_dtype
from xpnet.dispatch import Choice, choose, current_ranks, get_backend
from xpnet.dispatch.choice import library_of
from xpnet.errors import InputError
from xpnet.models.checks import check_inputs, check_rows, check_spec, check_training
from xpnet.models.placement import Placement, is_host, is_sparse
from xpnet.models.saving import Saved
from xpnet.models.xavier import host_stream
from xpnet.ops import Array, Labels
from xpnet.optimizers import Schedule, as_schedule
from xpnet.steps import GuardedStep, SparseStep, Turn, grouped, make_step
from xpnet.training import Callback, History, Training, TrainingState, run, share_stream


class Network(Saved):
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
        self.spec = check_spec(replace(spec, dtype=dtype or "float64"))
        self.rng = None if rng is None else host_stream(rng)
        self.learning_rate, self._schedule = learning_rate, as_schedule(learning_rate)
        self.history = History()
        self.compiled, self._fixed_dtype = compiled, dtype is not None
        self._placement = backend if isinstance(backend, Placement) else Placement.of(backend)
        self._begin(initial() if callable(initial) else initial)

    def _begin(self, values: dict[str, Any]) -> None:
        """Hold parameters by name, on the host, until a step takes them over."""
        self._changing, self._making = Turn(), Turn()
        self._values: dict[str, Any] = values
        self._params: Parameters | None = None
        self._optimizer: StepState | None = None  # what of the optimizer no step has taken over yet
        self._step: GuardedStep | None = None
        self._beside: GuardedStep | None = None  # predicts sparse rows with the parameters of the step

    def __repr__(self) -> str:
        widths, names = "-".join(map(str, self.spec.widths)), dict.fromkeys(self.spec.activations)
        settled = self._placement.settled or self._placement.named
        place = f"{self.dtype_} on {self.backend_}" if settled else self.dtype_
        facts = [widths, *names, self.spec.rule.name, place, f"{self.history.epochs} epochs"]
        return f"{type(self).__name__}({', '.join(facts)})"

    @property
    def params(self) -> Parameters:
        """Parameters by name; assigning to a name writes the values into the network."""
        if self._step is not None:
            return self._step.params
        if self._params is None:
            self._params = Parameters.zeros(self.spec, self.backend)
            self._params.update(self._values)
            self._values = {}
        return self._params

    @property
    def gradients(self) -> Parameters:
        """Gradients of the loss by parameter name, as the last ``gradient`` or ``step`` left them; zeros before."""
        return self._ready().gradients

    @property
    def backend(self) -> Backend:
        """The backend the network lives on."""
        return self._placement.choice.backend

    @property
    def reason_(self) -> str:
        """Why the network lives on its backend."""
        return self._placement.choice.reason

    @property
    def backend_(self) -> str:
        """Name of the backend the network lives on."""
        return self.backend.name

    @property
    def device_(self) -> str:
        """The device the parameters live on."""
        return self.backend.device(next(iter(self.params.values())))

    @property
    def dtype_(self) -> str:
        """``float32`` or ``float64``."""
        return self.spec.dtype

    @property
    def why_(self) -> str:
        """Which backend and which training step run, and why."""
        return f"backend {self.backend_} ({self.reason_}); {self._ready().why}"

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
            (X,) = self._enter(X)
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
        return step.forward_finite(numpy.asarray(X, dtype=step.spec.dtype))

    def step(self, X: Array, Y: Labels) -> float:
        """Make one update from all rows as one batch.

        Parameters
        ----------
        X : array, shape (rows, in)
            The rows.
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
            X, Y, _ = self._check(X, Y, None)
            batch_size = max(current_ranks().count(X.shape[0]), 1)
            return self.trainable().epoch(X, Y, learning_rate=self.next_learning_rate, batch_size=batch_size)

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
        X : array, shape (rows, in)
            The rows: at least one, and finite.
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
            X, Y, sample_weight = self._check(X, Y, sample_weight)
            rows = current_ranks().count(X.shape[0])
            check_training(rows, X=X, Y=Y, sample_weight=sample_weight)
            if epochs < 0 or (batch_size is not None and batch_size < 1):
                raise InputError(
                    f"epochs is not negative and batch_size at least 1; received {epochs} and {batch_size}."
                )
            validate = None if validation is None else self._measure(*validation)
            stream = share_stream(host_stream(self.rng if rng is None else rng))
            return run(
                Training(self.trainable(), rows, epochs, self.history, stream),
                by_rows(X),
                self.own(Y),
                batch_size=min(batch_size or rows, rows),
                shuffle=shuffle,
                schedule=self._schedule,
                sample_weight=None if sample_weight is None else self.own(sample_weight),
                validate=validate,
                callbacks=callbacks,
                resume_from=resume_from,
            )

    def loss(self, X: Array, Y: Labels) -> float:
        """Measure the loss on rows; changes nothing.

        Parameters
        ----------
        X : array, shape (rows, in)
            The rows.
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
        X : array, shape (rows, in)
            The rows.
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
            step = grouped(self.step_for(X), self.backend)
        return step.gradient(X, Y)

    def to(self, backend: str | Backend | Array, *, dtype: str | None = None) -> Self:
        """Move the network, optimizer state included; from there on it converts what it is given.

        Parameters
        ----------
        backend : str, Backend or array
            A name, a backend, or an array, whose library and device are adopted.
        dtype : {"float32", "float64"}, optional
            The new dtype; None keeps that of the network.

        Returns
        -------
        Network
            The network itself.

        Raises
        ------
        BackendError
            For a backend that is not usable.
        ModelInUseError
            In a callback of the network's own training.
        """
        with self._changing.taken(), self._making.taken():
            choice = choose(backend) if library_of(backend) else choose(backend=backend)
            self._move(choice, dtype or self.spec.dtype)
            self._placement.settled = self._placement.named = True
        return self

    def changing(self) -> AbstractContextManager[Any]:
        """What is held while the network is trained or moved, by one thread at a time.

        Returns
        -------
        context manager
            For a ``with`` statement.

        Raises
        ------
        ModelInUseError
            Where this thread trains the network already.
        """
        return self._changing.taken()

    def trainable(self, *, sparse: bool = False) -> Step:
        """The step to train, with the optimizer's state, on all ranks of a group; called while ``changing`` is held.

        Parameters
        ----------
        sparse : bool, default False
            Whether the step shall take sparse rows.

        Returns
        -------
        Step
            The step.
        """
        with self._making.taken():
            if self._step is not None and isinstance(self._step.step, SparseStep) != sparse:
                self._reset(*self._taken_down())
            step = self._step or self._make(sparse=sparse)
            if self._optimizer is not None:
                step.load_state(StepState(step.values(), self._optimizer.buffers, self._optimizer.t))
                self._optimizer = None
        return grouped(step, self.backend)

    def renew(self, spec: NetworkSpec, *, keep: bool) -> None:
        """Go on with another penalty, update rule or dropout.

        Parameters
        ----------
        spec : NetworkSpec
            The new description, of the same widths and dtype.
        keep : bool
            Whether the optimizer's state stays, too.
        """
        check_spec(spec)
        with self._changing.taken(), self._making.taken():
            if spec == self.spec and keep:
                return
            values, optimizer = self._taken_down()
            self.spec = spec
            self._reset(values, optimizer if keep else None)

    def values(self) -> dict[str, Any]:
        """Copies of the parameters as NumPy arrays; while the network is trained, those between two epochs.

        Returns
        -------
        dict of str to numpy.ndarray
            The parameters by name.
        """
        if self._step is not None:
            return self._step.values()
        return {name: self.backend.to_numpy(array).copy() for name, array in self.params.items()}

    def load_values(self, values: dict[str, Any]) -> None:
        """Put these parameters in the place of those there are; the optimizer's state stays.

        Parameters
        ----------
        values : dict of str to array
            The parameters by name.
        """
        if self._step is not None:
            self._step.load_values(values)
        else:
            self.params.update(values)

    def __getstate__(self) -> dict[str, Any]:
        # Backends, steps and locks stay in this process; numbers go along, copied.
        with self._making.taken():
            state = vars(self).copy()
            state["_values"], state["_optimizer"] = self._taken_down()
        state["_placement"] = self.backend_ if self._placement.named else None
        state["history"] = History(**self.history.to_dict())
        state["_fixed_dtype"] = True
        for name in ("_changing", "_making", "_step", "_beside", "_params"):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        optimizer = state["_optimizer"]
        self._begin(state["_values"])
        self._optimizer, self._placement = optimizer, Placement.of(state["_placement"])

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

    def _enter(self, X: Any, Y: Any = None, sample_weight: Any = None) -> list[Array]:
        """Adopt the library of the first arrays, then convert what host data or dtype still needs it."""
        arrays = [a for a in (X, Y, sample_weight) if a is not None]
        if not self._placement.settled:
            self._adopt(arrays)
        self._placement.check_library(arrays)
        dtype = self.spec.dtype
        entered = [self.bring(X, dtype)]
        if Y is not None:
            Y = self.bring(Y)
            entered.append(Y if Y.ndim == 1 else self.bring(Y, dtype))
        if sample_weight is not None:
            entered.append(self.bring(sample_weight, dtype))
        return entered

    def _adopt(self, arrays: list[Any]) -> None:
        choice = self._placement.adopted(arrays)
        self._move(choice, self.spec.dtype if self._fixed_dtype else floating_dtype(arrays[0], choice.backend))
        self._placement.settled = True

    def _move(self, choice: Choice, dtype: str) -> None:
        if choice.backend is not self.backend or dtype != self.spec.dtype:
            values, optimizer = self._taken_down()
            self.spec = replace(self.spec, dtype=dtype)
            self._placement.choice = choice
            self._reset(values, optimizer)
        self._placement.choice = choice

    def _taken_down(self) -> tuple[dict[str, Any], StepState | None]:
        """Copies of the parameters, by name, and of the optimizer's state, both on the host."""
        if self._step is None:
            return self.values(), self._optimizer
        state = self._step.state()
        return state.params, self._optimizer or StepState({}, state.buffers, state.t)

    def _reset(self, values: dict[str, Any], optimizer: StepState | None) -> None:
        """Let go of the step, and hold what the next one will take over."""
        self._step = self._beside = self._params = None
        self._values, self._optimizer = values, optimizer

    def _ready(self) -> GuardedStep:
        """The step, made at first use. It has no optimizer state before it is trained."""
        return self._step or self._make(sparse=False)

    def bring(self, array: Any, dtype: str | None = None) -> Any:
        """Bring an array of any library to where the network lives.

        Parameters
        ----------
        array : array or scipy sparse matrix
            What to bring; a sparse matrix becomes CSR, whose rows can be taken.
        dtype : {"float32", "float64"}, optional
            The dtype it shall have; None keeps its own.

        Returns
        -------
        array or scipy sparse matrix
            No copy where none is needed.
        """
        if type(array) is numpy.ndarray and is_host(self.backend):
            return numpy.asarray(array, dtype=dtype)
        if is_sparse(array):
            return array.tocsr().astype(dtype, copy=False)
        return self._placement.bring(array, dtype)

    def step_for(self, X: Any) -> GuardedStep:
        """A step that takes these rows: the one there is, or for sparse rows one beside it with the same parameters.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, in)
            The rows.

        Returns
        -------
        GuardedStep
            The step.
        """
        if not is_sparse(X):
            return self._ready()
        if not is_host(self.backend):
            elsewhere = SparseStep(self.spec, get_backend("numpy"))
            elsewhere.params.update(self.values())
            return GuardedStep(elsewhere, elsewhere.backend)
        if self._step is None:
            return self._make(sparse=True)
        if isinstance(self._step.step, SparseStep):
            return self._step
        if self._beside is None:
            beside = SparseStep(self.spec, self.backend)
            beside.params = self._step.params
            self._beside = GuardedStep(beside, self.backend, self._step.turn)
        return self._beside

    def _make(self, *, sparse: bool) -> GuardedStep:
        step = GuardedStep(make_step(self.spec, self.backend, compiled=self.compiled, sparse=sparse), self.backend)
        step.params.update(self._values if self._params is None else self._params)
        self._step, self._params, self._values = step, None, {}
        return step

    def own(self, array: Array) -> Array:
        """Copy an array, so that no callback can write into it; class indices as the integers that index arrays.

        Parameters
        ----------
        array : array
            An array of the network's library.

        Returns
        -------
        array
            The copy.
        """
        if type(array) is numpy.ndarray:
            return numpy.array(array, dtype=numpy.int64 if array.dtype.kind in "iu" else None)
        xp = self.backend.xp
        if xp.isdtype(array.dtype, "integral"):
            return xp.astype(array, xp.__array_namespace_info__().default_dtypes()["indexing"])
        return xp.asarray(array, copy=True)


def by_rows(X: Array) -> Array:
    """X with rows that lie in one piece each: compiled steps read row by row, and copy once here, not once an epoch."""
    if isinstance(X, numpy.ndarray) and X.strides[1] != X.itemsize:
        return numpy.ascontiguousarray(X)
    return X
