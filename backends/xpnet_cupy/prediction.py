"""Predictions that are recorded: rows of a number that has come before go forward as one replay.

A recording sees the same addresses each time. Rows are therefore copied to where it reads them, and its outputs from
where it writes them.
"""

from typing import Any

from xpnet.backend import NetworkSpec, Parameters
from xpnet.ops import Array
from xpnet_cupy.forward import block_rows, prediction_launches, prediction_outputs
from xpnet_cupy.launcher import Launch, Launcher
from xpnet_cupy.replay import ByRows


class Predictions(ByRows):
    """Those of one lane."""

    def __init__(self, spec: NetworkSpec, launcher: Launcher, params: Parameters) -> None:
        self.spec, self.params = spec, params
        super().__init__(launcher)

    def predict(self, X: Array, out: Array) -> None:
        """Outputs after the output activation: X (rows, in) of any dtype -> out (rows, out)."""
        size = block_rows(self.spec, X.shape[0])
        self.reserve(size)
        for start in range(0, X.shape[0], size or 1):
            block = X[start : start + size, ...]
            repeated = self.of_rows(len(block))
            self.x[: len(block)] = block
            repeated.run(1)
            out[start : start + size] = self.result[: len(block)]

    def allocate(self, rows: int) -> None:
        """Rows, what layers give on the way, and the results."""
        spec, xp = self.spec, self.launcher.xp
        self.x: Any = xp.empty((rows, spec.widths[0]), dtype=spec.dtype)
        self.outputs = prediction_outputs(spec, self.launcher, rows)
        self.result: Any = xp.empty((rows, spec.widths[-1]), dtype=spec.dtype)

    def launches(self, rows: int, indices: bool) -> list[Launch]:
        """Forward; no labels are read."""
        outputs = [out[:rows] for out in self.outputs]
        return prediction_launches(self.spec, self.launcher, self.params, self.x[:rows], outputs, self.result[:rows])
