"""Each kernel with its grid: what the plan and the operations call to have it prepared, in the
order in which a step launches it.

    begin                       the arguments of an epoch; the sums are cleared
    next_batch, batch_weight    the clock goes on; rows, and the weight of the batch
    a product for each layer    with bias and ReLU, or bias_activation; members: member_layer;
                                dropout
    loss                        of each row, and its gradient with respect to the outputs
    two products for each layer with bias gradients, or backward_bias; members: member_backward,
                                member_sums, input_scale_gradient
    l2_penalty, gradient_norm, clip, update
                                the parameters; an update alone where nothing is clipped
    finish                      the sums go to the host

A prediction ends by softmax, if its loss has that, and put.

Grids are capped, since the kernels' loops step by the grid: a thread that takes a few items in turn
costs nothing, and grid dimensions have limits.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from xpnet.backend import NetworkSpec, UpdateRule
from xpnet.ops import Array
from xpnet_cupy.cublaslt import Launch
from xpnet_cupy.launcher import UPDATE_BLOCKS, Grid, Launcher, update_kernel, update_numbers
from xpnet_cupy.memory import EpochMemory

BLOCK_COLUMNS = 257
"""Number of columns from which a block shares a row; below, a warp does, which keeps 8 items a
lane.
"""

ROW_THREADS = 512
"""Maximum number of threads of a block that shares a row."""

FLAT_BLOCKS = 2048
"""Maximum number of blocks of 256 threads: they fill every multiprocessor of today's cards."""

SUM_BLOCKS = 256
"""Number of blocks that sum columns: about two for every multiprocessor."""

PACK_BYTES = 16
"""Bytes that a thread loads at once."""

FACTORS = ("", "adam", "nadam")
"""The updates with factors that are common to all items, in the order of kernels.cu; "" for others.
"""


# --- What launches are told


class LossBatch(NamedTuple):
    """Holds the labels and weights of a loss's rows.

    indices : whether labels are class indices
    labels : (rows,) int64 class indices, or (rows, cols)
    weight : (rows,) or None, the weights of the rows in memory order
    data, clock, rates : of :class:`~xpnet_cupy.memory.EpochMemory`, in place of these two: the
        clock's batch
    total_weight : (1,), the sum of the batch's weights, or None for its number of rows
    members : whose rows lie one member after the other
    moves : whether the next batch begins after these rows, since no update follows
    """

    indices: bool
    labels: Array | None = None
    weight: Array | None = None
    data: Array | None = None
    clock: Array | None = None
    rates: Array | None = None
    total_weight: Array | None = None
    members: int = 1
    moves: bool = False


class Penalty(NamedTuple):
    """The penalty l2 / 2 sum W^2 over all weights, as kernels take it.

    bounds : (layers, 2) int64, where each weight begins and ends in the flat buffer, or None for no
        penalty
    layers : number of weights
    l2 : strength of the penalty
    over_batch : whether the penalty is divided by the weight of the batch
    total_weight : (1,), the weight of the batch, or None for its number of rows
    squares : (UPDATE_BLOCKS,) float64, to which each block adds its part of the batch's weight x
        sum W^2
    """

    bounds: Array | None = None
    layers: int = 0
    l2: float = 0.0
    over_batch: bool = False
    total_weight: Array | None = None
    squares: Array | None = None


NO_PENALTY = Penalty()


