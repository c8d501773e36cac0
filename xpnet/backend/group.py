"""The protocols of a group, which joins processes that train one network together."""

import sys
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy

from xpnet.ops import Array

Value = TypeVar("Value")


@runtime_checkable
class Group(Protocol):
    """Processes that train one network together, as one of them sees it.

    Each process is a rank. ``allreduce`` and ``broadcast`` are collective: all ranks call the same
    methods in the same order, and no call returns before the other ranks have taken part. A rank
    that waits for another one longer than the group's time-out ends the whole group, as ``abort``
    does.

    Under the entry-point group ``xpnet.groups`` a package registers a function
    ``open_group(timeout)``. It is called in every process when the group is needed, and returns a
    context manager whose value is the group. The process joins the others when the context is
    entered, and leaves them when it is left. Importing the package must be cheap and must not fail
    where its library is missing; ``open_group`` then raises :class:`~xpnet.errors.BackendError`
    with the remedy.

    Attributes
    ----------
    rank : int
        The number of this process, from 0 on. Rank 0 prints, and writes files.
    size : int
        Number of ranks.
    library : str
        The library, besides NumPy, whose arrays ``allreduce`` takes on their own device, such as
        ``"cupy"``; ``"numpy"`` if there is none.
    why : str
        Name and version of the software that carries the messages, for the user.

    Examples
    --------
    A group of one process:

    >>> import numpy
    >>> from xpnet.backend import Group
    >>> class Alone:
    ...     rank, size, library, why = 0, 1, "numpy", "one process"
    ...     def allreduce(self, array):
    ...         return array
    ...     def broadcast(self, value, *, rank=0):
    ...         return value
    ...     def abort(self, error):
    ...         pass
    >>> isinstance(Alone(), Group)
    True
    """

    rank: int
    size: int
    library: str
    why: str

    def allreduce(self, array: Array) -> Any:
        """Return the sum of the ranks' arrays, the same bits on every rank.

        Parameters
        ----------
        array : array of any shape
            NumPy's or that of ``library``, float32, float64 or int64; the same shape and dtype on
            every rank. It may be overwritten.

        Returns
        -------
        array of the same shape and dtype
            ``array`` itself where it could be written to.
        """

    def broadcast(self, value: Value, *, rank: int = 0) -> Value:
        """Return the value of one rank on all ranks.

        Parameters
        ----------
        value : object
            The value of that rank, which must be picklable; the values of the others are ignored.
        rank : int, default 0
            The rank whose value is returned; the same on every rank.

        Returns
        -------
        object
            That rank's value, or a copy of it.
        """

    def abort(self, error: BaseException) -> None:
        """Write this rank and its error to stderr, and end all ranks with a nonzero exit code.

        It may return. Then the caller raises the error, and all ranks end when the error ends this
        process.

        Parameters
        ----------
        error : BaseException
            The error that ends the group.
        """


@runtime_checkable
class SharedMemoryGroup(Group, Protocol):
    """A group whose ranks may run on one machine, where they can share memory."""

    def shared_memory(self, size: int) -> numpy.ndarray | None:
        """Return memory that every rank reads and writes. Collective.

        Parameters
        ----------
        size : int
            Minimum number of bytes; the same on every rank.

        Returns
        -------
        numpy.ndarray of uint8, or None
            The array of the last call, if it is large enough; otherwise a new one, and that of the
            last call must not be used any more. None, on every rank, if the ranks have no shared
            memory, or not enough.
        """

    def barrier(self) -> None:
        """Wait for all ranks; then all see what each has written to the shared memory."""


def say_failed(group: Group, error: BaseException, then: str) -> None:
    """Write to stderr that this rank has failed, and why.

    An exit with code 0 gets the code 1, since the other ranks have not finished.

    then : the predicate of the message, such as ``failed``
    """
    if isinstance(error, SystemExit) and not error.code:
        error.code = 1
    text = " ".join(str(error).split())
    sys.stderr.write(
        f"xpnet: rank {group.rank} of {group.size} {then}: {type(error).__name__}: {text}\n"
    )
    sys.stderr.flush()


def allgather(group: Group, value: Value) -> list[Value]:
    """Return the values of all ranks, in their order; each can be pickled."""
    return [group.broadcast(value, rank=rank) for rank in range(group.size)]
