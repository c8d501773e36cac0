"""Ranks with a GPU each, over a stand-in for NCCL: every rank is a thread."""

import ctypes
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.cuda import cupy_on_host
from helpers.cuda.checks import EPOCHS, RULES, data, train, weights
from helpers.cuda.cupy_on_host import cupy, current
from helpers.cuda.host import needs_compiler
from helpers.ranks.threads_group import Meeting, ThreadsGroup
from xpnet_cupy import CupyBackend
from xpnet_cupy import nccl as own
from xpnet_cupy.nccl import NcclGroup
from xpnet_numpy import NumpyBackend

from xpnet.backend import Group, NetworkSpec
from xpnet.distributed import DistributedStep, Ranks
from xpnet.errors import BackendError
from xpnet.steps import ReferenceStep

pytestmark = needs_compiler
TYPES = {7: ctypes.c_float, 8: ctypes.c_double, 4: ctypes.c_int64}
RANKS = 3


class Nccl:
    """cupy.cuda.nccl, its ranks in one process."""

    NCCL_SUM, NCCL_INT64, NCCL_FLOAT32, NCCL_FLOAT64, available = 0, 4, 7, 8, True

    def __init__(self) -> None:
        self.board: dict[int, Any] = {}
        self.barrier, self.aborted, self.sums = threading.Barrier(RANKS), 0, [0] * RANKS

    def get_unique_id(self) -> bytes:
        return b"identity"

    def get_version(self) -> int:
        return 22304

    def NcclCommunicator(self, count: int, identity: bytes, rank: int) -> Any:
        assert (count, identity) == (RANKS, b"identity")
        return SimpleNamespace(
            allReduce=lambda *given: self.add(rank, *given),
            abort=lambda: self.abort(rank),
            destroy=lambda: None,
            check_async_error=lambda: None,
        )

    def abort(self, rank: int) -> None:
        self.aborted += 1

    def add(
        self,
        rank: int,
        source: int,
        target: int,
        count: int,
        kind: int,
        operation: int,
        stream: int,
    ) -> None:
        assert (operation, stream, target) == (self.NCCL_SUM, current().ptr, source)
        assert current().capture is None, "a rank that records waits for ranks that do not"
        own = np.ctypeslib.as_array((TYPES[kind] * count).from_address(source))

        def meet() -> None:
            self.board[rank] = own.copy()
            self.barrier.wait(30)
            total = sum(self.board[k] for k in range(RANKS))
            self.barrier.wait(30)
            own[...] = total
            self.sums[rank] += 1

        current().ask(meet, alone=id(self))


class Host:
    """The same ranks on the host."""

    size, why, library = RANKS, "threads", "numpy"
    shared: Any = None

    def __init__(self, rank: int) -> None:
        self.rank, self.failed = rank, False

    def allreduce(self, array: Any) -> Any:
        return array * self.size

    def broadcast(self, value: Any, *, rank: int = 0) -> Any:
        return b"identity" if value is None or isinstance(value, bytes) else value

    def abort(self, error: BaseException) -> None:
        self.failed = True


@pytest.fixture(autouse=True, scope="module")
def installed() -> Iterator[None]:
    with cupy_on_host.installed():
        yield


def groups(nccl: Any, timeout: float = 30) -> list[NcclGroup]:
    return [NcclGroup(Host(rank), cupy, nccl, timeout) for rank in range(RANKS)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_arrays_of_the_device_are_added_up_where_they_lie(dtype: str) -> None:
    made = groups(Nccl())
    arrays = [
        cupy.asarray(np.arange(6, dtype=dtype).reshape(2, 3) * 10**rank) for rank in range(RANKS)
    ]
    with ThreadPoolExecutor(RANKS) as pool:
        sums = list(pool.map(lambda group, array: group.allreduce(array), made, arrays))
    for array, total in zip(arrays, sums, strict=True):
        assert total is array or np.shares_memory(total, array)
        np.testing.assert_array_equal(total, np.arange(6).reshape(2, 3) * 111)


def test_what_lies_on_the_host_goes_over_the_host() -> None:
    group = groups(Nccl())[1]
    assert (
        isinstance(group, Group)
        and group.allreduce(np.ones(2)).tolist() == [3, 3]
        and group.broadcast("a") == "a"
    )
    assert (group.rank, group.size, group.library, group.why) == (
        1,
        RANKS,
        "cupy",
        "NCCL 2.23.4 and threads",
    )


def test_a_rank_that_does_not_come_is_waited_for_no_longer_than_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nccl = Nccl()
    monkeypatch.setattr(nccl, "add", lambda *given: None)
    monkeypatch.setattr(
        "helpers.cuda.cupy_on_host.Stream.record",
        lambda stream: SimpleNamespace(ptr=SimpleNamespace(status=600)),
    )
    group = groups(nccl, timeout=0.01)[2]
    with pytest.raises(BackendError, match=r"Rank 2 of 3 waited 0.01 s for the sum") as caught:
        group.allreduce(cupy.asarray(np.ones(3)))
    group.abort(caught.value)
    assert nccl.aborted == 1 and group._host.failed  # type: ignore[attr-defined]


def test_a_device_that_failed_is_no_rank_that_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "helpers.cuda.cupy_on_host.Stream.record",
        lambda stream: SimpleNamespace(ptr=SimpleNamespace(status=700)),
    )
    with pytest.raises(
        BackendError, match="GPU of rank 0 must finish its work; CUDA ended it with status 700"
    ):
        groups(Nccl())[0]._wait(cupy.cuda.get_current_stream().record())


