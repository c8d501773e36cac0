"""One batch as a fixed list of launches: gather, forward, loss, backward, update; or a block of rows that goes forward.

Plain Python over a launcher, so that the same list runs on the host in the tests. Products carry bias, ReLU and bias
gradients along where the launcher has such a product; where it has none, a kernel follows the plain product.

Where the data lie is read from the device by the kernels that need it, so that a plan serves any data of its shape.
``Runs`` runs such lists: launch by launch when they first come, from then on as recorded graphs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy

from xpnet.backend import NetworkSpec, Parameters
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.ops import Array
from xpnet_cupy import launches
from xpnet_cupy.cublaslt import FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, Launch
from xpnet_cupy.launcher import Launcher
from xpnet_cupy.launches import NO_PENALTY, Batch, Penalty
from xpnet_cupy.memory import BatchMemory, EpochMemory, NetworkMemory

AT_ONCE = 8
"""Batches of one recording, at most: what comes before and after them is recorded along."""

BLOCK_ROWS = 8192  # of a block that goes forward alone, at the least
BLOCK_BYTES = (
    64 << 20
)  # of a block's rows and outputs: narrow networks take more rows, since a launch costs the same

KEPT = 48
"""Recordings that are kept, about: where there are more, all of them are made anew."""


class Work:
    """Holds launches that belong together: a batch, a block of rows, what comes before all and what after.

    warm_up : launches of the same kernels and products that change nothing that lasts, so that all of them are loaded
        before anything changes; None for the launches themselves, which change nothing
    """

    def __init__(self, launches: Sequence[Launch], warm_up: Sequence[Launch] | None = None) -> None:
        self.launches, self.warm, self.changes = launches, False, warm_up is not None
        self.warm_up = launches if warm_up is None else warm_up

    def run(self) -> None:
        """Run the launches once."""
        for launch in self.launches:
            launch()
        self.warm = True


Group = tuple[tuple[Work, int], ...]
"""Works one after the other, each so many times: what one recording holds."""


def layers_of(spec: NetworkSpec, parameters: Parameters) -> list[tuple[Array, Array]]:
    """Weight (in, out) and bias (out,), or their gradients, layer by layer."""
    arrays = [parameters[name] for name in spec.parameter_names]
    return list(zip(arrays[::2], arrays[1::2], strict=True))


def counted(weight: Array | None) -> Literal["rows", "summed", "given"]:
    """By what the losses of rows with these weights are divided: see :class:`Shape`."""
    return "rows" if weight is None else "summed"


@dataclass(frozen=True)
class Shape:
    """Holds everything that a plan depends on.

    rows : of a batch; indices : whether labels are class indices
    kind : ``gradients`` fills the gradients, adds to the losses, and notes what is not finite; ``training`` fills the
        gradients, then updates the parameters: penalty and clock are in the update; ``clipped`` does the same, with
        gradients scaled to a norm before the update; ``update`` makes an update alone, of no rows; ``prediction`` puts
        outputs where they belong; ``loss`` adds to the losses
    weight : ``rows``, ``summed`` over the sample weights of the batch, or ``given``: the weight of the whole batch
    penalized : whether the penalty is added
    lane : where the launches run
    """

    rows: int
    indices: bool
    kind: Literal["gradients", "training", "clipped", "update", "prediction", "loss"]
    weight: Literal["rows", "summed", "given"] = "rows"
    penalized: bool = True
    lane: object = None


def batches_of(rows: int, shape: Shape) -> list[tuple[Shape, int]]:
    """Cut rows into batches of a shape; the last may be smaller. Returns each shape, and how often it comes."""
    whole, rest = divmod(rows, shape.rows)
    return [(shape, whole), (replace(shape, rows=rest), 1)] if rest else [(shape, whole)]


class BatchPlan:
    """The launches of one batch, or of one block of rows, over the memory of what runs it."""

    def __init__(self, runs: "Runs", shape: Shape) -> None:
        spec, network, memory, rows = runs.spec, runs.network, runs.memory, shape.rows
        self.spec, self.launcher, self.network, self.epoch = (
            spec,
            runs.launcher,
            network,
            runs.epoch,
        )
        self.memory, self.shape, self.rows = memory, shape, rows
        self.x, self.row_loss = memory.x[:rows], memory.row_loss[:rows]

        def first(array: Any) -> Any:
            return None if array is None else array[:rows]

        of_layers = memory.outputs, memory.d_outputs, memory.masks, memory.kept, memory.dropped
        self.outputs, self.d_outputs, self.masks, self.kept, self.dropped = (
            list(map(first, arrays)) for arrays in of_layers
        )
        below = [
            out if dropped is None else dropped
            for out, dropped in zip(self.outputs, self.dropped, strict=True)
        ]
        self.inputs = [self.x, *below[:-1]]  # what each layer reads
        self.total_weight = (
            None if shape.weight == "rows" or not memory.trains else runs.epoch.total_weight
        )
        self.layers = layers_of(spec, network.copies if runs.launcher.halved else network.params)
        self.layers[-1] = self.layers[-1][0], network.params[spec.parameter_names[-1]]
        self.d_layers = layers_of(spec, network.gradients) if memory.trains else []

    def work(self) -> Work:
        """The launches, from the next batch to the update where there is one."""
        spec, network, shape = self.spec, self.network, self.shape
        if shape.kind == "update":
            tick = launches.next_batch(self.launcher, spec.rule, self.epoch, None)
            return Work([tick, self._update(network.clock)], [])
        found = [launches.next_batch(self.launcher, spec.rule, self.epoch, self.x)]
        if shape.kind == "prediction":
            return Work([*found, *self._prediction()])
        summed = shape.weight == "summed"
        weigh = [launches.batch_weight(self.launcher, self.epoch, self.rows)] if summed else []
        if shape.kind == "loss":
            return Work([*found, *self._forward("identity"), *weigh, self._loss()])
        found += [*weigh, *self._forward("identity"), self._loss(), *self._backward()]
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
                [*found, self._update(network.clock, penalty)], [*found, self._update(items=0)]
            )
        flats = (network.params.flat, network.gradients.flat)
        if penalty is not NO_PENALTY:
            found.append(
                launches.l2_penalty(
                    self.launcher, *flats, penalty, rows=shape.rows, rates=network.rates
                )
            )
        found.append(launches.gradient_norm(self.launcher, *flats, network))
        if shape.kind == "gradients":
            return Work(found)
        found.append(launches.clip(self.launcher, network.gradients.groups[0].size, network))
        return Work([*found, self._update(network.clock)], [*found, self._update(items=0)])

    def _update(
        self, clock: Array | None = None, penalty: Penalty = NO_PENALTY, *, items: int | None = None
    ) -> Launch:
        """The update; of the first ``items`` parameters alone where that is given."""
        network, rule = self.network, self.spec.rule
        parameters = [network.params, network.gradients, *network.buffers.values()]
        flats = [p.groups[0][:items] for p in parameters]
        copy = network.copies.groups[0] if self.launcher.halved and items is None else None
        how: dict[str, Any] = {"penalty": penalty, "clock": clock, "rows": self.rows, "copy": copy}
        return launches.update(self.launcher, rule, flats, network.rates, **how)

    def _forward(self, output_activation: str) -> list[Launch]:
        found = []
        for k, activation in enumerate((*self.spec.activations, output_activation)):
            found += [
                *self._layer(k, activation),
                *self._dropout(k, self.outputs[k], self.dropped[k]),
            ]
        return found

    def _layer(self, k: int, activation: str) -> list[Launch]:
        """out = activation(x W + b); one launch where the product takes bias and activation along.

        What the way back reads is kept: x W + b for some activations, and ReLU's bits where the launch is one. In a
        prediction ReLU is a launch of its own, since in a product it may turn NaN into 0, which a prediction has to
        show.
        """
        launcher, x, (weight, bias), out = (
            self.launcher,
            self.inputs[k],
            self.layers[k],
            self.outputs[k],
        )
        mask, kept, wide = self.masks[k], self.kept[k], out.dtype == launcher.dtype
        kernels = launcher.full if wide else launcher
        first, target, after = activation, out, []
        if kept is not None:
            first, target = "identity", kept
            after = [launches.bias_activation(kernels, activation, kept, None, out)]
        plain = replace(FORWARD, wide=wide)
        if first == "identity" or mask is not None:
            product = replace(plain, epilogue="bias" if mask is None else "relu_aux_bias")
            launch = launcher.fused_product(product, weight, x, target, vector=bias, mask=mask)
            if launch is not None:
                return [launch, *after]
        self.masks[k] = None  # no fused product, so nobody has written the mask
        biased = launches.bias_activation(kernels, first, target, bias, target)
        return [launcher.product(plain, weight, x, target), biased, *after]

    def _prediction(self) -> list[Launch]:
        """Rows go forward, and outputs where they belong."""
        activation, outputs = OUTPUT_ACTIVATIONS[self.spec.loss], self.outputs[-1]
        of_kernel = {"softmax": "identity", "exp": "exponential"}  # softmax is a kernel of its own
        found = self._forward(of_kernel.get(activation, activation))
        if activation == "softmax":
            logits, outputs = outputs, self.memory.probabilities[: self.rows]
            found.append(launches.softmax(self.launcher, logits, outputs))
        return [*found, launches.put(self.launcher, self.epoch, outputs)]

    def _dropout(self, k: int, x: Array, out: Array) -> list[Launch]:
        """Dropout of layer k, forward and back; nothing where it has none."""
        return (
            []
            if self.dropped[k] is None
            else [launches.dropout(self.launcher, self.spec, k, x, out, self.epoch)]
        )

    def _loss(self) -> Launch:
        epoch, spec, moves = self.epoch, self.spec, self.shape.kind == "loss"
        batch = Batch(
            self.shape.indices, None, None, epoch.data, epoch.clock, epoch.rates, self.total_weight
        )
        arguments = (
            self.outputs[-1],
            batch,
            self.d_outputs[-1],
            self.row_loss,
            spec.output_numbers,
        )
        return launches.loss(self.launcher, spec.loss, *arguments, moves=moves)

    def _backward(self) -> list[Launch]:
        """Go from the last layer down: its parameters' gradient, then through its weight and the activation below."""
        found = self._parameters(self.spec.layers - 1, has_bias=False)
        for k in reversed(range(self.spec.layers - 1)):
            through, has_bias = self._through(k)
            found += [*through, *self._parameters(k, has_bias=has_bias)]
        return found

    def _parameters(self, k: int, *, has_bias: bool) -> list[Launch]:
        """dW and db of a layer, in one product where that can be; dW alone where db has come with ``_through``."""
        d_out, (weight, bias) = self.d_outputs[k], self.d_layers[k]
        arrays = (d_out, self.inputs[k], weight)
        if has_bias:
            return [self.launcher.product(WEIGHT_GRADIENT, *arrays)]
        launch = self.launcher.fused_product(
            replace(WEIGHT_GRADIENT, epilogue="bgrada"), *arrays, vector=bias
        )
        if launch is not None:
            return [launch]
        sums = launches.backward_bias(self.launcher, "identity", d_out, d_out, None, bias)
        return [self.launcher.product(WEIGHT_GRADIENT, *arrays), *sums]

    def _through(self, k: int) -> tuple[list[Launch], bool]:
        """d_outputs[k], through the weight above and the activation of layer k, and whether it brings k's db, too."""
        (above, _), (_, bias), d_out = self.layers[k + 1], self.d_layers[k], self.d_outputs[k]
        arrays = (above, self.d_outputs[k + 1], d_out)
        if self.masks[k] is not None:
            has_bias = not self.launcher.halved  # else the sums would be bfloat16, too
            product = replace(INPUT_GRADIENT, epilogue="drelu_bgrad" if has_bias else "drelu")
            vector = bias if has_bias else None
            launch = self.launcher.fused_product(
                product, *arrays, vector=vector, mask=self.masks[k]
            )
            if launch is not None:
                return [launch], has_bias
        plain = self.launcher.product(INPUT_GRADIENT, *arrays)
        kept = self.outputs[k] if self.kept[k] is None else self.kept[k]
        sums = launches.backward_bias(
            self.launcher, self.spec.activations[k], d_out, kept, d_out, bias
        )
        return [plain, *self._dropout(k, d_out, d_out), *sums], True


