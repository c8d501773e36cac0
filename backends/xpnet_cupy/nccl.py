"""Ranks with a GPU each: MPI starts them and shares what lies on the host, NCCL adds up what lies
on the devices.
"""

import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy

from xpnet.backend import Group
from xpnet.backend.group import Value, allgather
from xpnet.errors import BackendError
from xpnet.ops import Array
from xpnet_cupy.backend import library_version, usable_cupy

NOT_READY = 600  # cudaErrorNotReady
ABORT_SECONDS = 5.0
"""Seconds for which a rank waits for NCCL to give up a communicator: other ranks may never do their
part.
"""


@contextmanager
def open_group(timeout: float) -> Iterator["NcclGroup"]:
    """Join the ranks that MPI has started, each on a GPU of its machine.

    Parameters
    ----------
    timeout : float
        Seconds that a rank waits for another before all are ended.

    Yields
    ------
    NcclGroup
        All ranks of ``MPI.COMM_WORLD``.

    Raises
    ------
    BackendError
        Where CuPy, NCCL, mpi4py or an MPI is missing, or a machine has fewer GPUs than ranks.
    """
    cupy = usable_cupy()
    from cupy.cuda import nccl
    from xpnet_mpi import open_group as open_mpi

    if not nccl.available:
        raise BackendError(
            "The group 'nccl' needs NCCL, which CuPy did not find. Install nvidia-nccl-cu13 "
            "(or -cu12), or use the group 'mpi'."
        )
    with open_mpi(timeout) as host, _own_device(cupy, host):
        group = NcclGroup(host, cupy, nccl, timeout)
        yield group
        # Not where an exception passes: the other ranks may be elsewhere.
        group.close()


class NcclGroup:
    """The ranks of a communicator: see :class:`xpnet.backend.Group`.

    Parameters
    ----------
    host : Group
        The same ranks, for NumPy arrays and objects.
    cupy, nccl : module
        ``cupy`` and ``cupy.cuda.nccl``.
    timeout : float
        Seconds that a rank waits for another.
    """

    library = "cupy"

    def __init__(self, host: Group, cupy: Any, nccl: Any, timeout: float) -> None:
        self._host, self._cupy, self._timeout = host, cupy, timeout
        self.rank, self.size = host.rank, host.size
        self._types = {
            "float32": nccl.NCCL_FLOAT32,
            "float64": nccl.NCCL_FLOAT64,
            "int64": nccl.NCCL_INT64,
        }
        self._add = nccl.NCCL_SUM
        identity = host.broadcast(nccl.get_unique_id() if not host.rank else None)
        self._comm = nccl.NcclCommunicator(host.size, identity, host.rank)
        self.why = f"NCCL {library_version(nccl.get_version())} and {host.why}"

    def allreduce(self, array: Array) -> Array:
        """See :class:`xpnet.backend.Group`. Arrays on the device are added up on the current
        stream.
        """
        if isinstance(array, numpy.ndarray) and not isinstance(array, self._cupy.ndarray):
            return self._host.allreduce(array)
        array = self._cupy.ascontiguousarray(array)
        place, kind, stream = (
            array.data.ptr,
            self._types[array.dtype.name],
            self._cupy.cuda.get_current_stream(),
        )
        self._comm.allReduce(place, place, array.size, kind, self._add, stream.ptr)
        self._wait(stream.record())
        return array

    def broadcast(self, value: Value, *, rank: int = 0) -> Value:
        """See :class:`xpnet.backend.Group`."""
        return self._host.broadcast(value, rank=rank)

    def abort(self, error: BaseException) -> None:
        """See :class:`xpnet.backend.Group`."""
        self._host.abort(error)  # first: giving up a communicator may wait for the other ranks
        giving_up = threading.Thread(target=self._comm.abort, daemon=True)
        giving_up.start()
        giving_up.join(ABORT_SECONDS)

    def close(self) -> None:
        """Leave the others."""
        self._comm.destroy()

    def _wait(self, event: Any) -> None:
        """Wait until an event is done. NCCL waits without a time limit for a missing rank, so this
        loop reads the clock.
        """
        end, query = time.monotonic() + self._timeout, self._cupy.cuda.runtime.eventQuery
        while status := query(event.ptr):
            if status != NOT_READY:
                raise BackendError(
                    f"The GPU of rank {self.rank} must finish its work; CUDA ended it with status "
                    f"{status}. Start the training again; compute-sanitizer reports where the "
                    "first error happens."
                )
            if time.monotonic() > end:
                raise BackendError(
                    f"Rank {self.rank} of {self.size} waited {self._timeout:g} s for the sum of an "
                    "array over all ranks. Look for a rank that has ended, or raise the time-out."
                )
            self._comm.check_async_error()


def _own_device(cupy: Any, host: Group) -> Any:
    """Return the GPU of this rank, which no other rank may have: NCCL refuses that.

    A launcher may show all GPUs of a machine to each of its ranks, or one GPU to each.
    """
    node = platform.node()
    number = allgather(host, node)[: host.rank].count(node)
    device = cupy.cuda.Device(number % cupy.cuda.runtime.getDeviceCount())
    cards = allgather(host, (node, device.pci_bus_id))
    for rank, card in enumerate(cards):
        first = cards.index(card)
        if first != rank:
            raise BackendError(
                f"Each rank of the group 'nccl' needs a GPU of its own; ranks {first} and {rank} "
                f"got GPU {card[1]} of {card[0]}. "
                "Start fewer ranks there, or use the group 'mpi'."
            )
    return device