class MemberLayer(NamedTuple):
    """A hidden layer of members, or their last one, from its product.

    activation : its name
    product, out : (members rows, cols), may be one array where no gradient follows
    bias : (members, cols), or (cols,) where the members share it
    scale : of the product, (members, cols), or None
    next_scale : of the inputs of the next layer, (members, cols), or None
    """

    activation: str
    product: Array
    out: Array
    bias: Array
    scale: Array | None = None
    next_scale: Array | None = None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Return rows, members and cols; a shared bias makes one member of all rows."""
        rows, cols = self.product.shape
        members = self.bias.shape[0] if self.bias.ndim == 2 else 1
        return rows // members, members, cols

    @property
    def arguments(self) -> tuple[Any, ...]:
        """Return what its kernels take first."""
        return (self.product, self.scale, self.bias, self.next_scale, self.out, *self.sizes)


# --- Before the first batch, and after the last


def begin(launcher: Launcher, epoch: EpochMemory, row_loss: Array) -> Launch:
    """Before the first batch: take over the arguments of the epoch, go back to its first row, and
    clear the sums.
    """
    grid = _flat(max(1, row_loss.size, epoch.squares.size))
    sums = (row_loss, row_loss.size, epoch.squares, epoch.squares.size)
    arrays = (epoch.arguments, epoch.clock, epoch.rates, epoch.data, epoch.total_weight)
    return launcher.prepare("begin", *grid, *arrays, *sums)


def finish(launcher: Launcher, epoch: EpochMemory, row_loss: Array) -> Launch:
    """Send the sums of losses, squares and weights to the host, and whether a parameter is not
    finite.
    """
    sums = (row_loss, row_loss.size, epoch.squares, epoch.squares.size)
    return launcher.prepare("finish", (1,), (512,), *sums, epoch.rates, epoch.results)


# --- The rows of a batch


def next_batch(
    launcher: Launcher,
    rule: UpdateRule,
    epoch: EpochMemory,
    out: Array | None,
    *,
    members: int = 1,
    scale: Array | None = None,
) -> Launch:
    """Advance the clock to the next batch; gather its rows into out (members rows, cols), unless
    that is None.

    scale : (members, cols), by which the rows of each member are scaled, or None
    """
    rows, cols = (1, 1) if out is None else out.shape
    factors = FACTORS.index(rule.name if rule.name in FACTORS else "")
    numbers = (factors, rule.beta1, rule.beta2, rule.weight_decay, rule.epsilon_hat)
    grid, block = _packed_tiles(launcher, rows, cols)
    sizes = (rows // members, members, cols)
    arguments = (epoch.data, epoch.clock, epoch.rates, *numbers, scale, out, *sizes)
    return launcher.prepare("next_batch", grid, block, *arguments)


def batch_weight(launcher: Launcher, epoch: EpochMemory, rows: int, members: int) -> Launch:
    """Sum the weights of a batch, and compute by what its losses are scaled."""
    arrays = (epoch.data, epoch.clock, epoch.rates, epoch.total_weight)
    return launcher.prepare("batch_weight", (1,), (512,), *arrays, rows, members)


# --- Layers, beside their products


def bias_activation(
    launcher: Launcher, activation: str, x: Array, bias: Array | None, out: Array
) -> Launch:
    """out = activation(x + bias); x, out (rows, cols), may be the same; bias (cols,) or None."""
    rows, cols = x.shape
    return launcher.prepare(
        f"bias_{activation}", *_packed_tiles(launcher, rows, cols), x, bias, out, rows, cols
    )


def member_layer(launcher: Launcher, layer: MemberLayer, scaled: Array | None = None) -> Launch:
    """out = activation(product scale + bias), and scaled = out next_scale where the next layer has
    scales.
    """
    grid, block = _flat(layer.product.size)
    return launcher.prepare(f"member_{layer.activation}", grid, block, *layer.arguments, scaled)


def dropout(
    launcher: Launcher, spec: NetworkSpec, layer: int, x: Array, out: Array, epoch: EpochMemory
) -> Launch:
    """out = x keep / (1 - rate), with the masks of ``xpnet.steps.masks`` for this seed, layer,
    update and places.

    x, out : (members rows, cols), may be one array
    """
    keys = [_signed(spec.seed % 2**64), _signed(spec.seed >> 64)]
    rows, cols = x.shape[0] // spec.members, x.shape[1]
    numbers = (*keys, layer, len(spec.activations), spec.dropout[layer], rows, spec.members, cols)
    return launcher.prepare(
        "dropout", *_flat(_ceil(x.size, 4)), x, out, epoch.data, epoch.clock, *numbers
    )


# --- Losses and predictions


def loss(
    launcher: Launcher,
    name: str,
    outputs: Array,
    batch: LossBatch,
    d_outputs: Array | None,
    row_loss: Array,
    numbers: Sequence[float] = (),
) -> Launch:
    """The gradient of a loss, where ``d_outputs`` is given; each row's weighted loss is added to
    ``row_loss``.

    name : of the loss in ``xpnet.ops``
    outputs, d_outputs : (members rows, cols)
    row_loss : (members rows,) float64
    numbers : what the loss takes for each output, if it takes any
    """
    rows, cols = outputs.shape
    sharing, grid, block = _row_groups(rows, cols)
    if name == "softmax_cross_entropy":
        name = f"cross_entropy_{'indices' if batch.indices else 'shares'}_{sharing}"
    else:
        grid, block = _warps(rows)
        name = "gamma_deviance" if name == "gamma" else name
    output_numbers = launcher.xp.asarray(numbers, dtype=launcher.dtype) if len(numbers) else None
    return launcher.prepare(
        name,
        grid,
        block,
        outputs,
        batch.labels,
        batch.weight,
        batch.data,
        batch.clock,
        batch.rates,
        batch.total_weight,
        d_outputs,
        row_loss,
        rows // batch.members,
        batch.members,
        cols,
        output_numbers,
        batch.moves,
    )


def softmax(launcher: Launcher, x: Array, out: Array) -> Launch:
    """Compute the softmax of each row; x, out (rows, cols), not the same."""
    rows, cols = x.shape
    sharing, grid, block = _row_groups(rows, cols)
    return launcher.prepare(f"softmax_{sharing}", grid, block, x, out, rows, cols)


def put(launcher: Launcher, epoch: EpochMemory, outputs: Array, members: int) -> Launch:
    """Copy the outputs of a prediction (members rows, cols), their mean over the members, to their
    rows of the result.
    """
    rows, cols = outputs.shape[0] // members, outputs.shape[1]
    return launcher.prepare(
        "put", *_flat(rows * cols), epoch.data, epoch.clock, outputs, rows, members, cols
    )


# --- Layers backward, beside their products


def backward_bias(
    launcher: Launcher, activation: str, d_out: Array, kept: Array, d_x: Array | None, d_bias: Array
) -> list[Launch]:
    """d_x (rows, cols), may be d_out, and d_bias (cols,), the sums of its columns."""
    rows, cols = d_out.shape
    chunks, chunk_rows = _chunks(rows, cols)
    sums = d_bias if chunks == 1 else launcher.xp.empty((chunks, cols), dtype=launcher.dtype)
    grid, block = (_ceil(cols, 32), chunks), (32, 8)
    if activation == "identity":
        first = launcher.prepare("column_sum", grid, block, d_out, sums, rows, cols, chunk_rows)
    else:
        arrays = (d_out, kept, d_x, sums)
        name = f"{activation}_backward_bias"
        first = launcher.prepare(name, grid, block, *arrays, rows, cols, chunk_rows)
    if chunks == 1:
        return [first]
    second = (sums, d_bias, chunks, cols, chunks)
    return [first, launcher.prepare("column_sum", (grid[0], 1), block, *second)]


def member_backward(
    launcher: Launcher,
    layer: MemberLayer,
    d: Array,
    d_bias: Array,
    d_scale: Array | None,
    d_next_scale: Array | None,
) -> Launch:
    """Turn d, the gradient with respect to the next layer's inputs, into that of the product; the
    gradients of bias and scales are its sums.
    """
    grid, block = _member_columns(*layer.sizes)
    return launcher.prepare(
        f"member_{layer.activation}_backward",
        grid,
        block,
        *layer.arguments,
        d,
        d_bias,
        d_scale,
        d_next_scale,
    )


def member_sums(launcher: Launcher, d: Array, d_bias: Array) -> Launch:
    """d_bias (members, cols), the sums of the rows of each member in d (members rows, cols)."""
    members, cols = d_bias.shape
    rows = d.shape[0] // members
    grid, block = _member_columns(rows, members, cols)
    return launcher.prepare("column_sum", grid, block, d, d_bias, d.shape[0], cols, rows)


def input_scale_gradient(
    launcher: Launcher, epoch: EpochMemory, d: Array, d_scale: Array
) -> Launch:
    """d_scale (members, cols), the gradient of the scales of the inputs, from d (members rows,
    cols), that of the scaled inputs.
    """
    members, cols = d_scale.shape
    sizes = d.shape[0] // members, members, cols
    grid, block = _member_columns(*sizes)
    arguments = (d, epoch.data, epoch.clock, d_scale, *sizes)
    return launcher.prepare("input_scale_gradient", grid, block, *arguments)


# --- The update


def l2_penalty(
    launcher: Launcher,
    param: Array,
    grad: Array | None,
    penalty: Penalty,
    *,
    rows: int,
    rates: Array | None = None,
) -> Launch:
    """Add l2 W to the gradients of the weights, where there are gradients, and the squares to those
    of the penalty.

    param, grad : (size,), flat
    rates : of :class:`~xpnet_cupy.memory.EpochMemory`; None for rows that are the only batch, whose
        squares are not multiplied by its weight
    """
    *numbers, squares = penalty
    return launcher.prepare(
        "l2_penalty", _update_grid(param.size), (256,), param, grad, *numbers, rates, rows, squares
    )


def gradient_norm(launcher: Launcher, param: Array, grad: Array, epoch: EpochMemory) -> Launch:
    """Sum parts of the squared norm of all gradients, and look for numbers that are not finite."""
    arrays = (param, grad, param.size, epoch.norms, epoch.rates)
    return launcher.prepare("gradient_norm", _update_grid(param.size), (256,), *arrays)


def clip(launcher: Launcher, size: int, epoch: EpochMemory) -> Launch:
    """Compute the scale of gradients of ``size`` items from their norm."""
    return launcher.prepare("clip", (1,), (512,), epoch.norms, *_update_grid(size), epoch.rates)


def update(
    launcher: Launcher,
    rule: UpdateRule,
    arrays: list[Array],
    rates: Array,
    *,
    penalty: Penalty = NO_PENALTY,
    clock: Array | None = None,
    rows: int = 0,
) -> Launch:
    """Make one update in place by ``rule``.

    arrays : the parameter, its gradient and the rule's buffers, all of one shape
    penalty : its gradient is added to grad before the update
    clock : goes on by an update and ``rows`` rows; None to leave it
    """
    size, buffers = arrays[0].size, arrays[2:]
    grid = (max(1, min(_ceil(size, 256 * _pack(launcher)), UPDATE_BLOCKS)),)
    ends = (*penalty, rates, clock, rows, size)
    name = update_kernel(rule.name, has_buffers=bool(buffers))
    numbers = [getattr(rule, number) for number in update_numbers(rule.name)] if buffers else []
    return launcher.prepare(name, grid, (256,), *arrays, *numbers, *ends)


# --- Grids


def _ceil(a: int, b: int) -> int:
    """Return a / b, rounded up."""
    return -(-a // b)


def _signed(word: int) -> int:
    """Return a word of 64 bits as a signed number, as a kernel's ``long`` is passed."""
    return word - 2**64 if word >= 2**63 else word


