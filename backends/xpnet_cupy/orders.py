"""The orders of the rows on the device: that of the next epoch is drawn and sent there beside the work on this one."""

from collections.abc import Callable
from typing import Any

import numpy

from xpnet.ops import Array
from xpnet_cupy.launcher import Launcher, Uploads


class Orders:
    """Those of one step."""

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
            self._uploads, self._size = self._launcher.uploads((rows,), "int32"), rows

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
