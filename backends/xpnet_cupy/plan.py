"""One batch as a fixed list of launches: gather, forward, loss, backward, update; or a block of
rows that goes forward.

This is plain Python over a launcher, so that the tests run the same list on the host. A product
includes bias, ReLU and bias gradient where the launcher has such a product; otherwise a kernel
follows the plain product.

Kernels read the addresses of the data on the device, so that a plan serves any data of its shape.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy

from xpnet.backend import NetworkSpec, Parameters
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.ops import Array
from xpnet_cupy import launches
from xpnet_cupy.cublaslt import FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, Launch
from xpnet_cupy.launcher import Launcher
from xpnet_cupy.launches import NO_PENALTY, LossBatch, Penalty
from xpnet_cupy.memory import EpochMemory, NetworkMemory

BLOCK_ROWS = 8192
"""Minimum number of rows of a block of a prediction."""

BLOCK_BYTES = 64 << 20
"""Bytes of the rows and outputs of a block: narrow networks take more rows, since a launch costs
the same.
"""


class Work:
    """Launches that belong together: a batch, a block of rows, the beginning or the end of an
    epoch.

    warm_up : launches of the same kernels and products that change no parameter; they load the
        kernels before anything changes. None for the launches themselves, which change no parameter
    warm : whether the kernels have been loaded
    changes : whether the launches change parameters
    """

    def __init__(self, launches: Sequence[Launch], warm_up: Sequence[Launch] | None = None) -> None:
        self.launches, self.warm, self.changes = launches, False, warm_up is not None
        self.warm_up = launches if warm_up is None else warm_up

    def run(self) -> None:
        """Run the launches once."""
        for launch in self.launches:
            launch()
        self.warm = True


def layers_of(spec: NetworkSpec, parameters: Parameters) -> list[tuple[Array, Array]]:
    """Weight (in, out) and bias (out,), or their gradients, layer by layer."""
    arrays = [parameters[name] for name in spec.parameter_names]
    return list(zip(arrays[::2], arrays[1::2], strict=True))


def weight_kind(sample_weight: Array | None) -> Literal["rows", "summed", "given"]:
    """Return how the weight of a batch is known, ``weight`` of :class:`Shape`."""
    return "rows" if sample_weight is None else "summed"


@dataclass(frozen=True)
class Shape:
    """Everything that a plan depends on.

    rows : of a batch; indices : whether labels are class indices
    kind : ``gradients`` fills the gradients, adds to the losses, and notes what is not finite;
        ``training`` fills the gradients, then updates the parameters: penalty and clock are in the
        update; ``clipped`` does the same, with gradients scaled to a norm before the update;
        ``update`` makes an update alone, of no rows; ``prediction`` copies outputs to the result;
        ``loss`` adds to the losses
    weight : of a batch, by which its losses are divided: the number of its ``rows``; ``summed``
        over its sample weights; or ``given`` by the caller, where a rank has a part of the batch
    penalized : whether the penalty is added
    """

    rows: int
    indices: bool
    kind: Literal["gradients", "training", "clipped", "update", "prediction", "loss"]
    weight: Literal["rows", "summed", "given"] = "rows"
    penalized: bool = True


def batches_of(rows: int, shape: Shape) -> list[tuple[Shape, int]]:
    """Cut rows into batches of a shape; the last may be smaller. Returns each shape with its number
    of batches.
    """
    full_batches, remaining_rows = divmod(rows, shape.rows)
    if not remaining_rows:
        return [(shape, full_batches)]
    return [(shape, full_batches), (replace(shape, rows=remaining_rows), 1)]


class BatchPlan(ABC):
    """The launches of one batch, or of one block of rows, over the memory of what runs it.

    rows : of a member's batch; x, outputs and so on have those of all members
    """

    def __init__(
        self,
        spec: NetworkSpec,
        launcher: Launcher,
        network: NetworkMemory,
        epoch: EpochMemory,
        memory: Any,
        shape: Shape,
    ) -> None:
        self.spec, self.launcher, self.network, self.epoch = spec, launcher, network, epoch
        self.memory, self.shape, self.rows = memory, shape, shape.rows
        self.x, self.row_loss = self.first(memory.x), self.first(memory.row_loss)
        self.outputs, self.d_outputs = (
            self.first_of(memory.outputs),
            self.first_of(memory.d_outputs),
        )
        self.total_weight = (
            None if shape.weight == "rows" or not memory.trains else epoch.total_weight
        )

    def first(self, array: Any) -> Any:
        """Return the rows of an array that the batch takes; None stays None."""
        return None if array is None else array[: self.spec.members * self.rows]

    def first_of(self, arrays: Sequence[object]) -> list[Any]:
        """Return these rows of each array."""
        return [self.first(array) for array in arrays]

    @abstractmethod
    def gather(self) -> Launch:
        """The clock goes on, and x becomes the inputs of the batch."""

    @abstractmethod
    def forward(self, output_activation: str) -> list[Launch]:
        """The outputs of all layers, the last after an activation."""

    @abstractmethod
    def backward(self) -> list[Launch]:
        """The gradients of all parameters, from the gradient of the last outputs."""

    def work(self) -> Work:
        """The launches, from the next batch to the update where there is one."""
        spec, network, shape = self.spec, self.network, self.shape
        if shape.kind == "update":
            tick = launches.next_batch(self.launcher, spec.rule, self.epoch, None)
            return Work([tick, self._update(network.clock)], [])
        batch = [self.gather()]
        if shape.kind == "prediction":
            return Work([*batch, *self._prediction()])
        summed = shape.weight == "summed"
        weigh = (
            [launches.batch_weight(self.launcher, self.epoch, self.rows, spec.members)]
            if summed
            else []
        )
        if shape.kind == "loss":
            return Work([*batch, *self.forward("identity"), *weigh, self._loss()])
        batch += [*weigh, *self.forward("identity"), self._loss(), *self.backward()]
        penalty = NO_PENALTY
        if spec.l2 and shape.penalized:
            penalty = Penalty(
                network.bounds,
                spec.layers,
                spec.l2,
                spec.l2_over_batch,
                self.total_weight,
                network.squares,
            )
        if shape.kind == "training":
            return Work(
                [*batch, self._update(network.clock, penalty)], [*batch, self._update(items=0)]
            )
        flats = (network.params.flat, network.gradients.flat)
        if penalty is not NO_PENALTY:
            rates = None if shape.kind == "gradients" else network.rates
            batch.append(
                launches.l2_penalty(self.launcher, *flats, penalty, rows=shape.rows, rates=rates)
            )
        batch.append(launches.gradient_norm(self.launcher, *flats, network))
        if shape.kind == "gradients":
            return Work(batch)
        batch.append(launches.clip(self.launcher, network.gradients.groups[0].size, network))
        return Work([*batch, self._update(network.clock)], [*batch, self._update(items=0)])

    def _update(
        self, clock: Array | None = None, penalty: Penalty = NO_PENALTY, *, items: int | None = None
    ) -> Launch:
        """The update of the parameters; of the first ``items`` alone, unless that is None."""
        network, rule = self.network, self.spec.rule
        parameters = [network.params, network.gradients, *network.buffers.values()]
        flats = [p.groups[0][:items] for p in parameters]
        return launches.update(
            self.launcher, rule, flats, network.rates, penalty=penalty, clock=clock, rows=self.rows
        )

    def _prediction(self) -> list[Launch]:
        """The forward pass, and the copy of the outputs to the result."""
        activation, outputs = OUTPUT_ACTIVATIONS[self.spec.loss], self.outputs[-1]
        of_kernel = {"softmax": "identity", "exp": "exponential"}  # softmax is a kernel of its own
        prediction = self.forward(of_kernel.get(activation, activation))
        if activation == "softmax":
            logits, outputs = outputs, self.first(self.memory.probabilities)
            prediction.append(launches.softmax(self.launcher, logits, outputs))
        return [*prediction, launches.put(self.launcher, self.epoch, outputs, self.spec.members)]

    def _loss(self) -> Launch:
        """The losses of the rows, and where rows go back, the gradient with respect to the
        outputs.
        """
        epoch, spec = self.epoch, self.spec
        batch = LossBatch(
            self.shape.indices,
            data=epoch.data,
            clock=epoch.clock,
            rates=epoch.rates,
            total_weight=self.total_weight,
            members=spec.members,
            moves=self.shape.kind == "loss",
        )
        return launches.loss(
            self.launcher,
            spec.loss,
            self.outputs[-1],
            batch,
            self.d_outputs[-1],
            self.row_loss,
            spec.output_numbers,
        )


class DensePlan(BatchPlan):
    """The launches of a network without members."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        memory = self.memory
        self.masks, self.kept = self.first_of(memory.masks), self.first_of(memory.kept)
        self.dropped = self.first_of(memory.dropped)
        after_dropout = [
            out if dropped is None else dropped
            for out, dropped in zip(self.outputs, self.dropped, strict=True)
        ]
        self.inputs = [self.x, *after_dropout[:-1]]  # of each layer
        self.layers = layers_of(self.spec, self.network.params)
        self.d_layers = layers_of(self.spec, self.network.gradients) if memory.trains else []

    def gather(self) -> Launch:
        """The rows of the batch, in one launch with the clock."""
        return launches.next_batch(self.launcher, self.spec.rule, self.epoch, self.x)

    def forward(self, output_activation: str) -> list[Launch]:
        """Each layer with its activation, and dropout where it has that."""
        forward = []
        for k, activation in enumerate((*self.spec.activations, output_activation)):
            forward += self._layer(k, activation)
            forward += self._dropout(k, self.outputs[k], self.dropped[k])
        return forward

    def _layer(self, k: int, activation: str) -> list[Launch]:
        """out = activation(x W + b); one launch where the product includes bias and activation.

        The backward pass reads x W + b for some activations, and the bits of ReLU where there is
        one launch: these are kept. In a prediction ReLU is a launch of its own, since a product may
        turn NaN into 0, which a prediction must show.
        """
        launcher, x, (weight, bias), out = (
            self.launcher,
            self.inputs[k],
            self.layers[k],
            self.outputs[k],
        )
        mask, kept = self.masks[k], self.kept[k]
        first, target, after = activation, out, []
        if kept is not None:
            first, target = "identity", kept
            after = [launches.bias_activation(launcher, activation, kept, None, out)]
        if first == "identity" or mask is not None:
            product = replace(FORWARD, epilogue="bias" if mask is None else "relu_aux_bias")
            launch = launcher.fused_product(product, weight, x, target, vector=bias, mask=mask)
            if launch is not None:
                return [launch, *after]
        self.masks[k] = None  # without a fused product no launch writes the mask
        biased = launches.bias_activation(launcher, first, target, bias, target)
        return [launcher.product(FORWARD, weight, x, target), biased, *after]

    def _dropout(self, k: int, x: Array, out: Array) -> list[Launch]:
        """Dropout of layer k, forward or backward; no launch where the layer has none."""
        return (
            []
            if self.dropped[k] is None
            else [launches.dropout(self.launcher, self.spec, k, x, out, self.epoch)]
        )

    def backward(self) -> list[Launch]:
        """The parameters of the last layer, then through its weight and the activation below, and
        so on.
        """
        backward = self._last_parameters()
        for k in reversed(range(self.spec.layers - 1)):
            weight, _ = self.d_layers[k]
            arrays = self.d_outputs[k], self.inputs[k], weight
            backward += [*self._through(k), self.launcher.product(WEIGHT_GRADIENT, *arrays)]
        return backward

    def _last_parameters(self) -> list[Launch]:
        """dW and db of the last layer, in one product if possible."""
        d_out, (weight, bias) = self.d_outputs[-1], self.d_layers[-1]
        arrays = (d_out, self.inputs[-1], weight)
        launch = self.launcher.fused_product(
            replace(WEIGHT_GRADIENT, epilogue="bgrada"), *arrays, vector=bias
        )
        if launch is not None:
            return [launch]
        sums = launches.backward_bias(self.launcher, "identity", d_out, d_out, None, bias)
        return [self.launcher.product(WEIGHT_GRADIENT, *arrays), *sums]

    def _through(self, k: int) -> list[Launch]:
        """d_outputs[k], through the weight above and the activation of layer k, and db of layer
        k.
        """
        (above, _), (_, bias), d_out = self.layers[k + 1], self.d_layers[k], self.d_outputs[k]
        arrays = (above, self.d_outputs[k + 1], d_out)
        if self.masks[k] is not None:
            product = replace(INPUT_GRADIENT, epilogue="drelu_bgrad")
            launch = self.launcher.fused_product(product, *arrays, vector=bias, mask=self.masks[k])
            if launch is not None:
                return [launch]
        plain = self.launcher.product(INPUT_GRADIENT, *arrays)
        kept = self.outputs[k] if self.kept[k] is None else self.kept[k]
        sums = launches.backward_bias(
            self.launcher, self.spec.activations[k], d_out, kept, d_out, bias
        )
        return [plain, *self._dropout(k, d_out, d_out), *sums]


def block_rows(spec: NetworkSpec, rows: int) -> int:
    """Return the number of rows of a block of a prediction of ``rows`` rows."""
    row_bytes = sum(spec.widths) * numpy.dtype(spec.dtype).itemsize
    block = max(BLOCK_ROWS, BLOCK_BYTES // row_bytes) // spec.members
    return min(rows, max(block, 1))
