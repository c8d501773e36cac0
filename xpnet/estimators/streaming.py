"""Training and predicting on a source: buffers of rows from blocks in random order, while the next are read ahead."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy

from xpnet.backend import Backend, BatchPart, Step
from xpnet.data.sources import Source
from xpnet.estimators.epochs import reported_loss
from xpnet.estimators.inputs import Rows
from xpnet.ops import Array


class Buffer(NamedTuple):
    """Rows in memory: X (rows, in), and the number of each in the source, (rows,) int64."""

    X: numpy.ndarray
    rows: numpy.ndarray

    def take(self, places: Any) -> "Buffer":
        """Some of the rows."""
        return Buffer(self.X[places], self.rows[places])


class BlockOrder(NamedTuple):
    """In which order an epoch reads blocks, and the seed of the orders within buffers."""

    blocks: numpy.ndarray
    seed: int


class BlockOrders:
    """Orders of a source's blocks, epoch after epoch. A source that is read from its beginning keeps its order."""

    def __init__(self, random_state: numpy.random.RandomState, source: Source, blocks: numpy.ndarray) -> None:
        self.random_state, self.source, self.blocks = random_state, source, blocks

    def permutation(self, rows: int) -> BlockOrder:
        """The next order."""
        blocks = self.blocks if self.source.in_order else self.random_state.permutation(self.blocks)
        return BlockOrder(blocks, int(self.random_state.randint(2**31)))

    def get_state(self, *, legacy: Literal[False] = False) -> dict[str, Any]:
        """The stream's state."""
        return self.random_state.get_state(legacy=legacy)

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.random_state.set_state(state)


@dataclass
class SourceRows(Rows):
    """Rows of a source that are trained on: X is the source, Y and weight are in memory.

    blocks : those that are trained on
    """

    blocks: Any = None

    @property
    def count(self) -> int:
        """How many."""
        return int(numpy.diff(self.X.starts)[self.blocks].sum())

    def hold_out(
        self, share: float, random_state: numpy.random.RandomState, backend: Backend, dtype: str
    ) -> tuple["SourceRows", Rows]:
        """Rows to train on, and rows of whole blocks that are held out: a share of all, at most a buffer.

        Raises ValueError where there is no block for both.
        """
        source = self.X
        order = random_state.permutation(self.blocks)
        wanted = min(share * self.count, source.buffer_rows(dtype))
        sizes = numpy.diff(source.starts)[order]
        chosen = max(1, int(numpy.searchsorted(numpy.cumsum(sizes), wanted, side="right")))
        if chosen >= len(order):
            raise ValueError(
                "The validation set would be all of the source: it has a single block. Pass X_val and y_val."
            )
        out = numpy.sort(order[:chosen])
        rows = numpy.concatenate([numpy.arange(source.starts[b], source.starts[b + 1]) for b in out])
        X = numpy.concatenate([checked(source.read(int(b)), dtype, source.starts[b]) for b in out])
        held_out = Rows(backend.asarray(X), self.Y[rows], None if self.weight is None else self.weight[rows])
        return SourceRows(source, self.Y, self.weight, numpy.sort(order[chosen:])), held_out


def checked(X: numpy.ndarray, dtype: str, first: int) -> numpy.ndarray:
    """A block in the network's dtype.

    Raises ValueError where a value is not finite; first : the number of its first row
    """
    block = numpy.ascontiguousarray(X, dtype=dtype)
    if not numpy.isfinite(block.sum(dtype=numpy.float64)):
        finite = numpy.isfinite(block).all(axis=1)
        if not finite.all():
            row = int(first) + int(finite.argmin())
            raise ValueError(
                f"Input X contains NaN, infinity or a value too large for {dtype}, the first in row {row}."
            )
    return block


