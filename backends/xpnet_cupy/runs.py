"""Work that is repeated: launch by launch when it first comes, from then on as recorded graphs."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

from xpnet_cupy.cuda import Launch
from xpnet_cupy.launcher import Launcher
from xpnet_cupy.memory import EpochMemory

AT_ONCE = 8
"""Batches of one recording, at most: what comes before and after them is recorded along."""

KEPT = 48
"""Recordings that are kept: the one used longest ago goes first."""


class Work:
    """Holds launches that belong together: a batch, a block of rows, what comes before all and what after.

    warm_up : launches of the same kernels and products that change nothing that lasts, so that all of them are loaded
        before anything changes; None for the launches themselves, which change nothing
    """

    def __init__(self, launches: Sequence[Launch], warm_up: Sequence[Launch] | None = None) -> None:
        self.launches, self.warm, self.changes = launches, False, warm_up is not None
        self.warm_up = launches if warm_up is None else warm_up

    def run(self) -> None:
        """Run the launches once."""
        for launch in self.launches:
            launch()
        self.warm = True


Group = tuple[tuple[Work, int], ...]
"""Works one after the other, each so many times: what one recording holds."""

NOTHING = Work(())


class Runs:
    """The recordings of one clock. What runs is cut into groups, and a group that comes again is one replay.

    epoch : with the clock, which has been told what the next run is over
    begin : goes before the first batch
    """

    def __init__(self, launcher: Launcher, epoch: EpochMemory, begin: Work) -> None:
        self.launcher, self.epoch, self.begin = launcher, epoch, begin
        self.recorded: OrderedDict[Group, Launch | None] = OrderedDict()  # None where it has come once

    def prepare(self, batches: list[tuple[Work, int]], end: Work = NOTHING) -> list[tuple[Launch, int]]:
        """Return what runs the batches from the beginning to the end: calls, each with how often it comes.

        All that can fail fails here, before anything has changed.

        batches : of one kind so many, then perhaps one of another
        """
        (work, times), *rest = batches
        whole = (times + len(rest) - 1) // AT_ONCE
        if not whole:
            groups: list[tuple[Group, int]] = [(((self.begin, 1), *batches, (end, 1)), 1)]
        else:
            several = (work, AT_ONCE)
            last = ((work, times - whole * AT_ONCE), *rest, (end, 1))
            groups = [(((self.begin, 1), several), 1), ((several,), whole - 1), (last, 1)]
        return [(self._call(group, times), times) for group, times in groups if times]

    def run(self, calls: list[tuple[Launch, int]], after: Launch | None = None) -> None:
        """Run what was prepared; ``after`` is called after each replay."""
        try:
            for call, times in calls:
                for _ in range(times):
                    call()
                    if after is not None:
                        after()
        finally:
            self.epoch.asked()

    def start(self) -> None:
        """Run what goes before the first batch, for a batch that warms up."""
        try:
            self.begin.run()
        finally:
            self.epoch.asked()

    def forget(self, works: Sequence[Work]) -> None:
        """Let go of all recordings that have these in them."""
        for group in [group for group in self.recorded if any(work in works for work, _ in group)]:
            del self.recorded[group]

    def _call(self, group: Group, times: int) -> Launch:
        if (recording := self.recorded.get(group)) is not None:
            self.recorded.move_to_end(group)
            return recording
        record = group in self.recorded or times > 1
        self._warm_up([work for work, _ in group if not work.warm and (record or work.changes)])
        self.recorded[group] = self.launcher.record(partial(_run, group)) if record else None
        while len(self.recorded) > KEPT:
            self.recorded.popitem(last=False)
        return self.recorded[group] or partial(_run, group)

    def _warm_up(self, works: list[Work]) -> None:
        if works:
            self.start()
        for work in works:
            for launch in work.warm_up:
                launch()
            work.warm = True


def _run(group: Group) -> None:
    for work, times in group:
        for _ in range(times):
            work.run()


def batches_of(rows: int, size: int) -> list[tuple[int, int]]:
    """The batches of an epoch, as (rows of a batch, how many): the last may be smaller. size : ``rows`` at most"""
    whole, rest = divmod(rows, size)
    return [(size, whole), (rest, 1)] if rest else [(size, whole)]
