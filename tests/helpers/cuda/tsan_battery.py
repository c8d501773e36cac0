"""Runs every kernel under ThreadSanitizer, then some without one barrier each: ``tsan_battery
LIBRARY``.

ThreadSanitizer writes its reports to standard error, and this script where each part begins.
"""

import sys
from dataclasses import replace
from typing import Any

import numpy as np
from xpnet_cupy.launcher import ACTIVATIONS, KERNELS, LOSSES

from helpers.cuda.checks import assert_row_losses, backward_bias, draw, run
from helpers.cuda.host import HostLauncher
from helpers.cuda.rig import HostKernels
from helpers.cuda.steps import (
    ROWS,
    RULES,
    assert_infers_in_blocks,
    assert_parts_agree,
    assert_weighted_epochs_agree,
    data,
    make,
    network,
)
from xpnet.backend import NetworkSpec
from xpnet.ops import UPDATES

BARRIERS = 5
THREADS = 128  # of a block at most, but for sums of columns: ThreadSanitizer tells 255 apart


def is_of_columns(name: str) -> bool:
    """Whether blocks of a kernel have (32, 8) threads, which sum columns."""
    is_backward = name.endswith(("backward_bias", "_backward"))
    return is_backward or name in ("column_sum", "input_scale_gradient")


class Capped(HostLauncher):
    """Blocks of fewer threads, where a kernel takes any number."""

    def kernel(self, name: str) -> Any:
        def launch(grid: Any, block: Any, arguments: tuple[Any, ...]) -> None:
            self.launched.append(name)
            if not is_of_columns(name):
                block = (
                    min(block[0], THREADS),
                    *(max(1, min(size, THREADS // block[0])) for size in block[1:]),
                )
            self.kernels.run(name, grid, block, arguments, reversed=self.reversed)

        return launch


def rows(launcher: HostLauncher) -> None:
    """Softmax and its loss, by warps and by blocks."""
    for cols in (33, 300):
        x, labels = draw((3, cols), "float64"), np.array([cols - 1, 1, 7])
        run(launcher, "softmax", x)
        for form in (labels, np.eye(cols)[labels]):
            assert_row_losses(launcher, x, form, "float64")


def columns(launcher: HostLauncher) -> None:
    """Sums of columns, in one chunk and in several."""
    d_out, out = draw((600, 33), "float64"), draw((601, 33), "float64")[1:]
    backward_bias(launcher, d_out, out)


def epoch_of_all_rows(spec: NetworkSpec, launcher: HostLauncher) -> None:
    """One epoch of one batch."""
    make(spec, launcher).epoch(*data(spec), learning_rate=0.1, batch_size=ROWS)


def members(launcher: HostLauncher) -> None:
    """The sums of a member's rows."""
    epoch_of_all_rows(network(widths=(7, 33, 4), members=2), launcher)


def every(launcher: HostLauncher) -> None:
    """Every kernel at least once, most in a step."""
    rows(launcher)
    columns(launcher)
    x = draw((5, 33), "float64")
    for name in sorted(ACTIVATIONS):
        if name != "identity":
            run(launcher, name, x)
        for count in (1, 2):
            settings: dict[str, Any] = {"activations": (name,), "loss": "squared_error"}
            spec = network(**settings, rule=RULES["momentum"], members=count)
            epoch_of_all_rows(spec, launcher)
    for loss in set(LOSSES) - {"softmax_cross_entropy", "squared_error"}:
        for count in (1, 2):
            spec = network(loss=loss, members=count)
            epoch_of_all_rows(spec, launcher)
            make(spec, launcher).forward(data(spec)[0])
    for update in set(UPDATES) - {"sgd", "adam"}:
        epoch_of_all_rows(network(rule=RULES[update]), launcher)
    assert_infers_in_blocks(launcher)
    spec = network(rule=RULES["adam"], l2=0.1, dropout=(0.5,), seed=3)
    assert_weighted_epochs_agree(spec, launcher, weighted=True, norm=0.2)
    assert_parts_agree(replace(spec, rule=RULES["sgd"]), launcher, placed=True)
    assert set(launcher.launched) == set(KERNELS), set(KERNELS) - set(launcher.launched)


def part(name: str) -> None:
    sys.stderr.write(f"== {name}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    kernels = HostKernels(sys.argv[1])
    launcher = Capped("float64", kernels=kernels)
    part("as it is")
    every(launcher)
    for barrier in range(BARRIERS):
        part(f"without barrier {barrier}")
        kernels.remove_barrier(barrier)
        for check in (rows, columns, members):
            try:
                check(launcher)
            except AssertionError:
                continue  # the numbers may be wrong, too
    part("done")
