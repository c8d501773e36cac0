"""Buffers: arrays that begin at a cache line, and are separate."""

import numpy
from xpnet_numba.step.job import GAP, LINE, PAGE, aligned, bytes_for, carve


def test_arrays_lie_apart() -> None:
    sizes = {"a": 1023, "b": 1, "c": 65, "d": 4096}
    arrays = aligned("float32", sizes)
    more = aligned("float64", {"e": 7})
    again = carve(numpy.zeros(bytes_for(arrays, more), numpy.uint8), arrays, more)
    for found in (list(arrays.values()), [*again[0].values(), *again[1].values()]):
        ends = [(array.ctypes.data, array.ctypes.data + array.nbytes) for array in found]
        assert all(start % LINE == 0 for start, _ in ends)
        gaps = [GAP if end - begin >= PAGE else 0 for begin, end in ends]
        assert all(
            start >= end + gap
            for (_, end), gap, (start, _) in zip(ends, gaps, ends[1:], strict=False)
        )
        assert all(not array.any() for array in found)
    assert [array.dtype for array in again[1].values()] == ["float64"]
