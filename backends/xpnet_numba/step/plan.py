"""How a batch is cut into pieces of work: blocks of rows for phase 1, slices of parameters for phase 2.

The cut depends on the network, the batch and the number of cores this process may use, never on how many threads work,
so that the same sums are taken in the same order whoever takes them.

BLAS's own threads are never used, however large a layer: cut so, whole steps with Adam took 0.3 to 1.0 times as long as
their products alone in threaded OpenBLAS (2 cores; 784-2048-10 by 512 rows, 784-4096-10 by 1024, 1024-1024-1024-10 and
2048-2048-2048-10 by 256, float32).
"""

from dataclasses import dataclass

from xpnet.backend import NetworkSpec
from xpnet_numba.step.job import Layer, Slice

GRAIN = 200_000  # multiplications that are worth a thread: some 5 us, against 0.2 us for a barrier
MOST_ROWS = 512  # of a block: more and its activations leave the core's cache
NARROW = 8  # how much less: a gradient in parts is written, read and added up, and its products are shorter
FEATURES = 2  # how much less: products in parts are written, read and added up
NEAR_BYTES = 1 << 20  # a weight up to this size is read ahead: half of a core's second cache


@dataclass(frozen=True)
class Plan:
    """The pieces of a batch.

    narrow : whether each block keeps the gradient of all parameters from its own rows
    parts : slices of the first weight that are multiplied by their features of the whole batch; 0 for none
    homes : for each core, the slice with which it begins
    """

    batch_rows: int
    block_rows: int
    blocks: int
    narrow: bool
    parts: int
    slices: list[Slice]
    homes: list[int]

    def homes_of(self, threads: int) -> list[int]:
        """For each of a number of threads, the slice with which it begins."""
        return [self.homes[me * len(self.homes) // threads] for me in range(threads)]


def make_plan(spec: NetworkSpec, layers: list[Layer], batch_rows: int, cores: int) -> Plan:
    """Cut batches of ``batch_rows`` rows for ``cores`` cores."""
    work = batch_rows * sum(layer.fan_in * layer.fan_out for layer in layers)
    workers = _workers(work, cores)
    rounds = -(-batch_rows // (workers * MOST_ROWS))
    block_rows = -(-batch_rows // (workers * rounds))
    blocks = -(-batch_rows // block_rows)
    narrow = _is_narrow(spec, batch_rows, blocks)
    rows_of_work = blocks if narrow else batch_rows
    slices = [piece for index, layer in enumerate(layers) for piece in _slices(index, layer, rows_of_work, cores)]
    parts = 0 if narrow else _parts(spec, batch_rows, slices)
    shares = _share_out(slices, cores)
    homes = [sum(len(share) for share in shares[:core]) % len(slices) for core in range(cores)]
    return Plan(batch_rows, block_rows, blocks, narrow, parts, [piece for share in shares for piece in share], homes)


def _is_narrow(spec: NetworkSpec, batch_rows: int, blocks: int) -> bool:
    """Whether adding up the blocks' gradients moves less between cores than the inputs and deltas of a whole batch."""
    parameters = sum((fan_in + 1) * fan_out for fan_in, fan_out in zip(spec.widths, spec.widths[1:], strict=False))
    return NARROW * blocks * parameters <= batch_rows * (sum(spec.widths[:-1]) + sum(spec.widths[1:]))


def _parts(spec: NetworkSpec, batch_rows: int, slices: list[Slice]) -> int:
    """Into how many parts to cut the first layer's product; 0 where that would not move less between cores.

    By rows, a core reads what others wrote of the weight and of the batch's inputs; in parts, of products and deltas.
    """
    parts = sum(piece.layer == 0 for piece in slices)
    fan_in, fan_out = spec.widths[:2]
    by_rows, in_parts = fan_in * (fan_out + batch_rows), 2 * batch_rows * fan_out
    return parts if parts > 1 and by_rows >= FEATURES * in_parts else 0


def _workers(work: int, cores: int) -> int:
    """How many cores so many multiplications are worth."""
    return max(1, min(cores, work // GRAIN))


def _slices(index: int, layer: Layer, batch_rows: int, cores: int) -> list[Slice]:
    """A layer's weight, cut by rows; the last slice takes the bias."""
    rows = -(-layer.fan_in // _workers(layer.fan_in * layer.fan_out * batch_rows, cores))
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
