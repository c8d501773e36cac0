"""Predictions that are recorded: rows of a number that has come before go forward as one replay.

A recording sees the same addresses each time. Rows are therefore copied to where it reads them, and its outputs from
where it writes them.
"""

from collections import OrderedDict
from typing import Any

from xpnet.backend import NetworkSpec, Parameters
from xpnet.ops import Array
from xpnet_cupy.forward import block_rows, prediction_launches, prediction_outputs
from xpnet_cupy.launcher import Launcher
from xpnet_cupy.replay import Repeated

KEPT_PREDICTIONS = 16  # numbers of rows; the one used longest ago goes first


class Predictions:
    """Those of one lane, so that nobody else writes to their memory, which serves all numbers of rows."""

    def __init__(self, spec: NetworkSpec, launcher: Launcher, params: Parameters) -> None:
        self.spec, self.launcher, self.params = spec, launcher, params
        self._recorded: OrderedDict[int, Repeated] = OrderedDict()
        self._make_room(0)

    def predict(self, X: Array, out: Array) -> None:
        """Outputs after the output activation: X (rows, in) of any dtype -> out (rows, out)."""
        size = block_rows(self.spec, X.shape[0])
        if size > self.x.shape[0]:
            self._make_room(size)
        for start in range(0, X.shape[0], size or 1):
            block = X[start : start + size, ...]
            repeated = self._of_rows(len(block))
            repeated.prepare(1)
            self.x[: len(block)] = block
            repeated.run(1)
            out[start : start + size] = self.result[: len(block)]

    def _make_room(self, rows: int) -> None:
        """Memory for so many rows; what there was is let go before, with the recordings that refer to it."""
        spec, xp = self.spec, self.launcher.xp
        self._recorded.clear()
        self.x: Any = None
        self.outputs: list[Any] = []
        self.result: Any = None
        self.x = xp.empty((rows, spec.widths[0]), dtype=spec.dtype)
        self.outputs = prediction_outputs(spec, self.launcher, rows)
        self.result = xp.empty((rows, spec.widths[-1]), dtype=spec.dtype)

    def _of_rows(self, rows: int) -> Repeated:
        if rows not in self._recorded:
            if len(self._recorded) == KEPT_PREDICTIONS:
                self._recorded.popitem(last=False)
            arrays = (self.x[:rows], [out[:rows] for out in self.outputs], self.result[:rows])
            calls = prediction_launches(self.spec, self.launcher, self.params, *arrays)
            self._recorded[rows] = Repeated(self.launcher, calls, calls, 1)
        self._recorded.move_to_end(rows)
        return self._recorded[rows]
