"""A training step that a library's own compiler compiles from the reference step.

JAX and PyTorch compile functions of arrays. `train_on_batch` is such a function: it walks the
reference step over what these libraries pass in place of arrays, so that no formula is written
twice. All that changes from batch to batch is an array that `TracedStep` computes on the host
before: which rows, dropout masks, the strength of the penalty, the factors of the optimizer. A
backend writes `TracedStep.run_batches`, which calls the function for many batches of one shape.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import numpy

from xpnet.backend import Backend, BatchPart, NetworkSpec
from xpnet.ops import Array
from xpnet.steps.masks import layer_masks
from xpnet.steps.reference import ReferenceStep

MAX_MASK_BYTES = 2**26
"""Largest size of the dropout masks, in bytes, that are drawn before they are used."""

WHOLE_BATCH = BatchPart(total_weight=1.0)
"""The place of rows that are a whole batch, in whose mean they have the weight 1."""


class TrainingArrays(NamedTuple):
    """The arrays that the update of a batch replaces.

    params : the arrays of the parameters
    buffers : for each buffer of the optimizer its arrays, in the order of the parameters
    """

    params: list[Array]
    buffers: list[list[Array]]


class Rows(NamedTuple):
    """Rows on the device: inputs, labels or targets, and weights or None."""

    X: Array
    Y: Array
    sample_weight: Array | None


class BatchInputs(NamedTuple):
    """The inputs that differ from batch to batch; the first axis of each array is the batch.

    rows : (batches, rows) or (batches, members * rows) indices; or (batches,) the first of
        consecutive rows
    masks : for each hidden layer with dropout the units that are kept, (batches, rows, units) or
        (batches, members, rows, units)
    l2 : (batches,) strength of the penalty
    learning_rate : (batches,) of the update
    scales : (batches, factors) of the optimizer
    """

    rows: Array
    masks: tuple[Array, ...]
    l2: Array
    learning_rate: Array
    scales: Array


class Form(NamedTuple):
    """The settings that are compiled in. Batches of one form and equal shapes share the code.

    spec : the network; its seed, and the strength of its penalty if it has one, have no effect
    backend : what computes in compiled functions
    batch_rows : rows of a member's batch
    has_order : whether the rows of a batch are indices
    each_member_has_rows : whether the members have different rows
    max_grad_norm : the greatest norm of a gradient, None for no limit
    """

    spec: NetworkSpec
    backend: Backend
    batch_rows: int
    has_order: bool
    each_member_has_rows: bool
    max_grad_norm: float | None


class EpochPlan(NamedTuple):
    """The batches of an epoch, on the host.

    order : (rows,) or (members, rows) indices, None for the rows in their own order
    starts : for each batch the first of its rows in the order
    sizes : for each batch the rows of a member
    weights : for each batch the sum of its sample weights, or its rows; with orders of members
        the mean over the members
    learning_rate : of every update
    """

    order: Any
    starts: list[int]
    sizes: list[int]
    weights: list[float]
    learning_rate: float

    def of_batches(self, chosen: Any) -> "EpochPlan":
        """Return the plan of some of the batches."""
        return self._replace(
            starts=[self.starts[k] for k in chosen],
            sizes=[self.sizes[k] for k in chosen],
            weights=[self.weights[k] for k in chosen],
        )


class _Walk(ReferenceStep):
    """The reference step over one batch, whose masks and factors are arrays."""

    inputs: BatchInputs

    def _kept_units(self, k: int, x: Array, part: BatchPart) -> Array:
        """Return the mask that was drawn on the host."""
        layers = [layer for layer, rate in enumerate(self.rates) if rate]
        return self.backend.xp.astype(self.inputs.masks[layers.index(k)], x.dtype)

    def _update_one(self, *arrays: Array, learning_rate: Any) -> tuple[Array, ...]:
        """Update one array, by factors that were computed on the host."""
        rule = self.spec.rule
        if rule.update.scaled is None:
            return super()._update_one(*arrays, learning_rate=learning_rate)
        numbers = {n: v for n, v in rule.arguments(1).items() if n not in ("t", "epsilon_hat")}
        scales = [self.inputs.scales[k] for k in range(self.inputs.scales.shape[0])]
        return rule.update.scaled(*arrays, scales, learning_rate=learning_rate, **numbers)

    def clip(self, max_norm: float) -> None:
        """Multiply all gradients with min(1, max_norm / ||g||), without waiting for the device."""
        xp = self.backend.xp
        norm = xp.sqrt(sum(xp.sum(g * g) for g in self.gradients.groups))
        factor = xp.where(norm > max_norm, max_norm / norm, xp.ones_like(norm))
        self.gradients.replace_groups([g * factor for g in self.gradients.groups])


def compiled_spec(spec: NetworkSpec) -> NetworkSpec:
    """Return the description that networks share which differ in seed and strength of penalty."""
    return replace(spec, seed=0, l2=float(spec.l2 > 0))


def train_on_batch(
    form: Form, state: TrainingArrays, rows: Rows, inputs: BatchInputs
) -> tuple[TrainingArrays, Array, Array]:
    """Return the arrays after an update, and before it the loss without penalty and sum ||W||^2.

    inputs : those of this batch alone, without the axis of batches
    """
    walk = _Walk(form.spec, form.backend, "")
    walk.inputs = inputs
    walk.params.replace_groups(state.params)
    for buffer, arrays in zip(walk.buffers.values(), state.buffers, strict=True):
        buffer.replace_groups(arrays)
    x = walk.rows_of_members(rows.X) if form.each_member_has_rows else rows.X
    loss = walk.mean_loss_and_gradients(x, rows.Y, rows.sample_weight, 1.0, WHOLE_BATCH)
    squares = walk.add_penalty(inputs.l2)
    if form.max_grad_norm is not None:
        walk.clip(form.max_grad_norm)
    walk.update(learning_rate=inputs.learning_rate)
    buffers = [buffer.groups for buffer in walk.buffers.values()]
    return TrainingArrays(walk.params.groups, buffers), loss, squares + 0 * loss


MAX_EPOCHS_AT_ONCE = 64
"""Maximum number of epochs in a call. A call costs as much as a small batch."""

ORDER_ITEM_BYTES = 4
"""Bytes of the index of a row."""

MAX_ORDER_BYTES = 2**18
"""Largest size of the orders of the rows, in bytes, of several epochs in a call."""


class TracedStep(ReferenceStep):
    """A step that trains by `train_on_batch`, compiled by the library of the arrays."""

    t: int

    @abstractmethod
    def run_batches(
        self,
        forms: tuple[Form, ...],
        state: TrainingArrays,
        rows: Rows,
        inputs: list[list[BatchInputs]],
    ) -> tuple[TrainingArrays, Any]:
        """Call `train_on_batch` for all batches, one after the other.

        forms : what is compiled for each shape of a batch
        rows : all rows, from which each batch takes its own
        inputs : for each epoch NumPy arrays for the batches of each form

        Returns the arrays after the last update, and losses and sums of squares, (2, batches), on
        the host.
        """

    def epochs_at_once(self, rows: int, batch_size: int) -> int:
        """See :class:`xpnet.backend.Step`. The maximum limits the memory of the inputs."""
        if any(self.rates):
            return 1  # masks need much memory
        order_bytes = ORDER_ITEM_BYTES * self.spec.members * rows if batch_size < rows else 0
        return min(MAX_EPOCHS_AT_ONCE, MAX_ORDER_BYTES // max(order_bytes, 1) + 1)

    def epoch(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rate: float,
        batch_size: int,
        order: Any = None,
        sample_weight: Array | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        rows = Rows(X, Y, sample_weight)
        plan = self._plan(rows, batch_size, order, learning_rate)
        if not all(plan.weights):  # a batch without weight has no mean, and is rare
            return super().epoch(
                X,
                Y,
                learning_rate=learning_rate,
                batch_size=batch_size,
                order=order,
                sample_weight=sample_weight,
            )
        return self._losses([plan], rows)[0]

    def epochs(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rates: Sequence[float],
        batch_size: int,
        orders: Sequence[Any] | None = None,
        sample_weight: Array | None = None,
    ) -> list[float]:
        """See :class:`xpnet.backend.Step`."""
        rows = Rows(X, Y, sample_weight)
        plans = [
            self._plan(rows, batch_size, order, learning_rate)
            for order, learning_rate in zip(
                orders or [None] * len(learning_rates), learning_rates, strict=True
            )
        ]
        if not all(all(plan.weights) for plan in plans):
            return super().epochs(
                X,
                Y,
                learning_rates=learning_rates,
                batch_size=batch_size,
                orders=orders,
                sample_weight=sample_weight,
            )
        return self._losses(plans, rows)

    def _losses(self, plans: list[EpochPlan], rows: Rows) -> list[float]:
        """Train for an epoch by each plan; return their losses, penalty included."""
        losses, penalties = self._train(plans, rows, None)
        return [
            self._mean_of_batches(losses[k], penalties[k], numpy.asarray(plan.weights))
            for k, plan in enumerate(plans)
        ]

    def weighted_epoch(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rate: float,
        batch_size: int,
        order: Any = None,
        sample_weight: Array | None = None,
        max_grad_norm: float | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        count = X.shape[0]
        rows = Rows(X, Y, sample_weight)
        plan = self._plan(rows, batch_size, order, learning_rate)
        plan = plan.of_batches([k for k, weight in enumerate(plan.weights) if weight])
        losses, penalties = self._train([plan], rows, max_grad_norm)
        shares = numpy.asarray(plan.sizes, dtype=float)
        mean = self._mean_of_batches(losses[0], penalties[0], shares)
        trained = shares.sum() / count if count else 0.0
        self.penalty *= trained
        return mean * trained

    def _mean_of_batches(self, losses: Any, penalties: Any, weights: Any) -> float:
        """Return the weighted mean of losses, penalty included; 0 for no batches."""
        total = weights.sum()
        self.penalty: float = float(weights @ penalties / total) if total else 0.0
        return float(weights @ losses / total) + self.penalty if total else 0.0

    def _plan(self, rows: Rows, batch_size: int, order: Any, learning_rate: float) -> EpochPlan:
        """Divide the rows of an epoch into batches."""
        count = rows.X.shape[0]
        starts = list(range(0, count, batch_size))
        sizes = [min(batch_size, count - start) for start in starts]
        weights = self._weights_in_order(rows.sample_weight, order)
        sums = [
            float(size if weights is None else weights[start : start + size].sum())
            for start, size in zip(starts, sizes, strict=True)
        ]
        return EpochPlan(order, starts, sizes, sums, learning_rate)

    def _train(
        self, plans: list[EpochPlan], rows: Rows, max_grad_norm: float | None
    ) -> tuple[Any, Any]:
        """Train for an epoch by each plan; all plans have batches of the same sizes.

        Returns losses and penalties of the batches, (epochs, batches), on the host.
        """
        state = TrainingArrays(
            self.params.groups, [buffer.groups for buffer in self.buffers.values()]
        )
        sums = [numpy.zeros((2, 0))]
        for epochs in self._calls(plans):
            forms = tuple(self._form(part, max_grad_norm) for part in epochs[0])
            inputs = [[self._next_inputs(part) for part in parts] for parts in epochs]
            state, losses_and_squares = self.run_batches(forms, state, rows, inputs)
            sums.append(losses_and_squares)
        self.params.replace_groups(state.params)
        for buffer, arrays in zip(self.buffers.values(), state.buffers, strict=True):
            buffer.replace_groups(arrays)
        losses, squares = numpy.concatenate(sums, axis=1).reshape(2, len(plans), -1)
        strengths = [[self.spec.l2_for(weight) for weight in plan.weights] for plan in plans]
        return losses, numpy.asarray(strengths) / 2 * squares

    def _calls(self, plans: list[EpochPlan]) -> Iterator[list[list[EpochPlan]]]:
        """Yield for each call of compiled code the parts of each epoch, with batches of one size.

        Where there are dropout masks, a call has at most as many batches as their memory allows.
        """
        masked = [w for w, rate in zip(self.spec.widths[1:], self.rates, strict=False) if rate]
        parts = [list(self._parts_of_equal_batches(plan)) for plan in plans]
        if not parts[0]:
            return
        if not masked:
            yield parts
            return
        for part in chain.from_iterable(parts):
            maximum = MAX_MASK_BYTES // (self.spec.members * part.sizes[0] * sum(masked)) + 1
            for first in range(0, len(part.starts), maximum):
                yield [[part.of_batches(range(len(part.starts))[first : first + maximum])]]

    def _parts_of_equal_batches(self, plan: EpochPlan) -> Iterator[EpochPlan]:
        """Cut a plan where the size of a batch changes."""
        for size in dict.fromkeys(plan.sizes):
            yield plan.of_batches([k for k, other in enumerate(plan.sizes) if other == size])

    @cached_property
    def _forms(self) -> dict[Any, Form]:
        """Return the compiled forms: the same objects at each call, which are compared quickly."""
        return {}

    def _form(self, plan: EpochPlan, max_grad_norm: float | None) -> Form:
        """Return what is compiled for the batches of a plan."""
        order_dimensions = 0 if plan.order is None else plan.order.ndim
        key = (plan.sizes[0], order_dimensions, max_grad_norm)
        if key not in self._forms:
            self._forms[key] = Form(
                spec=compiled_spec(self.spec),
                backend=self.tracing_backend,
                batch_rows=plan.sizes[0],
                has_order=order_dimensions > 0,
                each_member_has_rows=order_dimensions == 2,
                max_grad_norm=max_grad_norm,
            )
        return self._forms[key]

    @property
    def tracing_backend(self) -> Backend:
        """Return the backend that computes in compiled functions."""
        return self.backend

    def _next_inputs(self, plan: EpochPlan) -> BatchInputs:
        """Return what differs between the batches of a plan, and count their updates."""
        rule, dtype = self.spec.rule, self.spec.dtype
        updates = range(self.t, self.t + len(plan.starts))
        self.t += len(plan.starts)
        scales = [rule.scales(t + 1, plan.learning_rate) for t in updates]
        masks = tuple(
            numpy.stack([self._masks(k, plan.sizes[0], t) for t in updates])
            for k, rate in enumerate(self.rates)
            if rate
        )
        l2 = [self.spec.l2_for(weight) for weight in plan.weights]
        return BatchInputs(
            rows=self._rows_of_batches(plan),
            masks=masks,
            l2=numpy.asarray(l2, dtype=dtype),
            learning_rate=numpy.full(len(l2), plan.learning_rate, dtype=dtype),
            scales=numpy.asarray(scales, dtype=dtype),
        )

    def _masks(self, k: int, rows: int, t: int) -> Any:
        """Return the masks of one batch after hidden layer k."""
        masks = layer_masks(self.spec, k, rows, t, WHOLE_BATCH)
        return masks if self.spec.members > 1 else masks[0]

    def _rows_of_batches(self, plan: EpochPlan) -> Any:
        """Return the indices of the rows of each batch, or their first rows."""
        if plan.order is None:
            return numpy.asarray(plan.starts, dtype=numpy.int32)
        order, size = plan.order.astype(numpy.int32), plan.sizes[0]
        return numpy.stack([order[..., start : start + size].reshape(-1) for start in plan.starts])
