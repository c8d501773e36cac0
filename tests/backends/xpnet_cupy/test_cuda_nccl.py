"""Ranks with a GPU each, over a stand-in for NCCL: every rank is a thread."""

import ctypes
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import cupy_on_host
import numpy as np
import pytest
from cuda_host import needs_compiler
from cupy_on_host import cupy, current
from xpnet_cupy import nccl as own
from xpnet_cupy.nccl import NcclGroup

from xpnet.backend import Group
from xpnet.errors import BackendError

pytestmark = needs_compiler
TYPES = {7: ctypes.c_float, 8: ctypes.c_double, 4: ctypes.c_int64}
RANKS = 3


class Nccl:
    """cupy.cuda.nccl, its ranks in one process."""

    NCCL_SUM, NCCL_INT64, NCCL_FLOAT32, NCCL_FLOAT64, available = 0, 4, 7, 8, True

    def __init__(self) -> None:
        self.board: dict[int, Any] = {}
        self.barrier, self.aborted = threading.Barrier(RANKS), 0

    def get_unique_id(self) -> bytes:
        return b"identity"

    def get_version(self) -> int:
        return 22304

    def NcclCommunicator(self, count: int, identity: bytes, rank: int) -> Any:
        assert (count, identity) == (RANKS, b"identity")
        return SimpleNamespace(
            allReduce=lambda *given: self.add(rank, *given),
            abort=self.abort,
            destroy=lambda: None,
            check_async_error=lambda: None,
        )

    def abort(self) -> None:
        self.aborted += 1

    def add(self, rank: int, source: int, target: int, count: int, kind: int, operation: int, stream: int) -> None:
        assert (operation, stream, target) == (self.NCCL_SUM, current().ptr, source)
        own = np.ctypeslib.as_array((TYPES[kind] * count).from_address(source))
        self.board[rank] = own.copy()
        self.barrier.wait(30)
        own[...] = sum(self.board[k] for k in range(RANKS))
        self.barrier.wait(30)


class Host:
    """The same ranks on the host."""

    size, why, library = RANKS, "threads", "numpy"
    shared: Any = None

    def __init__(self, rank: int) -> None:
        self.rank, self.failed = rank, False

    def sum(self, array: Any) -> Any:
        return array * self.size

    def share(self, value: Any, *, rank: int = 0) -> Any:
        return b"identity" if value is None or isinstance(value, bytes) else value

    def fail(self, error: BaseException) -> None:
        self.failed = True


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    with cupy_on_host.installed():
        yield


def groups(nccl: Any, timeout: float = 30) -> list[NcclGroup]:
    return [NcclGroup(Host(rank), cupy, nccl, timeout) for rank in range(RANKS)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_arrays_of_the_device_are_added_up_where_they_lie(dtype: str) -> None:
    made = groups(Nccl())
    arrays = [cupy.asarray(np.arange(6, dtype=dtype).reshape(2, 3) * 10**rank) for rank in range(RANKS)]
    with ThreadPoolExecutor(RANKS) as pool:
        sums = list(pool.map(lambda group, array: group.sum(array), made, arrays))
    for array, total in zip(arrays, sums, strict=True):
        assert total is array or np.shares_memory(total, array)
        np.testing.assert_array_equal(total, np.arange(6).reshape(2, 3) * 111)


def test_what_lies_on_the_host_goes_over_the_host() -> None:
    group = groups(Nccl())[1]
    assert isinstance(group, Group) and group.sum(np.ones(2)).tolist() == [3, 3] and group.share("a") == "a"
    assert (group.rank, group.size, group.library, group.why) == (1, RANKS, "cupy", "NCCL 2.23.4 and threads")


def test_a_rank_that_does_not_come_is_waited_for_no_longer_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    nccl = Nccl()
    monkeypatch.setattr(nccl, "add", lambda *given: None)
    monkeypatch.setattr("cupy_on_host.Stream.record", lambda stream: SimpleNamespace(done=False))
    group = groups(nccl, timeout=0.01)[2]
    with pytest.raises(BackendError, match=r"Rank 2 of 3 waited 0.01 s for the sum") as caught:
        group.sum(cupy.asarray(np.ones(3)))
    group.fail(caught.value)
    assert nccl.aborted == 1 and group._host.failed  # type: ignore[attr-defined]


def test_more_ranks_than_gpus_are_refused() -> None:
    with own._own_device(cupy, Host(0)):
        pass
    with pytest.raises(BackendError, match="rank 2 is number 3 on .*, which has 1"), own._own_device(cupy, Host(2)):
        pass


def test_without_nccl_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy.cuda, "nccl", SimpleNamespace(available=False), raising=False)
    monkeypatch.setitem(__import__("sys").modules, "cupy.cuda", cupy.cuda)
    with pytest.raises(BackendError, match="pip install nvidia-nccl-cu13"):
        own._cupy_with_nccl()