def test_the_other_ranks_are_told_before_a_communicator_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NCCL may wait for ever for their part in it."""
    group, ended = groups(Nccl())[1], threading.Event()
    monkeypatch.setattr(own, "ABORT_SECONDS", 0.01)
    monkeypatch.setattr(group, "_comm", SimpleNamespace(abort=lambda: ended.wait(30)))
    group.abort(BackendError("lost"))
    assert group._host.failed  # type: ignore[attr-defined]
    ended.set()


def chosen(visible: list[list[str]]) -> list[str]:
    """The card that each rank takes. visible : the bus ids of the cards that each rank sees"""
    meeting = Meeting(len(visible))

    def choose(rank: int) -> str:
        def device(k: int) -> Any:
            return SimpleNamespace(pci_bus_id=visible[rank][k])

        runtime = SimpleNamespace(getDeviceCount=lambda: len(visible[rank]))
        seen = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime, Device=device))
        return own._own_device(seen, ThreadsGroup(rank, meeting)).pci_bus_id

    with ThreadPoolExecutor(len(visible)) as pool:
        return list(pool.map(choose, range(len(visible))))


def test_each_rank_has_a_card_of_its_own() -> None:
    """Whether ranks see all cards of the machine or, as some launchers arrange it, one each."""
    assert chosen([["17:00", "65:00", "ca:00"]] * 3) == ["17:00", "65:00", "ca:00"]
    assert chosen([["17:00"], ["65:00"], ["ca:00"]]) == ["17:00", "65:00", "ca:00"]


@pytest.mark.parametrize("visible", [[["17:00", "65:00"]] * 3, [["17:00"], ["65:00"], ["17:00"]]])
def test_ranks_that_share_a_card_are_refused(visible: list[list[str]]) -> None:
    with pytest.raises(BackendError, match="ranks 0 and 2 .*17:00"):
        chosen(visible)


def test_without_nccl_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy.cuda, "nccl", SimpleNamespace(available=False), raising=False)
    monkeypatch.setitem(__import__("sys").modules, "cupy.cuda", cupy.cuda)
    with pytest.raises(BackendError, match="nvidia-nccl-cu13"), own.open_group(1.0):
        pass


SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {"rule": RULES["adam"]},
    "penalty": {"rule": RULES["nesterov"], "l2": 0.1, "l2_over_batch": True},
    "dropout": {"rule": RULES["sgd"], "l2": 0.1, "dropout": (0.5, 0.3), "seed": 5},
}


def trained(
    spec: NetworkSpec,
    nccl: Nccl,
    rank: int,
    meeting: Meeting,
    *,
    rows: int,
    cuts: tuple[int, ...] = (),
    weight: Any = None,
    **how: Any,
) -> tuple[Any, Any, Any]:
    """A rank's losses and its step, whose group has been left.

    cuts : where the rows of each rank begin and end, if each has its own
    """
    group = NcclGroup(ThreadsGroup(rank, meeting), cupy, nccl, 30)
    backend = CupyBackend()
    step: Any = backend.compile_step(spec)
    step.params.update(weights(spec))
    grouped = DistributedStep(step, Ranks(group, "own" if cuts else "same"))
    X, Y = data(spec, "indices", rows=rows)
    own = slice(*cuts[rank : rank + 2]) if cuts else slice(None)
    arrays = [None if array is None else backend.asarray(array[own]) for array in (X, Y, weight)]
    try:
        losses = train(grouped, *arrays[:2], weight=arrays[2], rows=rows, **how)
    except BackendError as error:
        group.abort(error)
        raise
    group.close()
    return losses, grouped.penalty, step


def on_ranks(spec: NetworkSpec, nccl: Nccl, **how: Any) -> list[Any]:
    """Of all ranks."""
    meeting = Meeting(RANKS)
    with ThreadPoolExecutor(RANKS) as pool:
        return list(pool.map(lambda rank: trained(spec, nccl, rank, meeting, **how), range(RANKS)))


@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("settings", SETTINGS)
def test_the_answer_is_that_of_one_process(
    settings: str, late: bool, shuffled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine batches of 10 rows, of which ranks have 3, 3 and 4, and one of 7."""
    monkeypatch.setattr("helpers.cuda.cupy_on_host.Graph.late", late)
    spec, nccl = NetworkSpec((7, 6, 5, 4), ("relu", "tanh"), **SETTINGS[settings]), Nccl()
    X, Y = data(spec, "indices", rows=97)
    reference = ReferenceStep(spec, NumpyBackend(), "")
    reference.params.update(weights(spec))
    wanted = train(reference, X, Y, batch=10, shuffled=shuffled)
    for losses, penalty, step in on_ranks(spec, nccl, rows=97, batch=10, shuffled=shuffled):
        np.testing.assert_allclose(losses, wanted, rtol=1e-10)
        np.testing.assert_allclose(penalty, reference.penalty, rtol=1e-10)
        for name, array in step.params.items():
            np.testing.assert_allclose(array, reference.params[name], rtol=1e-9, atol=1e-12)
    assert nccl.sums == [EPOCHS * 10] * RANKS  # one a batch


