"""Runs batches: launch by launch the first time, as CUDA graphs from the second time on.

A graph reads the addresses of the data on the device, so that it serves any data of its shape.
"""

import atexit
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakSet

from xpnet.backend import NetworkSpec
from xpnet_cupy import launches
from xpnet_cupy.cublaslt import Launch
from xpnet_cupy.launcher import Launcher
from xpnet_cupy.launches import Penalty
from xpnet_cupy.member_plan import MemberPlan
from xpnet_cupy.memory import BatchMemory, EpochMemory, MemberMemory, NetworkMemory
from xpnet_cupy.plan import DensePlan, Shape, Work

BATCHES_PER_GRAPH = 8
"""Maximum number of batches in a CUDA graph, which also has the launches before and after them."""

MAX_GRAPHS = 48
"""Approximate maximum number of CUDA graphs that are kept: beyond it, all of them are captured
again.
"""


class Call(NamedTuple):
    """A launch that is called several times."""

    launch: Launch
    times: int


class Repeated(NamedTuple):
    """A work that is run several times, one after the other."""

    work: Work
    times: int


Sequel = tuple[Repeated, ...]
"""Works one after the other: the content of a CUDA graph."""


class Runs:
    """Runs batches with one clock, in memory for the largest batch so far.

    Batches are cut into sequels; one that comes again is the replay of a CUDA graph. A graph reads
    the addresses of the data on the device, so that it serves any data.

    network : the parameters, gradients and buffers
    epoch : the clock and the sums. A training uses those of the network; predictions and losses
        have their own, so that they do not disturb a training in progress
    """

    def __init__(
        self, spec: NetworkSpec, launcher: Launcher, network: NetworkMemory, epoch: EpochMemory
    ) -> None:
        self.spec, self.launcher, self.network, self.epoch = spec, launcher, network, epoch
        self.memory: Any = None
        self.begin: Any = None
        self.finish: Any = None
        self.works: dict[Shape, Work] = {}
        self.graphs: dict[Sequel, Launch | None] = {}  # None after its first run
        _living_runs.add(self)

    def reserve(self, rows: int) -> None:
        """Take memory for batches of ``rows`` rows; the smaller memory is freed before the larger
        one is allocated.
        """
        if self.memory is not None and rows <= self.memory.rows:
            return
        self.free()
        spec, launcher, network, epoch = self.spec, self.launcher, self.network, self.epoch
        trains, squares = epoch is network, []
        if spec.l2 and not trains:
            only_squares = Penalty(network.bounds, spec.layers, squares=epoch.squares)
            squares = [
                launches.l2_penalty(launcher, network.params.flat, None, only_squares, rows=1)
            ]
        memory_kind = BatchMemory if spec.members == 1 else MemberMemory
        memory = memory_kind(spec, launcher, rows, trains=trains)
        self.begin = Work([launches.begin(launcher, epoch, memory.row_loss)])
        self.finish = Work([*squares, launches.finish(launcher, epoch, memory.row_loss)])
        self.memory = memory

    def free(self) -> None:
        """Free the buffers, and what refers to them: works and CUDA graphs."""
        self.memory = self.begin = self.finish = None
        self.forget()

    def forget(self) -> None:
        """Drop all CUDA graphs, and the works that they are captured from."""
        self.works.clear()
        self.graphs.clear()

    def prepare(self, shapes: Sequence[tuple[Shape, int]], *, finish: bool = True) -> list[Call]:
        """Return the calls that run batches from the beginning to the end.

        All errors are raised here, before anything has changed.

        shapes : of the batches, each with its number of batches; the second, if any, is the shape
            of the last batch
        finish : whether the sums are sent to the host
        """
        if len(self.graphs) > MAX_GRAPHS:
            self.forget()
        begin = Repeated(self.begin, 1)
        ends = [Repeated(self.finish, 1)] if finish else []
        batches = [Repeated(self._work(shape), times) for shape, times in shapes]
        first_batches, *last_batch = batches
        graphs = (first_batches.times + len(last_batch) - 1) // BATCHES_PER_GRAPH
        if not graphs:
            return [self._call((begin, *batches, *ends), 1)]
        several = Repeated(first_batches.work, BATCHES_PER_GRAPH)
        remaining = first_batches.times - graphs * BATCHES_PER_GRAPH
        calls = [self._call((begin, several), 1)]
        if graphs > 1:
            calls.append(self._call((several,), graphs - 1))
        last = (Repeated(first_batches.work, remaining), *last_batch, *ends)
        return [*calls, self._call(last, 1)]

    def run(self, calls: list[Call]) -> None:
        """Run the prepared calls."""
        try:
            for call in calls:
                for _ in range(call.times):
                    call.launch()
        finally:
            self.epoch.mark_requested()

    def _work(self, shape: Shape) -> Work:
        """The work on batches of a shape, made once."""
        if shape not in self.works:
            plan_kind = DensePlan if self.spec.members == 1 else MemberPlan
            plan = plan_kind(self.spec, self.launcher, self.network, self.epoch, self.memory, shape)
            self.works[shape] = plan.work()
        return self.works[shape]

    def _call(self, sequel: Sequel, times: int) -> Call:
        """Return a sequel as one call: the replay of its CUDA graph, if it comes again."""
        graph = self.graphs.get(sequel)
        if graph is not None:
            return Call(graph, times)
        comes_again = sequel in self.graphs or times > 1
        # A capture loads no kernel, and what changes parameters must not end in the middle.
        self._warm_up([part.work for part in sequel if comes_again or part.work.changes])
        graph = self.launcher.capture(partial(_run, sequel)) if comes_again else None
        self.graphs[sequel] = graph
        return Call(graph or partial(_run, sequel), times)

    def _warm_up(self, works: Sequence[Work]) -> None:
        """Load the kernels and products of works that have not run yet, without a change of
        parameters.
        """
        cold = [work for work in works if not work.warm]
        if cold:
            self.run([Call(self.begin.run, 1)])
        for work in cold:
            for launch in work.warm_up:
                launch()
            work.warm = True


_living_runs: WeakSet[Runs] = WeakSet()


@atexit.register
def forget_all() -> None:
    """Drop the CUDA graphs of all steps that live, while the driver still runs: at the end of the
    process it ends before a step that a module holds.
    """
    for runs in list(_living_runs):
        runs.forget()


def _run(sequel: Sequel) -> None:
    """Run a sequel launch by launch."""
    for work, times in sequel:
        for _ in range(times):
            work.run()
