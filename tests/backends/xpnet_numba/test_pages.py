"""Buffers on large pages, and where none are to be had."""

import mmap
import re
from pathlib import Path

import numpy
import pytest
from xpnet_numba.runtime import machine
from xpnet_numba.step.job import GAP, LINE, PAGE, aligned, bytes_for, carve

LARGE = machine.LARGE_PAGE


@pytest.mark.parametrize("nbytes", [0, 1, LARGE - 1, LARGE, 3 * LARGE + 7])
def test_zeros_can_be_written(nbytes: int) -> None:
    found = machine.zeros(nbytes)
    assert found.shape == (nbytes,)
    assert not found.any()
    found[:] = 1
    assert found.sum() == nbytes


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no large pages to ask for")
def test_many_begin_a_large_page() -> None:
    found = machine.zeros(2 * LARGE)
    assert found.ctypes.data % LARGE == 0


def test_a_system_that_has_none_gives_zeros_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Invalid argument")

    monkeypatch.setattr(machine.mmap, "mmap", refuse)
    assert not machine.zeros(2 * LARGE).any()
    monkeypatch.delattr(machine.mmap, "MADV_HUGEPAGE", raising=False)
    assert not machine.zeros(2 * LARGE).any()


def test_too_much_is_a_memory_error() -> None:
    with pytest.raises(MemoryError):
        machine.zeros(1 << 60)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_what_is_dropped_is_given_back() -> None:
    def mapped() -> int:
        return int(re.split(r"\s+", Path("/proc/self/statm").read_text())[0]) * mmap.PAGESIZE

    before = mapped()
    for _ in range(50):
        machine.zeros(20 * LARGE)[:] = 1
    assert mapped() - before < 20 * LARGE


def test_arrays_lie_apart() -> None:
    sizes = {"a": 1023, "b": 1, "c": 65, "d": 4096}
    arrays = aligned("float32", sizes)
    more = aligned("float64", {"e": 7})
    again = carve(numpy.zeros(bytes_for(arrays, more), numpy.uint8), arrays, more)
    for found in (list(arrays.values()), [*again[0].values(), *again[1].values()]):
        ends = [(array.ctypes.data, array.ctypes.data + array.nbytes) for array in found]
        assert all(start % LINE == 0 for start, _ in ends)
        gaps = [GAP if end - begin >= PAGE else 0 for begin, end in ends]
        assert all(start >= end + gap for (_, end), gap, (start, _) in zip(ends, gaps, ends[1:], strict=False))
        assert all(not array.any() for array in found)
    assert [array.dtype for array in again[1].values()] == ["float64"]
