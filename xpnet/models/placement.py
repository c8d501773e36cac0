"""A network on its backend: the parameters, the arrays that it takes, and its training step."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from enum import Enum
from typing import Any, Self, TypeVar

import numpy

from xpnet.backend import (
    Backend,
    NetworkSpec,
    Parameters,
    Step,
    StepState,
    floating_dtype,
    on_device,
)
from xpnet.backend.spec import NUMERIC_LOSSES
from xpnet.dispatch import Choice, choose, get_backend
from xpnet.dispatch.choose import all_numpy, library_of, library_of_backend
from xpnet.distributed import distributed_step, how_distributed
from xpnet.errors import InputError, MixedArraysError
from xpnet.models.inputs import (
    bring,
    check_in_memory,
    check_inputs,
    check_rows,
    check_spec,
    is_host,
    is_sparse,
    own,
)
from xpnet.models.saving import Saved
from xpnet.ops import Array, Labels
from xpnet.optimizers import Schedule
from xpnet.optimizers.schedules import as_schedule
from xpnet.steps import NetworkLock, ReferenceStep, locked, make_step
from xpnet.training import History
from xpnet.training.rng import host_generator
from xpnet.typing import ArrayLike, RandomNumbers, RandomSource, SavedState

Result = TypeVar("Result")


class Placement(Enum):
    """The decision that places a network on a backend.

    UNDECIDED : the first arrays will decide
    INFERRED : arrays have decided; arrays of other libraries are refused
    EXPLICIT : the user named the backend; arrays of any library are brought there
    """

    UNDECIDED = "undecided"
    INFERRED = "inferred"
    EXPLICIT = "explicit"


class PlacedNetwork(Saved):
    """A network's parameters on one backend, and how arrays get there; see `Network` for what the
    arguments mean.

    The methods whose names begin with an underscore are called by code that holds the lock.
    """

    _values: dict[str, numpy.ndarray]  # the parameters before there is a step
    _pending: StepState | None  # optimizer state that no step has taken over yet
    _step: Step | None

    def __init__(
        self,
        spec: NetworkSpec,
        initial: dict[str, numpy.ndarray] | Callable[[], dict[str, numpy.ndarray]],
        learning_rate: float | Schedule,
        *,
        backend: str | Backend | Choice | None,
        dtype: str | None,
        compiled: bool = True,
        rng: RandomSource = None,
    ) -> None:
        self.spec: NetworkSpec = check_spec(replace(spec, dtype=dtype or "float64"))
        self.rng: RandomNumbers | None = None if rng is None else host_generator(rng)
        self.learning_rate = learning_rate
        self._schedule: Schedule = as_schedule(learning_rate)
        self.history: History = History()
        self.compiled = compiled
        self._fixed_dtype = dtype is not None
        self.choice: Choice = backend if isinstance(backend, Choice) else choose(backend=backend)
        if isinstance(backend, Choice):
            self.placement: Placement = Placement.INFERRED
        else:
            self.placement = Placement.UNDECIDED if backend is None else Placement.EXPLICIT
        self.settled: bool = isinstance(backend, Choice)
        # How it was trained, if not by one process in the way it predicts, in words.
        self.how_trained: str = ""
        self.lock: NetworkLock = NetworkLock()
        self._hold(initial() if callable(initial) else initial, None)

    def __repr__(self) -> str:
        widths = "-".join(map(str, self.spec.widths))
        names = dict.fromkeys(self.spec.activations)
        is_undecided = self.placement is Placement.UNDECIDED
        place = self.dtype_ if is_undecided else f"{self.dtype_} on {self.backend_}"
        facts = [widths, *names, self.spec.rule.name, place, f"{self.history.epochs} epochs"]
        return f"{type(self).__name__}({', '.join(facts)})"

    @property
    def named(self) -> bool:
        """Whether the user named the backend, so that arrays of any library are brought there."""
        return self.placement is Placement.EXPLICIT

    @property
    def params(self) -> Parameters:
        """Parameters by name; assigning to a name writes the values into the network."""
        return self._ready().params

    @property
    def gradients(self) -> Parameters:
        """Gradients of the last ``gradient`` or ``step``, by parameter name; zeros before."""
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
        """Describe which backend and step run, and why, and how many processes trained it."""
        parts = (
            f"backend {self.backend_} ({self.choice.reason})",
            self.why_step,
            self.how_trained,
        )
        return "; ".join(filter(None, parts))

    @property
    def why_step(self) -> str:
        """Describe which step runs, and why."""
        return self._ready().why

    def on_device(self) -> AbstractContextManager[None]:
        """Make the network's device the current one, where its library has a current device.

        Returns
        -------
        context manager
            The device is current until the context is left.
        """
        return on_device(self.backend)

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
            target: Any = backend
            choice = choose(target) if library_of(target) else choose(backend=target)
            self.exclusively(self._move, choice, dtype or self.spec.dtype)
            self.placement = Placement.EXPLICIT
            self.settled = True
        return self

    @locked
    def trainable(self, *, sparse: bool = False, offsets: bool = False) -> Step:
        """Return the step to train, for use within ``lock.training()``.

        Parameters
        ----------
        sparse : bool, default False
            Whether the step shall take sparse rows.
        offsets : bool, default False
            Whether the step shall take targets with offsets behind the labels.

        Returns
        -------
        Step
            The step.

        Raises
        ------
        InputError
            For sparse rows or offsets where the step takes none.
        """
        step = self._ready()
        if sparse and not step.takes_sparse:
            raise InputError(
                f"A network on {self.backend_} must train on dense rows; got a SciPy sparse "
                "matrix. "
                'Pass X.toarray(), or move the network with .to("numba").'
            )
        if offsets and not step.takes_offsets:
            raise InputError(
                f"A network on {self.backend_} must train without offsets, which its compiled step "
                "does not add; got some. Train with backend='numba' or 'torch'."
            )
        if self._pending is not None:
            step.load_state(
                StepState(step.params.to_host(), self._pending.buffers, self._pending.t)
            )
            self._pending = None
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
    def values(self) -> dict[str, numpy.ndarray]:
        """Return copies of the parameters between two epochs, as NumPy arrays.

        Returns
        -------
        dict of str to numpy.ndarray
            The parameters by name.
        """
        return self._ready().params.to_host()

    @locked
    def load_values(self, values: Mapping[str, Array]) -> None:
        """Put these parameters in the place of those there are; the optimizer's state stays.

        Parameters
        ----------
        values : dict of str to array
            The parameters by name.
        """
        self._ready().params.update(values)

    @locked
    def __getstate__(self) -> dict[str, object]:
        # Backends, steps and locks stay in this process; numbers go along, copied.
        state = vars(self).copy()
        state["_values"], state["_pending"] = self._state_on_host()
        state["history"] = History(**self.history.to_dict())
        state["choice"] = self.backend_ if self.named else None
        for name in ("lock", "placement", "settled", "_step"):
            del state[name]
        return {**state, "_fixed_dtype": True}

    def __setstate__(self, state: SavedState) -> None:
        vars(self).update(state)
        named = state["choice"]
        self.choice = choose(backend=named)
        self.placement = Placement.UNDECIDED if named is None else Placement.EXPLICIT
        self.settled = False
        self.lock = NetworkLock()
        self._hold(state["_values"], state["_pending"])

    @locked
    def exclusively(
        self, work: Callable[..., Result], /, *arguments: object, **settings: object
    ) -> Result:
        """Call a function that computes with the network's step, while no other thread does.

        Parameters
        ----------
        work : callable
            The function.
        *arguments : object
            Its arguments.
        **settings : object
            Its keyword arguments.

        Returns
        -------
        object
            What the function returns.
        """
        with self.on_device():
            return work(*arguments, **settings)

    def own(self, array: Array) -> Array:
        """Copy an array, so that no callback can write into it.

        Parameters
        ----------
        array : array
            An array of the network's library.

        Returns
        -------
        array
            The copy.
        """
        return own(array, self.backend)

    @locked
    def checked(
        self, X: ArrayLike, Y: ArrayLike | None, sample_weight: ArrayLike | None = None
    ) -> tuple[Array, Labels, Array | None]:
        """Bring rows to the backend of the network, or adopt theirs if it has none.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, in)
            The rows.
        Y : array, shape (rows,) or (rows, outputs)
            Class indices, or one-hot or soft labels; of a loss of numbers the numbers.
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
        if Y is None:
            check_in_memory([X])
            raise InputError("`Y` must hold the label or the numbers of each row; got None.")
        rows, labels, weight = self._coerce(X, Y, sample_weight)
        with self.on_device():
            check_rows(check_inputs(rows, self.spec.widths[0]), labels, self.spec, weight)
        return rows, labels, weight

    def check_same_namespace(self, *arrays: object, host: bool = False) -> None:
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
        if self.placement is not Placement.INFERRED:
            return
        libraries = {library_of(array) or "numpy" for array in arrays if not is_sparse(array)}
        others = libraries - {library_of_backend(self.backend), "numpy" if host else ""}
        if others:
            raise MixedArraysError(
                f"Arrays must be of {library_of_backend(self.backend)}, as in training; got "
                f"{others.pop()}. Convert them, or move the network with .to(X)."
            )

    check_home = check_same_namespace
    """An earlier name of `check_same_namespace`."""

    def _coerce(
        self, X: ArrayLike, Y: Any = None, sample_weight: ArrayLike | None = None
    ) -> tuple[Array, Any, Any]:
        """Adopt the library of the first arrays, then convert what host data or dtype still needs
        it.
        """
        arrays = [a for a in (X, Y, sample_weight) if a is not None]
        if self.settled:
            self.check_same_namespace(*arrays, host=True)
        else:
            self._adopt(arrays)
        backend = self.backend
        dtype = self.spec.dtype
        if Y is not None:
            Y = bring(Y, backend)
            are_numbers = self.spec.loss in NUMERIC_LOSSES
            Y = Y if Y.ndim == 1 and not are_numbers else bring(Y, backend, dtype)
            Y = Y[:, None] if Y.ndim == 1 and are_numbers else Y
        weight = None if sample_weight is None else bring(sample_weight, backend, dtype)
        return bring(X, backend, dtype), Y, weight

    def _adopt(self, arrays: Sequence[object]) -> None:
        """Move to the backend and the dtype of the first arrays, unless the user named them."""
        check_in_memory(arrays)
        choice = self.choice if self.named else choose(*arrays)
        self._move(
            choice,
            self.spec.dtype if self._fixed_dtype else floating_dtype(arrays[0], choice.backend),
        )
        if self.placement is Placement.UNDECIDED:
            self.placement = Placement.INFERRED
        self.settled = True

    def _move(self, choice: Choice, dtype: str) -> None:
        """Move to a choice of backend and a dtype; parameters and optimizer state come along."""
        if choice.backend is not self.backend or dtype != self.spec.dtype:
            self._renew(replace(self.spec, dtype=dtype), keep=True)
        self.choice = choice

    def _renew(self, spec: NetworkSpec, *, keep: bool) -> None:
        """Change the specification; parameters stay, and the optimizer's state if ``keep``."""
        values, optimizer = self._state_on_host()
        self.spec = spec
        self._hold(values, optimizer if keep else None)

    def _hold(self, values: dict[str, numpy.ndarray], optimizer: StepState | None) -> None:
        """Hold parameters by name, on the host, and the optimizer's state until the next step takes
        them over.
        """
        self._values = values
        self._pending = optimizer
        self._step = None

    def _state_on_host(self) -> tuple[dict[str, numpy.ndarray], StepState | None]:
        """Return copies of the parameters, by name, and of the optimizer's state, both on the
        host.
        """
        if self._step is None:
            return {
                n: numpy.array(a, dtype=self.spec.dtype) for n, a in self._values.items()
            }, self._pending
        state = self._step.state()
        return state.params, self._pending or StepState({}, state.buffers, state.t)

    def _ready(self) -> Step:
        """Return the step, made at first use. It has no optimizer state before it is trained."""
        if self._step is not None:
            return self._step
        with self.lock.calls:
            if self._step is None:
                step = make_step(self.spec, self.backend, compiled=self.compiled)
                step.params.update(self._values)
                self._step = step
                self._values = {}
            return self._step

    def step_for(self, X: object) -> Step:
        """Return a step that takes these rows; one for sparse rows shares the parameters.

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
