"""How a batch is cut into pieces of work: blocks of rows for phase 1, slices of parameters for phase 2.

The cut depends on the network, the batch and the number of cores this process may use, never on how many threads work,
so that the same sums are taken in the same order whoever takes them. BLAS's own threads are never used, however large a
layer.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from xpnet.backend import NetworkSpec
from xpnet_numba.step.job import Layer, Slice

GRAIN = 1_200_000
"""Bytes of numbers to multiply that are worth a thread: fewer take less time than to share them, with what several
threads then write for each other.
"""

MOST_ROWS = 512
"""Rows forwarded at a time: with more their activations leave the core's cache, with fewer products are too short."""

NARROW = 8
"""How much less there must be to move: a gradient in parts is written, read and added up, and its products are
shorter.
"""

FEATURES = 1
"""How much less there must be to move: products in parts are written, read and added up, which is counted."""

BLOCKS_PER_CORE = 4
"""The most blocks that keep a gradient of their own: more would share the work more evenly, and take more memory."""

MEMBER_ROWS = 128
"""Rows of one member that are worked on at a time, as ``MOST_ROWS``: of each layer three arrays are kept for them."""

MEMBER_BLOCKS_PER_CORE = 2
"""Blocks of members for each core, each of which keeps a gradient of the shared weights."""

NEAR_BYTES = 1 << 20
"""A weight up to this size is read ahead: about half of a core's second-level cache."""


