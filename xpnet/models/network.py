"""The network that all models and estimators are made of: where it lives, how it predicts, steps and fits."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Self

import numpy

from xpnet.backend import Backend, NetworkSpec, Parameters, Step, StepState, floating_dtype
from xpnet.backend.step import PREDICTION_ROWS
from xpnet.dispatch import Choice, choose, get_backend
from xpnet.dispatch.choose import all_numpy, library_of
from xpnet.distributed import distributed_batches, distributed_step, how_distributed
from xpnet.errors import InputError, MixedArraysError
from xpnet.models.inputs import (
    bring,
    check_finite,
    check_in_memory,
    check_inputs,
    check_rows,
    check_some_rows,
    check_spec,
    is_host,
    is_sparse,
    require,
)
from xpnet.models.saving import Saved
from xpnet.ops import Array, Labels
from xpnet.optimizers import Constant, Schedule
from xpnet.steps import NetworkLock, ReferenceStep, locked, make_step
from xpnet.training import (
    Callback,
    History,
    InMemory,
    LabeledRows,
    Training,
    TrainingState,
    train,
)
from xpnet.training.rng import host_generator


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
        The learning rate, or a function that is called before each epoch as ``learning_rate(epoch, losses)``: with the
        number of epochs made so far, 0 for the first, and the list of their training losses.
    backend : str, Backend, Choice or None
        A name or a backend; None adopts the library and device of the first arrays. A Choice is where it lives from the
        start.
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
    choice : Choice
        The backend the network lives on, and why.
    named, settled : bool
        Whether the user named the backend, so that arrays of any library are brought there, and whether the network
        stays where it is; else the first arrays decide.
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

    _values: dict[str, Any]  # the parameters before there is a step
    _optimizer: StepState | None  # what of the optimizer no step has taken over yet
    _step: Step | None

    def __init__(
        self,
        spec: NetworkSpec,
        initial: dict[str, Any] | Callable[[], dict[str, Any]],
        learning_rate: float | Schedule,
        *,
        backend: str | Backend | Choice | None,
        dtype: str | None,
        compiled: bool = True,
        rng: Any = None,
    ) -> None:
        self.spec = check_spec(replace(spec, dtype=dtype or "float64"))
        self.rng = None if rng is None else host_generator(rng)
        self.learning_rate = learning_rate
        self._schedule: Schedule = (
            learning_rate if callable(learning_rate) else Constant(learning_rate)
        )
        self.history = History()
        self.compiled, self._fixed_dtype = compiled, dtype is not None
        self.settled = isinstance(backend, Choice)
        self.choice = backend if isinstance(backend, Choice) else choose(backend=backend)
        self.named = backend is not None and not self.settled
        self.how_trained = ""  # on which processes, or by which way of its own, for a person
        self.lock = NetworkLock()
        self._hold(initial() if callable(initial) else initial, None)

    def __repr__(self) -> str:
        widths, names = "-".join(map(str, self.spec.widths)), dict.fromkeys(self.spec.activations)
        place = f"{self.dtype_} on {self.backend_}" if self.settled or self.named else self.dtype_
        facts = [widths, *names, self.spec.rule.name, place, f"{self.history.epochs} epochs"]
        return f"{type(self).__name__}({', '.join(facts)})"

    @property
    def params(self) -> Parameters:
        """Parameters by name; assigning to a name writes the values into the network."""
        return self._ready().params

    @property
    def gradients(self) -> Parameters:
        """Gradients of the loss by parameter name, as the last ``gradient`` or ``step`` left them; zeros before."""
        return self._ready().gradients

    @property
    def backend(self) -> Backend:
        """Return the backend the network lives on."""
        return self.choice.backend

    @property
    def backend_(self) -> str:
        """Name of the backend the network lives on."""
        return self.backend.name

    @property
    def device_(self) -> str:
        """Return the device the parameters live on."""
        return self.backend.device(next(iter(self.params.values())))

    @property
    def dtype_(self) -> str:
        """Return ``float32`` or ``float64``."""
        return self.spec.dtype

    @property
    def why_(self) -> str:
        """Say which backend and step run, and why, and on how many processes it was trained, if on several."""
        parts = (
            f"backend {self.backend_} ({self.choice.reason})",
            self._ready().why,
            self.how_trained,
        )
        return "; ".join(filter(None, parts))

    @property
    def next_learning_rate(self) -> float:
        """Return the learning rate of the next epoch or step."""
        return self._schedule(self.history.epochs, self.history.loss)

    @locked
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
        host_rows = type(X) is numpy.ndarray and self.settled and is_host(self.choice.backend)
        X = numpy.asarray(X, dtype=self.spec.dtype) if host_rows else self._coerce(X)[0]
        if X.ndim != 2 or X.shape[1] != self.spec.widths[0]:
            check_inputs(X, self.spec.widths[0])
        step = self._step if host_rows and self._step is not None else self.step_for(X)
        return step.forward(X)

    @locked
    def predict_members(self, X: Array) -> Array:
        """Predict class probabilities by each member; ``predict`` gives their mean.

        Parameters
        ----------
        X : array, shape (rows, in)
            The rows, as for ``predict``.

        Returns
        -------
        array, shape (members, rows, out)
            The probabilities of each member.

        Raises
        ------
        InputError
            For another number of columns.
        MixedArraysError
            For arrays of another library.

        Examples
        --------
        >>> import numpy
        >>> import xpnet
        >>> net = xpnet.FeedforwardNeuralNet(2, 8, 3, members=4, rng=0)
        >>> net.predict_members(numpy.ones((5, 2))).shape
        (4, 5, 3)
        """
        X = check_inputs(self._coerce(X)[0], self.spec.widths[0])
        if self.spec.members == 1:
            return self.step_for(X).forward(X)[None, ...]
        walker = self._walker(X)
        starts = range(0, max(X.shape[0], 1), PREDICTION_ROWS)
        parts = [walker.forward_of_each(X[start : start + PREDICTION_ROWS]) for start in starts]
        return walker.backend.xp.concat(parts, axis=1)

    @locked
    def hidden(self, X: Array, layer: int = -1) -> Array:
        """Compute what a hidden layer makes of rows, its activation included.

        Parameters
        ----------
        X : array, shape (rows, in)
            The rows, as for ``predict``.
        layer : int, default -1
            Which hidden layer: 0 for the first, -1 for the last.

        Returns
        -------
        array, shape (rows, units)
            Its outputs, on the network's library, device and dtype; of several members side by side.

        Raises
        ------
        InputError
            For another number of columns, and for a layer that is not there.

        Examples
        --------
        >>> import numpy
        >>> import xpnet
        >>> xpnet.FeedforwardNeuralNet(2, 8, 3, rng=0).hidden(numpy.ones((5, 2))).shape
        (5, 8)
        """
        layers = len(self.spec.activations)
        require(-layers <= layer < layers, f"layer names one of {layers} hidden layers", layer)
        X = check_inputs(self._coerce(X)[0], self.spec.widths[0])
        return self._walker(X).hidden(X, layer % layers)

    @locked
    def input_gradient(self, X: Array, output: int = 0) -> Array:
        """Compute the gradient of a predicted output by the inputs: how it changes where an input changes a little.

        Parameters
        ----------
        X : array, shape (rows, in)
            The rows, as for ``predict``, but dense.
        output : int, default 0
            The column of ``predict`` whose gradient is asked for.

        Returns
        -------
        array, shape (rows, in)
            The gradient at each row, on the network's library, device and dtype; of several members that of their mean.

        Raises
        ------
        InputError
            For another number of columns, for sparse rows, and for an output that is not there.

        Examples
        --------
        >>> import numpy
        >>> import xpnet
        >>> gradient = xpnet.FeedforwardNeuralNet(2, 8, 3, rng=0).input_gradient(numpy.ones((5, 2)), output=1)
        >>> gradient.shape
        (5, 2)
        """
        outputs = self.spec.widths[-1]
        require(0 <= output < outputs, f"output is a column of predict, 0 to {outputs - 1}", output)
        if is_sparse(X):
            raise InputError(
                "Gradients by inputs are of dense rows; received a SciPy sparse matrix. Pass X.toarray()."
            )
        X = check_inputs(self._coerce(X)[0], self.spec.widths[0])
        return self._walker(X).input_gradient(X, output)

    @locked
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
        if not self.settled:
            self._adopt([X])
        return self._ready().forward_finite(X)

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
        with self.lock.training():
            X, Y, _ = self.checked(X, Y)
            step = self.trainable(sparse=is_sparse(X))
            batch_size, learning_rate = max(step.count_rows(X), 1), self.next_learning_rate
            return self.exclusively(
                step.epoch, X, Y, learning_rate=learning_rate, batch_size=batch_size
            )

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
        own_batches: bool = False,
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
        own_batches : bool, default False
            Whether each member has an order of the rows, and so batches, of its own. False gives all members one batch
            at a time.

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
        with self.lock.training():
            X, Y, sample_weight = self.checked(X, Y, sample_weight)
            step = self.trainable(sparse=is_sparse(X))
            rows = step.count_rows(X)
            check_some_rows(rows)
            check_finite(Y=Y, sample_weight=sample_weight)
            counts = epochs >= 0 and (batch_size is None or batch_size >= 1)
            require(
                counts, "epochs must be at least 0 and batch_size at least 1", (epochs, batch_size)
            )
            batches = InMemory(
                LabeledRows(
                    by_rows(X),
                    self.own(Y),
                    None if sample_weight is None else self.own(sample_weight),
                ),
                batch_size=min(batch_size or rows, rows),
                shuffle=shuffle,
                rng=host_generator(self.rng if rng is None else rng),
                members=self.spec.members if own_batches else 1,
                measure=None if validation is None else self._measure(*validation),
                check=lambda: check_finite(X=X),
            )
            return train(
                step,
                distributed_batches(batches),
                epochs=epochs,
                schedule=self._schedule,
                callbacks=callbacks,
                history=self.history,
                lock=self.lock,
                resume_from=resume_from,
            )

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
        return self.exclusively(self._measure(X, Y))

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
        X, Y, _ = self.checked(X, Y)
        return self.exclusively(self.trainable(sparse=is_sparse(X)).gradient, X, Y)

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
        with self.lock.training():
            choice = choose(backend) if library_of(backend) else choose(backend=backend)
            self.exclusively(self._move, choice, dtype or self.spec.dtype)
            self.settled = self.named = True
        return self

    @locked
    def trainable(self, *, sparse: bool = False) -> Step:
        """Return the step to train, with the optimizer's state, on all processes, for use within ``lock.training()``.

        Parameters
        ----------
        sparse : bool, default False
            Whether the step shall take sparse rows.

        Returns
        -------
        Step
            The step.

        Raises
        ------
        InputError
            For sparse rows where the step takes none.
        """
        step = self._ready()
        if sparse and not step.takes_sparse:
            raise InputError(
                f"A network on {self.backend_} trains on dense rows; received a SciPy sparse matrix. "
                'Pass X.toarray(), or move the network with .to("numba").'
            )
        if self._optimizer is not None:
            step.load_state(
                StepState(step.params.to_host(), self._optimizer.buffers, self._optimizer.t)
            )
            self._optimizer = None
        step = distributed_step(step)
        self.how_trained = how_distributed(step)
        return step

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
        with self.lock.training():
            if spec != self.spec or not keep:
                self.exclusively(self._renew, spec, keep=keep)

    @locked
    def values(self) -> dict[str, Any]:
        """Return copies of the parameters as NumPy arrays; while the network is trained, those between two epochs.

        Returns
        -------
        dict of str to numpy.ndarray
            The parameters by name.
        """
        return self._ready().params.to_host()

    @locked
    def load_values(self, values: dict[str, Any]) -> None:
        """Put these parameters in the place of those there are; the optimizer's state stays.

        Parameters
        ----------
        values : dict of str to array
            The parameters by name.
        """
        self._ready().params.update(values)

    @locked
    def __getstate__(self) -> dict[str, Any]:
        # Backends, steps and locks stay in this process; numbers go along, copied.
        state = vars(self).copy()
        state["_values"], state["_optimizer"] = self._state_on_host()
        state["history"] = History(**self.history.to_dict())
        state["choice"] = self.backend_ if self.named else None
        for name in ("lock", "settled", "_step"):
            del state[name]
        return {**state, "_fixed_dtype": True}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.choice, self.settled, self.lock = choose(backend=state["choice"]), False, NetworkLock()
        self._hold(state["_values"], state["_optimizer"])

    @locked
    def exclusively(self, work: Callable[..., Any], /, *given: Any, **how: Any) -> Any:
        """Call a function that computes with the network's step, while no other thread does.

        Parameters
        ----------
        work : callable
            The function.
        *given : object
            Its arguments.
        **how : object
            Its keyword arguments.

        Returns
        -------
        object
            What the function returns.
        """
        return work(*given, **how)

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
        xp = self.backend.xp
        if xp.isdtype(array.dtype, "integral"):
            return xp.astype(array, xp.__array_namespace_info__().default_dtypes()["indexing"])
        return xp.asarray(array, copy=True)

    def _measure(self, X: Array, Y: Labels) -> Callable[[], float]:
        """Return a function that measures the loss on rows, for calls while no other thread computes."""
        X, Y, _ = self.checked(X, Y)
        return lambda: distributed_step(self.step_for(X)).loss(X, Y)

    @locked
    def checked(
        self, X: Array, Y: Labels, sample_weight: Array | None = None
    ) -> tuple[Array, Labels, Array | None]:
        """Bring rows to where the network lives, which without a backend of its own is where these arrays do.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, in)
            The rows.
        Y : array, shape (rows,) or (rows, classes)
            Class indices, or one-hot or soft labels.
        sample_weight : array, shape (rows,), optional
            Weights of the rows.

        Returns
        -------
        tuple of X, Y and sample_weight
            Arrays of the network's library; None for no weights.

        Raises
        ------
        InputError
            For shapes or labels that do not fit.
        MixedArraysError
            For arrays of another library.
        """
        X, Y, sample_weight = self._coerce(X, Y, sample_weight)
        check_rows(check_inputs(X, self.spec.widths[0]), Y, self.spec.widths[-1], sample_weight)
        return X, Y, sample_weight

    def check_home(self, *arrays: Any, host: bool = False) -> None:
        """Check that arrays belong where the network lives, if it converts no others.

        Parameters
        ----------
        *arrays : array, scipy sparse matrix or host data
            The arrays; sparse matrices belong everywhere.
        host : bool, default False
            Whether NumPy's arrays, lists and frames belong everywhere, too.

        Raises
        ------
        MixedArraysError
            For arrays of a library other than the one that was adopted.
        """
        if is_host(self.backend) and all_numpy(arrays):
            return
        check_in_memory(arrays)
        if self.named or not self.settled:
            return
        libraries = {library_of(array) or "numpy" for array in arrays if not is_sparse(array)}
        others = libraries - {library_of(self.backend.asarray(0.0)), "numpy" if host else ""}
        if others:
            raise MixedArraysError(
                f"Arrays must belong to {self.backend_}, where this network lives; got arrays of {others.pop()}; "
                "convert the arrays, or move the network to where they live with .to(X)."
            )

    # What follows is called by whoever holds the lock.

    def _coerce(self, X: Any, Y: Any = None, sample_weight: Any = None) -> tuple[Array, Any, Any]:
        """Adopt the library of the first arrays, then convert what host data or dtype still needs it."""
        arrays = [a for a in (X, Y, sample_weight) if a is not None]
        if self.settled:
            self.check_home(*arrays, host=True)
        else:
            self._adopt(arrays)
        backend, dtype = self.backend, self.spec.dtype
        if Y is not None:
            Y = bring(Y, backend)
            Y = Y if Y.ndim == 1 else bring(Y, backend, dtype)
        weight = None if sample_weight is None else bring(sample_weight, backend, dtype)
        return bring(X, backend, dtype), Y, weight

    def _adopt(self, arrays: list[Any]) -> None:
        check_in_memory(arrays)
        choice = self.choice if self.named else choose(*arrays)
        self._move(
            choice,
            self.spec.dtype if self._fixed_dtype else floating_dtype(arrays[0], choice.backend),
        )
        self.settled = True

    def _move(self, choice: Choice, dtype: str) -> None:
        if choice.backend is not self.backend or dtype != self.spec.dtype:
            self._renew(replace(self.spec, dtype=dtype), keep=True)
        self.choice = choice

    def _renew(self, spec: NetworkSpec, *, keep: bool) -> None:
        values, optimizer = self._state_on_host()
        self.spec = spec
        self._hold(values, optimizer if keep else None)

    def _hold(self, values: dict[str, Any], optimizer: StepState | None) -> None:
        """Hold parameters by name, on the host, and the optimizer's state until the next step takes them over."""
        self._values, self._optimizer = values, optimizer
        self._step = None

    def _state_on_host(self) -> tuple[dict[str, Any], StepState | None]:
        """Return copies of the parameters, by name, and of the optimizer's state, both on the host."""
        if self._step is None:
            return {
                n: numpy.array(a, dtype=self.spec.dtype) for n, a in self._values.items()
            }, self._optimizer
        state = self._step.state()
        return state.params, self._optimizer or StepState({}, state.buffers, state.t)

    def _ready(self) -> Step:
        """Return the step, made at first use. It has no optimizer state before it is trained."""
        if self._step is not None:
            return self._step
        with self.lock.calls:
            if self._step is None:
                step = make_step(self.spec, self.backend, compiled=self.compiled)
                step.params.update(self._values)
                self._step, self._values = step, {}
            return self._step

    def _walker(self, X: Any) -> ReferenceStep:
        """A step with the parameters of this network that walks the layers one by one."""
        params = self.step_for(X).params
        walker = ReferenceStep(self.spec, params.backend, "")
        walker.params = params
        return walker

    def step_for(self, X: Any) -> Step:
        """Return a step that takes these rows: the one there is, or for sparse rows one with the same parameters.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, in)
            The rows.

        Returns
        -------
        Step
            The step, for calls by ``exclusively`` or in a training of this network.
        """
        step = self._ready()
        if step.takes_sparse or not is_sparse(X):
            return step
        elsewhere = ReferenceStep(self.spec, get_backend("numpy"), "")
        elsewhere.params.update(step.params.to_host())
        return elsewhere


def by_rows(X: Array) -> Array:
    """Return X with rows that lie in one piece each, copied once here, not once an epoch by a compiled step."""
    if isinstance(X, numpy.ndarray) and X.strides[1] != X.itemsize:
        return numpy.ascontiguousarray(X)
    return X
