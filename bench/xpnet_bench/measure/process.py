"""The parent's handle on a contender's process."""

import contextlib
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any
from unittest import mock

import psutil

from xpnet_bench.contenders import find_entry
from xpnet_bench.measure.pinning import pinned_environment
from xpnet_bench.measure.worker import ContenderFailed, answer, begin

TIMEOUT = 300.0
"""Maximum number of seconds that a contender may take for an answer."""

CONTEXT = multiprocessing.get_context("spawn")


class ContenderProcess:
    """A running contender. Between requests it is stopped, so that no idle thread pool takes a core
    from the others.
    """

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._pool = ProcessPoolExecutor(1, CONTEXT, initializer=begin, initargs=(name, threads))
        environment = pinned_environment(threads, dict(find_entry(name).environment))
        try:
            with mock.patch.dict(os.environ, environment, clear=True):
                self._handle = psutil.Process(self._pool.submit(os.getpid).result(TIMEOUT))
        except (BrokenProcessPool, TimeoutError, psutil.Error):
            self._pool.shutdown(wait=False, cancel_futures=True)
            self.folder.cleanup()
            raise ContenderFailed("its process did not start") from None
        try:
            self.facts: dict[str, str] = self.ask("facts")
        except ContenderFailed:
            self.close()
            raise

    def ask(self, do: str, *arguments: Any) -> Any:
        """Wake the contender, have it call a method of its ``Worker``, and stop it again.

        Raises ContenderFailed with the reason if it cannot do it, ends, or takes too long.
        """
        try:
            self._handle.resume()
            try:
                return self._pool.submit(answer, do, *arguments).result(TIMEOUT)
            finally:
                self._handle.suspend()
        except (BrokenProcessPool, psutil.Error):
            raise ContenderFailed("its process ended") from None
        except TimeoutError:
            self.close()
            raise ContenderFailed(f"gave no answer within {TIMEOUT:.0f} s") from None

    def processor_seconds(self) -> float:
        """Processor seconds that it and what it started have used; 0 if the process has ended."""
        try:
            used = self._handle.cpu_times()
        except psutil.Error:
            return 0.0
        return used.user + used.system + used.children_user + used.children_system

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(psutil.Error):
            self._handle.kill()
        self._pool.shutdown()
        self.folder.cleanup()
