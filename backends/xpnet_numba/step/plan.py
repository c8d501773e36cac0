"""Plans for compiled code: the pieces of a batch.

A batch is cut into blocks of rows for phase 1, and slices of parameters for phase 2. The cut
depends on the network, the batch and the number of cores this process may use, never on the number
of threads, so that sums have the same order on any number of threads. BLAS's own threads are never
used.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain

from xpnet.backend import NetworkSpec
from xpnet_numba.step.job import LayerRecord, Slice

GRAIN = 1_200_000
"""Minimum work for a thread, in bytes of numbers to multiply. Sharing less takes longer than the
work.
"""

MAX_ROWS = 512
"""Rows that go forward at a time.

Activations of more rows do not fit the cache of a core; with fewer rows products are too short.
"""

BLOCK_GRADIENTS = 8
"""Blocks keep gradients of their own if this many times their size is at most the size of inputs
and deltas.

A gradient in parts is written, read and added up, and its products are shorter.
"""

FEATURES = 1
"""The first product is cut by features if a cut by rows moves at least this many times the bytes.
"""

BLOCKS_PER_CORE = 4
"""Maximum number of blocks with a gradient of their own, for each core. More would take more
memory.
"""

EVALUATED_ROWS = 256
"""Rows that are predicted or measured at a time. Outputs of more rows do not fit the cache of a
core.
"""

MEMBER_ROWS = 128
"""Rows of one member that are worked on at a time, as ``MAX_ROWS``: three arrays of each layer are
stored for them.
"""

MEMBER_BLOCKS_PER_CORE = 2
"""Blocks of members for each core, each of which keeps a gradient of the shared weights."""


@dataclass(frozen=True)
class Plan:
    """The pieces of a batch.

    cores : number of cores that it is made for, and maximum number of threads
    block_rows, blocks : rows of a piece of phase 1, and number of pieces
    round_rows : rows that a piece forwards at a time
    sparse : whether X is sparse
    block_gradients : whether each block keeps the gradient of all parameters from its own rows
    parts : slices of the first weight that are multiplied by their features of the whole batch; 0
        for none
    starts : for each core the slice with which it begins, followed by the number of slices
    """

    cores: int
    batch_rows: int
    block_rows: int
    round_rows: int
    blocks: int
    sparse: bool
    block_gradients: bool
    parts: int
    slices: list[Slice]
    starts: list[int]

    @cached_property
    def capacity_rows(self) -> int:
        """Number of rows in the buffers: the rows of a batch, or of a round for each core if blocks
        keep gradients.
        """
        return self.cores * self.round_rows if self.block_gradients else self.batch_rows

    @cached_property
    def workers(self) -> int:
        """Return the number of threads that have work: the maximum number of pieces in a phase."""
        pieces = Counter(piece.layer for piece in self.slices)
        return min(self.cores, max(self.blocks, *pieces.values()))


def make_plan(
    spec: NetworkSpec,
    layers: list[LayerRecord],
    batch_rows: int,
    cores: int,
    *,
    sparse: bool = False,
) -> Plan:
    """Cut batches of ``batch_rows`` rows, those of a sparse X or of a dense one, for ``cores``
    cores.
    """
    item = 4 if spec.dtype == "float32" else 8
    work = batch_rows * sum(layer.fan_in * layer.fan_out for layer in layers) * item
    workers = _workers(work, cores)
    rounds = -(-batch_rows // (workers * MAX_ROWS))
    round_rows = block_rows = -(-batch_rows // (workers * rounds))
    blocks = -(-batch_rows // round_rows)
    max_blocks = BLOCKS_PER_CORE * cores
    block_gradients = blocks > 1 and _keeps_block_gradients(
        spec, batch_rows, min(blocks, max_blocks), sparse=sparse
    )
    if block_gradients and blocks > max_blocks:
        block_rows = -(-blocks // max_blocks) * round_rows
        blocks = -(-batch_rows // block_rows)
    row_bytes = item * (blocks if block_gradients else batch_rows)
    slices = [
        piece
        for index, layer in enumerate(layers)
        for piece in _slices(index, layer, row_bytes, cores)
    ]
    parts = 0 if block_gradients or sparse else _parts(spec, batch_rows, slices)
    ordered, starts = _share_out(slices, cores)
    return Plan(
        cores,
        batch_rows,
        block_rows,
        round_rows,
        blocks,
        sparse,
        block_gradients,
        parts,
        ordered,
        starts,
    )


def make_member_plan(
    spec: NetworkSpec, layers: list[LayerRecord], batch_rows: int, cores: int, *, sparse: bool
) -> Plan:
    """Cut the work for members: phase 1 into blocks of members, each of which keeps a gradient of
    the shared parameters.
    """
    item = 4 if spec.dtype == "float32" else 8
    weights = sum(layer.fan_in * layer.fan_out for layer in layers)
    workers = _workers(spec.members * batch_rows * weights * item, cores)
    blocks = min(spec.members, MEMBER_BLOCKS_PER_CORE * workers) if workers > 1 else 1
    round_rows = -(-batch_rows // -(-batch_rows // MEMBER_ROWS))
    of_layers = (
        _member_slices(spec, index, layer, item * blocks, cores)
        for index, layer in enumerate(layers)
    )
    ordered, starts = _share_out(list(chain(*of_layers)), cores)
    return Plan(cores, batch_rows, batch_rows, round_rows, blocks, sparse, True, 0, ordered, starts)


def evaluation_plan(threads: int, *, sparse: bool) -> Plan:
    """Return the plan of predictions and losses: each thread has buffers for a block of rows, and
    no parameter is updated.
    """
    rows = EVALUATED_ROWS
    return Plan(threads, threads * rows, rows, rows, threads, sparse, False, 0, [], [0])


def _member_slices(
    spec: NetworkSpec, index: int, layer: LayerRecord, row_bytes: int, cores: int
) -> list[Slice]:
    """Return a layer's slices: the shared weight cut by rows, with a shared bias, and the members'
    own parameters.
    """
    weight = layer.fan_in * layer.fan_out
    members = spec.members
    if layer.weight_step:
        slices = [Slice(index, 0, 0, layer.weight, members * weight, 0, 0, 1, members * weight)]
    else:
        slices = _slices(index, layer, row_bytes, cores)
        # The factors between weight and bias, or the bias itself, are not shared.
        if layer.bias_step or layer.scale_in >= 0:
            last = slices[-1]
            last.takes_bias = 0
            last.size = last.weights
    own = [(layer.scale_in, layer.fan_in), (layer.scale_out, layer.fan_out)]
    runs = [(offset, members * size) for offset, size in own if offset >= 0]
    if layer.bias_step:
        runs.append((layer.bias, members * layer.fan_out))
    slices += [Slice(index, 0, 0, start, size, 0, 0, 1, 0) for start, size in runs]
    if not layer.bias_step and layer.scale_in >= 0:
        slices.append(Slice(index, 0, 0, layer.bias, layer.fan_out, 1, 0, 0, 0))
    return slices


def _keeps_block_gradients(
    spec: NetworkSpec, batch_rows: int, blocks: int, *, sparse: bool
) -> bool:
    """Return whether the blocks' gradients move less between cores than the inputs and deltas of a
    whole batch.

    Sparse inputs are not counted.
    """
    parameters = sum(
        (fan_in + 1) * fan_out
        for fan_in, fan_out in zip(spec.widths, spec.widths[1:], strict=False)
    )
    return BLOCK_GRADIENTS * blocks * parameters <= batch_rows * (
        sum(spec.widths[sparse:-1]) + sum(spec.widths[1:])
    )


def _parts(spec: NetworkSpec, batch_rows: int, slices: list[Slice]) -> int:
    """Return the number of parts of the first layer's product; 0 if parts would move more between
    cores.

    A cut by rows moves the weight and the batch's inputs between cores; a cut in parts moves
    products and deltas.
    """
    parts = sum(piece.layer == 0 for piece in slices)
    fan_in, fan_out = spec.widths[:2]
    whole_product = fan_in * (fan_out + batch_rows)
    in_parts = 2 * batch_rows * fan_out
    return parts if parts > 1 and whole_product >= FEATURES * in_parts else 0


def _workers(work: int, cores: int) -> int:
    """Return the number of cores that are worth using for ``work`` bytes."""
    return max(1, min(cores, work // GRAIN))


def _slices(index: int, layer: LayerRecord, row_bytes: int, cores: int) -> list[Slice]:
    """Return slices of a layer's weight, cut by rows; the last slice takes the bias.

    row_bytes : bytes of one feature in the whole batch
    """
    rows = -(-layer.fan_in // _workers(layer.fan_in * layer.fan_out * row_bytes, cores))
    firsts = range(0, layer.fan_in, rows)
    return [
        _slice(index, layer, f, min(rows, layer.fan_in - f), number)
        for number, f in enumerate(firsts)
    ]


def _slice(index: int, layer: LayerRecord, first: int, rows: int, number: int) -> Slice:
    """Return the slice of the parameters of some input rows of a layer; the last has the biases."""
    start = layer.weight + first * layer.fan_out
    last = first + rows == layer.fan_in
    end = layer.bias + layer.fan_out if last else start + rows * layer.fan_out
    return Slice(index, first, rows, start, end - start, last, number, 0, rows * layer.fan_out)


def _share_out(slices: list[Slice], cores: int) -> tuple[list[Slice], list[int]]:
    """Return slices in the order of the cores that begin with them, and the first slice of each
    core.

    All cores have about the same work: the largest slice goes first, each to the core with the
    least work.
    """
    shares: list[list[Slice]] = [[] for _ in range(cores)]
    loads = [0] * cores
    for piece in sorted(slices, key=lambda s: -s.size):
        core = loads.index(min(loads))
        shares[core].append(piece)
        loads[core] += piece.size
    return list(chain(*shares)), list(accumulate(map(len, shares), initial=0))
