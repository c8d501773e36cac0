"""One batch as a fixed list of launches: gather, forward, loss, backward, penalty, update.

Plain Python over a launcher, so that the same list runs on the host in the tests. Products carry bias, ReLU and bias
gradients along where the launcher has such a product; where it has none, a kernel follows the plain product.
"""

from typing import NamedTuple

from xpnet.backend import NetworkSpec, Parameters
from xpnet.ops import Array
from xpnet_cupy import launches, products
from xpnet_cupy.launcher import Launch, Launcher
from xpnet_cupy.launches import Batch
from xpnet_cupy.memory import BatchMemory, NetworkMemory
from xpnet_cupy.products import Epilogue

# What the last affine layer's outputs go through in a prediction; softmax is a kernel of its own.
OUTPUT_ACTIVATIONS = {
    "softmax_cross_entropy": "identity",
    "logistic_cross_entropy": "logistic",
    "squared_error": "identity",
    "poisson": "exponential",
}


class Data(NamedTuple):
    """What a plan trains on, as kernels read it: C-contiguous, labels int64 or of the spec's dtype.

    x : (rows, in); labels : (rows,) or (rows, out); weight : (rows,) or None
    order : (rows,) int32, the rows of each batch, or None where one batch is all rows as they lie
    """

    x: Array
    labels: Array
    weight: Array | None = None
    order: Array | None = None


class Layer(NamedTuple):
    """One affine layer and its activation: weight (in, out), bias (out,)."""

    weight: Array
    bias: Array
    activation: str


class TrainingPlan:
    """The launches of one batch of ``rows`` rows.

    gradient : fills the gradients and adds to the losses
    train : gathers the batch, fills the gradients, updates the parameters
    recorded : what ``train`` does, in a form that is cheap to repeat; None until it has run once
    """

    def __init__(
        self, spec: NetworkSpec, launcher: Launcher, network: NetworkMemory, memory: BatchMemory, data: Data, rows: int
    ) -> None:
        self.spec, self.launcher, self.network, self.data, self.rows = spec, launcher, network, data, rows
        self.x = data.x if data.order is None else _first(memory.x, rows)
        self.outputs = [_first(out, rows) for out in memory.outputs]
        self.d_outputs = [_first(d_out, rows) for d_out in memory.d_outputs]
        self.masks = [_first(mask, rows) for mask in memory.masks]
        self.dropped = [_first(dropped, rows) for dropped in memory.dropped]
        self.row_loss = _first(memory.row_loss, rows)
        cursor = None if data.order is None else network.clock[1:]
        total_weight = None if data.weight is None else memory.total_weight
        self.batch = Batch(data.weight, total_weight, data.order, cursor)
        self.layers = layers_of(spec, network.params, "identity")
        self.gradients = layers_of(spec, network.gradients, "identity")
        self._gradient = [*self._forward(), *self._loss(), *self._backward(), *self._penalty()]
        self._train = [*self._gather(), *self._gradient, *update_launches(spec, launcher, network, rows)]
        self.ran = False
        self.recorded: Launch | None = None

    def gradient(self) -> None:
        """Fills the gradients from the batch."""
        for launch in self._gradient:
            launch()

    def train(self) -> None:
        """Trains on the batch."""
        for launch in self._train:
            launch()
        self.ran = True

    def repeat(self, times: int) -> None:
        """Trains on ``times`` batches, one after the other: the first by single launches, which also warms up."""
        if times and not self.ran:
            self.train()
            times -= 1
        if not times:
            return
        recorded = self.recorded = self.recorded or self.launcher.record(self.train)
        for _ in range(times):
            recorded()

    def _gather(self) -> list[Launch]:
        if self.data.order is None:
            return []
        return [launches.gather(self.launcher, self.data.x, self.data.order, self.batch.cursor, self.x)]

    def _forward(self) -> list[Launch]:
        found = []
        for k, layer in enumerate(self.layers):
            mask = self.masks[k] if k < len(self.masks) else None
            calls = forward_launches(self.launcher, layer, self._inputs(k), self.outputs[k], mask=mask)
            if mask is not None and len(calls) > 1:
                self.masks[k] = None  # no fused product, so nobody has written the mask
            found += [*calls, *self._dropout(k, self.outputs[k], self._dropped(k))]
        return found

    def _dropout(self, k: int, x: Array, out: Array | None) -> list[Launch]:
        """Dropout of hidden layer k, forward and back; nothing where it has none."""
        if self._dropped(k) is None:
            return []
        spec, clock = self.spec, self.network.clock
        return [launches.dropout(self.launcher, x, out, clock, seed=spec.seed, layer=k, rate=spec.dropout[k])]

    def _dropped(self, k: int) -> Array | None:
        return self.dropped[k] if k < len(self.dropped) else None

    def _loss(self) -> list[Launch]:
        before = [] if self.data.weight is None else [launches.batch_weight(self.launcher, self.batch, self.rows)]
        arguments = (self.outputs[-1], self.data.labels, self.batch, self.d_outputs[-1], self.row_loss)
        return [*before, launches.loss(self.launcher, self.spec.loss, *arguments)]

    def _backward(self) -> list[Launch]:
        """From the last layer down: the gradient of its parameters, then through its weight and the activation below."""
        last = self.spec.layers - 1
        found = self._last_parameters(last)
        for k in reversed(range(last)):
            found += [*self._through(k), self._weight_gradient(k)]
        return found

    def _last_parameters(self, k: int) -> list[Launch]:
        """dW and db of the last layer in one product; the hidden layers' db come with ``_through``."""
        d_out, weight, bias = self.d_outputs[k], self.gradients[k].weight, self.gradients[k].bias
        product = products.weight_gradient(self.rows, *weight.shape, epilogue="bgrada")
        fused = self.launcher.fused_product(product, d_out, self._inputs(k), weight, vector=bias)
        if fused is not None:
            return [fused]
        sums = launches.backward_bias(self.launcher, "identity", d_out, d_out, None, bias)
        return [self._weight_gradient(k), *sums]

    def _weight_gradient(self, k: int) -> Launch:
        weight = self.gradients[k].weight
        product = products.weight_gradient(self.rows, *weight.shape)
        return self.launcher.product(product, self.d_outputs[k], self._inputs(k), weight)

    def _through(self, k: int) -> list[Launch]:
        """d_outputs[k], through the weight of layer k + 1 and the activation of layer k, with the bias gradient of k."""
        above, d_above, d_out = self.layers[k + 1].weight, self.d_outputs[k + 1], self.d_outputs[k]
        bias = self.gradients[k].bias
        if self.masks[k] is not None:
            product = products.input_gradient(self.rows, *above.shape, epilogue="drelu_bgrad")
            fused = self.launcher.fused_product(product, above, d_above, d_out, vector=bias, mask=self.masks[k])
            if fused is not None:
                return [fused]
        plain = self.launcher.product(products.input_gradient(self.rows, *above.shape), above, d_above, d_out)
        activation, out = self.layers[k].activation, self.outputs[k]
        sums = launches.backward_bias(self.launcher, activation, d_out, out, d_out, bias)
        return [plain, *self._dropout(k, d_out, d_out), *sums]

    def _penalty(self) -> list[Launch]:
        if not self.spec.l2:
            return []
        spec, network = self.spec, self.network
        flats = (network.params.flat, network.gradients.flat, network.bounds)
        weight = (self.batch.total_weight, self.rows)
        return [launches.l2_penalty(self.launcher, *flats, spec.l2, spec.l2_over_batch, *weight, network.squares)]

    def _inputs(self, k: int) -> Array:
        """What layer k reads: the batch, or the layer below, after its dropout."""
        if not k:
            return self.x
        dropped = self._dropped(k - 1)
        return self.outputs[k - 1] if dropped is None else dropped