@dataclass
class BufferedEpoch:
    """An epoch over a source, in place of one over an array.

    epoch : the epoch over rows in memory; dtype : of the network
    """

    rows: SourceRows
    epoch: Callable[..., float]
    backend: Backend
    dtype: str

    def __call__(
        self,
        X: Source,
        Y: Array,
        *,
        learning_rate: float,
        batch_size: int,
        order: BlockOrder | None = None,
        sample_weight: Array | None = None,
    ) -> float:
        """See :meth:`xpnet.backend.Step.epoch`. Between two buffers an interrupt finds every update whole."""
        total = 0.0
        for buffer in buffers(X, self.rows.blocks, order, batch_size, self.dtype):
            weight = None if sample_weight is None else sample_weight[buffer.rows]
            loss = self.epoch(
                self.backend.asarray(buffer.X),
                Y[buffer.rows],
                learning_rate=learning_rate,
                batch_size=batch_size,
                order=None,
                sample_weight=weight,
            )
            total += loss * len(buffer.rows)
        return total / self.rows.count


def buffers(source: Source, blocks: Any, order: BlockOrder | None, batch_size: int, dtype: str) -> Iterator[Buffer]:
    """All rows of the blocks, a buffer at a time, while a thread reads the next: whole batches but for the last.

    order : of the blocks; the rows of each buffer are shuffled, too. None for rows as they lie.
    """
    shuffle = None if order is None else numpy.random.default_rng(order.seed)
    reading = _read(source, blocks if order is None else order.blocks, dtype, batch_size)
    left: Buffer | None = None
    with ThreadPoolExecutor(1, "xpnet-read") as reader:
        ahead = reader.submit(next, reading, None)
        while (buffer := ahead.result()) is not None:
            ahead = reader.submit(next, reading, None)
            if left is not None and len(left.rows):
                buffer = Buffer(numpy.concatenate([left.X, buffer.X]), numpy.concatenate([left.rows, buffer.rows]))
            if shuffle is not None:
                buffer = buffer.take(shuffle.permutation(len(buffer.rows)))
            whole = len(buffer.rows) // batch_size * batch_size
            left = buffer.take(slice(whole, None))
            if whole:
                yield buffer.take(slice(0, whole))
    if left is not None and len(left.rows):
        yield left


def _read(source: Source, blocks: Any, dtype: str, batch_size: int) -> Iterator[Buffer]:
    """Buffers as the blocks fill them."""
    size = max(source.buffer_rows(dtype) // 2, batch_size)
    parts: list[numpy.ndarray] = []
    rows: list[numpy.ndarray] = []
    for block in blocks:
        first, last = int(source.starts[block]), int(source.starts[block + 1])
        parts.append(checked(source.read(int(block)), dtype, first))
        rows.append(numpy.arange(first, last))
        if sum(map(len, rows)) >= size:
            yield _joined(parts, rows)
            parts, rows = [], []
    if parts:
        yield _joined(parts, rows)


def _joined(parts: list[numpy.ndarray], rows: list[numpy.ndarray]) -> Buffer:
    return Buffer(parts[0] if len(parts) == 1 else numpy.concatenate(parts), numpy.concatenate(rows))


def summed_gradient(step: Step, rows: SourceRows, backend: Backend) -> tuple[float, dict[str, Any]]:
    """Loss and gradient over all rows of a source, block by block.

    returns the loss as scikit-learn reports it, and the gradients by name, NumPy's
    """
    dtype, source, weight, loss, penalty = step.spec.dtype, rows.X, rows.weight, 0.0, 0.0
    total = float(rows.count if weight is None else backend.to_numpy(weight).sum())
    gradients: dict[str, Any] = {}
    for block in range(source.blocks):
        first, last = int(source.starts[block]), int(source.starts[block + 1])
        part = BatchPart(total, first, penalized=block == 0)
        X = backend.asarray(checked(source.read(block), dtype, first))
        weights = None if weight is None else weight[first:last]
        loss += step.gradient(X, rows.Y[first:last], sample_weight=weights, part=part)
        penalty += step.penalty if block == 0 else 0.0
        for name in step.spec.parameter_names:
            gradient = backend.to_numpy(step.gradients[name])
            gradients[name] = gradient.copy() if block == 0 else gradients[name] + gradient
    return reported_loss(loss, penalty, step.spec), gradients
