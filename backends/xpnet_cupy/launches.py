"""Each kernel with its grid: what the plan and the operations call to have it prepared.

Grids are capped, since the kernels' loops step by the grid: a thread that takes a few items in turn costs nothing, and
grid dimensions have limits.
"""

from typing import NamedTuple

from xpnet.backend import UpdateRule
from xpnet.ops import Array
from xpnet_cupy.launcher import Grid, Launch, Launcher

BLOCK_COLUMNS = 512  # from so many columns on a row is shared by a block, below by a warp
ROW_THREADS = 512  # of a block that shares a row, at most; each takes four items a turn
FLAT_BLOCKS = 2048  # of 256 threads: every multiprocessor of today's cards is full
SUM_BLOCKS = 256  # that sum columns: about two for every multiprocessor
PENALTY_BLOCKS = 256  # that add up the squares of weights, at most


class Batch(NamedTuple):
    """Which rows of the data a batch is made of: row i is row ``order[cursor + i]``, or row i where there is no order.

    weight : (data rows,) or None; total_weight : (1,), the sum of the batch's weights, or None without weights
    order : (data rows,) int32 or None; cursor : (1,) int32 or None for 0
    """

    weight: Array | None = None
    total_weight: Array | None = None
    order: Array | None = None
    cursor: Array | None = None


def bias_activation(launcher: Launcher, activation: str, x: Array, bias: Array | None, out: Array) -> Launch:
    """out = activation(x + bias); x, out (rows, cols), may be the same; bias (cols,) or None."""
    rows, cols = x.shape
    return launcher.prepare(f"bias_{activation}", *_tiles(rows, cols), x, bias, out, rows, cols)


def backward(launcher: Launcher, activation: str, d_out: Array, out: Array, d_x: Array) -> Launch:
    """d_x from d_out and out = activation(x); any shape, the same."""
    size = d_out.size
    return launcher.prepare(f"{activation}_backward", *_flat(size), d_out, out, d_x, size)


def backward_bias(
    launcher: Launcher, activation: str, d_out: Array, out: Array, d_x: Array | None, d_bias: Array
) -> list[Launch]:
    """d_x (rows, cols), may be d_out, and d_bias (cols,), the sums of its columns."""
    rows, cols = d_out.shape
    chunks, chunk = _chunks(rows, cols)
    sums = d_bias if chunks == 1 else launcher.xp.empty((chunks, cols), dtype=launcher.dtype)
    place, block = (_ceil(cols, 32), chunks), (32, 8)
    if activation == "identity":
        first = launcher.prepare("column_sum", place, block, d_out, sums, rows, cols, chunk)
    else:
        first = launcher.prepare(f"{activation}_backward_bias", place, block, d_out, out, d_x, sums, rows, cols, chunk)
    if chunks == 1:
        return [first]
    return [first, launcher.prepare("column_sum", (place[0], 1), block, sums, d_bias, chunks, cols, chunks)]


def dropout(launcher: Launcher, x: Array, out: Array, clock: Array, *, seed: int, layer: int, rate: float) -> Launch:
    """out = x keep / (1 - rate), with the mask of ``xpnet.steps.masks`` for this seed, layer and number of updates.

    x, out : any shape, the same, may be one array; clock : (2,) int32, the updates made first
    """
    keys = [_signed(seed % 2**64), _signed(seed >> 64)]
    return launcher.prepare("dropout", *_flat(_ceil(x.size, 4)), x, out, clock, *keys, layer, rate, x.size)


def softmax(launcher: Launcher, x: Array, out: Array, *, logarithm: bool = False) -> Launch:
    """The softmax of each row, or its logarithm; x, out (rows, cols), not the same."""
    rows, cols = x.shape
    sharing, grid, block = _row_groups(rows, cols)
    name = f"log_softmax_{sharing}" if logarithm else f"softmax_{sharing}"
    return launcher.prepare(name, grid, block, x, out, rows, cols)


def loss(
    launcher: Launcher, name: str, outputs: Array, labels: Array, batch: Batch, d_outputs: Array, row_loss: Array
) -> Launch:
    """The gradient of a loss; each row's weighted loss is added to ``row_loss``.

    name : of the loss in ``xpnet.ops``
    outputs, d_outputs : (rows, cols)
    labels : (data rows,) int64 class indices, or (data rows, cols)
    row_loss : (rows,) float64
    """
    rows, cols = outputs.shape
    sharing, grid, block = _row_groups(rows, cols)
    if name == "softmax_cross_entropy":
        name = f"cross_entropy_{'indices' if labels.ndim == 1 else 'shares'}_{sharing}"
    else:
        grid, block = _warps(rows)
    return launcher.prepare(name, grid, block, outputs, labels, *batch, d_outputs, row_loss, rows, cols)