def layers_of(spec: NetworkSpec, parameters: Parameters, output_activation: str) -> list[Layer]:
    """The parameters layer by layer, with the activation that follows each."""
    arrays = [parameters[name] for name in spec.parameter_names]
    activations = [*spec.activations, output_activation]
    return [Layer(*layer) for layer in zip(arrays[::2], arrays[1::2], activations, strict=True)]


def forward_launches(
    launcher: Launcher, layer: Layer, x: Array, out: Array, *, mask: Array | None = None
) -> list[Launch]:
    """out = activation(x W + b); one launch where the product takes bias and activation along.

    mask : receives ReLU's bits for the way back, where the launch is one; None in a prediction, where ReLU is a launch
        of its own, since in a product it may turn NaN into 0, which a prediction has to show
    """
    shape = (*x.shape, out.shape[1])
    if layer.activation == "identity" or mask is not None:
        epilogue: Epilogue = "bias" if mask is None else "relu_aux_bias"
        product = products.forward(*shape, epilogue=epilogue)
        launch = launcher.fused_product(product, layer.weight, x, out, vector=layer.bias, mask=mask)
        if launch is not None:
            return [launch]
    plain = launcher.product(products.forward(*shape), layer.weight, x, out)
    return [plain, launches.bias_activation(launcher, layer.activation, out, layer.bias, out)]


def update_launches(spec: NetworkSpec, launcher: Launcher, network: NetworkMemory, rows: int) -> list[Launch]:
    """One update from the gradients, after which the next batch begins ``rows`` rows further."""
    buffers = [parameters.flat for parameters in network.buffers.values()]
    tick = launches.tick(launcher, spec.rule, network.clock, network.rates, rows)
    flats = (network.params.flat, network.gradients.flat, buffers)
    return [tick, launches.update(launcher, spec.rule, *flats, network.rates)]


def predict(
    spec: NetworkSpec, launcher: Launcher, params: Parameters, x: Array, hidden: list[Array], out: Array
) -> None:
    """Outputs after the output activation.

    x : (rows, in); hidden : one (rows, width) for each hidden layer, and (rows, out) for the logits; out : (rows, out)
    """
    softmax = spec.loss == "softmax_cross_entropy"
    outputs = [*hidden[:-1], hidden[-1] if softmax else out]
    for layer, result in zip(layers_of(spec, params, OUTPUT_ACTIVATIONS[spec.loss]), outputs, strict=True):
        for launch in forward_launches(launcher, layer, x, result):
            launch()
        x = result
    if softmax:
        launches.softmax(launcher, x, out)()


def _first(array: Array | None, rows: int) -> Array | None:
    return None if array is None else array[:rows]
