"""What an epoch reads, as kernels read it: rows, labels, weights, and the order in which rows come."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy

from xpnet.backend import BatchPart
from xpnet.ops import Array
from xpnet_cupy.cuda import Uploads
from xpnet_cupy.launcher import Launcher

FILLED = 16  # where parts differ from epoch to epoch, their rows are filled up to a multiple of this


class Data(NamedTuple):
    """Holds X (rows, in), class indices (rows,) or other labels (rows, out), weights (rows,) and the order (n,).

    order : -1 for a row that is not there, which fills up a batch
    parts : (batches, 2) float64, the weight of each whole batch and how many of its rows stand before these; None where
        these rows are the whole batch
    places : as the order, where each row stands in its whole batch; None where they follow one another
    """

    x: Array
    labels: Array | None = None
    weight: Array | None = None
    order: Array | None = None
    parts: Array | None = None
    places: Array | None = None

    @property
    def indices(self) -> bool:
        """Return whether labels are class indices."""
        return self.labels is not None and self.labels.ndim == 1


def as_read(launcher: Launcher, array: Array, dtype: str) -> Array:
    """The array as kernels read it: itself, or a C-contiguous copy of this dtype."""
    return launcher.xp.ascontiguousarray(array).astype(dtype, copy=False)


class Orders:
    """The orders of one step on the device: the next is drawn and sent there beside the work on this one."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._uploads: Uploads | None = None
        self._size = 0
        self._sent: tuple[Any, Array] | None = None  # an order on the host, and where it is on the device
        self._draw: Callable[[], Any] | None = None

    def expect(self, draw: Callable[[], Any] | None, rows: int) -> None:
        """Within the epoch that begins, ``draw`` gives the order of the next one; memory is taken here."""
        self._draw = draw
        if draw is not None and self._size != rows:
            self._uploads, self._size = self._launcher.uploads(rows, "int32"), rows

    def on_device(self, order: Any) -> Array:
        """An order as kernels read it: (n,) int32."""
        if self._sent is not None and self._uploads is not None and self._sent[0] is order:
            self._uploads.arrived()
            return self._sent[1]
        return self._launcher.xp.asarray(numpy.asarray(order, dtype=numpy.int32))

    def send_next(self) -> None:
        """Draw the next order and send it. All that the epoch has for the device has been asked for."""
        if self._draw is None or self._uploads is None:
            return
        draw, self._draw, self._sent = self._draw, None, None
        order = draw()
        self._sent = order, self._uploads.send(order)


def batches_of_ranks(
    shares: Sequence[tuple[Any, BatchPart]],
) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray | None]:
    """Return order, parts and places of a rank's parts of batches, filled up to one size with rows that are not there.

    A recording has a fixed number of rows; a rank that has its own rows has more of one batch and fewer of another.

    shares : for each batch the rows of the rank's part, as indices or as a slice, and what they are of the batch
    returns (batches, rows) int32; (batches, 2) float64; (batches, rows) int32 or None; see :class:`Data`
    """
    own = [numpy.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows for rows, _ in shares]
    sizes = [len(rows) for rows in own]
    most = max(1, *sizes)
    if len(set(sizes[:-1])) > 1:  # the last batch may be smaller in any case
        most = -(-most // FILLED) * FILLED
    parts = numpy.array([(part.total_weight, part.first_row) for _, part in shares], dtype=numpy.float64)
    placed = all(part.places is not None for _, part in shares)
    places = _filled([part.places for _, part in shares], most, 0) if placed else None
    return _filled(own, most, -1), parts, places


def _filled(rows: list[Any], size: int, value: int) -> numpy.ndarray:
    """Return one row of so many items for each array, filled up with a value: int32."""
    filled = numpy.full((len(rows), size), value, dtype=numpy.int32)
    for row, items in zip(filled, rows, strict=True):
        row[: len(items)] = items
    return filled