def gather(launcher: Launcher, x: Array, order: Array, cursor: Array | None, out: Array) -> Launch:
    """out[i] = x[order[cursor + i]]; x (data rows, cols), out (rows, cols)."""
    rows, cols = out.shape
    return launcher.prepare("gather", *_tiles(rows, cols), x, order, cursor, out, rows, cols)


def batch_weight(launcher: Launcher, batch: Batch, rows: int) -> Launch:
    """total_weight = the sum of the weights of the batch's rows."""
    return launcher.prepare(
        "batch_weight", (1,), (512,), batch.weight, batch.order, batch.cursor, batch.total_weight, rows
    )


def l2_penalty(
    launcher: Launcher,
    param: Array,
    grad: Array,
    bounds: Array,
    l2: float,
    over_batch: bool,
    total_weight: Array | None,
    rows: int,
    squares: Array,
) -> Launch:
    """Adds lambda W to the gradients of the weights and each block's part of the batch's weight x sum W^2 to ``squares``.

    param, grad : (size,), flat; bounds : (layers, 2) int64, where each weight matrix begins and ends
    squares : (PENALTY_BLOCKS,) float64
    """
    blocks = min(_ceil(param.size, 1024), PENALTY_BLOCKS)
    arguments = (param, grad, bounds, bounds.shape[0], l2, over_batch, total_weight, rows, squares)
    return launcher.prepare("l2_penalty", (blocks,), (256,), *arguments)


def begin(
    launcher: Launcher, clock: Array, rates: Array, learning_rate: float, row_loss: Array, squares: Array
) -> Launch:
    """Before the first batch: the cursor turned back, the learning rate set, losses and squares cleared."""
    arguments = (clock, rates, learning_rate, row_loss, row_loss.size, squares, squares.size)
    return launcher.prepare("begin", *_flat(max(row_loss.size, squares.size)), *arguments)


def finish(
    launcher: Launcher, row_loss: Array, squares: Array, weight: Array | None, count: int, rates: Array, results: Array
) -> Launch:
    """results (4,) float64: the sums of losses, squares and row weights, and whether a parameter has become NaN.

    weight : (count,), or None for 1 each
    """
    arguments = (row_loss, row_loss.size, squares, squares.size, weight, count, rates, results)
    return launcher.prepare("finish", (1,), (512,), *arguments)


def tick(launcher: Launcher, rule: UpdateRule, clock: Array, rates: Array, rows: int) -> Launch:
    """Counts an update and ``rows`` rows, and computes what depends on the number of the update.

    clock : (2,) int32: updates made, first row of the batch; rates : (5,) float64, the learning rate first
    """
    numbers = (rule.beta1, rule.beta2, rule.weight_decay, rule.epsilon_hat)
    return launcher.prepare("tick", (1,), (1,), clock, rates, *numbers, rows)


def update(
    launcher: Launcher, rule: UpdateRule, param: Array, grad: Array, buffers: list[Array], rates: Array
) -> Launch:
    """One update in place by ``rule``; param, grad and every buffer (size,) or any shape, the same."""
    size = param.size
    grid, block = _flat(size)
    arrays = (param, grad, *buffers, rates)
    if rule.name == "adam":
        return launcher.prepare("adam", grid, block, *arrays, rule.beta1, rule.beta2, rule.epsilon, size)
    if buffers:
        return launcher.prepare("momentum", grid, block, *arrays, rule.momentum, rule.nesterov, size)
    return launcher.prepare("gradient_descent", grid, block, *arrays, size)


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _signed(word: int) -> int:
    """The same 64 bits as a signed number, which is how a kernel's ``long`` is passed."""
    return word - 2**64 if word >= 2**63 else word


def _flat(size: int) -> tuple[Grid, Grid]:
    return (min(_ceil(size, 256), FLAT_BLOCKS),), (256,)


def _tiles(rows: int, cols: int) -> tuple[Grid, Grid]:
    """Blocks of 32 columns and 8 rows; of 256 columns where there is one row."""
    block = (256, 1) if rows == 1 else (32, 8)
    return (min(_ceil(cols, block[0]), FLAT_BLOCKS), min(_ceil(rows, block[1]), FLAT_BLOCKS)), block


def _warps(rows: int) -> tuple[Grid, Grid]:
    return (min(_ceil(rows, 4), 4 * FLAT_BLOCKS),), (32, 4)


def _row_groups(rows: int, cols: int) -> tuple[str, Grid, Grid]:
    """Who shares a row, with grid and block."""
    if cols < BLOCK_COLUMNS:
        return ("warp", *_warps(rows))
    threads = min(32 * _ceil(cols, 4 * 32), ROW_THREADS)
    return "block", (min(rows, 4 * FLAT_BLOCKS),), (threads,)


def _chunks(rows: int, cols: int) -> tuple[int, int]:
    """Into how many chunks of how many rows a sum over rows is cut: enough blocks, yet no chunk below 256 rows."""
    chunks = max(1, min(SUM_BLOCKS // max(1, _ceil(cols, 32)), rows // 256))
    return chunks, max(1, _ceil(rows, chunks))