OWN = {"all rows": (), "own rows": (0, 20, 57, 97), "a rank without rows": (0, 0, 40, 97)}


@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("rows", OWN)
@pytest.mark.parametrize("settings", SETTINGS)
def test_weights_and_own_rows(settings: str, rows: str, weighted: bool, shuffled: bool) -> None:
    """Some parts have no rows, and the weights of one batch are zero on all ranks."""
    spec, nccl = NetworkSpec((7, 6, 5, 4), ("relu", "tanh"), **SETTINGS[settings]), Nccl()
    X, Y = data(spec, "indices", rows=97)
    weight = np.random.default_rng(2).random(97).round(1) if weighted else None
    if weight is not None and not shuffled:
        weight[10:20] = 0
    reference = ReferenceStep(spec, NumpyBackend(), "")
    reference.params.update(weights(spec))
    how = {"batch": 10, "weight": weight, "shuffled": shuffled}
    wanted = train(reference, X, Y, **how)
    for losses, penalty, step in on_ranks(spec, nccl, rows=97, cuts=OWN[rows], **how):
        np.testing.assert_allclose(losses, wanted, rtol=1e-10)
        np.testing.assert_allclose(penalty, reference.penalty, rtol=1e-10)
        for name, array in step.params.items():
            np.testing.assert_allclose(array, reference.params[name], rtol=1e-9, atol=1e-12)
    assert nccl.sums == [EPOCHS * 10] * RANKS


def test_where_some_parts_have_no_rows() -> None:
    """In a batch of two rows one of the ranks has none."""
    spec, nccl = NetworkSpec((7, 6, 4), ("relu",), rule=RULES["adam"]), Nccl()
    X, Y = data(spec, "indices", rows=22)
    reference = ReferenceStep(spec, NumpyBackend(), "")
    reference.params.update(weights(spec))
    wanted = train(reference, X, Y, batch=10)
    for losses, _, _ in on_ranks(spec, nccl, rows=22, batch=10):
        np.testing.assert_allclose(losses, wanted, rtol=1e-10)


def test_a_rank_that_waits_too_long_gives_up_the_communicator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: dict[Any, int] = {}

    def wait(group: NcclGroup, event: Any) -> None:
        waits[group] = waits.get(group, 0) + 1
        if waits[group] > 1:
            raise BackendError("waited too long")

    monkeypatch.setattr(NcclGroup, "_wait", wait)
    nccl = Nccl()
    with pytest.raises(BackendError, match="waited too long"):
        on_ranks(NetworkSpec((7, 6, 4), ("relu",), rule=RULES["adam"]), nccl, rows=97, batch=10)
    assert nccl.aborted == RANKS
