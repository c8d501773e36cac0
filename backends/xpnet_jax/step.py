"""The training step on JAX: jitted functions that walk the reference step."""

from functools import partial
from typing import Any

import jax
import numpy

from xpnet import ops
from xpnet.backend import Backend, GenericBackend, Kernel, NetworkSpec, dtype_name
from xpnet.ops import Array
from xpnet.steps.reference import ReferenceStep
from xpnet.steps.traced import (
    BatchInputs,
    Form,
    Rows,
    TracedStep,
    TrainingArrays,
    compiled_spec,
    train_on_batch,
)

NOWHERE = GenericBackend("jax", jax.numpy, None)
"""The backend of compiled functions, whose arrays are placed on no device."""


def affine_backward(d_out: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Compute the gradient as `xpnet.ops.affine_backward` does, from a copy of x by columns.

    XLA for CPUs multiplies the columns of x faster if each is in one piece.
    """
    columns = jax.lax.optimization_barrier(x.T)
    return ops.affine_backward(d_out, columns.T, weight)


class CopyingBackend(GenericBackend):
    """The backend of functions, compiled for a CPU, of batches that have all rows.

    The copy of the inputs is made once for all epochs of a call.
    """

    kernels = {"affine_backward": Kernel(affine_backward)}


COPYING = CopyingBackend("jax", jax.numpy, None)


class JaxStep(TracedStep):
    """A step whose epoch is a jitted scan, and whose predictions and losses are jitted.

    XLA compiles once for each description of a network and each shape of rows and batches; networks
    that differ in their seed or the strength of their penalty share what it compiled.
    """

    @property
    def tracing_backend(self) -> Backend:
        """See :class:`xpnet.steps.traced.TracedStep`. Tracers are placed on no device."""
        device = self.params.groups[0].device
        return COPYING if getattr(device, "platform", "") == "cpu" else NOWHERE

    def run_batches(
        self,
        forms: tuple[Form, ...],
        state: TrainingArrays,
        rows: Rows,
        inputs: list[BatchInputs],
    ) -> tuple[TrainingArrays, numpy.ndarray]:
        """See :class:`xpnet.steps.traced.TracedStep`."""
        capacity = self.epochs_at_once(rows.X.shape[0], forms[0].batch_rows)
        epochs = inputs[0].l2.shape[0]
        padded = jax.tree.map(lambda array: _padded(array, capacity), inputs)
        state, sums = _scan(forms, state, rows, padded, epochs)
        return state, self.backend.to_numpy(sums)[:, :epochs]

    def kept_array(self, array: Array) -> Array:
        """Return the array itself: arrays of JAX never change."""
        return array

    def forward_of_each(self, X: Array) -> Array:
        """See :class:`xpnet.steps.ReferenceStep`."""
        return _predictions(compiled_spec(self.spec), NOWHERE, self.params.groups, X)

    def mean_loss(self, X: Array, Y: Array, sample_weight: Array | None) -> Array:
        """See :class:`xpnet.steps.ReferenceStep`."""
        rows = Rows(X, Y, sample_weight)
        return _mean_loss(compiled_spec(self.spec), NOWHERE, self.params.groups, rows)


@partial(jax.jit, static_argnames="forms")
def _scan(
    forms: tuple[Form, ...],
    state: TrainingArrays,
    rows: Rows,
    inputs: list[BatchInputs],
    epochs: Array,
) -> tuple[TrainingArrays, Array]:
    """Train on the batches of the first ``epochs`` epochs of ``inputs``, one after the other."""

    def add_epoch(
        k: Array, state_and_sums: tuple[TrainingArrays, Array]
    ) -> tuple[TrainingArrays, Array]:
        """Train on epoch ``k``, and write its sums to column ``k``."""
        state, sums = state_and_sums
        one = jax.tree.map(lambda array: jax.lax.dynamic_index_in_dim(array, k, 0, False), inputs)
        state, sums_of_epoch = _epoch(forms, state, rows, one)
        return state, jax.lax.dynamic_update_index_in_dim(sums, sums_of_epoch, k, 1)

    capacity = inputs[0].l2.shape[0]
    batches = sum(part.l2.shape[1] for part in inputs)
    sums = jax.numpy.zeros((2, capacity, batches), dtype_name(state.params[0].dtype))
    return jax.lax.fori_loop(0, epochs, add_epoch, (state, sums))


def _epoch(
    forms: tuple[Form, ...], state: TrainingArrays, rows: Rows, inputs: list[BatchInputs]
) -> tuple[TrainingArrays, jax.Array]:
    """Train on all batches of an epoch; return their losses and sums of squares, (2, batches)."""
    sums: list[jax.Array] = []
    for form, batches in zip(forms, inputs, strict=True):
        if form.has_order or form.batch_rows < rows.X.shape[0]:
            form = form._replace(backend=NOWHERE)

        def step(
            state: TrainingArrays, one: BatchInputs, form: Form = form
        ) -> tuple[TrainingArrays, jax.Array]:
            """Train on one batch; return the state, and its loss and its sum of squares, (2,)."""
            batch = jax.tree.map(lambda array: _rows_of(form, array, one.rows), rows)
            loss: Any
            squares: Any
            state, loss, squares = train_on_batch(form, state, batch, one)
            return state, jax.numpy.stack((loss, squares))

        state, sums_of_part = jax.lax.scan(step, state, batches)
        sums.append(sums_of_part)
    return state, jax.numpy.concat(sums).T


def _padded(array: numpy.ndarray, length: int) -> numpy.ndarray:
    """Return an array of this length that begins with the items of another."""
    if len(array) == length:
        return array
    padded = numpy.empty((length, *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    return padded


def _rows_of(form: Form, array: jax.Array, rows: Any) -> jax.Array:
    """Return the rows of a batch."""
    if form.has_order:
        return array[rows]
    if form.batch_rows == array.shape[0]:
        return array
    return jax.lax.dynamic_slice_in_dim(array, rows, form.batch_rows)


@partial(jax.jit, static_argnums=(0, 1))
def _predictions(spec: NetworkSpec, backend: Backend, params: list[Array], X: Array) -> Array:
    """Return the predictions of each member."""
    return _step_with(spec, backend, params).forward_of_each(X)


@partial(jax.jit, static_argnums=(0, 1))
def _mean_loss(spec: NetworkSpec, backend: Backend, params: list[Array], rows: Rows) -> Array:
    """Return the mean loss of some rows, without penalty."""
    return _step_with(spec, backend, params).mean_loss(*rows)


def _step_with(spec: NetworkSpec, backend: Backend, params: list[Array]) -> ReferenceStep:
    """Return a reference step with these parameters."""
    step = ReferenceStep(spec, backend, "")
    step.params.replace_groups(params)
    return step
