"""What the models share: where they live, how they predict, step and fit."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy

from xpnet.backend import Backend, NetworkSpec, Parameters, Step, floating_dtype
from xpnet.dispatch import Choice, choose, current_ranks
from xpnet.dispatch.choice import library_of
from xpnet.errors import InputError, MixedArraysError
from xpnet.models.checks import check_inputs, check_rows, check_spec, check_training
from xpnet.models.xavier import host_stream
from xpnet.ops import Array, Labels
from xpnet.optimizers import Schedule, as_schedule
from xpnet.steps import grouped, make_step
from xpnet.training import Callback, History, Training, TrainingState, run, share_stream


class Network:
    """A dense network with its parameters, on one backend.

    Until arrays arrive, the parameters lie on the host; the first arrays decide library, device and dtype, unless the
    constructor named them. From then on ``backend_``, ``device_``, ``dtype_`` say where the network lives and ``why_``
    what trains it, and for what reason. ``extra`` is a dict of JSON values that files keep with the model.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        initial: dict[str, Any] | Callable[[], dict[str, Any]],
        learning_rate: float | Schedule,
        *,
        backend: str | Backend | None,
        dtype: str | None,
        compiled: bool,
        rng: Any = None,
    ) -> None:
        self.rng = host_stream(rng)
        self.spec = check_spec(replace(spec, dtype=dtype or "float64"))
        self.learning_rate = learning_rate
        self.history = History()
        self.extra: dict[str, Any] = {}
        self._schedule = as_schedule(learning_rate)
        self.compiled = compiled
        self._fixed_dtype = dtype is not None
        self._step: Step | None = None
        values = initial() if callable(initial) else initial
        choice = choose(backend=backend)
        self.backend, self.reason_ = choice.backend, choice.reason
        self._settled, self._named = False, backend is not None
        self._params = Parameters.zeros(self.spec, choice.backend)
        self._params.update(values)

    def __repr__(self) -> str:
        widths, names = "-".join(map(str, self.spec.widths)), dict.fromkeys(self.spec.activations)
        place = f"{self.dtype_} on {self.backend_}" if self._settled or self._named else self.dtype_
        facts = [widths, *names, self.spec.rule.name, place, f"{self.history.epochs} epochs"]
        return f"{type(self).__name__}({', '.join(facts)})"

    @property
    def params(self) -> Parameters:
        """Parameters by name; assigning to a name writes the values into the network."""
        return self._params if self._step is None else self._step.params

    @property
    def gradients(self) -> Parameters:
        """Gradients of the loss by parameter name, as the last ``gradient`` or ``step`` left them; zeros before."""
        return self._ready().gradients

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
        """Class probabilities.

        X : (rows, in)
        returns probabilities (rows, classes), on the network's library, device and dtype

        Raises InputError for another number of columns, MixedArraysError for arrays of another library.
        """
        (X,) = self._enter(X)
        return self._ready().forward(check_inputs(X, self.spec.widths[0]))

    def step(self, X: Array, Y: Labels) -> float:
        """One update from all rows as one batch.

        X : (rows, in); Y : one-hot or soft labels (rows, classes), or class indices (rows,)
        returns the loss before the update

        Raises InputError for shapes or labels that do not fit.
        """
        X, Y, _ = self._check(X, Y, None)
        batch_size = max(current_ranks().count(X.shape[0]), 1)
        return self._shared().epoch(X, Y, learning_rate=self.next_learning_rate, batch_size=batch_size)

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

        X : (rows, in); Y : one-hot or soft labels (rows, classes), or class indices (rows,)
        batch_size : rows a batch; None for all rows at once
        shuffle : a new order of the rows for each epoch
        rng : where orders are drawn from: a seed, a numpy.random.Generator or RandomState; None for the stream that the
            model was made with
        callbacks : see :mod:`xpnet.training`
        sample_weight : (rows,), not negative
        validation : (X, Y) on which the loss is measured after each epoch
        resume_from : where a run that was cut off shall go on (``Checkpoint.latest(directory)``); None begins anew.
            Call ``fit`` as the first time: the epochs made before the interruption count among ``epochs``
        returns the history: ``history.loss`` has one float for each epoch of this and earlier calls

        Raises InputError for shapes, labels or numbers that do not fit, for no rows, and for NaN or infinity.
        """
        X, Y, sample_weight = self._check(X, Y, sample_weight)
        rows = current_ranks().count(X.shape[0])
        check_training(rows, X=X, Y=Y, sample_weight=sample_weight)
        if isinstance(X, numpy.ndarray) and X.strides[1] != X.itemsize:
            X = numpy.ascontiguousarray(X)  # compiled steps read row by row: copied here once, not once an epoch
        if epochs < 0 or (batch_size is not None and batch_size < 1):
            raise InputError(f"epochs is not negative and batch_size at least 1; received {epochs} and {batch_size}.")
        rng = share_stream(self.rng if rng is None else host_stream(rng))
        training = Training(self._shared(), rows, epochs, self.history, rng)
        validate = None if validation is None else self._validation_loss(*validation)
        return run(
            training,
            X,
            Y,
            batch_size=min(batch_size or rows, rows),
            shuffle=shuffle,
            schedule=self._schedule,
            sample_weight=sample_weight,
            validate=validate,
            callbacks=callbacks,
            resume_from=resume_from,
        )

    def loss(self, X: Array, Y: Labels) -> float:
        """The loss on these rows, penalty included; changes nothing."""
        return self._validation_loss(X, Y)()

    def gradient(self, X: Array, Y: Labels) -> float:
        """Fill ``gradients`` with those of the loss on these rows, as one batch; the parameters stay.

        X : (rows, in); Y : one-hot or soft labels (rows, classes), or class indices (rows,)
        returns the loss, penalty included

        Raises InputError for shapes or labels that do not fit.
        """
        X, Y, _ = self._check(X, Y, None)
        return self._shared().gradient(X, Y)

    def to(self, backend: str | Backend, *, dtype: str | None = None) -> "Network":
        """Move the network, optimizer state included, to a backend; returns the network itself.

        Raises BackendError for a backend that is not usable.
        """
        self._move(choose(backend=backend), dtype or self.spec.dtype)
        self._settled = self._named = True
        return self

    def save(self, path: str | Path, extra: dict[str, Any] | None = None) -> None:
        """Write the model to a safetensors file, which ``xpnet.load`` opens on any backend.

        extra : a dict of JSON values to keep with it (names of columns and classes, say); None for the model's ``extra``

        The file holds parameters and settings: not the history, and not the optimizer's buffers, which checkpoints hold.
        Equal models give equal files. A learning rate that follows a function of the user's own is kept as the number it
        has now. The file appears whole or not at all.

        Raises InputError for an ``extra`` that JSON cannot hold, ModelFileError where the file cannot be written.
        """
        from xpnet.modelfile import save_network

        save_network(self, path, extra)

    def export_onnx(self, path: str | Path) -> None:
        """Write the model as an ONNX file for other runtimes: ``X`` (rows, in) -> ``probabilities`` (rows, classes).

        Needs the package onnx (``pip install 'xpnet[onnx]'``). The file appears whole or not at all.

        Raises ModelFileError where onnx is missing or the file cannot be written.
        """
        from xpnet.modelfile.onnx_graph import write_onnx

        write_onnx(path, self.spec, host_values(self))

    def _validation_loss(self, X: Array, Y: Labels) -> Callable[[], float]:
        X, Y, _ = self._check(X, Y, None)
        return lambda: self._shared().loss(X, Y)

    def _check(self, X: Array, Y: Labels, sample_weight: Array | None) -> tuple[Array, Labels, Array | None]:
        """Bring a batch to the network's backend and validate it."""
        given = [X, Y] if sample_weight is None else [X, Y, sample_weight]
        X, Y, *weights = self._enter(*given)
        check_rows(check_inputs(X, self.spec.widths[0]), Y, self.spec.widths[-1], *weights)
        return X, Y, weights[0] if weights else None

    def _enter(self, X: Any, Y: Any = None, sample_weight: Any = None) -> list[Array]:
        """Adopt the library of the first arrays, then convert what host data or dtype still needs it."""
        arrays = [a for a in (X, Y, sample_weight) if a is not None]
        if not self._settled:
            self._adopt(arrays)
        if not self._named:
            self._check_library(arrays)
        asarray, dtype = self.backend.asarray, self.spec.dtype
        entered = [asarray(X, dtype=dtype)]
        if Y is not None:
            Y = asarray(Y)
            entered.append(Y if Y.ndim == 1 else asarray(Y, dtype=dtype))
        if sample_weight is not None:
            entered.append(asarray(sample_weight, dtype=dtype))
        return entered

    def _adopt(self, arrays: list[Any]) -> None:
        choice = Choice(self.backend, self.reason_) if self._named else choose(*arrays)
        self._settled = True
        self._move(choice, self.spec.dtype if self._fixed_dtype else floating_dtype(arrays[0], choice.backend))

    def _move(self, choice: Choice, dtype: str) -> None:
        if choice.backend is self.backend and dtype == self.spec.dtype:
            return
        state = None if self._step is None else self._step.state()
        values = {name: self.backend.to_numpy(array) for name, array in self.params.items()}
        self.backend, self.reason_ = choice.backend, choice.reason
        self.spec = replace(self.spec, dtype=dtype)
        self._step = None
        self._params = Parameters.zeros(self.spec, self.backend)
        self._params.update(values)
        if state is not None:
            self._ready().load_state(state)

    def _check_library(self, arrays: list[Any]) -> None:
        """A network that adopted a library keeps to it; one whose backend was named converts what it is given."""
        home = library_of(next(iter(self.params.values())))
        for library in {library_of(array) for array in arrays} - {"", "numpy", home}:
            raise MixedArraysError(
                f"This network lives on {self.backend_}; received {library} arrays. Move it with .to(...), or the arrays."
            )

    def _ready(self) -> Step:
        """The training step, made at first use."""
        if self._step is None:
            self._step = make_step(self.spec, self.backend, compiled=self.compiled)
            self._step.params.update(self._params)
        return self._step

    def _shared(self) -> Step:
        """The training step, on the ranks that train together."""
        return grouped(self._ready(), self.backend)


def host_values(network: Network) -> dict[str, numpy.ndarray]:
    """Every parameter as a NumPy array."""
    return {name: network.backend.to_numpy(array) for name, array in network.params.items()}
