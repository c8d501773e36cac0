"""Predictions and losses without gradients: blocks of rows of a number that has come before are replays.

As a batch of a training, a recording reads on the device where the data lie, so that it serves any data. It has a clock
and sums of its own: those of a training under way stay as they are.
"""

from typing import Any

import numpy

from xpnet.backend import NetworkSpec
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.ops import Array
from xpnet_cupy import launches
from xpnet_cupy.cublaslt import Launch
from xpnet_cupy.launcher import Launcher
from xpnet_cupy.launches import Batch
from xpnet_cupy.memory import BatchMemory, Data, EpochMemory, NetworkMemory
from xpnet_cupy.plan import Runs, Work, batches_of, forward_launches, layers_of

BLOCK_ROWS = 8192  # of a block, at the least
BLOCK_BYTES = 64 << 20  # of a block's rows and outputs: narrow networks take more rows, since a launch costs the same


class Inference:
    """Predictions and losses of one lane, with the memory that they share."""

    def __init__(self, spec: NetworkSpec, launcher: Launcher, network: NetworkMemory) -> None:
        self.spec, self.launcher, self.network, self.epoch = spec, launcher, network, EpochMemory(launcher)
        self._allocate(0)

    def predict(self, X: Array, out: Array) -> None:
        """Outputs after the output activation: X (rows, in) -> out (rows, out).

        Waits for what the lane was asked for before, not for these outputs: both are told where data lie at one place.
        """
        self._run(Data(X), len(X), out)

    def mean_loss(self, data: Data, count: int) -> tuple[float, float]:
        """The mean loss of ``count`` rows without the penalty, and the penalty. Waits for the device.

        data : of the rows of its order, or of all where there is none
        """
        if not count:
            return 0.0, 0.0
        self._run(data, count, None)
        loss, squares, total, _ = self.epoch.read()
        total = count if data.weight is None else total
        if not total:
            return 0.0, 0.0
        return loss / total, self.spec.l2 / 2 * squares / (total if self.spec.l2_over_batch else 1)

    def _run(self, data: Data, count: int, out: Array | None) -> None:
        size = block_rows(self.spec, count)
        if size > self.runs.memory.rows:  # what there was is let go before the larger one is asked for
            self._allocate(0)
            self._allocate(size)
        self.epoch.tell(data, out=out)
        kind = "prediction" if out is not None else "indices" if data.indices else "labels"
        keys = [((kind, rows, data.weight is not None), times) for rows, times in batches_of(count, size)]
        batches = [(self.runs.work(key, self._work), times) for key, times in keys]
        self.runs.run(self.runs.prepare(batches, finish=out is None))

    def _allocate(self, rows: int) -> None:
        """Memory for so many rows, and what runs in it; for none, what refers to that before is let go."""
        spec, launcher, network = self.spec, self.launcher, self.network
        self.probabilities: Any = launcher.xp.empty((rows, spec.widths[-1]), dtype=spec.dtype)
        squares = []
        if spec.l2:
            penalty = (network.bounds, spec.layers, 0.0, True, None, self.epoch.squares)  # the squares alone
            squares = [launches.l2_penalty(launcher, network.params.flat, None, penalty, rows=1)]
        memory = BatchMemory(spec, launcher, rows, trains=False)
        self.runs = Runs(launcher, self.epoch, memory, after=squares)

    def _work(self, key: tuple[str, int, bool]) -> Work:
        """The work on a block: of which kind, of how many rows, and whether they have weights."""
        kind, rows, weighted = key
        return Work(self._prediction(rows) if kind == "prediction" else self._loss(kind == "indices", rows, weighted))

    def _prediction(self, rows: int) -> list[Launch]:
        """Rows go forward, and outputs where they belong."""
        activation = OUTPUT_ACTIVATIONS[self.spec.loss]
        of_kernel = {"softmax": "identity", "exp": "exponential"}  # softmax is a kernel of its own
        found, outputs = self._forward(rows, of_kernel.get(activation, activation))
        if activation == "softmax":
            logits, outputs = outputs, self.probabilities[:rows]
            found.append(launches.softmax(self.launcher, logits, outputs))
        return [*found, launches.put(self.launcher, self.epoch, outputs)]

    def _loss(self, indices: bool, rows: int, weighted: bool) -> list[Launch]:
        """Rows go forward, and their losses are added to what there is."""
        epoch = self.epoch
        found, outputs = self._forward(rows, "identity")
        weigh = [launches.batch_weight(self.launcher, epoch, rows)] if weighted else []
        batch = Batch(indices, data=epoch.data, clock=epoch.clock, rates=epoch.rates)
        row_loss = self.runs.memory.row_loss[:rows]
        arguments = (self.spec.loss, outputs, batch, None, row_loss, self.spec.output_numbers)
        return [*found, *weigh, launches.loss(self.launcher, *arguments, moves=True)]

    def _forward(self, rows: int, output_activation: str) -> tuple[list[Launch], Array]:
        """Rows are gathered and go through all layers; the outputs of the last."""
        spec, memory = self.spec, self.runs.memory
        x = memory.x[:rows]
        found = [launches.next_batch(self.launcher, spec.rule, self.epoch, x)]
        activations, layers = (*spec.activations, output_activation), layers_of(spec, self.network.params)
        for activation, layer, outputs in zip(activations, layers, memory.outputs, strict=True):
            out = outputs[:rows]
            found += forward_launches(self.launcher, activation, x, *layer, out)
            x = out
        return found, x


def block_rows(spec: NetworkSpec, rows: int) -> int:
    """Return how many of ``rows`` rows go forward at a time."""
    return min(rows, max(BLOCK_ROWS, BLOCK_BYTES // (sum(spec.widths) * numpy.dtype(spec.dtype).itemsize)))
