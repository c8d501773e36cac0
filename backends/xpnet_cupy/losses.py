"""Losses without gradients that are recorded: a block of rows of a number that has come before is one replay.

As a batch of a training, a recording reads on the device where the data lie, so that it serves any data. It has a clock
and sums of its own: those of a training under way stay as they are.
"""

from typing import Any

from xpnet.backend import NetworkSpec
from xpnet_cupy import launches
from xpnet_cupy.forward import block_rows, layers_of, through_layers
from xpnet_cupy.launcher import Launch, Launcher
from xpnet_cupy.launches import Batch, Penalty, Totals
from xpnet_cupy.memory import Data, EpochMemory, NetworkMemory
from xpnet_cupy.replay import ByRows


class Losses(ByRows):
    """Those of one lane."""

    def __init__(self, spec: NetworkSpec, launcher: Launcher, network: NetworkMemory, recorded: bool) -> None:
        self.spec, self.network, self.epoch = spec, network, EpochMemory(launcher)
        super().__init__(launcher, recorded)

    def mean(self, data: Data, count: int) -> tuple[float, float]:
        """The mean loss of ``count`` rows without the penalty, and the penalty. Waits for the device.

        data : of the rows of its order, or of all where there is none
        """
        size, squares = block_rows(self.spec, count), self.epoch.squares
        self.reserve(size)
        sums = Totals(self.row_loss[:size], squares)
        for start in range(0, count, size or 1):
            block = data.block(slice(start, min(start + size, count)))
            repeated = self.of_rows(min(size, count - start), data.indices is not None)
            self._begin(block, sums if not start else Totals(self.row_loss[:0], squares[:0]))
            repeated.run(1)
        return self._sums(data, sums, count) if count else (0.0, 0.0)

    def _begin(self, block: Data, cleared: Totals) -> None:
        """Set the clock to the first row of a block."""
        epoch = self.epoch
        arrays = (epoch.clock, epoch.rates, epoch.data, tuple(block), cleared)
        launches.begin(self.launcher, *arrays, learning_rate=0.0, first_row=0)()

    def _sums(self, data: Data, sums: Totals, count: int) -> tuple[float, float]:
        spec, launcher, network, epoch = self.spec, self.launcher, self.network, self.epoch
        if spec.l2:
            penalty = Penalty(network.bounds, 0, True, None, 1, epoch.squares)
            launches.l2_penalty(launcher, network.params.flat, None, penalty)()
        launches.finish(launcher, sums, data.weight_in_order(), count, epoch.rates, epoch.results)()
        loss, square, total, _ = launcher.begin_read(epoch.results)()
        if not total:
            return 0.0, 0.0
        return float(loss / total), float(spec.l2 / 2 * square / (total if spec.l2_over_batch else 1))

    def allocate(self, rows: int) -> None:
        """Rows, what each layer gives, and their losses."""
        spec, xp = self.spec, self.launcher.xp
        self.x: Any = xp.empty((rows, spec.widths[0]), dtype=spec.dtype)
        self.outputs: list[Any] = [xp.empty((rows, width), dtype=spec.dtype) for width in spec.widths[1:]]
        self.row_loss: Any = xp.empty(rows, dtype=xp.float64)

    def launches(self, rows: int, indices: bool) -> list[Launch]:
        """List the launches that gather rows, take them forward, and add their losses."""
        spec, launcher, epoch = self.spec, self.launcher, self.epoch
        x, outputs = self.x[:rows], [out[:rows] for out in self.outputs]
        batch = Batch(indices, data=epoch.data, clock=epoch.clock)
        return [
            launches.next_batch(launcher, spec.rule, epoch.data, epoch.clock, epoch.rates, x),
            *through_layers(launcher, layers_of(spec, self.network.params, "identity"), x, outputs),
            launches.loss(
                launcher, spec.loss, outputs[-1], batch, None, self.row_loss[:rows], spec.output_numbers
            ),
        ]
