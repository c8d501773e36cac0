"""The reference step: backpropagation written out over the layers. Every compiled step must give its answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xpnet.backend import Backend, BatchPart, NetworkSpec, Operations, Parameters, StepState
from xpnet.layers import ACTIVATIONS, LOSSES, Affine, Dropout
from xpnet.ops import Array
from xpnet.steps.masks import keep_mask

PREDICTION_ROWS = 8192  # rows forwarded at a time, so that prediction needs no memory beyond its output


class ReferenceStep:
    """A training step on any backend that walks the layers forward and back.

    why : what the user is told about the choice
    """

    def __init__(self, spec: NetworkSpec, backend: Backend, why: str) -> None:
        self.spec, self.backend, self.why = spec, backend, why
        self.ops = Operations(backend)
        self.params = Parameters.zeros(spec, backend)
        self.gradients = Parameters.zeros(spec, backend)
        self.buffers = {name: Parameters.zeros(spec, backend) for name in spec.rule.buffers}
        self.penalty, self.t = 0.0, 0
        self.affine = [Affine(backend=backend) for _ in range(spec.layers)]
        self.activations = [ACTIVATIONS[name](backend=backend) for name in spec.activations]
        self.dropout = [Dropout(backend=backend) for _ in spec.activations]
        self.loss_layer = LOSSES[spec.loss](backend=backend)
        names = spec.parameter_names
        self.names = list(zip(names[::2], names[1::2], strict=True))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Nothing to set up."""
        yield

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
        total = weights = penalty = 0.0
        for rows in self._batches(X.shape[0], batch_size, order):
            x, y = self._take(X, rows), self._take(Y, rows)
            w = None if sample_weight is None else self._take(sample_weight, rows)
            weight = float(x.shape[0] if w is None else self.backend.xp.sum(w))
            total += weight * self.gradient(x, y, sample_weight=w)
            penalty += weight * self.penalty
            weights += weight
            self.update(learning_rate=learning_rate)
        self.penalty = penalty / weights if weights else 0.0
        return total / weights if weights else 0.0

    def forward(self, X: Array) -> Array:
        """See :class:`xpnet.backend.Step`."""
        starts = range(0, max(X.shape[0], 1), PREDICTION_ROWS)
        ends = [min(start + PREDICTION_ROWS, X.shape[0]) for start in starts]
        blocks = [self._output(self._logits(X[a:b, :])) for a, b in zip(starts, ends, strict=True)]
        return blocks[0] if len(blocks) == 1 else self.backend.xp.concat(blocks)

    def loss(self, X: Array, Y: Array, *, sample_weight: Array | None = None, rows: Any = None) -> float:
        """See :class:`xpnet.backend.Step`."""
        count = X.shape[0] if rows is None else len(rows)
        total = weights = 0.0
        for batch in self._batches(count, PREDICTION_ROWS, rows):
            x, y = self._take(X, batch), self._take(Y, batch)
            w = None if sample_weight is None else self._take(sample_weight, batch)
            weight = self._weight_of(x, w)
            total += weight * self.loss_layer.forward(self._logits(x), y, w)
            weights += weight
        self.penalty = self._penalty(weights) if weights else 0.0
        return total / weights + self.penalty if weights else 0.0

    def gradient(
        self,
        X: Array,
        Y: Array,
        *,
        sample_weight: Array | None = None,
        rows: Any = None,
        part: BatchPart | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        if rows is not None:
            indices = self.backend.asarray(rows)
            X, Y = self._take(X, indices), self._take(Y, indices)
            sample_weight = None if sample_weight is None else self._take(sample_weight, indices)
        weight = self._weight_of(X, sample_weight)
        whole = part or BatchPart(weight)
        share = weight / whole.total_weight if whole.total_weight else 0.0
        loss = self._backpropagate(X, Y, sample_weight, share, whole.first_row) if share else self._no_gradient()
        self.penalty = self._add_penalty(whole.total_weight) if whole.penalized else 0.0
        return loss + self.penalty

    def _backpropagate(self, X: Array, Y: Array, sample_weight: Array | None, share: float, first_row: int) -> float:
        """Fill the gradients with ``share`` times those of the mean loss over these rows, which is returned so scaled."""
        logits = self._logits(X, training=True, first_row=first_row)
        loss = self.loss_layer.forward(logits, Y, sample_weight)
        d_out, _ = self.loss_layer.backward(share)
        for k in reversed(range(self.spec.layers)):
            d_hidden, d_weight, d_bias = self.affine[k].backward(d_out)
            weight, bias = self.names[k]
            self.gradients[weight], self.gradients[bias] = d_weight, d_bias
            if k:
                d_out = self.activations[k - 1].backward(self._dropout_backward(k - 1, d_hidden))
        return share * loss

    def _no_gradient(self) -> float:
        """The gradient and the loss of no rows."""
        self.gradients.update({name: 0 * array for name, array in self.gradients.items()})
        return 0.0

    def _weight_of(self, x: Array, sample_weight: Array | None) -> float:
        return float(x.shape[0] if sample_weight is None else self.backend.xp.sum(sample_weight))

    def update(self, *, learning_rate: float) -> None:
        """See :class:`xpnet.backend.Step`."""
        self.t += 1
        columns = [self.params.groups, self.gradients.groups, *(b.groups for b in self.buffers.values())]
        updated = [self._update_one(*arrays, learning_rate=learning_rate) for arrays in zip(*columns, strict=True)]
        kept = [self.params, *self.buffers.values()]
        for k, parameters in enumerate(kept):
            parameters.replace_groups([arrays[k] for arrays in updated])

    def state(self) -> StepState:
        """See :class:`xpnet.backend.Step`."""
        buffers = {name: self._copies(arrays) for name, arrays in self.buffers.items()}
        return StepState(self._copies(self.params), buffers, self.t)

    def load_state(self, state: StepState) -> None:
        """See :class:`xpnet.backend.Step`."""
        self.t = state.t
        self.params.update(state.params)
        for name, arrays in self.buffers.items():
            arrays.update(state.buffers.get(name) or {n: 0 * a for n, a in state.params.items()})

    def _batches(self, rows: int, batch_size: int, order: Any) -> Iterator[Any]:
        """Slices of the rows as they lie, or of an order of them."""
        indices = None if order is None else self.backend.asarray(order)
        for start in range(0, rows, batch_size):
            batch = slice(start, min(start + batch_size, rows))
            yield batch if indices is None else indices[batch]

    def _take(self, array: Array, rows: Any) -> Array:
        return array[rows, ...] if isinstance(rows, slice) else self.ops.gather(array, rows)

    def _logits(self, x: Array, *, training: bool = False, first_row: int = 0) -> Array:
        for k, (weight, bias) in enumerate(self.names):
            x = self.affine[k].forward(x, self.params[weight], self.params[bias])
            if k < len(self.activations):
                x = self.activations[k].forward(x)
                x = self._dropout_forward(k, x, first_row) if training else x
        return x

    def _output(self, logits: Array) -> Array:
        if self.spec.loss == "softmax_cross_entropy":
            return self.ops.softmax(logits)
        if self.spec.loss == "logistic_cross_entropy":
            return self.ops.logistic(logits)
        return self.backend.xp.exp(logits) if self.spec.loss == "poisson" else logits

    def _dropout_forward(self, k: int, x: Array, first_row: int) -> Array:
        if not self.spec.dropout or not self.spec.dropout[k]:
            return x
        rate = self.spec.dropout[k]
        shape = first_row + x.shape[0], x.shape[1]
        mask = keep_mask(shape, rate, seed=self.spec.seed, t=self.t, layer=k)[first_row:]
        return self.dropout[k].forward(x, self.backend.asarray(mask, dtype=self.spec.dtype), rate)

    def _dropout_backward(self, k: int, d_out: Array) -> Array:
        return self.dropout[k].backward(d_out) if self.spec.dropout and self.spec.dropout[k] else d_out

    def _add_penalty(self, weight: float) -> float:
        """Add l2 W to each weight's gradient; returns l2 / 2 sum ||W||^2."""
        if self.spec.l2:
            l2 = self._l2_for(weight)
            for name, _ in self.names:
                self.gradients[name] = self.gradients[name] + l2 * self.params[name]
        return self._penalty(weight)

    def _penalty(self, weight: float) -> float:
        """l2 / 2 sum ||W||^2, for a batch of a total weight."""
        if not self.spec.l2:
            return 0.0
        weights = [self.params[name] for name, _ in self.names]
        return self._l2_for(weight) / 2 * sum(float(self.backend.xp.sum(W * W)) for W in weights)

    def _l2_for(self, weight: float) -> float:
        return self.spec.l2 / weight if self.spec.l2_over_batch else self.spec.l2

    def _update_one(self, param: Array, grad: Array, *buffers: Array, learning_rate: float) -> tuple[Array, ...]:
        rule = self.spec.rule
        if rule.name == "sgd":
            velocity = buffers[0] if buffers else None
            return self.ops.sgd_update(
                param, grad, velocity, learning_rate=learning_rate, momentum=rule.momentum, nesterov=rule.nesterov
            )
        return self.ops.adam_update(
            param,
            grad,
            *buffers,
            t=self.t,
            learning_rate=learning_rate,
            beta1=rule.beta1,
            beta2=rule.beta2,
            epsilon=rule.epsilon,
            weight_decay=rule.weight_decay,
            epsilon_hat=rule.epsilon_hat,
        )

    def _copies(self, parameters: Parameters) -> dict[str, Any]:
        return {name: self.backend.to_numpy(array).copy() for name, array in parameters.items()}
