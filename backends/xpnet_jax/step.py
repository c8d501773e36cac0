"""The training step on JAX: jitted functions that walk the reference step."""

from functools import partial
from typing import Any

import jax

from xpnet.backend import Backend, GenericBackend, NetworkSpec
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


class JaxStep(TracedStep):
    """A step whose epoch is a jitted scan, and whose predictions and losses are jitted.

    XLA compiles once for each description of a network and each shape of rows and batches; networks
    that differ in their seed or the strength of their penalty share what it compiled.
    """

    @property
    def tracing_backend(self) -> Backend:
        """See :class:`xpnet.steps.traced.TracedStep`. Tracers are placed on no device."""
        return NOWHERE

    def run_batches(
        self,
        forms: tuple[Form, ...],
        state: TrainingArrays,
        rows: Rows,
        inputs: list[BatchInputs],
        learning_rate: Any,
    ) -> tuple[TrainingArrays, Array]:
        """See :class:`xpnet.steps.traced.TracedStep`."""
        return _scan(forms, state, rows, inputs, learning_rate)

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
    learning_rate: Array,
) -> tuple[TrainingArrays, Array]:
    """Train on all batches of ``inputs``, one after the other."""
    sums = []
    for form, batches in zip(forms, inputs, strict=True):

        def step(
            state: TrainingArrays, one: BatchInputs, form: Form = form
        ) -> tuple[TrainingArrays, Array]:
            batch = jax.tree.map(lambda array: _rows_of(form, array, one.rows), rows)
            state, loss, squares = train_on_batch(form, state, batch, one, learning_rate)
            return state, jax.numpy.stack((loss, squares))

        state, sums_of_part = jax.lax.scan(step, state, batches)
        sums.append(sums_of_part)
    return state, jax.numpy.concat(sums).T


def _rows_of(form: Form, array: Array, rows: Array) -> Array:
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
