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
from typing import Any, NamedTuple

import numpy

from xpnet.backend import Backend, BatchPart, NetworkSpec, SeveralEpochs, WeightedEpochs
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
    """The inputs that differ from batch to batch.

    Each array has the shape of one batch that is named here, after the axes (epochs, batches) where
    it holds several.

    rows : (rows,) or (members * rows,) indices; or the first of consecutive rows
    masks : for each hidden layer with dropout the units that are kept, (rows, units) or
        (members, rows, units)
    l2 : strength of the penalty
    learning_rate : of the update
    scales : (factors,) of the optimizer
    """

    rows: Array | None
    masks: tuple[Array, ...]
    l2: Array
    learning_rate: Array
    scales: Array


class Form(NamedTuple):
    """The settings that are compiled in. Batches of one form and equal shapes share the code.

    spec : the network; its seed, and the strength of its penalty if it has one, have no effect
    backend : the backend that computes in compiled functions
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


class EpochsPlan(NamedTuple):
    """The batches of some epochs, on the host. Those of each epoch begin and end at the same rows.

    orders : for each epoch (rows,) or (members, rows) indices, None for the rows in their own order
    starts : for each batch the first of its rows in an order
    sizes : for each batch the rows of a member
    weights : (epochs, batches) sum of the sample weights, or number of rows; with orders of members
        the mean over the members
    l2 : (epochs, batches) strength of the penalty
    updates : (epochs, batches) number of updates before
    learning_rates : of each epoch
    """

    orders: Sequence[numpy.ndarray] | None
    starts: list[int]
    sizes: list[int]
    weights: numpy.ndarray
    l2: numpy.ndarray
    updates: numpy.ndarray
    learning_rates: Sequence[float]

    def select_batches(self, chosen: list[int]) -> "EpochsPlan":
        """Return the plan of some of the batches of each epoch."""
        return self._replace(
            starts=[self.starts[k] for k in chosen],
            sizes=[self.sizes[k] for k in chosen],
            weights=self.weights[:, chosen],
            l2=self.l2[:, chosen],
            updates=self.updates[:, chosen],
        )

    def select_epoch(self, k: int) -> "EpochsPlan":
        """Return the plan of one of the epochs."""
        return self._replace(
            orders=None if self.orders is None else self.orders[k : k + 1],
            weights=self.weights[k : k + 1],
            l2=self.l2[k : k + 1],
            updates=self.updates[k : k + 1],
            learning_rates=self.learning_rates[k : k + 1],
        )


class _Walk(ReferenceStep):
    """The reference step over one batch, whose masks and factors are arrays."""

    inputs: BatchInputs

    def _kept_units(self, k: int, x: Array, part: BatchPart) -> Array:
        """Return the mask that was drawn on the host."""
        layers = [layer for layer, rate in enumerate(self.rates) if rate]
        return self.backend.xp.astype(self.inputs.masks[layers.index(k)], x.dtype)

    def _update_one(self, *arrays: Array, learning_rate: Array | float) -> tuple[Array, ...]:
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
        squares: Any = sum(xp.sum(g * g) for g in self.gradients.groups)
        norm = xp.sqrt(squares)
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


class TracedStep(ReferenceStep, SeveralEpochs, WeightedEpochs):
    """A step that trains by `train_on_batch`, compiled by the library of the arrays."""

    t: int

    @abstractmethod
    def run_batches(
        self,
        forms: tuple[Form, ...],
        state: TrainingArrays,
        rows: Rows,
        inputs: list[BatchInputs],
    ) -> tuple[TrainingArrays, numpy.ndarray]:
        """Call `train_on_batch` for all batches of all epochs, one after the other.

        forms : the compiled form for each shape of a batch
        rows : all rows, from which each batch takes its own
        inputs : for each form NumPy arrays for its batches in all epochs

        Returns the arrays after the last update, and losses and sums of squares on the host,
        (2, epochs, batches of all forms).
        """

    def epochs_at_once(self, rows: int, batch_size: int) -> int:
        """See :class:`xpnet.backend.SeveralEpochs`. The maximum limits the memory of the inputs."""
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
        order: numpy.ndarray | None = None,
        sample_weight: Array | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        rows = Rows(X, Y, sample_weight)
        plan = self._plan(rows, batch_size, None if order is None else [order], [learning_rate])
        if not plan.weights.all():  # a batch without weight has no mean, and is rare
            return super().epoch(
                X,
                Y,
                learning_rate=learning_rate,
                batch_size=batch_size,
                order=order,
                sample_weight=sample_weight,
            )
        return self._losses(plan, rows)[0]

    def epochs(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rates: Sequence[float],
        batch_size: int,
        orders: Sequence[numpy.ndarray] | None = None,
        sample_weight: Array | None = None,
    ) -> list[float]:
        """See :class:`xpnet.backend.Step`."""
        rows = Rows(X, Y, sample_weight)
        plan = self._plan(rows, batch_size, orders, learning_rates)
        if not plan.weights.all():
            return super().epochs(
                X,
                Y,
                learning_rates=learning_rates,
                batch_size=batch_size,
                orders=orders,
                sample_weight=sample_weight,
            )
        return self._losses(plan, rows)

    def _losses(self, plan: EpochsPlan, rows: Rows) -> list[float]:
        """Train for the epochs of a plan; return their losses, penalty included."""
        losses, penalties = self._train(plan, rows, None)
        return self._means_of_batches(losses, penalties, plan.weights)

    def weighted_epoch(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rate: float,
        batch_size: int,
        order: numpy.ndarray | None = None,
        sample_weight: Array | None = None,
        max_grad_norm: float | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        count = X.shape[0]
        rows = Rows(X, Y, sample_weight)
        plan = self._plan(rows, batch_size, None if order is None else [order], [learning_rate])
        plan = plan.select_batches(numpy.flatnonzero(plan.weights[0]).tolist())
        plan = plan._replace(updates=self._updates(1, len(plan.starts)))
        losses, penalties = self._train(plan, rows, max_grad_norm)
        shares = numpy.asarray([plan.sizes], dtype=float)
        (mean,) = self._means_of_batches(losses, penalties, shares)
        trained = shares.sum() / count if count else 0.0
        self.penalty *= trained
        return mean * trained

    def _means_of_batches(
        self, losses: numpy.ndarray, penalties: numpy.ndarray, weights: numpy.ndarray
    ) -> list[float]:
        """Return for each epoch the weighted mean of losses, penalty included; 0 for no batches.

        losses, penalties, weights : (epochs, batches)
        """
        totals = weights.sum(axis=1)
        totals[totals == 0] = 1
        means = (weights * penalties).sum(axis=1) / totals
        self.penalty: float = float(means[-1])
        self.penalties: Sequence[float] = means.tolist()
        sums: list[float] = (means + (weights * losses).sum(axis=1) / totals).tolist()
        return sums

    def _plan(
        self,
        rows: Rows,
        batch_size: int,
        orders: Sequence[numpy.ndarray] | None,
        learning_rates: Sequence[float],
    ) -> EpochsPlan:
        """Divide the rows of each epoch into batches."""
        count = rows.X.shape[0]
        starts = list(range(0, count, batch_size))
        sizes = [min(batch_size, count - start) for start in starts]
        epochs = len(learning_rates)
        weights = numpy.tile(numpy.asarray(sizes, dtype=float), (epochs, 1))
        if rows.sample_weight is not None:
            for k in range(epochs):
                order = None if orders is None else orders[k]
                in_order: Any = self._weights_in_order(rows.sample_weight, order)
                weights[k] = [
                    in_order[start : start + size].sum()
                    for start, size in zip(starts, sizes, strict=True)
                ]
        l2 = [[self.spec.l2_for(weight) for weight in of_epoch] for of_epoch in weights.tolist()]
        return EpochsPlan(
            orders=orders,
            starts=starts,
            sizes=sizes,
            weights=weights,
            l2=numpy.asarray(l2, dtype=float),
            updates=self._updates(epochs, len(starts)),
            learning_rates=learning_rates,
        )

    def _updates(self, epochs: int, batches: int) -> numpy.ndarray:
        """Return the number of updates before each of the next batches, (epochs, batches)."""
        return self.t + numpy.arange(epochs * batches).reshape(epochs, batches)

    def _train(
        self, plan: EpochsPlan, rows: Rows, max_grad_norm: float | None
    ) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Train for the epochs of a plan.

        Returns losses and penalties of the batches, (epochs, batches), on the host.
        """
        state = TrainingArrays(
            self.params.groups, [buffer.groups for buffer in self.buffers.values()]
        )
        sums = [numpy.zeros((2, 0))]
        for parts in self._calls(plan):
            forms = tuple(self._form(part, max_grad_norm) for part in parts)
            inputs = [self._inputs(part) for part in parts]
            state, losses_and_squares = self.run_batches(forms, state, rows, inputs)
            sums.append(losses_and_squares.reshape(2, -1))
        self.t += plan.updates.size
        self.params.replace_groups(state.params)
        for buffer, arrays in zip(self.buffers.values(), state.buffers, strict=True):
            buffer.replace_groups(arrays)
        losses, squares = numpy.concatenate(sums, axis=1).reshape(2, *plan.weights.shape)
        return losses, plan.l2 / 2 * squares

    def _calls(self, plan: EpochsPlan) -> Iterator[list[EpochsPlan]]:
        """Yield for each call of compiled code the parts of its epochs, with batches of one size.

        Where there are dropout masks, a call has at most as many batches as their memory allows.
        """
        masked = [w for w, rate in zip(self.spec.widths[1:], self.rates, strict=False) if rate]
        if not plan.starts:
            return
        if not masked:
            yield list(self._parts_of_equal_batches(plan))
            return
        for k in range(len(plan.learning_rates)):
            for part in self._parts_of_equal_batches(plan.select_epoch(k)):
                maximum = MAX_MASK_BYTES // (self.spec.members * part.sizes[0] * sum(masked)) + 1
                batches = list(range(len(part.starts)))
                for first in range(0, len(batches), maximum):
                    yield [part.select_batches(batches[first : first + maximum])]

    def _parts_of_equal_batches(self, plan: EpochsPlan) -> Iterator[EpochsPlan]:
        """Cut a plan where the size of a batch changes."""
        sizes = dict.fromkeys(plan.sizes)
        if len(sizes) == 1:
            yield plan
            return
        for size in sizes:
            yield plan.select_batches([k for k, other in enumerate(plan.sizes) if other == size])

    @cached_property
    def _forms(self) -> dict[tuple[int, int, float | None], Form]:
        """Return the compiled forms: the same objects at each call, which are compared quickly."""
        return {}

    def _form(self, plan: EpochsPlan, max_grad_norm: float | None) -> Form:
        """Return the compiled form for the batches of a plan, which have one size."""
        order_dimensions = 0 if plan.orders is None else plan.orders[0].ndim
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

    def _inputs(self, plan: EpochsPlan) -> BatchInputs:
        """Return the inputs that differ between the batches of a plan."""
        rule = self.spec.rule
        dtype = self.spec.dtype
        shape = plan.updates.shape
        learning_rates = numpy.asarray(plan.learning_rates, dtype=dtype)
        scales = [
            rule.scales(t + 1, learning_rate)
            for learning_rate, updates in zip(
                plan.learning_rates, plan.updates.tolist(), strict=True
            )
            for t in updates
        ]
        return BatchInputs(
            rows=self._rows_of_batches(plan),
            masks=tuple(
                self._masks(k, plan.sizes[0], plan.updates)
                for k, rate in enumerate(self.rates)
                if rate
            ),
            l2=plan.l2.astype(dtype),
            learning_rate=numpy.repeat(learning_rates, shape[1]).reshape(shape),
            scales=numpy.asarray(scales, dtype=dtype).reshape(*shape, -1),
        )

    def _masks(self, k: int, rows: int, updates: numpy.ndarray) -> numpy.ndarray:
        """Return the masks of some batches after hidden layer k."""
        masks = numpy.stack(
            [layer_masks(self.spec, k, rows, t, WHOLE_BATCH) for t in updates.ravel().tolist()]
        )
        of_members = masks if self.spec.members > 1 else masks[:, 0]
        return of_members.reshape(*updates.shape, *of_members.shape[1:])

    def _rows_of_batches(self, plan: EpochsPlan) -> numpy.ndarray:
        """Return the indices of the rows of each batch, or their first rows."""
        if plan.orders is None:
            starts = numpy.asarray(plan.starts, dtype=numpy.int32)
            return numpy.tile(starts, (len(plan.learning_rates), 1))
        size = plan.sizes[0]
        orders = [order.astype(numpy.int32) for order in plan.orders]
        return numpy.stack(
            [
                [order[..., start : start + size].reshape(-1) for start in plan.starts]
                for order in orders
            ]
        )
