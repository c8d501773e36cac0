"""A group joins processes that train one network together; its protocols need no inheritance."""

import sys
from typing import Any, Protocol, TypeVar, runtime_checkable

from xpnet.ops import Array

Value = TypeVar("Value")


@runtime_checkable
class Group(Protocol):
    """Processes that train one network together, as one of them sees it.

    Each process is a rank. ``sum`` and ``share`` are collective: every rank calls the same ones in the same order, and
    none returns before the others have taken part. A rank that waits longer than the group's time-out for another ends
    the whole group, as ``fail`` does.

    Under the entry-point group ``xpnet.groups`` a package registers a function ``open_group(timeout)``. It is called in
    every process when the group is asked for, and returns a context manager whose value is the group: what it takes to
    join the others is done on the way in, and undone on the way out. Importing the package must be cheap and must not
    fail where its library is missing; ``open_group`` then raises :class:`~xpnet.errors.BackendError` with the remedy.

    Attributes
    ----------
    rank : int
        The number of this process, from 0 on. Rank 0 prints, and writes files.
    size : int
        How many ranks there are.
    library : str
        The array library, beside NumPy, whose arrays ``sum`` takes where they lie, such as ``"cupy"``; ``"numpy"``
        where there is none.
    why : str
        What carries the messages, for a person: its name, its version.

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

    def allreduce(self, array: Array) -> Array:
        """Return the sum of the ranks' arrays, the same bits on every rank.

        Parameters
        ----------
        array : array of any shape
            NumPy's or that of ``library``, float32, float64 or int64; the same shape and dtype on every rank. It may be
            overwritten.

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
            What that rank has, if it can be pickled; the others' values are not looked at.
        rank : int, default 0
            Whose value it is; the same on every rank.

        Returns
        -------
        object
            That rank's value, or a copy of it.
        """

    def abort(self, error: BaseException) -> None:
        """Write this rank and its error to stderr, and end all ranks with an exit code other than 0.

        It may return; the caller then raises the error, and the ranks end when it ends this process.

        Parameters
        ----------
        error : BaseException
            The error that ends the group.
        """


@runtime_checkable
class SharedMemoryGroup(Group, Protocol):
    """A group whose ranks may run on one machine, where they can have memory in common."""

    def shared_memory(self, size: int) -> Any:
        """Return memory that every rank reads and writes. Collective.

        Parameters
        ----------
        size : int
            How many bytes at least, the same number on every rank.

        Returns
        -------
        numpy.ndarray of uint8, or None
            The same array as in the last call, if it was large enough; else that one must not be used any more. None,
            on every rank, where the ranks have no memory in common, or not as much.
        """

    def barrier(self) -> None:
        """Wait until every rank is here: what each has written to the common memory is then read by all."""


def say_failed(group: Group, error: BaseException, then: str) -> None:
    """Write to stderr that this rank has failed, and why; a process that exits before the others exits with 1.

    then : what the message says of it
    """
    if isinstance(error, SystemExit) and not error.code:
        error.code = 1
    text = " ".join(str(error).split())
    sys.stderr.write(
        f"xpnet: rank {group.rank} of {group.size} {then}: {type(error).__name__}: {text}\n"
    )
    sys.stderr.flush()


def allgather(group: Group, value: Any) -> list[Any]:
    """Return the values of all ranks, in their order; each can be pickled."""
    return [group.broadcast(value, rank=rank) for rank in range(group.size)]
