"""This module times several ways to do the same on this card once, and remembers the fastest on disk."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

from xpnet.errors import BackendError
from xpnet_cupy.launcher import Launch


class Timings:
    """Choices by what was to be done.

    path : the file they are kept in, for one card and one version of the library
    time : microseconds that a launch takes
    """

    def __init__(self, path: Path, time: Callable[[Launch], float]) -> None:
        self.path, self.time = path, time

    def fastest(self, what: str, ways: Mapping[str, Launch]) -> str:
        """The name of the fastest way, of two at least.

        A way that is refused when it is called is not taken. BackendError where all are.
        """
        if self._choices.get(what) not in ways:
            times = {name: self._time(launch) for name, launch in ways.items()}
            self._choices[what] = min(times, key=lambda name: times[name])
            if times[self._choices[what]] == float("inf"):
                raise BackendError(f"One of {len(ways)} ways must run {what} on this card; all were refused.")
            self._keep()
        return self._choices[what]

    @cached_property
    def _choices(self) -> dict[str, str]:
        """Read the file's choices; there are none where it is missing or damaged."""
        try:
            return {str(what): str(name) for what, name in json.loads(self.path.read_text(encoding="utf-8")).items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def _time(self, launch: Launch) -> float:
        try:
            return self.time(launch)
        except BackendError:
            return float("inf")

    def _keep(self) -> None:
        """Beside the old file, and then in its place; where that cannot be, the next process will time again."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=self.path.parent, delete=False) as file:
                json.dump(self._choices, file, indent=1)
            os.replace(file.name, self.path)
        except OSError:
            pass
