"""This module times several ways to do the same on this card once, and remembers the fastest on disk."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from xpnet.errors import BackendError
from xpnet_cupy.launcher import Launch

MARGIN = 0.05
"""The first way is left only for one that is faster by this share: differences below it are those of two timings."""


class Timings:
    """Choices by what was to be done, with the microseconds of each way.

    Other choices give other roundings. So they are made once for all processes: those in the file count, and where no
    file can be written the first way is taken and nothing is timed.

    path : the file they are kept in, for one card, one driver and one version of the library
    time : microseconds that a launch takes
    """

    def __init__(self, path: Path, time: Callable[[Launch], float]) -> None:
        self.path, self.time = path, time
        self._choices = self._read()
        self._kept = self._write(self._choices)

    def fastest(self, what: str, ways: Mapping[str, Launch]) -> str:
        """The name of the fastest way, of two at least; the first where others are hardly faster.

        A way that is refused when it is called is not taken. BackendError where all are.
        """
        if not self._kept:
            return next(iter(ways))
        if self._choices.get(what, {}).get("chosen") not in ways:
            self._choices = {**self._choices, **self._read()}  # of other processes
        if self._choices.get(what, {}).get("chosen") not in ways:
            choice = self._timed(what, ways)
            self._choices = {**self._choices, what: choice, **self._read()}
            if self._choices[what].get("chosen") not in ways:
                self._choices[what] = choice
            self._write(self._choices)
        return str(self._choices[what]["chosen"])

    def _timed(self, what: str, ways: Mapping[str, Launch]) -> dict[str, Any]:
        times = {name: self._time(launch) for name, launch in ways.items()}
        first, best = next(iter(ways)), min(times, key=lambda name: times[name])
        if times[best] == float("inf"):
            raise BackendError(f"One of {len(ways)} ways must run {what} on this card; all were refused.")
        chosen = first if times[best] > (1 - MARGIN) * times[first] else best
        return {"chosen": chosen, "microseconds": {name: t for name, t in times.items() if t < float("inf")}}

    def _read(self) -> dict[str, dict[str, Any]]:
        """Read the file's choices; there are none where it is missing or damaged."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            return {what: choice for what, choice in found.items() if isinstance(choice, dict)}
        except (OSError, ValueError, AttributeError):
            return {}

    def _write(self, choices: dict[str, dict[str, Any]]) -> bool:
        """Write beside the old file and then in its place; return whether that can be done."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=self.path.parent, delete=False) as file:
                json.dump(choices, file, indent=1)
        except OSError:
            return False
        with suppress(OSError):  # another process may hold it
            os.replace(file.name, self.path)
        return True

    def _time(self, launch: Launch) -> float:
        try:
            return self.time(launch)
        except BackendError:
            return float("inf")
