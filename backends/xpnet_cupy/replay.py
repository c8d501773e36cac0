"""Launches that are repeated: one by one at first, from then on as recorded graphs of one batch and of several."""

from abc import ABC, abstractmethod
from collections import OrderedDict

from xpnet_cupy.launcher import Launch, Launcher, nothing


class Repeated:
    """A list of launches that is run again and again on one lane.

    warm_up : launches of the same kernels and products that change nothing that lasts, so that a recording finds all
        of them loaded
    at_once : how many runs a large recording holds; 1 for none
    """

    def __init__(self, launcher: Launcher, launches: list[Launch], warm_up: list[Launch], at_once: int) -> None:
        self._launcher, self._launches, self._warm_up, self._at_once = launcher, launches, warm_up, at_once
        self._ran = False
        self.recorded: dict[int, Launch] = {}  # by the number of runs in it

    def prepare(self, times: int) -> bool:
        """Record what ``times`` runs need; whether anything was run for it. All that can fail fails here.

        A single run is recorded when it comes a second time.
        """
        needed = [n for n in {self._at_once, 1} if self._share(times, n) and n not in self.recorded]
        if not needed or (times == 1 and not self._ran):
            return False
        if warming := not self._ran:
            for launch in self._warm_up:
                launch()
            self._ran = True
        for n in needed:
            self.recorded[n] = self._launcher.record(lambda n=n: self._run(n))  # type: ignore[misc]
        return warming

    def run(self, times: int, after: Launch = nothing) -> None:
        """Run the launches so many times, as prepared; ``after`` is called after each replay."""
        if not self.recorded:
            self._run(times)
            after()
        for n in sorted(self.recorded, reverse=True):
            for _ in range(self._share(times, n)):
                self.recorded[n]()
                after()
        self._ran = True

    def forget(self) -> None:
        """Let go of what was recorded, whoever holds this."""
        self.recorded.clear()

    def _share(self, times: int, n: int) -> int:
        """Return how often a recording of n runs is replayed."""
        if n == 1:
            return times % self._at_once if self._at_once > 1 else times
        return times // n

    def _run(self, times: int) -> None:
        for _ in range(times):
            for launch in self._launches:
                launch()


class ByRows(ABC):
    """Holds a lane's recordings by their number of rows, over memory of their own that serves all of them.

    recorded : whether it is recorded when it comes again
    """

    KEPT = 16  # the one used longest ago goes first

    def __init__(self, launcher: Launcher, recorded: bool = True) -> None:
        self.launcher, self.recorded, self.room = launcher, recorded, 0
        self.kept: OrderedDict[tuple[int, bool], Repeated] = OrderedDict()
        self.allocate(0)

    def reserve(self, rows: int) -> None:
        """Memory for so many rows at least; what there was is let go before, with the recordings that refer to it."""
        if rows > self.room:
            self.kept.clear()
            self.allocate(0)
            self.allocate(rows)
            self.room = rows

    def of_rows(self, rows: int, indices: bool = False) -> Repeated:
        """Return the recording for so many rows; indices : whether their labels are class indices"""
        key = rows, indices
        if key not in self.kept:
            if len(self.kept) == self.KEPT:
                self.kept.popitem(last=False)
            calls = self.launches(*key)
            self.kept[key] = Repeated(self.launcher, calls, calls, 1)
        self.kept.move_to_end(key)
        if self.recorded:
            self.kept[key].prepare(1)
        return self.kept[key]

    @abstractmethod
    def allocate(self, rows: int) -> None:
        """Take memory for so many rows."""

    @abstractmethod
    def launches(self, rows: int, indices: bool) -> list[Launch]:
        """List the launches for the first so many rows of it."""