class Runs:
    """What runs over one clock, in memory for the largest batch so far.

    What runs is cut into groups of batches, and a group that comes again is one replay. A recording reads on the device
    where the data lie, so that it serves any data.

    network : what is trained, or predicts
    epoch : with the clock and the sums: those of the network in a training. Predictions and losses have others, so that
        a training under way stays as it is
    """

    def __init__(
        self, spec: NetworkSpec, launcher: Launcher, network: NetworkMemory, epoch: EpochMemory
    ) -> None:
        self.spec, self.launcher, self.network, self.epoch = spec, launcher, network, epoch
        self.memory: Any = None
        self.begin: Any = None
        self.finish: Any = None
        self.works: dict[Shape, Work] = {}
        self.recorded: dict[Group, Launch | None] = {}  # None where it has come once

    def make_room(self, rows: int) -> None:
        """Take memory for batches of so many rows. What there was is let go before the larger one is asked for."""
        if self.memory is not None and rows <= self.memory.rows:
            return
        self.memory = self.begin = self.finish = None
        self.forget()
        spec, launcher, network, epoch = self.spec, self.launcher, self.network, self.epoch
        trains, copies, squares = epoch is network, [], []
        if trains and launcher.halved:  # anyone may have written to the parameters
            copies = [launches.copy_parameters(launcher, network.params.flat, network.copies.flat)]
        if spec.l2 and not trains:
            only_squares = Penalty(
                network.bounds, spec.layers, over_batch=True, squares=epoch.squares
            )
            squares = [
                launches.l2_penalty(launcher, network.params.flat, None, only_squares, rows=1)
            ]
        memory = BatchMemory(spec, launcher, rows, trains=trains)
        self.begin = Work([launches.begin(launcher, epoch, memory.row_loss), *copies])
        self.finish = Work([*squares, launches.finish(launcher, epoch, memory.row_loss)])
        self.memory = memory

    def forget(self) -> None:
        """Let go of all recordings, and of what they are made of."""
        self.works.clear()
        self.recorded.clear()

    def prepare(
        self, shapes: Sequence[tuple[Shape, int]], *, finish: bool = True
    ) -> list[tuple[Launch, int]]:
        """Return what runs batches from the beginning to the end: calls, each with how often it comes.

        All that can fail fails here, before anything has changed.

        shapes : of the batches: of one so many, then perhaps one of another
        finish : whether sums go to the host
        """
        if len(self.recorded) > KEPT:
            self.forget()
        ends = [(self.finish, 1)] if finish else []
        (work, times), *rest = batches = [(self._work(shape), times) for shape, times in shapes]
        whole = (times + len(rest) - 1) // AT_ONCE
        if not whole:
            groups: list[tuple[Group, int]] = [(((self.begin, 1), *batches, *ends), 1)]
        else:
            several = (work, AT_ONCE)
            last = ((work, times - whole * AT_ONCE), *rest, *ends)
            groups = [(((self.begin, 1), several), 1), ((several,), whole - 1), (last, 1)]
        return [(self._call(group, times), times) for group, times in groups if times]

    def run(self, calls: list[tuple[Launch, int]]) -> None:
        """Run what was prepared."""
        try:
            for call, times in calls:
                for _ in range(times):
                    call()
        finally:
            self.epoch.asked()

    def _work(self, shape: Shape) -> Work:
        """The work on batches of a shape, made once."""
        if shape not in self.works:
            self.works[shape] = BatchPlan(self, shape).work()
        return self.works[shape]

    def _call(self, group: Group, times: int) -> Launch:
        if (recording := self.recorded.get(group)) is not None:
            return recording
        record = group in self.recorded or times > 1
        cold = [work for work, _ in group if not work.warm and (record or work.changes)]
        if cold:
            self.run([(self.begin.run, 1)])
        for work in cold:
            for launch in work.warm_up:
                launch()
            work.warm = True
        self.recorded[group] = self.launcher.record(partial(_run, group)) if record else None
        return self.recorded[group] or partial(_run, group)


def _run(group: Group) -> None:
    for work, times in group:
        for _ in range(times):
            work.run()


def block_rows(spec: NetworkSpec, rows: int) -> int:
    """Return how many of ``rows`` rows go forward at a time."""
    return min(
        rows, max(BLOCK_ROWS, BLOCK_BYTES // (sum(spec.widths) * numpy.dtype(spec.dtype).itemsize))
    )
