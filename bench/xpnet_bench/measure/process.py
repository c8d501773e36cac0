"""The parent's handle on a contender's process."""

import multiprocessing
import os
import tempfile
from typing import Any
from unittest import mock

import psutil

from xpnet_bench.contenders import find_entry
from xpnet_bench.measure.pinning import pinned_environment
from xpnet_bench.measure.worker import Failure, serve

TIMEOUT = 300.0
"""Maximum number of seconds that a contender may take for an answer."""

CONTEXT = multiprocessing.get_context("spawn")


class ContenderFailed(Exception):
    """A contender cannot do what was asked; the message is the reason."""


class ContenderProcess:
    """A running contender. Between requests it is stopped, so that no idle thread pool takes a core
    from the others.
    """

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._requests, answers = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=serve, args=(name, threads, answers))
        environment = pinned_environment(threads, dict(find_entry(name).environment))
        with mock.patch.dict(os.environ, environment, clear=True):
            self._process.start()
        answers.close()  # so that the end of the process is the end of the pipe
        self._handle = psutil.Process(self._process.pid)
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
            self._requests.send((do, arguments))
            answers = self._requests.poll(TIMEOUT)
            answer = self._requests.recv() if answers else None
            self._handle.suspend()
        except (OSError, EOFError, psutil.Error):
            raise ContenderFailed("its process ended") from None
        if not answers:
            self.close()
            raise ContenderFailed(f"gave no answer within {TIMEOUT:.0f} s")
        if isinstance(answer, Failure):
            raise ContenderFailed(answer.reason)
        return answer

    def processor_seconds(self) -> float:
        """Processor seconds that it and what it started have used; 0 if the process has ended."""
        try:
            used = self._handle.cpu_times()
        except psutil.Error:
            return 0.0
        return used.user + used.system + used.children_user + used.children_system

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self.folder.cleanup()
