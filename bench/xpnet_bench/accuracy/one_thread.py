"""Fits of all contenders compute on one thread, so that their CPU times compare."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

import xpnet


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread, and no warnings: contenders warn of their defaults."""
    threads = xpnet.get_threads()
    xpnet.set_threads(1)
    try:
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")
            yield
    finally:
        xpnet.set_threads(threads)
