"""Runs every kernel under ThreadSanitizer, then some without one barrier each: ``tsan_battery
LIBRARY``.

ThreadSanitizer writes its reports to standard error, and this script where each part begins.
"""

import ctypes
import sys
from dataclasses import replace
from typing import Any

import numpy as np
from xpnet_cupy import launches
from xpnet_cupy.launcher import ACTIVATIONS, KERNELS, LOSSES

from helpers.cuda.checks import (
    RULES,
    assert_agrees_by_rows,
    assert_infers_in_blocks,
    assert_parts_agree,
    assert_row_losses,
    data,
    draw,
    make,
    relu_backward_bias,
    run,
)
from helpers.cuda.host import HostLauncher, run_kernel
from xpnet.backend import NetworkSpec

BARRIERS = 3
THREADS = 128  # of a block at most, but for sums of columns: ThreadSanitizer tells 255 apart


class Capped(HostLauncher):
    """Blocks of fewer threads, where a kernel takes any number."""

    def kernel(self, name: str) -> Any:
        def launch(grid: Any, block: Any, arguments: tuple[Any, ...]) -> None:
            self.launched.append(name)
            if not name.endswith("backward_bias") and name != "column_sum":
                block = (
                    min(block[0], THREADS),
                    *(max(1, min(size, THREADS // block[0])) for size in block[1:]),
                )
            run_kernel(self.library, name, grid, block, arguments, reversed=self.reversed)

        return launch


def rows(launcher: HostLauncher) -> None:
    """Softmax and its loss, by warps and by blocks."""
    for cols in (33, 300):
        x, labels = draw((3, cols), "float64"), np.array([cols - 1, 1, 7])
        run(launcher, "softmax", x)
        run(launcher, "log_softmax", x)
        for form in (labels, np.eye(cols)[labels]):
            assert_row_losses(launcher, x, form, "float64")


def columns(launcher: HostLauncher) -> None:
    """Sums of columns, in one chunk and in several."""
    d_out, out = draw((600, 33), "float64"), draw((601, 33), "float64")[1:]
    relu_backward_bias(launcher, d_out, out)


def every(launcher: HostLauncher) -> None:
    """Every kernel at least once, most in a step."""
    rows(launcher)
    columns(launcher)
    x = draw((5, 33), "float64")
    for name in sorted(ACTIVATIONS - {"identity"}):
        run(launcher, name, x)
        run(launcher, f"{name}_backward", x, x)
        spec = NetworkSpec((7, 6, 4), (name,), rule=RULES["momentum"], loss="squared_error")  # type: ignore[arg-type]
        make(spec, launcher).epoch(*data(spec, "values"), learning_rate=0.1, batch_size=23)
    for loss in set(LOSSES) - {"softmax_cross_entropy", "squared_error"}:
        spec = NetworkSpec((7, 6, 4), ("relu",), loss=loss)  # type: ignore[arg-type]
        step = make(spec, launcher)
        step.epoch(*data(spec, "values"), learning_rate=0.1, batch_size=23)
        step.forward(data(spec, "values")[0])
    for update in ("rmsprop", "nadam", "lion"):
        spec = NetworkSpec((7, 6, 4), ("relu",), rule=RULES[update])
        make(spec, launcher).epoch(*data(spec, "indices"), learning_rate=0.1, batch_size=23)
    launches.copy_parameters(launcher, x, launcher.xp.empty(x.shape, "float64"))()
    assert_infers_in_blocks(launcher)
    spec = NetworkSpec((7, 6, 4), ("relu",), rule=RULES["adam"], l2=0.1, dropout=(0.5,), seed=3)
    assert_agrees_by_rows(spec, launcher, weighted=True, norm=0.2)
    assert_parts_agree(
        replace(spec, rule=RULES["sgd"]), launcher, *data(spec, "indices"), placed=True
    )
    assert set(launcher.launched) == set(KERNELS), set(KERNELS) - set(launcher.launched)


def part(name: str) -> None:
    sys.stderr.write(f"== {name}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    library = ctypes.CDLL(sys.argv[1])
    launcher = Capped(library, "float64")
    part("as it is")
    every(launcher)
    for barrier in range(BARRIERS):
        part(f"without barrier {barrier}")
        library.remove_barrier(barrier)
        for check in (rows, columns):
            try:
                check(launcher)
            except AssertionError:
                continue  # the numbers may be wrong, too
    part("done")
