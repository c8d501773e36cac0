"""How many threads a process is allowed: as many as joblib counts, of the cores that it may run on
now; and how trainings at the same time share them.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event
from typing import Any

import joblib
import pytest

from xpnet.backend import threads


@pytest.fixture(autouse=True)
def clock(monkeypatch: Any) -> list[float]:
    """A clock that stands still, and no trainings of other tests a moment ago; its only item is
    the time in seconds.
    """
    seconds = [0.0]
    monkeypatch.setattr(threads.time, "monotonic", lambda: seconds[0])
    monkeypatch.setattr(
        threads, "_last_simultaneous", threads._Simultaneous(trainings=0, ended=float("-inf"))
    )
    return seconds


def test_joblib_counts_as_many() -> None:
    assert threads.allowed_threads() == joblib.cpu_count()


@pytest.mark.parametrize("count", [1, 5])
def test_a_quota_counts_as_joblib_reads_it(count: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: count)
    monkeypatch.setattr(threads, "_quota", threads._quota.__wrapped__)
    for affinity in (1, 2, 8):
        monkeypatch.setattr(threads, "cores", lambda n=affinity: frozenset(range(n)))
        assert threads.allowed_threads() == min(count, affinity)


def test_a_share_of_the_machine_ends_with_its_context() -> None:
    """Two fits in threads overlap: the first to begin is the first to end."""
    first_entered, second_entered, first_left = Event(), Event(), Event()
    before = threads.allowed_threads()

    def first() -> None:
        with threads.sharing_the_machine(1):
            first_entered.set()
            second_entered.wait(60)
        first_left.set()

    def second() -> None:
        first_entered.wait(60)
        with threads.sharing_the_machine(1):
            second_entered.set()
            first_left.wait(60)

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(first), pool.submit(second)]:
            future.result(60)
        assert threads.allowed_threads() == before
        assert pool.submit(threads.allowed_threads).result(60) == before


@pytest.fixture
def six_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with six cores, whose user names no number of threads."""
    monkeypatch.setattr(threads, "_allowed", lambda: 6)
    monkeypatch.setattr(threads, "_named", lambda: 0)
    monkeypatch.setattr(threads, "_wanted", None)


@pytest.mark.usefixtures("six_cores")
@pytest.mark.parametrize(
    ("wanted", "expected"), [(None, [6, 6, 3, 2, 1, 1, 1, 1]), (2, [2, 2, 1, 1, 1, 1, 1, 1])]
)
def test_trainings_at_the_same_time_divide_the_threads(
    wanted: int | None, expected: list[int], monkeypatch: Any, clock: list[float]
) -> None:
    monkeypatch.setattr(threads, "_wanted", wanted)
    counts = [threads.threads_of_training()]
    with ExitStack() as stack:
        for _ in range(7):
            stack.enter_context(threads.training_in_this_process())
            counts.append(threads.threads_of_training())
    assert counts == expected
    clock[0] = 1.0
    assert threads.threads_of_training() == expected[0]


@pytest.mark.usefixtures("six_cores")
def test_a_training_keeps_its_threads_between_two_fits_of_another(clock: list[float]) -> None:
    """A thread of a search scores between two fits: the fit of the other does not take its core."""
    with threads.training_in_this_process():
        for _ in range(3):
            with threads.training_in_this_process():
                assert threads.threads_of_training() == 3
            clock[0] += 0.9 * threads.SECONDS_BETWEEN_FITS
            assert threads.threads_of_training() == 3
        clock[0] += 0.2 * threads.SECONDS_BETWEEN_FITS
        assert threads.threads_of_training() == 6


@pytest.mark.usefixtures("six_cores")
def test_fewer_trainings_divide_the_threads_after_a_while(clock: list[float]) -> None:
    with ExitStack() as of_all:
        for _ in range(3):
            of_all.enter_context(threads.training_in_this_process())
    shares = []
    with threads.training_in_this_process():
        for _ in range(3):
            with threads.training_in_this_process():
                shares.append(threads.threads_of_training())
            clock[0] += 0.6 * threads.SECONDS_BETWEEN_FITS
    assert shares == [2, 2, 3]


@pytest.mark.usefixtures("six_cores")
def test_a_share_is_not_divided_again() -> None:
    """Two networks of a table train at once, each with half of the threads."""
    with (
        threads.sharing_the_machine(3),
        threads.training_in_this_process(),
        threads.training_in_this_process(),
    ):
        assert threads.threads_of_training() == 3


@pytest.mark.usefixtures("six_cores")
def test_a_training_that_was_cut_off_does_not_count() -> None:
    """An interrupt may come before the mark of a training can be removed."""
    mark = threads._Mark()
    threads._trainings.add(mark)
    with threads.training_in_this_process():
        assert threads.threads_of_training() == 3
        del mark
        assert threads.threads_of_training() == 6
