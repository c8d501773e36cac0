"""The reference step: backpropagation over the layers.

Every compiled step must give the same answers. ``make_step`` chooses between the backend's compiled
step and this one.
"""

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from array_api_compat import device, is_numpy_array

from xpnet.backend import (
    Backend,
    BatchPart,
    NetworkSpec,
    Operations,
    Parameters,
    ProgressReports,
    StepState,
)
from xpnet.backend.bounds import bounds_of
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.backend.step import PREDICTION_ROWS
from xpnet.layers import Affine, Dropout, MemberAffine
from xpnet.ops import ACTIVATIONS, ActivationFormulas, Array
from xpnet.ops.namespace import number
from xpnet.ops.offsets import labels_and_offsets
from xpnet.steps.masks import layer_masks
from xpnet.typing import Rows, SparseMatrix

if TYPE_CHECKING:  # this module computes with arrays of any library
    import numpy


class Measurement(NamedTuple):
    """The loss and the penalty of some rows, before their gradient is used.

    share : weight of these rows, divided by the weight of the batch
    loss : mean loss of the rows, a number or a 0-d array
    l2 : strength of the penalty of the batch
    squares : sum ||W||^2 over all weights, a number or a 0-d array
    weight : weight of the batch in a mean over batches
    """

    share: float
    loss: Array | float
    l2: float
    squares: Array | float
    weight: float = 1.0


