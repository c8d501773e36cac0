"""Training on a source: its blocks in random order, and the rows of a buffer shuffled."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy

from xpnet.backend import Backend, BatchPart, Operations, Step
from xpnet.data.buffers import PIECE_BYTES, read_rows, rows_of
from xpnet.data.sources import BUFFER_BYTES, Source
from xpnet.estimators.inputs import Rows
from xpnet.models.inputs import is_host
from xpnet.ops import Array

PART_BYTES = 2**24
"""The size of a part whose gradient is computed at once, so large that adding gradients up takes little beside it."""


class BlockOrder(NamedTuple):
    """The order in which an epoch reads blocks, and the seed of the orders within buffers."""

    blocks: numpy.ndarray
    seed: int


class BlockOrders:
    """Draws the orders of a source's blocks, epoch after epoch. One that is read from its beginning keeps its order."""

    def __init__(self, random_state: numpy.random.RandomState, source: Source, blocks: numpy.ndarray) -> None:
        self.random_state, self.source, self.blocks = random_state, source, blocks

    def permutation(self, rows: int) -> BlockOrder:
        """Draw the next order."""
        blocks = self.blocks if self.source.in_order else self.random_state.permutation(self.blocks)
        return BlockOrder(blocks, int(self.random_state.randint(2**31)))

    def get_state(self, *, legacy: Literal[False] = False) -> dict[str, Any]:
        """Return the stream's state."""
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
        """Return the number of rows."""
        return int(numpy.diff(self.X.starts)[self.blocks].sum())

    def hold_out(
        self, share: float, random_state: numpy.random.RandomState, backend: Backend, dtype: str
    ) -> tuple["SourceRows", Rows]:
        """Split rows into those to train on, and whole blocks that are held out: a share of all, at most a buffer.

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
        X, rows = read_rows(source, out, dtype)
        held_out = Rows(backend.asarray(X), self.Y[rows], None if self.weight is None else self.weight[rows])
        return SourceRows(source, self.Y, self.weight, numpy.sort(order[chosen:])), held_out

    def parts(self, backend: Backend, dtype: str) -> Generator[Rows, None, None]:
        """Yield the rows as they lie, some at a time, on a backend in a dtype."""
        for X, places in rows_of(self.X, self.blocks, dtype, batch_size=1, piece_bytes=PART_BYTES):
            part = slice(int(places[0]), int(places[-1]) + 1)
            yield Rows(backend.asarray(X), self.Y[part], None if self.weight is None else self.weight[part])


def epoch_over_source(step: Step, rows: SourceRows, epoch: Callable[..., float]) -> Callable[..., float]:
    """Make an epoch over a source, in place of one over an array.

    epoch : the epoch of the step over rows in memory
    returns a function with the signature of ``Step.epoch`` that takes a source and a :class:`BlockOrder`; between two
    buffers of rows an interrupt finds every update whole
    """
    backend, dtype, on_host = step.backend, step.spec.dtype, is_host(step.backend)
    gather, piece_bytes = Operations(backend).gather, PIECE_BYTES if on_host else BUFFER_BYTES

    def buffered(
        X: Source, Y: Array, *, batch_size: int, order: BlockOrder | None, sample_weight: Array | None, **how: Any
    ) -> float:
        total, done, report = 0.0, 0, step.report
        blocks, seed = (rows.blocks, None) if order is None else order
        found = rows_of(X, blocks, dtype, batch_size=batch_size, seed=seed, piece_bytes=piece_bytes)
        step.report = None  # which counts the rows of a buffer
        try:
            with closing(found):
                for part in found:
                    there = backend.asarray(part.rows)
                    # Other libraries may still read it when the call has returned, and it is used again.
                    X_there = part.X if on_host else backend.asarray(part.X.copy())
                    weight = None if sample_weight is None else gather(sample_weight, there)
                    loss = epoch(X_there, gather(Y, there), batch_size=batch_size, sample_weight=weight, **how)
                    total, done = total + loss * len(part.rows), done + len(part.rows)
                    if report is not None:
                        report(done)
        finally:
            step.report = report
        return total / done

    return buffered


def summed_gradient(step: Step, rows: SourceRows, backend: Backend) -> tuple[float, float, dict[str, Any]]:
    """Compute loss, penalty and gradient over all rows of a source, block by block; gradients by name, NumPy's."""
    loss, penalty, first = 0.0, 0.0, 0
    total = float(rows.count if rows.weight is None else backend.to_numpy(rows.weight).sum())
    gradients: dict[str, Any] = {}
    with closing(rows.parts(backend, step.spec.dtype)) as parts:
        for part in parts:
            place = BatchPart(total, first, penalized=first == 0)
            loss += step.gradient(part.X, part.Y, sample_weight=part.weight, part=place)
            penalty += step.penalty if place.penalized else 0.0
            first += part.count
            for name in step.spec.parameter_names:
                gradient = backend.to_numpy(step.gradients[name])
                gradients[name] = gradients[name] + gradient if name in gradients else gradient.copy()
    return loss, penalty, gradients
