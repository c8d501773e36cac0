"""An epoch in one launch, for small networks on small batches: all of the network stays in one multiprocessor.

A graph of single launches costs a microsecond or two for each of them, which for a small batch is more than the work.
Here one block of threads goes through all batches, with weights, gradients and the optimizer's buffers in its shared
memory. One multiprocessor is a hundredth of a card, so that large batches stay with the graphs.
"""

from typing import Any, NamedTuple

from xpnet.backend import NetworkSpec, UpdateRule
from xpnet_cupy.launcher import Launch, Launcher
from xpnet_cupy.memory import Data, NetworkMemory, itemsize

WIDEST = 128  # of the layers
BATCH_FLOP = 4e6  # of a batch at most: about what a multiprocessor does in the time that a graph's launches take
HEADER_BYTES = 128  # as in resident.cu
TILE_ROWS = 128  # at most
ACTIVATIONS = {"identity": 0, "relu": 1, "tanh": 2, "logistic": 3, "softplus": 4, "leaky_relu": 5, "elu": 6}
LOSSES = {"softmax_cross_entropy": 1, "squared_error": 2, "logistic_cross_entropy": 3, "poisson": 4}
CLASS_INDICES = 0  # softmax cross-entropy against them


class Layout(NamedTuple):
    """The parts of shared memory.

    tile_rows : rows that go through the network together; kept : whether the optimizer's buffers are held, too
    size : bytes
    """

    tile_rows: int
    kept: bool
    size: int


class Resident:
    """A network whose epochs may be one launch each.

    batch_rows : of the largest batch that is trained so; 0 for none
    reason : why there is none, as a clause; empty otherwise
    """

    def __init__(self, spec: NetworkSpec, launcher: Launcher, network: NetworkMemory) -> None:
        self.spec, self.launcher, self.network = spec, launcher, network
        self.size = network.params.groups[0].size
        self.reason = self._reason()
        self.batch_rows = 0 if self.reason else int(BATCH_FLOP / _row_flop(spec))
        if self.batch_rows:
            widths, slots = spec.widths, {slot.name: slot.offset for slot in spec.slots(network.align)}
            offsets = [slots[name] for name in spec.parameter_names]
            activations = [ACTIVATIONS[name] for name in (*spec.activations, "identity")]
            rows = zip(widths, widths[1:], offsets[::2], offsets[1::2], activations, strict=False)
            self._layers = launcher.xp.asarray([list(row) for row in rows], dtype=launcher.xp.int32)

    def launch(self, data: Data, *, batch_rows: int, learning_rate: float) -> Launch:
        """An epoch as one launch, which fills ``results`` of the network's memory.

        data : with an order, of whole batches
        """
        spec, network, rule = self.spec, self.network, self.spec.rule
        order = data.order
        assert order is not None and data.parts is None and data.places is None
        rows, layout = order.size, self._layout(min(batch_rows, order.size))
        assert layout is not None
        loss = CLASS_INDICES if data.indices is not None else LOSSES[spec.loss]
        buffers: list[Any] = [parameters.flat for parameters in network.buffers.values()]
        buffers += [None] * (2 - len(buffers))
        penalty = (network.bounds, network.bounds.shape[0] if spec.l2 else 0, spec.l2, spec.l2_over_batch)
        return self.launcher.prepare(
            "train_epoch",
            (1,),
            (32, 16 if spec.dtype == "float32" else 8),
            *data[:5],
            *(self._layers, spec.layers, loss, rows, batch_rows, layout.tile_rows),
            *(network.clock, network.rates, learning_rate, *_numbers(rule)),
            *(network.params.flat, *buffers, self.size, layout.kept, *penalty, network.results),
            shared=layout.size,
        )

    def _reason(self) -> str:
        spec = self.spec
        if max(spec.widths) > WIDEST:
            return f"layers are wider than {WIDEST}"
        if missing := set(spec.activations) - set(ACTIVATIONS):
            return f"the gradient of {', '.join(sorted(missing))} reads more than outputs"
        if spec.loss not in LOSSES:
            return f"the loss is {spec.loss}"
        if any(spec.dropout):
            return "there is dropout"
        if _row_flop(spec) > BATCH_FLOP or self._layout(1) is None:
            return "the network does not fit into a multiprocessor's shared memory"
        return ""

    def _layout(self, batch_rows: int) -> Layout | None:
        """Buffers are held where they leave room for a tile of 32 rows; tiles are as large as fits, and alike."""
        spec, limit = self.spec, self.launcher.shared_bytes
        buffers, item = len(spec.rule.buffers), itemsize(spec)
        row = 8 + item * ((spec.widths[0] | 1) + 2 * sum(width | 1 for width in spec.widths[1:]))
        for held in (2 + buffers, 2):
            fixed = HEADER_BYTES + held * self.size * item
            fit = min((limit - fixed) // row, TILE_ROWS) // 4 * 4
            if fit >= min(batch_rows, 32):
                tiles = -(-batch_rows // fit)
                tile = min(4 * -(-batch_rows // (4 * tiles)), fit)
                return Layout(tile, held > 2, fixed + tile * row)
        return None


def _row_flop(spec: NetworkSpec) -> float:
    """Count the operations of training on one row: forward, weight gradients, and all input gradients but the first."""
    products = [a * b for a, b in zip(spec.widths, spec.widths[1:], strict=False)]
    return 2.0 * (3 * sum(products) - products[0])


def _numbers(rule: UpdateRule) -> tuple[Any, ...]:
    """A rule as the kernel takes it."""
    adam = rule.name == "adam"
    kind = 2 if adam else 1 if rule.momentum else 0
    flag = rule.epsilon_hat if adam else rule.nesterov
    return kind, rule.beta1, rule.beta2, rule.epsilon, rule.weight_decay, rule.momentum, flag