class ReferenceStep(ProgressReports):
    """A training step on any backend that walks through the layers forward and backward.

    why : the reason for the choice of this step, for the user
    """

    why: str = ""
    takes_offsets: bool = True

    def __init__(self, spec: NetworkSpec, backend: Backend, why: str) -> None:
        self.spec = spec
        self.why = why
        self.ops: Operations = Operations(backend)
        self.params: Parameters = Parameters.zeros(spec, backend)
        self.t: int = 0
        affine = Affine if spec.members == 1 else MemberAffine
        self.affine: list[Affine | MemberAffine] = [
            affine(backend=backend) for _ in range(spec.layers)
        ]
        self.activations: list[ActivationFormulas] = [
            ACTIVATIONS[name].over(self.ops) for name in spec.activations
        ]
        self.kept: dict[int, Array] = {}
        self.takes_sparse: bool = is_numpy_array(self.params.groups[0])
        # The inputs of the last forward pass, if they were a sparse matrix.
        self.sparse: SparseMatrix | None = None
        self.dropout: list[Dropout] = [Dropout(backend=backend) for _ in spec.activations]
        self.rates: tuple[float, ...] = spec.dropout or (0.0,) * len(spec.activations)
        self._row_loss: Callable[..., tuple[Array, Array]] = partial(
            getattr(self.ops, spec.loss), **spec.loss_arguments
        )

    @cached_property
    def gradients(self) -> Parameters:
        """See :class:`xpnet.backend.Step`."""
        return Parameters.zeros(self.spec, self.backend)

    @cached_property
    def buffers(self) -> dict[str, Parameters]:
        """Return the optimizer's state, by the names of the rule."""
        return {name: Parameters.zeros(self.spec, self.backend) for name in self.spec.rule.buffers}

    @cached_property
    def bounds(self) -> tuple[Parameters, Parameters] | None:
        """Return the lowest and the highest values of the parameters; None for no bounds."""
        bounds = bounds_of(self.spec)
        if not bounds:
            return None
        low, high = (Parameters.zeros(self.spec, self.backend) for _ in range(2))
        for limits, side, other in ((low, "low", -inf), (high, "high", inf)):
            for name, array in limits.items():
                limits[name] = getattr(bounds[name], side) if name in bounds else array + other
        return low, high

    def epoch(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rate: float,
        batch_size: int,
        order: "numpy.ndarray | None" = None,
        sample_weight: Array | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        measurements = []
        order_of_members = order is not None and order.ndim == 2
        weights = self._weights_in_order(sample_weight, order)
        for start, rows in self._batches(X.shape[0], batch_size, order):
            x = self._take(X, rows)
            y = self._take(Y, rows)
            w = self._take(sample_weight, rows)
            if order_of_members:
                x = self.rows_of_members(x)
            weight = float(
                x.shape[-2] if weights is None else weights[start : start + batch_size].sum()
            )
            measurement = self._backpropagate(x, y, w, BatchPart(weight), weight)
            measurements.append(measurement._replace(weight=weight))
            self.update(learning_rate=learning_rate)
            if self.report is not None:
                self.report(start + x.shape[-2])
        return self._mean(measurements)

    def _weights_in_order(
        self, sample_weight: Array | None, order: "numpy.ndarray | None"
    ) -> "numpy.ndarray | None":
        """Return the sample weights in the order of the rows, on the host.

        If members have orders of their own, return the mean over the members.
        """
        if sample_weight is None:
            return None
        weights = self.backend.to_numpy(sample_weight)
        if order is None:
            return weights
        in_order: numpy.ndarray = weights[order]
        return in_order if order.ndim == 1 else in_order.mean(axis=0)

    def rows_of_members(self, x: Rows) -> Array:
        """Return the rows of all members (members * rows, in) as (members, rows, in)."""
        dense = x.toarray() if hasattr(x, "toarray") else x
        return self.backend.xp.reshape(dense, (self.spec.members, -1, x.shape[1]))

    def forward(self, X: Array) -> Array:
        """See :class:`xpnet.backend.Step`."""
        batches = self._batches(X.shape[0], PREDICTION_ROWS, None)
        blocks = [self.forward_of_each(self._take(X, rows)) for _, rows in batches] or [
            self.forward_of_each(X)
        ]
        if self.spec.members > 1:
            blocks = [self.backend.xp.mean(outputs, axis=0) for outputs in blocks]
        return blocks[0] if len(blocks) == 1 else self.backend.xp.concat(blocks)

    def loss(
        self,
        X: Array,
        Y: Array,
        *,
        sample_weight: Array | None = None,
        rows: "numpy.ndarray | None" = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        count = X.shape[0] if rows is None else len(rows)
        total = weights = 0.0
        for _, batch in self._batches(count, PREDICTION_ROWS, rows):
            x = self._take(X, batch)
            w = self._take(sample_weight, batch)
            weight = self._batch_weight(x, w)
            total += weight * float(self.mean_loss(x, self._take(Y, batch), w))
            weights += weight
        self.penalty = 0.0
        if not weights:
            return 0.0
        if self.spec.l2:
            self.penalty = self.spec.l2_for(weights) / 2 * float(self._squares())
        return total / weights + self.penalty

    def mean_loss(self, X: Array, Y: Array, sample_weight: Array | None) -> Array:
        """Compute the mean loss of some rows at once, without penalty, a 0-d array."""
        loss, _ = self.measure(self._through(X), Y, sample_weight)
        return loss

    def gradient(
        self,
        X: Array,
        Y: Array,
        *,
        sample_weight: Array | None = None,
        rows: "numpy.ndarray | None" = None,
        part: BatchPart | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        if rows is not None:
            indices = self.backend.asarray(rows)
            X = self._take(X, indices)
            Y = self._take(Y, indices)
            sample_weight = self._take(sample_weight, indices)
        weight = self._batch_weight(X, sample_weight)
        batch = part or BatchPart(weight)
        return self._mean([self._backpropagate(X, Y, sample_weight, batch, weight)])

    def snapshot(self) -> Callable[[], None]:
        """See :class:`xpnet.backend.Step`. The copies stay on the device of the arrays."""
        t = self.t
        kept = [self.params, *(self.buffers.values() if t else ())]
        copies = [[self.kept_array(array) for array in parameters.groups] for parameters in kept]

        def restore() -> None:
            """Put the number of updates, the parameters and the optimizer's buffers back."""
            self.t = t
            for parameters, arrays in zip(kept, copies, strict=True):
                parameters.replace_groups(arrays)
            if not t:
                vars(self).pop("buffers", None)  # before the first update they are zero

        return restore

    def kept_array(self, array: Array) -> Array:
        """Return a copy of an array that a snapshot keeps."""
        return self.backend.xp.asarray(array, copy=True)

    def _backpropagate(
        self, X: Array, Y: Array, sample_weight: Array | None, part: BatchPart, weight: float
    ) -> Measurement:
        """Fill the gradients of the mean loss of a batch, in which these rows have ``weight``."""
        share = weight / part.total_weight if part.total_weight else 0.0
        loss: Array | float = 0.0
        if share:
            loss = self.mean_loss_and_gradients(X, Y, sample_weight, share, part)
        else:
            self.gradients.update({name: 0 * array for name, array in self.gradients.items()})
        l2 = self.spec.l2_for(part.total_weight)
        squares = self.add_penalty(l2) if part.penalized else 0.0
        return Measurement(share, loss, l2, squares)

    def add_penalty(self, l2: Array | float) -> Array | float:
        """Add the penalty of a batch to the gradients, and return sum ||W||^2, or 0 without one."""
        if not self.spec.l2:
            return 0.0
        for name in self.spec.weight_names:
            self.gradients[name] = self.gradients[name] + l2 * self.params[name]
        return self._squares()

    def mean_loss_and_gradients(
        self, X: Array, Y: Array, sample_weight: Array | None, share: float, part: BatchPart
    ) -> Array:
        """Fill the gradients, times ``share``, and return the mean loss."""
        loss, d_out = self.measure(self._through(X, part), Y, sample_weight)
        d_out = d_out if share == 1 else share * d_out
        for k in reversed(range(self.spec.layers)):
            if k or self.sparse is None:
                d_out, *d_parameters = self.affine[k].backward(d_out)
            else:
                d_parameters = [self.sparse.T @ d_out, self.backend.xp.sum(d_out, axis=0)]
            self.gradients.update(zip(self.spec.layer_names[k].values(), d_parameters, strict=True))
            if k:
                d_out = self.dropout[k - 1].backward(d_out) if self.rates[k - 1] else d_out
                d_out = self.activations[k - 1].backward(d_out, self.kept[k - 1])
        return loss

    def input_gradient(self, X: Array, output: int) -> Array:
        """Compute the gradient of one predicted output with respect to the inputs, (rows, in).

        With several members it is the mean over the members.
        """
        xp = self.backend.xp
        d_out = self._output_gradient(self.forward_of_each(X), output)
        for k in reversed(range(self.spec.layers)):  # gradients of the weights are not needed
            layer = {role: self.params[name] for role, name in self.spec.layer_names[k].items()}
            if "scale_out" in layer:
                d_out = self.ops.member_scale(d_out, layer["scale_out"])
            d_out = d_out @ xp.matrix_transpose(layer["weight"])
            if "scale_in" in layer:
                d_out = self.ops.member_scale(d_out, layer["scale_in"])
            if k:
                d_out = self.activations[k - 1].backward(d_out, self.kept[k - 1])
        return d_out if d_out.ndim == 2 else xp.mean(d_out, axis=0)

    def _output_gradient(self, predictions: Array, output: int) -> Array:
        """Return the gradient of one predicted output with respect to the last layer's values."""
        xp = self.backend.xp
        columns = xp.arange(predictions.shape[-1], device=device(predictions))
        one_hot = xp.astype(columns == output, predictions.dtype)
        activation = OUTPUT_ACTIVATIONS[self.spec.loss]
        if activation == "identity":
            return one_hot + 0 * predictions
        if activation == "exp":
            return one_hot * predictions
        if activation == "logistic":
            return one_hot * predictions * (1 - predictions)
        if activation == "ordered":
            return self._score_gradient(predictions, output)
        probability = predictions[..., output : output + 1]
        if activation == "softmax":
            return probability * (one_hot - predictions)
        return probability * (one_hot - predictions * self._same_target(output, predictions))

    def _score_gradient(self, predictions: Array, output: int) -> Array:
        """Return the gradient of the probability of an ordered class with respect to the score,
        the first output; no other output depends on the inputs.
        """
        xp = self.backend.xp
        above = xp.sum(predictions[..., output + 1 :], axis=-1, keepdims=True)
        not_below = above + predictions[..., output : output + 1]
        slope = not_below * (1 - not_below) - above * (1 - above)
        return xp.concat([slope, xp.zeros_like(predictions[..., 1:])], axis=-1)

    def _same_target(self, output: int, like: Array) -> Array:
        """Return 1 for each output of the same target as ``output``, and 0 for the others."""
        targets = number(self.spec.output_numbers, like)
        return self.backend.xp.astype(targets == targets[output], like.dtype)

    def forward_of_each(self, X: Array) -> Array:
        """Compute the predictions of each member, (members, rows, out), or of one, (rows, out)."""
        logits = self._through(X)
        activation = OUTPUT_ACTIVATIONS[self.spec.loss]
        if activation == "exp":
            return self.backend.xp.exp(logits)
        targets = self.spec.loss_arguments if activation == "multi_softmax" else {}
        predictions: Array = getattr(self.ops, activation)(logits, **targets)
        return predictions

    def hidden(self, X: Rows, layer: int) -> Array:
        """Compute the outputs of a hidden layer, (rows, units).

        The outputs of several members are side by side, (rows, members * units).
        """
        xp = self.backend.xp
        x = self._through(X, layers=layer + 1)
        if x.ndim == 2:
            return x
        return xp.reshape(xp.permute_dims(x, (1, 0, 2)), (x.shape[1], x.shape[0] * x.shape[2]))

    def _mean(self, measurements: list[Measurement]) -> float:
        """Return the weighted mean loss of batches, penalty included.

        Arrays are converted to numbers only here, after all work has been queued on the device,
        since each conversion waits for the device.
        """
        weights = sum(m.weight for m in measurements)
        if not weights:
            self.penalty = 0.0
            return 0.0
        losses = sum(m.weight * m.share * float(m.loss) for m in measurements)
        penalties = sum(m.weight * m.l2 / 2 * float(m.squares) for m in measurements)
        self.penalty: float = penalties / weights
        return losses / weights + self.penalty

    def _batch_weight(self, x: Array, sample_weight: Array | None) -> float:
        """Return the weight of a batch: the sum of its sample weights, or its number of rows."""
        return float(x.shape[0] if sample_weight is None else self.backend.xp.sum(sample_weight))

    def update(self, *, learning_rate: Array | float) -> None:
        """See :class:`xpnet.backend.Step`."""
        self.t += 1
        columns = [
            self.params.groups,
            self.gradients.groups,
            *(b.groups for b in self.buffers.values()),
        ]
        updated = [
            self._update_one(*arrays, learning_rate=learning_rate)
            for arrays in zip(*columns, strict=True)
        ]
        for k, parameters in enumerate([self.params, *self.buffers.values()]):
            parameters.replace_groups([arrays[k] for arrays in updated])
        if self.bounds is not None:
            groups = [parameters.groups for parameters in (self.params, *self.bounds)]
            self.params.replace_groups(
                [self._kept_within(*arrays) for arrays in zip(*groups, strict=True)]
            )

    def state(self) -> StepState:
        """See :class:`xpnet.backend.Step`."""
        used = self.buffers if self.t else {}  # before the first update they are zero
        buffers = {name: arrays.to_host() for name, arrays in used.items()}
        return StepState(self.params.to_host(), buffers, self.t)

    def load_state(self, state: StepState) -> None:
        """See :class:`xpnet.backend.Step`."""
        self.t = state.t
        self.params.update(state.params)
        for name, arrays in self.buffers.items():
            arrays.update(state.buffers.get(name) or {n: 0 * a for n, a in state.params.items()})

    def _batches(
        self, rows: int, batch_size: int, order: "numpy.ndarray | None"
    ) -> Iterator[tuple[int, Array | slice]]:
        """Yield the start of each batch, and its rows: a slice of all rows, or of their order.

        If members have orders of their own, the slices of all members are concatenated.
        """
        indices = None if order is None else self.backend.asarray(order)
        for start in range(0, rows, batch_size):
            batch = slice(start, min(start + batch_size, rows))
            if indices is None or indices.ndim == 1:
                yield start, batch if indices is None else indices[batch]
            else:
                yield start, self.backend.xp.reshape(indices[:, batch], (-1,))

    @overload
    def _take(self, array: Array, rows: Array | slice) -> Array: ...

    @overload
    def _take(self, array: None, rows: Array | slice) -> None: ...

    def _take(self, array: Array | None, rows: Array | slice) -> Array | None:
        """Return the rows of a batch; None for None. rows : indices, or a slice"""
        if array is None or hasattr(array, "tocsr"):
            return None if array is None else array[rows]
        return array[rows, ...] if isinstance(rows, slice) else self.ops.gather(array, rows)

    def _through(
        self, x: Any, part: BatchPart | None = None, *, layers: int | None = None
    ) -> Array:
        """Compute the outputs of the first layers, by default of all, without output activation.

        x : (rows, in); a SciPy sparse matrix is made dense only for members, which scale inputs
        part : the place of the rows in a batch that is trained on; with it, dropout is applied
        """
        x = x.toarray() if self.spec.members > 1 and hasattr(x, "toarray") else x
        self.sparse = x if hasattr(x, "tocsr") else None
        for k, names in enumerate(self.spec.layer_names[:layers]):
            arrays = [self.params[name] for name in names.values()]
            x = (
                self.affine[k].forward(x, *arrays)
                if k or self.sparse is None
                else x @ arrays[0] + arrays[1]
            )
            if k < len(self.activations):
                x, self.kept[k] = self.activations[k].forward(x)
                if part is not None and self.rates[k]:
                    x = self._dropout_forward(k, x, part)
        outputs: Array = x
        return outputs

    def measure(self, logits: Array, Y: Array, sample_weight: Array | None) -> tuple[Array, Array]:
        """Return the mean loss of rows, a 0-d array, and its gradient.

        With several members both are means over the members.

        Y, sample_weight : those of one batch for all members, or of each member's batch in turn
        """
        if self.spec.members == 1:
            return self._loss_of_rows(logits, Y, sample_weight)
        xp = self.backend.xp
        shape = logits.shape
        rows = xp.reshape(logits, (shape[0] * shape[1], shape[2]))
        times = shape[0] * shape[1] // max(Y.shape[0], 1)
        weights = None if sample_weight is None else xp.concat([sample_weight] * times)
        loss, d_rows = self._loss_of_rows(rows, xp.concat([Y] * times), weights)
        return loss, xp.reshape(d_rows, shape)

    def _loss_of_rows(
        self, logits: Array, Y: Array, sample_weight: Array | None
    ) -> tuple[Array, Array]:
        """Return the mean loss of the rows of one network, and its gradient."""
        labels, offsets = labels_and_offsets(Y, self.spec.widths[-1])
        return self._row_loss(
            logits if offsets is None else logits + offsets, labels, sample_weight
        )

    def _dropout_forward(self, k: int, x: Array, part: BatchPart) -> Array:
        """Apply dropout after hidden layer k."""
        return self.dropout[k].forward(x, self._kept_units(k, x, part), self.rates[k])

    def _kept_units(self, k: int, x: Array, part: BatchPart) -> Array:
        """Return the mask of a batch after hidden layer k. Each member has masks of its own."""
        masks = layer_masks(self.spec, k, x.shape[-2], self.t, part)
        return self.backend.asarray(masks[0] if x.ndim == 2 else masks, dtype=self.spec.dtype)

    def _kept_within(self, array: Array, low: Array, high: Array) -> Array:
        """Return the numbers of an array, limited to bounds; NaN stays NaN."""
        xp = self.backend.xp
        return xp.where(array < low, low, xp.where(array > high, high, array))

    def _squares(self) -> Array | float:
        """Compute sum ||W||^2, a 0-d array."""
        return sum(
            self.backend.xp.sum(self.params[name] * self.params[name])
            for name in self.spec.weight_names
        )

    def _update_one(self, *arrays: Array, learning_rate: Array | float) -> tuple[Array, ...]:
        """Update one array.

        arrays : the array, its gradient, and the optimizer's buffers
        """
        rule = self.spec.rule
        update = getattr(self.ops, rule.update.function.__name__)
        updated: tuple[Array, ...] = update(
            *arrays, learning_rate=learning_rate, **rule.arguments(self.t)
        )
        return updated
