"""``torch.distributed`` as a group: gloo computes the sums and has its own time limit. PyTorch is
imported when a group is opened.
"""

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import ModuleType
from typing import Any

import numpy

from xpnet.backend.group import Value, say_failed
from xpnet.errors import BackendError


@contextmanager
def open_group(timeout: float) -> Iterator["TorchGroup"]:
    """Join the processes that a launcher of PyTorch has started.

    Parameters
    ----------
    timeout : float
        Seconds that a rank waits for another.

    Yields
    ------
    TorchGroup
        All ranks of ``torch.distributed``, which is initialized unless the program has done so.

    Raises
    ------
    BackendError
        If PyTorch is missing, no launcher has started this process, or another rank does not
        connect in time.

    Notes
    -----
    The process group is kept until the program ends: if it were initialized a second time, ranks
    would read the addresses of the first time.
    """
    try:
        import torch
        import torch.distributed
    except ImportError as error:
        raise BackendError(
            "The group 'torch' needs PyTorch; it is not installed. pip install torch."
        ) from error
    if not torch.distributed.is_available():
        raise BackendError(
            "The group 'torch' needs torch.distributed, which this build of PyTorch leaves out."
        )
    group = _connected(torch, timeout)
    yield TorchGroup(torch, group)
    # This is skipped after an exception, since the other ranks may be in another call.
    if group is not torch.distributed.group.WORLD:
        torch.distributed.destroy_process_group(group)


class TorchGroup:
    """The ranks of a process group: see :class:`xpnet.backend.Group`.

    Parameters
    ----------
    torch : module
        PyTorch.
    group : torch.distributed.ProcessGroup
        The ranks, connected by gloo.
    """

    library = "torch"

    def __init__(self, torch: Any, group: object) -> None:
        self._torch = torch
        self._distributed = torch.distributed
        self._group = group
        self.rank = self._distributed.get_rank(group)
        self.size = self._distributed.get_world_size(group)
        self.why = f"gloo of PyTorch {torch.__version__}"

    def allreduce(self, array: Any) -> Any:
        """See :class:`xpnet.backend.Group`."""
        host = isinstance(array, numpy.ndarray)
        array = numpy.require(array, requirements=("C", "W")) if host else array.contiguous()
        with self._called_by_all():
            self._distributed.all_reduce(
                self._torch.from_numpy(array) if host else array, group=self._group
            )
        return array

    def broadcast(self, value: Value, *, rank: int = 0) -> Value:
        """See :class:`xpnet.backend.Group`."""
        values = [value]
        source = self._distributed.get_global_rank(self._group, rank)
        with self._called_by_all():
            self._distributed.broadcast_object_list(values, src=source, group=self._group)
        return values[0]

    @contextmanager
    def _called_by_all(self) -> Iterator[None]:
        """Raise BackendError in place of gloo's error if another rank has left."""
        try:
            yield
        except RuntimeError as error:
            # The reason stands between gloo's source location and its advice.
            reason = str(error).partition("] ")[2].partition(". ")[0] or str(error)
            raise BackendError(
                f"All ranks must stay until the end; rank {self.rank} of {self.size} has lost "
                f"another ({reason}). Look in the output of the others for one that failed, was "
                "ended, made other calls, or took too long."
            ) from error

    def abort(self, error: BaseException) -> None:
        """See :class:`xpnet.backend.Group`: the launcher ends the ranks when it sees this process
        fail.
        """
        if self.size > 1:
            say_failed(self, error, "failed")


def _connected(torch: ModuleType, timeout: float) -> Any:
    """Return a process group of all ranks: the default group first, and a new group after that."""
    distributed = torch.distributed
    limit = timedelta(seconds=timeout)
    try:
        if distributed.is_initialized():
            return distributed.new_group(backend="gloo", timeout=limit)
        distributed.init_process_group("gloo", timeout=limit)
        # The threads of the group must end before the program does, or the program ends with an
        # error. The program may have destroyed the group itself.
        atexit.register(
            lambda: distributed.is_initialized() and distributed.destroy_process_group()
        )
        return distributed.group.WORLD
    except (
        ValueError,
        RuntimeError,
    ) as error:  # the launcher's variables or a rank are missing
        reason = str(error).partition("\n")[0]
        raise BackendError(
            "The group 'torch' needs all processes that a launcher of PyTorch starts, within "
            f"{timeout:g} s: {reason}. Start the program with torchrun --nproc-per-node 2 "
            "program.py, look for a rank that did not come, or pass use_group a longer timeout."
        ) from error
