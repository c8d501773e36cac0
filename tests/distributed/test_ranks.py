"""Asking for a group, and how the cores of a machine are divided among its ranks."""

from typing import Any

import pytest
from helpers.ranks.threads_group import on_ranks

import xpnet
from xpnet.distributed import current_ranks
from xpnet.distributed.group import threads_of
from xpnet.distributed.ranks import LAUNCHERS, launched


def test_the_group_holds_inside_the_block_alone() -> None:
    def work(group: Any) -> bool:
        return current_ranks().several

    assert on_ranks(2, work) == [True, True]
    assert not current_ranks().several


@pytest.mark.parametrize("settings", [{"data": "some"}, {"timeout": 0}, {"timeout": -1.0}])
def test_wrong_arguments(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(xpnet.InputError, match=name), xpnet.use_group("mpi", **settings):
        pass


def test_an_unknown_group() -> None:
    with (
        pytest.raises(xpnet.BackendError, match="mpi.*got 'horses'"),
        xpnet.use_group("horses"),
    ):
        pass


def test_an_error_on_one_rank_reaches_the_group() -> None:
    def work(group: Any) -> None:
        if group.rank == 1:
            raise ValueError("alone")
        group.allreduce(0)

    with pytest.raises(ValueError, match="alone"):
        on_ranks(2, work)


@pytest.mark.parametrize(
    "name, value, launcher",
    [
        ("OMPI_COMM_WORLD_SIZE", "4", "mpirun"),
        ("PMI_SIZE", "2", "mpirun"),
        ("WORLD_SIZE", "2", "torchrun"),
        ("OMPI_COMM_WORLD_SIZE", "1", None),
    ],
)
def test_the_launcher_is_known(
    name: str, value: str, launcher: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for names in LAUNCHERS.values():
        for known in names:
            monkeypatch.delenv(known, raising=False)
    monkeypatch.setenv(name, value)
    assert launched() == launcher


@pytest.mark.parametrize(
    "own, beside, threads",
    [
        (range(4), [range(4), range(4)], 2),
        (range(4), [range(4)] * 3, 1),
        (range(4), [range(4), range(4, 8)], 4),
        (range(1), [range(1), range(1, 2)], 1),
        (range(2), [range(2)] * 4, 1),
    ],
)
def test_threads_are_divided(own: range, beside: list[range], threads: int) -> None:
    places = [("a", frozenset(cores), len(cores)) for cores in [own, *beside[1:]]]
    assert beside[0] == own
    assert threads_of(0, [*places, ("b", frozenset(range(4)), 4)]) == threads


def test_a_quota_is_divided() -> None:
    assert threads_of(0, [("a", frozenset(range(16)), 4)] * 2) == 2
