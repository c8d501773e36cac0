"""Launches that are repeated: one by one at first, from then on as recorded graphs of one batch and of several."""

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
        """How often a recording of n runs is replayed."""
        if n == 1:
            return times % self._at_once if self._at_once > 1 else times
        return times // n

    def _run(self, times: int) -> None:
        for _ in range(times):
            for launch in self._launches:
                launch()
