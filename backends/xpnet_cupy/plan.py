"""One batch as a fixed list of launches: gather, forward, loss, backward, update.

Plain Python over a launcher, so that the same list runs on the host in the tests. Products carry bias, ReLU and bias
gradients along where the launcher has such a product; where it has none, a kernel follows the plain product.

Where the data lie is read from the device by the kernels that need it, so that a plan serves any data of its shape.
``Runs`` runs such lists: launch by launch when they first come, from then on as recorded graphs.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from xpnet.backend import NetworkSpec, Parameters
from xpnet.ops import Array
from xpnet_cupy import launches
from xpnet_cupy.cublaslt import Epilogue, Launch, Product
from xpnet_cupy.launcher import Launcher
from xpnet_cupy.launches import NO_PENALTY, Batch, Penalty
from xpnet_cupy.memory import BatchMemory, EpochMemory, NetworkMemory

AT_ONCE = 8
"""Batches of one recording, at most: what comes before and after them is recorded along."""

KEPT_WORKS = 16
"""Works on batches or blocks of rows that are kept: the one used longest ago goes first."""

KEPT = 48
"""Recordings that are kept: the one used longest ago goes first."""


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


class Runs:
    """The recordings of one clock. What runs is cut into groups, and a group that comes again is one replay.

    epoch : with the clock, which has been told what the next run is over
    memory : for batches or blocks of rows
    before : goes before the first batch, after what was told is taken over
    after : goes after the last batch, before the sums go to the host
    """

    def __init__(
        self,
        launcher: Launcher,
        epoch: EpochMemory,
        memory: BatchMemory,
        *,
        before: Sequence[Launch] = (),
        after: Sequence[Launch] = (),
    ) -> None:
        self.launcher, self.epoch, self.memory = launcher, epoch, memory
        self.begin = Work([launches.begin(launcher, epoch, memory.row_loss), *before])
        self.finish = Work([*after, launches.finish(launcher, epoch, memory.row_loss)])
        self.works: OrderedDict[Hashable, Work] = OrderedDict()
        self.recorded: OrderedDict[Group, Launch | None] = OrderedDict()  # None where it has come once

    def work(self, key: Hashable, make: Callable[[Any], Work]) -> Work:
        """Return what is made of a key, once for each."""
        if key not in self.works:
            if len(self.works) == KEPT_WORKS:
                self.forget(next(iter(self.works)))
            self.works[key] = make(key)
        self.works.move_to_end(key)
        return self.works[key]

    def forget(self, key: Hashable) -> None:
        """Let go of a work, and of all recordings that have it in them."""
        forgotten = self.works.pop(key)
        for group in [group for group in self.recorded if any(work is forgotten for work, _ in group)]:
            del self.recorded[group]

    def prepare(self, batches: list[tuple[Work, int]], *, finish: bool = True) -> list[tuple[Launch, int]]:
        """Return what runs the batches from the beginning to the end: calls, each with how often it comes.

        All that can fail fails here, before anything has changed.

        batches : of one kind so many, then perhaps one of another
        finish : whether sums go to the host
        """
        ends = [(self.finish, 1)] if finish else []
        (work, times), *rest = batches
        whole = (times + len(rest) - 1) // AT_ONCE
        if not whole:
            groups: list[tuple[Group, int]] = [(((self.begin, 1), *batches, *ends), 1)]
        else:
            several = (work, AT_ONCE)
            last = ((work, times - whole * AT_ONCE), *rest, *ends)
            groups = [(((self.begin, 1), several), 1), ((several,), whole - 1), (last, 1)]
        return [(self._call(group, times), times) for group, times in groups if times]

    def run(self, calls: list[tuple[Launch, int]], after: Launch | None = None) -> None:
        """Run what was prepared; ``after`` is called after each replay."""
        try:
            for call, times in calls:
                for _ in range(times):
                    call()
                    if after is not None:
                        after()
        finally:
            self.epoch.asked()

    def _call(self, group: Group, times: int) -> Launch:
        if (recording := self.recorded.get(group)) is not None:
            self.recorded.move_to_end(group)
            return recording
        record = group in self.recorded or times > 1
        self._warm_up([work for work, _ in group if not work.warm and (record or work.changes)])
        self.recorded[group] = self.launcher.record(partial(_run, group)) if record else None
        while len(self.recorded) > KEPT:
            self.recorded.popitem(last=False)
        return self.recorded[group] or partial(_run, group)

    def _warm_up(self, works: list[Work]) -> None:
        if works:
            self.run([(self.begin.run, 1)])
        for work in works:
            for launch in work.warm_up:
                launch()
            work.warm = True


def _run(group: Group) -> None:
    for work, times in group:
        for _ in range(times):
            work.run()


def batches_of(rows: int, size: int) -> list[tuple[int, int]]:
    """The batches of an epoch, as (rows of a batch, how many): the last may be smaller. size : ``rows`` at most"""
    whole, rest = divmod(rows, size)
    return [(size, whole), (rest, 1)] if rest else [(size, whole)]


def layers_of(spec: NetworkSpec, parameters: Parameters) -> list[tuple[Array, Array]]:
    """Weight (in, out) and bias (out,), or their gradients, layer by layer."""
    arrays = [parameters[name] for name in spec.parameter_names]
    return list(zip(arrays[::2], arrays[1::2], strict=True))


def forward_launches(
    launcher: Launcher,
    activation: str,
    x: Array,
    weight: Array,
    bias: Array,
    out: Array,
    *,
    mask: Array | None = None,
    kept: Array | None = None,
) -> list[Launch]:
    """out = activation(x W + b); one launch where the product takes bias and activation along.

    mask : receives ReLU's bits for the way back, where the launch is one; None in a prediction, where ReLU is a launch
        of its own, since in a product it may turn NaN into 0, which a prediction has to show
    kept : receives x W + b where the way back reads that and not ``out``
    """
    shape, wide = (*x.shape, out.shape[1]), out.dtype == launcher.dtype
    kernels = launcher.full if wide else launcher
    if kept is not None:
        multiply = forward_launches(launcher, "identity", x, weight, bias, kept)
        return [*multiply, launches.bias_activation(kernels, activation, kept, None, out)]
    if activation == "identity" or mask is not None:
        epilogue: Epilogue = "bias" if mask is None else "relu_aux_bias"
        product = Product.forward(*shape, epilogue=epilogue, wide=wide)
        launch = launcher.fused_product(product, weight, x, out, vector=bias, mask=mask)
        if launch is not None:
            return [launch]
    plain = launcher.product(Product.forward(*shape, wide=wide), weight, x, out)
    return [plain, launches.bias_activation(kernels, activation, out, bias, out)]


@dataclass(frozen=True)
class Shape:
    """Holds everything that a plan depends on.

    rows : of a batch; indices : whether labels are class indices
    kind : ``gradients`` fills the gradients, adds to the losses, and notes what is not finite; ``training`` fills the
        gradients, then updates the parameters: penalty and clock are in the update; ``clipped`` does the same, with
        gradients scaled to a norm before the update
    weight : ``rows``, ``summed`` over the sample weights of the batch, or ``given``: the weight of the whole batch
    penalized : whether the penalty is added
    lane : where the launches run
    group : the ranks that share a batch, where their gradients are added up before the update; None for this one alone
    """

    rows: int
    indices: bool
    kind: Literal["gradients", "training", "clipped"]
    weight: Literal["rows", "summed", "given"] = "rows"
    penalized: bool = True
    lane: object = None
    group: Any = None


class BatchPlan:
    """The launches of one batch, over the memory of its rows."""

    def __init__(
        self, spec: NetworkSpec, launcher: Launcher, network: NetworkMemory, memory: BatchMemory, shape: Shape
    ) -> None:
        self.spec, self.launcher, self.network, self.shape = spec, launcher, network, shape
        self.rows = rows = shape.rows
        self.x, self.row_loss = memory.x[:rows], memory.row_loss[:rows]
        of_layers = memory.outputs, memory.d_outputs, memory.masks, memory.kept, memory.dropped
        self.outputs, self.d_outputs, self.masks, self.kept, self.dropped = (
            [None if array is None else array[:rows] for array in arrays] for arrays in of_layers
        )
        below = [out if dropped is None else dropped for out, dropped in zip(self.outputs, self.dropped, strict=True)]
        self.inputs = [self.x, *below[:-1]]  # what each layer reads
        self.total_weight = None if shape.weight == "rows" else network.total_weight
        self.activations = (*spec.activations, "identity")
        self.layers = layers_of(spec, network.copies if launcher.halved else network.params)
        self.layers[-1] = self.layers[-1][0], network.params[spec.parameter_names[-1]]
        self.d_layers = layers_of(spec, network.gradients)

    def work(self) -> Work:
        """The launches, from the next batch to the update where there is one."""
        spec, network, shape = self.spec, self.network, self.shape
        found = [*self._next(), *self._forward(), self._loss(), *self._backward()]
        penalty = NO_PENALTY
        if spec.l2 and shape.penalized:
            over = (spec.l2, spec.l2_over_batch, self.total_weight)
            penalty = (network.bounds, spec.layers, *over, network.squares)
        if shape.kind == "training":
            sums = [] if shape.group is None else [partial(shape.group.begin_allreduce, network.gradients.flat)]
            # No sums in what warms up: other ranks may have nothing to warm up.
            return Work([*found, *sums, self._update(network.clock, penalty)], [*found, self._update(items=0)])
        flats = (network.params.flat, network.gradients.flat)
        if penalty is not NO_PENALTY:
            found.append(launches.l2_penalty(self.launcher, *flats, penalty, rows=shape.rows, rates=network.rates))
        found.append(launches.gradient_norm(self.launcher, *flats, network))
        if shape.kind == "gradients":
            return Work(found)
        found.append(launches.clip(self.launcher, network.gradients.groups[0].size, network))
        return Work([*found, self._update(network.clock)], [*found, self._update(items=0)])

    def _update(self, clock: Array | None = None, penalty: Penalty = NO_PENALTY, *, items: int | None = None) -> Launch:
        """The update; of the first ``items`` parameters alone where that is given."""
        network, rule = self.network, self.spec.rule
        parameters = [network.params, network.gradients, *network.buffers.values()]
        flats = [p.groups[0][:items] for p in parameters]
        copy = network.copies.groups[0] if self.launcher.halved and items is None else None
        how: dict[str, Any] = {"penalty": penalty, "clock": clock, "rows": self.rows, "copy": copy}
        return launches.update(self.launcher, rule, flats, network.rates, **how)

    def _next(self) -> list[Launch]:
        found = [launches.next_batch(self.launcher, self.spec.rule, self.network, self.x)]
        weigh = self.shape.weight == "summed"
        return [*found, launches.batch_weight(self.launcher, self.network, self.rows)] if weigh else found

    def _forward(self) -> list[Launch]:
        found = []
        for k, activation in enumerate(self.activations):
            arrays = (self.inputs[k], *self.layers[k], self.outputs[k])
            calls = forward_launches(self.launcher, activation, *arrays, mask=self.masks[k], kept=self.kept[k])
            if len(calls) > 1:
                self.masks[k] = None  # no fused product, so nobody has written the mask
            found += [*calls, *self._dropout(k, self.outputs[k], self.dropped[k])]
        return found

    def _dropout(self, k: int, x: Array, out: Array) -> list[Launch]:
        """Dropout of layer k, forward and back; nothing where it has none."""
        if self.dropped[k] is None:
            return []
        spec, network = self.spec, self.network
        how: dict[str, Any] = {"seed": spec.seed, "layer": k, "rate": spec.dropout[k]}
        return [launches.dropout(self.launcher, x, out, network.data, network.clock, **how)]

    def _loss(self) -> Launch:
        network = self.network
        batch = Batch(self.shape.indices, None, None, network.data, network.clock, network.rates, self.total_weight)
        arguments = (self.outputs[-1], batch, self.d_outputs[-1], self.row_loss)
        return launches.loss(self.launcher, self.spec.loss, *arguments, self.spec.output_numbers)

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
        plain = Product.weight_gradient(self.rows, *weight.shape)
        if has_bias:
            return [self.launcher.product(plain, *arrays)]
        launch = self.launcher.fused_product(replace(plain, epilogue="bgrada"), *arrays, vector=bias)
        if launch is not None:
            return [launch]
        sums = launches.backward_bias(self.launcher, "identity", d_out, d_out, None, bias)
        return [self.launcher.product(plain, *arrays), *sums]

    def _through(self, k: int) -> tuple[list[Launch], bool]:
        """d_outputs[k], through the weight above and the activation of layer k, and whether it brings k's db, too."""
        (above, _), (_, bias), d_out = self.layers[k + 1], self.d_layers[k], self.d_outputs[k]
        arrays = (above, self.d_outputs[k + 1], d_out)
        if self.masks[k] is not None:
            has_bias = not self.launcher.halved  # else the sums would be bfloat16, too
            product = Product.input_gradient(self.rows, *above.shape, epilogue="drelu_bgrad" if has_bias else "drelu")
            vector = bias if has_bias else None
            launch = self.launcher.fused_product(product, *arrays, vector=vector, mask=self.masks[k])
            if launch is not None:
                return [launch], has_bias
        plain = self.launcher.product(Product.input_gradient(self.rows, *above.shape), *arrays)
        kept = self.outputs[k] if self.kept[k] is None else self.kept[k]
        sums = launches.backward_bias(self.launcher, self.activations[k], d_out, kept, d_out, bias)
        return [plain, *self._dropout(k, d_out, d_out), *sums], True
