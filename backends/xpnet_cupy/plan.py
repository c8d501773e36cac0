"""One batch as a fixed list of launches: gather, forward, loss, backward, update.

Plain Python over a launcher, so that the same list runs on the host in the tests. Products carry bias, ReLU and bias
gradients along where the launcher has such a product; where it has none, a kernel follows the plain product. Gradients
of weights may run beside the way back.

Where the data lie is read from the device by the kernels that need it, so that a plan serves any data of its shape.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from xpnet.backend import NetworkSpec
from xpnet.ops import Array
from xpnet_cupy import launches, products
from xpnet_cupy.forward import forward_launches, layers_of
from xpnet_cupy.launcher import Launch, Launcher
from xpnet_cupy.launches import Batch, Penalty
from xpnet_cupy.memory import BatchMemory, NetworkMemory
from xpnet_cupy.options import Options
from xpnet_cupy.replay import Repeated

FUSIONS = ("both", "forward", "none")  # on which ways products carry epilogues along


@dataclass(frozen=True)
class Shape:
    """Holds everything that a plan depends on.

    rows : of a batch; indices : whether labels are class indices
    weight : ``rows``, ``summed`` over the sample weights of the batch, or ``given``: the weight of the whole batch
    penalized : whether the penalty is added
    in_place : address of inputs that are read where they lie, or None where they are gathered
    lane : where the launches run
    group : the ranks that share a batch, where their gradients are added up before the update; None for this one alone
    """

    rows: int
    indices: bool
    weight: Literal["rows", "summed", "given"] = "rows"
    penalized: bool = True
    in_place: int | None = None
    lane: object = None
    group: Any = None


class BatchPlan:
    """The launches of one batch.

    x : the inputs where they are read in place, or None

    gradients : fills the gradients and adds to the losses
    training : the same, then updates the parameters; penalty and clock are in the update
    """

    def __init__(
        self,
        spec: NetworkSpec,
        launcher: Launcher,
        network: NetworkMemory,
        memory: BatchMemory,
        shape: Shape,
        x: Array | None,
        options: Options,
    ) -> None:
        self.spec, self.launcher, self.network, self.shape = spec, launcher, network, shape
        self.rows = rows = shape.rows
        self.x = memory.x[:rows] if x is None else x
        self.outputs: list[Any] = [out[:rows] for out in memory.outputs]
        self.d_outputs: list[Any] = [d_out[:rows] for d_out in memory.d_outputs]
        self._all_masks = memory.masks
        self.kept = [_first(kept, rows) for kept in memory.kept]
        self.dropped = [_first(dropped, rows) for dropped in memory.dropped]
        self.row_loss = memory.row_loss[:rows]
        self.total_weight = None if shape.weight == "rows" else memory.total_weight
        self.layers = layers_of(spec, network.copies if launcher.halved else network.params, "identity")
        self.layers[-1] = self.layers[-1]._replace(bias=network.params[spec.parameter_names[-1]])
        self.d_layers = layers_of(spec, network.gradients, "identity")
        penalty = Penalty(network.bounds, spec.l2, spec.l2_over_batch, self.total_weight, rows, network.squares)
        self._penalty = penalty if spec.l2 and shape.penalized else None
        self._options = options
        self._batch = self._fastest()
        self.gradients = Repeated(launcher, [*self._batch, *self._penalty_gradient()], self._batch, 1)

    @property
    def training(self) -> Repeated:
        """Made when it is first asked for, since the optimizer's buffers come with it."""
        if not hasattr(self, "_training"):
            calls = [*self._batch, *self._sum(), self._update(self.network.clock)]
            # No sums: other ranks need not warm up.
            warm_up = [*self._batch, self._update(None, items=0)]
            self._training = Repeated(self.launcher, calls, warm_up, self._options.steps_per_graph)
        return self._training

    def _fastest(self) -> list[Launch]:
        """The launches of a batch in the way that is the fastest: timed as a whole, since they hang together."""
        fusions = FUSIONS if self._options.epilogues else ("none",)
        plain = {f"epilogues {fusion}": self._launches(fusion) for fusion in fusions}
        most = len(plain["epilogues none"])
        ways = {name: calls for name, calls in plain.items() if len(calls) < most or name == "epilogues none"}
        if self._options.side_by_side and self.launcher.records and self.spec.layers > 1:
            beside = {f"{name}, side by side": self._launches(name.split()[1], beside=True) for name in ways}
            ways = beside | ways
        spec = self.spec
        what = f"Batch of {self.rows} rows, widths {spec.widths}, activations {spec.activations}: {list(ways)}"
        return ways[self.launcher.fastest(what, {name: partial(_run, calls) for name, calls in ways.items()})]

    def _launches(self, fusion: str, *, beside: bool = False) -> list[Launch]:
        """fusion : on which ways products carry epilogues along; beside : whether gradients of weights run beside"""
        self.masks = [_first(mask, self.rows) for mask in self._all_masks]
        forward = self._forward(fused=fusion != "none")
        return [*self._next(), *forward, *self._loss(), *self._backward(fused=fusion == "both", beside=beside)]

    def _update(self, clock: Array | None, items: int | None = None) -> Launch:
        """The update; of the first ``items`` parameters alone, without penalty, where that is given."""
        network, rule = self.network, self.spec.rule
        parameters = [network.params, network.gradients, *network.buffers.values()]
        flats = [p.groups[0][:items] for p in parameters]
        penalty = self._penalty if items is None else None
        copy = network.copies.groups[0] if self.launcher.halved and items is None else None
        how: dict[str, Any] = {"penalty": penalty, "clock": clock, "rows": self.rows, "copy": copy}
        return launches.update(self.launcher, rule, flats, network.rates, **how)

    def _next(self) -> list[Launch]:
        network, weighted = self.network, self.total_weight if self.shape.weight == "summed" else None
        out = None if self.shape.in_place is not None else self.x
        places = (network.data, network.clock, network.rates, out, self.total_weight)
        found = [launches.next_batch(self.launcher, self.spec.rule, *places)]
        if weighted is not None:
            found.append(launches.batch_weight(self.launcher, network.data, network.clock, weighted, self.rows))
        return found

    def _forward(self, *, fused: bool) -> list[Launch]:
        found = []
        for k, layer in enumerate(self.layers):
            mask, kept = (self.masks[k], self.kept[k]) if k < len(self.masks) else (None, None)
            arrays: dict[str, Any] = {"mask": mask, "kept": kept}
            calls = forward_launches(
                self.launcher, layer, self._inputs(k), self.outputs[k], **arrays, fused=fused, repeated=True
            )
            if mask is not None and len(calls) > 1:
                self.masks[k] = None  # no fused product, so nobody has written the mask
            found += [*calls, *self._dropout(k, self.outputs[k], self._dropped(k))]
        return found

    def _dropout(self, k: int, x: Array, out: Array | None) -> list[Launch]:
        """Dropout of hidden layer k, forward and back; nothing where it has none."""
        if self._dropped(k) is None or out is None:
            return []
        spec, network = self.spec, self.network
        how: dict[str, Any] = {"seed": spec.seed, "layer": k, "rate": spec.dropout[k]}
        return [launches.dropout(self.launcher, x, out, network.data, network.clock, **how)]

    def _dropped(self, k: int) -> Array | None:
        return self.dropped[k] if k < len(self.dropped) else None

    def _loss(self) -> list[Launch]:
        network, shape = self.network, self.shape
        batch = Batch(shape.indices, data=network.data, clock=network.clock, total_weight=self.total_weight)
        arguments = (self.outputs[-1], batch, self.d_outputs[-1], self.row_loss)
        return [launches.loss(self.launcher, self.spec.loss, *arguments, self.spec.output_numbers)]

    def _backward(self, *, fused: bool, beside: bool) -> list[Launch]:
        """Go from the last layer down: its parameters' gradient, then through its weight and the activation below.

        Nothing on the way down reads a gradient of a weight, or writes what one is made from, so that these may run
        beside it. At the lowest layer there is no way further, and its gradient is the last launch of all.
        """
        last = self.spec.layers - 1
        found = self._perhaps_beside(self._parameters(last, fused), beside)
        for k in reversed(range(last)):
            through, has_bias = self._through(k, fused)
            gradients = [self._weight_gradient(k)] if has_bias else self._parameters(k, fused)
            found += [*through, *self._perhaps_beside(gradients, beside and k > 0)]
        return [*found, self.launcher.joined()] if beside else found

    def _perhaps_beside(self, calls: list[Launch], beside: bool) -> list[Launch]:
        return [self.launcher.beside(partial(_run, calls))] if beside else calls

    def _parameters(self, k: int, fused: bool) -> list[Launch]:
        """dW and db of a layer in one product, where db does not come with ``_through``."""
        d_out, weight, bias = self.d_outputs[k], self.d_layers[k].weight, self.d_layers[k].bias
        product = products.weight_gradient(self.rows, *weight.shape, epilogue="bgrada")
        arrays = (d_out, self._inputs(k), weight)
        launch = self.launcher.fused_product(product, *arrays, vector=bias, repeated=True) if fused else None
        if launch is not None:
            return [launch]
        sums = launches.backward_bias(self.launcher, "identity", d_out, d_out, None, bias)
        return [self._weight_gradient(k), *sums]

    def _weight_gradient(self, k: int) -> Launch:
        weight = self.d_layers[k].weight
        product = products.weight_gradient(self.rows, *weight.shape)
        return self.launcher.product(product, self.d_outputs[k], self._inputs(k), weight, repeated=True)

    def _through(self, k: int, fused: bool) -> tuple[list[Launch], bool]:
        """d_outputs[k], through the weight above and the activation of layer k, and whether it brings k's db, too."""
        above, d_above, d_out = self.layers[k + 1].weight, self.d_outputs[k + 1], self.d_outputs[k]
        bias = self.d_layers[k].bias
        arrays = (above, d_above, d_out)
        if fused and self.masks[k] is not None:
            has_bias = not self.launcher.halved  # else the sums would be bfloat16, too
            product = products.input_gradient(self.rows, *above.shape, epilogue="drelu_bgrad" if has_bias else "drelu")
            vector = bias if has_bias else None
            launch = self.launcher.fused_product(product, *arrays, vector=vector, mask=self.masks[k], repeated=True)
            if launch is not None:
                return [launch], has_bias
        plain = self.launcher.product(products.input_gradient(self.rows, *above.shape), *arrays, repeated=True)
        kept = self.outputs[k] if self.kept[k] is None else self.kept[k]
        sums = launches.backward_bias(self.launcher, self.layers[k].activation, d_out, kept, d_out, bias)
        return [plain, *self._dropout(k, d_out, d_out), *sums], True

    def _sum(self) -> list[Launch]:
        """The gradients of all ranks added up, where there are several."""
        if self.shape.group is None:
            return []
        return [partial(self.shape.group.begin_allreduce, self.network.gradients.flat)]

    def forget(self) -> None:
        """Let go of all recordings."""
        self.gradients.forget()
        self.training.forget()

    def _penalty_gradient(self) -> list[Launch]:
        """The penalty's part of the gradient, where no update brings it."""
        if self._penalty is None:
            return []
        flats = (self.network.params.flat, self.network.gradients.flat)
        return [launches.l2_penalty(self.launcher, *flats, self._penalty)]

    def _inputs(self, k: int) -> Array:
        """Return what layer k reads: the batch, or the layer below, after its dropout."""
        if not k:
            return self.x
        dropped = self._dropped(k - 1)
        return self.outputs[k - 1] if dropped is None else dropped


def _run(launches: list[Launch]) -> None:
    for launch in launches:
        launch()


def _first(array: Array | None, rows: int) -> Array | None:
    return None if array is None else array[:rows]
