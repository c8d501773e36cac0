"""Many networks of one shape train side by side: a thread takes one after the other, and makes an epoch of it alone.

The networks are dealt out to lanes, as many as threads work. Those of a lane have one workspace, which stays in a
core's cache. A lane's thread is one of Python's: it draws the order of a network's rows and calls compiled code for the
epoch, and both let other threads have the interpreter.
"""

import ctypes
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from xpnet.backend import get_threads
from xpnet_numba.runtime.machine import check_memory
from xpnet_numba.runtime.threads import share_entry
from xpnet_numba.step import functions
from xpnet_numba.step.evaluation import Data, batch_sizes, set_data
from xpnet_numba.step.job import Job, address_of
from xpnet_numba.step.plan import Plan, Workspace


class ManyTrainings:
    """Holds the jobs of networks that train side by side, and the workspaces of the lanes.

    steps : compiled steps of one shape
    streams : one Generator for each network, or None where rows are not shuffled
    """

    def __init__(self, steps: Sequence[Any], data: list[Data], plan: Plan, streams: Any) -> None:
        self.steps, self.data, self.streams, spec = steps, data, streams, steps[0].spec
        self.lanes = min(get_threads(), len(steps))
        label_width = max(0 if of_one.order is None else of_one.label_width for of_one in data)
        self._workspaces = [Workspace(spec, plan, label_width, threads=1) for _ in range(self.lanes)]
        check_memory(sum(w.nbytes for w in self._workspaces), f"Training on {self.lanes} threads")
        self._jobs = [self._job_of(k) for k in range(len(steps))]
        self._train = functions.job_function("train", spec.dtype, members=spec.members > 1)
        self._pool = ThreadPoolExecutor(self.lanes, "xpnet-lane")

    def _job_of(self, k: int) -> Job:
        """The job of one network: an epoch on its rows."""
        step, data, workspace = self.steps[k], self.data[k], self._workspaces[k % self.lanes]
        job = step.job_beside()
        data.sums = data.shares = batch_sizes(data.rows, workspace.plan.batch_rows)
        set_data(job, data, step.spec)
        workspace.bind(job)
        job.steps, job.updating, job.penalized = data.sums.size, 1, step.spec.l2 > 0
        return job

    def epoch(self, first: int, learning_rates: Sequence[float]) -> list[float]:
        """Make an epoch of some networks, from number ``first`` on; returns their losses."""
        chosen = range(first, first + len(learning_rates))
        for k, learning_rate in zip(chosen, learning_rates, strict=True):
            self.steps[k].set_learning_rate(learning_rate)
        lanes = [[k for k in chosen if k % self.lanes == lane] for lane in range(self.lanes)]
        list(self._pool.map(self._make_epochs, lanes))
        return [self.steps[k].take_over(self._jobs[k]) for k in chosen]

    def _make_epochs(self, lane: list[int]) -> None:
        """Make an epoch of each network of a lane."""
        alone = share_entry()
        for k in lane:
            job, workspace = self._jobs[k], self._workspaces[k % self.lanes]
            if self.streams:
                order = self.streams[k].permutation(self.data[k].order)
                job.order_at = address_of(order)
            workspace.arrays["totals_at"].fill(0)
            workspace.reset(job, 1)
            alone(0, 0, 1, self._train, ctypes.addressof(job))

    def close(self) -> None:
        """End the threads of the lanes."""
        self._pool.shutdown()
