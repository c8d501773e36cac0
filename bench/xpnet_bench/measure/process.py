"""The parent's handle on a contender's process."""

import json
import queue
import subprocess
import sys
import tempfile
import threading
from typing import Any

import psutil

from xpnet_bench.contenders import find_entry
from xpnet_bench.measure.pinning import pinned_environment

TIMEOUT = 300.0


class ContenderFailed(Exception):
    """A contender cannot do what was asked; the message is the reason."""


class ContenderProcess:
    """A running contender. Between requests it is stopped, so that no idle thread pool takes a core
    from the others.
    """

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "xpnet_bench.measure.worker", name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=pinned_environment(threads, dict(find_entry(name).environment)),
            encoding="utf-8",
        )
        self._handle = psutil.Process(self._process.pid)
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self.facts: dict[str, str] = self.ask("facts")["facts"]
        except ContenderFailed:
            self.close()
            raise

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Wake the contender, make a request, and stop it again.

        Raises ContenderFailed with the reason if it cannot do it, ends, or takes too long.
        """
        assert self._process.stdin is not None
        try:
            self._handle.resume()
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
            answer = json.loads(
                self._answers.get(timeout=TIMEOUT) or '{"failed": "its process ended"}'
            )
            self._handle.suspend()
        except queue.Empty:
            self.close()
            raise ContenderFailed(f"gave no answer within {TIMEOUT:.0f} s") from None
        except (OSError, psutil.Error):
            raise ContenderFailed("its process ended") from None
        if "failed" in answer:
            raise ContenderFailed(answer["failed"])
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
        self._process.communicate()
        self.folder.cleanup()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")
