"""Where a network lives: its parameters, its steps, and how both get to another backend, dtype or process."""

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Self

import numpy

from xpnet.backend import Backend, NetworkSpec, Parameters, Step, StepState, floating_dtype
from xpnet.dispatch import Choice, choose, get_backend
from xpnet.dispatch.choice import library_of
from xpnet.models.checks import check_spec
from xpnet.models.placement import Placement, is_host, is_sparse
from xpnet.models.saving import Saved
from xpnet.ops import Array
from xpnet.steps import GuardedStep, SparseStep, Turn, grouped, make_step, serves
from xpnet.training import History


class Placed(Saved):
    """A network's parameters and steps at one place, which may change; see :class:`xpnet.models.network.Network`."""

    spec: NetworkSpec
    history: History
    compiled: bool
    _fixed_dtype: bool
    _placement: Placement

    def _begin(self, values: dict[str, Any]) -> None:
        """Hold parameters by name, on the host, until a step takes them over."""
        self._changing, self._making = Turn(), Turn()
        self._values: dict[str, Any] = values
        self._params: Parameters | None = None
        self._optimizer: StepState | None = None  # what of the optimizer no step has taken over yet
        self._step: GuardedStep | None = None
        self._beside: GuardedStep | None = None  # predicts sparse rows with the parameters of the step

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
            if self._step is not None and not serves(self._step.step, sparse=sparse):
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

    def _enter_rows(self, X: Any) -> Array:
        """X as ``_enter`` brings it, in a few steps where it is NumPy's and the network on the host."""
        if type(X) is numpy.ndarray and self._placement.settled and is_host(self._placement.choice.backend):
            return numpy.asarray(X, dtype=self.spec.dtype)
        return self._enter(X)[0]

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
        if serves(self._step.step, sparse=True):
            return self._step
        if self._beside is None:
            beside = SparseStep(self.spec, self.backend)
            beside.params, beside.gradients = self._step.params, self._step.gradients
            self._beside = GuardedStep(beside, self.backend, self._step.turn)
        return self._beside

    def _make(self, *, sparse: bool) -> GuardedStep:
        backend = self.backend
        step = GuardedStep(make_step(self.spec, backend, compiled=self.compiled, sparse=sparse), backend)
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