@dataclass(frozen=True)
class Plan:
    """The pieces of a batch.

    cores : for how many it is made; no more threads may work
    block_rows, blocks : rows of a piece of phase 1, and how many there are; round_rows : rows it forwards at a time
    sparse : whether X is
    narrow : whether each block keeps the gradient of all parameters from its own rows
    parts : slices of the first weight that are multiplied by their features of the whole batch; 0 for none
    starts : for each core the slice with which it begins, and behind the last how many there are
    """

    cores: int
    batch_rows: int
    block_rows: int
    round_rows: int
    blocks: int
    sparse: bool
    narrow: bool
    parts: int
    slices: list[Slice]
    starts: list[int]

    @cached_property
    def room_rows(self) -> int:
        """Rows for which there must be room: a narrow block needs it for a round, by whichever core."""
        return self.cores * self.round_rows if self.narrow else self.batch_rows

    @cached_property
    def workers(self) -> int:
        """How many threads find work: some phase has as many pieces of one kind."""
        pieces = Counter(piece.layer for piece in self.slices)
        return min(self.cores, max(self.blocks, *pieces.values()))

    def homes_of(self, threads: int) -> list[int]:
        """For each of a number of threads, the slice with which it begins."""
        return [self.starts[me * self.cores // threads] % len(self.slices) for me in range(threads)]


def make_plan(spec: NetworkSpec, layers: list[Layer], batch_rows: int, cores: int, *, sparse: bool = False) -> Plan:
    """Cut batches of ``batch_rows`` rows, those of a sparse X or of a dense one, for ``cores`` cores."""
    item = 4 if spec.dtype == "float32" else 8
    work = batch_rows * sum(layer.fan_in * layer.fan_out for layer in layers) * item
    workers = _workers(work, cores)
    rounds = -(-batch_rows // (workers * MOST_ROWS))
    round_rows = block_rows = -(-batch_rows // (workers * rounds))
    blocks, most = -(-batch_rows // round_rows), BLOCKS_PER_CORE * cores
    narrow = blocks > 1 and _is_narrow(spec, batch_rows, min(blocks, most), sparse=sparse)
    if narrow and blocks > most:
        block_rows = -(-blocks // most) * round_rows
        blocks = -(-batch_rows // block_rows)
    row_bytes = item * (blocks if narrow else batch_rows)
    slices = [piece for index, layer in enumerate(layers) for piece in _slices(index, layer, row_bytes, cores)]
    parts = 0 if narrow or sparse else _parts(spec, batch_rows, slices)
    shares = _share_out(slices, cores)
    starts = [sum(len(share) for share in shares[:core]) for core in range(cores + 1)]
    ordered = [piece for share in shares for piece in share]
    return Plan(cores, batch_rows, block_rows, round_rows, blocks, sparse, narrow, parts, ordered, starts)


def make_member_plan(
    spec: NetworkSpec, layers: list[Layer], batch_rows: int, cores: int, *, sparse: bool = False
) -> Plan:
    """Cut the work for members: phase 1 into blocks of members, each of which keeps a gradient of what is shared."""
    item = 4 if spec.dtype == "float32" else 8
    weights = sum(layer.fan_in * layer.fan_out for layer in layers)
    workers = _workers(spec.members * batch_rows * weights * item, cores)
    blocks = min(spec.members, MEMBER_BLOCKS_PER_CORE * workers) if workers > 1 else 1
    round_rows = -(-batch_rows // -(-batch_rows // MEMBER_ROWS))
    row_bytes = item * blocks
    slices = [piece for index, layer in enumerate(layers) for piece in _member_slices(spec, index, layer, row_bytes, cores)]
    shares = _share_out(slices, cores)
    starts = [sum(len(share) for share in shares[:core]) for core in range(cores + 1)]
    ordered = [piece for share in shares for piece in share]
    return Plan(cores, batch_rows, batch_rows, round_rows, blocks, sparse, True, 0, ordered, starts)


def _member_slices(spec: NetworkSpec, index: int, layer: Layer, row_bytes: int, cores: int) -> list[Slice]:
    """A layer's parameters: the shared weight cut by rows, with a shared bias, and what members have for themselves."""
    weight, members = layer.fan_in * layer.fan_out, spec.members
    if layer.weight_step:
        found = [Slice(index, 0, 0, layer.weight, members * weight, 0, 0, 1, members * weight)]
    else:
        found = _slices(index, layer, row_bytes, cores)
        for piece in found:
            piece.weights = piece.rows * layer.fan_out
        if layer.bias_step or layer.scale_in >= 0:  # what lies between weight and bias, or the bias itself, is not shared
            last = found[-1]
            last.takes_bias, last.size = 0, last.weights
    own = [(layer.scale_in, layer.fan_in), (layer.scale_out, layer.fan_out)]
    runs = [(offset, members * size) for offset, size in own if offset >= 0]
    if layer.bias_step:
        runs.append((layer.bias, members * layer.fan_out))
    found += [Slice(index, 0, 0, start, size, 0, 0, 1, 0) for start, size in runs]
    if not layer.bias_step and layer.scale_in >= 0:
        found.append(Slice(index, 0, 0, layer.bias, layer.fan_out, 1, 0, 0, 0))
    return found


def _is_narrow(spec: NetworkSpec, batch_rows: int, blocks: int, *, sparse: bool) -> bool:
    """Whether adding up the blocks' gradients moves less between cores than the inputs and deltas of a whole batch;
    sparse inputs count for nothing.
    """
    parameters = sum((fan_in + 1) * fan_out for fan_in, fan_out in zip(spec.widths, spec.widths[1:], strict=False))
    return NARROW * blocks * parameters <= batch_rows * (sum(spec.widths[sparse:-1]) + sum(spec.widths[1:]))


def _parts(spec: NetworkSpec, batch_rows: int, slices: list[Slice]) -> int:
    """Into how many parts to cut the first layer's product; 0 where that would move more between cores.

    By rows, a core reads what others wrote of the weight and of the batch's inputs; in parts, of products and deltas.
    """
    parts = sum(piece.layer == 0 for piece in slices)
    fan_in, fan_out = spec.widths[:2]
    by_rows, in_parts = fan_in * (fan_out + batch_rows), 2 * batch_rows * fan_out
    return parts if parts > 1 and by_rows >= FEATURES * in_parts else 0


def _workers(work: int, cores: int) -> int:
    """How many cores so many bytes are worth."""
    return max(1, min(cores, work // GRAIN))


def _slices(index: int, layer: Layer, row_bytes: int, cores: int) -> list[Slice]:
    """A layer's weight, cut by rows; the last slice takes the bias. row_bytes : of one feature in the whole batch"""
    rows = -(-layer.fan_in // _workers(layer.fan_in * layer.fan_out * row_bytes, cores))
    firsts = range(0, layer.fan_in, rows)
    return [_slice(index, layer, f, min(rows, layer.fan_in - f), number) for number, f in enumerate(firsts)]


def _slice(index: int, layer: Layer, first: int, rows: int, number: int) -> Slice:
    start = layer.weight + first * layer.fan_out
    last = first + rows == layer.fan_in
    end = layer.bias + layer.fan_out if last else start + rows * layer.fan_out
    return Slice(index, first, rows, start, end - start, last, number)


def _share_out(slices: list[Slice], cores: int) -> list[list[Slice]]:
    """Slices for each core, about the same work for all: the largest first, each to whoever has least."""
    shares: list[list[Slice]] = [[] for _ in range(cores)]
    loads = [0] * cores
    for piece in sorted(slices, key=lambda s: -s.size):
        core = loads.index(min(loads))
        shares[core].append(piece)
        loads[core] += piece.size
    return shares
