"""Zeros to write to: much of it at once on large pages.

Linux maps a page when it is first written to, which takes microseconds, and longer where several threads come upon new
pages at once. Parameters, gradients and optimizer of a network of some megabytes have thousands of pages, which would
take as long as some updates. Large pages are 512 times as few; and a product that reads down the columns of a matrix
does not look up a page for each number.
"""

import mmap
from typing import Any

import numpy

LARGE_PAGE = 1 << 21
"""Bytes of a large page: on x86, and on ARM with the usual small ones."""


def zeros(nbytes: int) -> Any:
    """So many zero bytes, (nbytes,) uint8."""
    if nbytes < LARGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return numpy.zeros(nbytes, numpy.uint8)
    try:
        memory = mmap.mmap(-1, nbytes + LARGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # no such pages here, or no room for one more
        return numpy.zeros(nbytes, numpy.uint8)
    found = numpy.frombuffer(memory, numpy.uint8)
    begin = -found.ctypes.data % LARGE_PAGE
    return found[begin : begin + nbytes]