def _update_grid(size: int) -> Grid:
    """Return the blocks of 256 threads of a sum over parameters, four items a thread or more."""
    return (max(1, min(_ceil(size, 1024), UPDATE_BLOCKS)),)


def _flat(size: int) -> tuple[Grid, Grid]:
    """Return grid and block for a flat array, an item a thread or more."""
    return (min(_ceil(size, 256), FLAT_BLOCKS),), (256,)


def _packed_tiles(launcher: Launcher, rows: int, cols: int) -> tuple[Grid, Grid]:
    """Blocks of 32 columns and 8 rows; of 256 columns where there is one row.

    Columns are taken a pack at a time where they divide into packs.
    """
    pack, block = _pack(launcher), (256, 1) if rows == 1 else (32, 8)
    packs = cols if cols % pack else cols // pack
    return (
        min(_ceil(packs, block[0]), FLAT_BLOCKS),
        min(_ceil(rows, block[1]), FLAT_BLOCKS),
    ), block


def _pack(launcher: Launcher) -> int:
    """Return how many items a thread loads at once."""
    return PACK_BYTES // (8 if launcher.dtype == "float64" else 4)


def _warps(rows: int) -> tuple[Grid, Grid]:
    """Return grid and block for rows that have a warp each, four warps a block."""
    return (min(_ceil(rows, 4), 4 * FLAT_BLOCKS),), (32, 4)


def _row_groups(rows: int, cols: int) -> tuple[str, Grid, Grid]:
    """Return how many threads share a row, with grid and block."""
    if cols < BLOCK_COLUMNS:
        return ("warp", *_warps(rows))
    threads = min(32 * _ceil(cols, 4 * 32), ROW_THREADS)  # four items each, or more
    return "block", (min(rows, 4 * FLAT_BLOCKS),), (threads,)


def _member_columns(rows: int, members: int, cols: int) -> tuple[Grid, Grid]:
    """Blocks that share the rows of 32 columns of a member."""
    return (_ceil(cols, 32) if rows else 0, members), (32, 8)


def _chunks(rows: int, cols: int) -> tuple[int, int]:
    """Return the number of chunks that a sum over rows is cut into, and the rows of a chunk: enough
    blocks, yet no chunk below 256 rows.
    """
    chunks = max(1, min(SUM_BLOCKS // max(1, _ceil(cols, 32)), rows // 256))
    return chunks, max(1, _ceil(rows, chunks))
