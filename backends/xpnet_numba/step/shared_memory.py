"""Training by ranks on one machine, which share a batch in common memory as threads do.

Parameters, the optimizer's buffers and the workspace are in that memory during an epoch. The plan
is that of one process with the cores of all ranks. Each rank has some of its blocks and slices,
which its own threads share; between phases the ranks wait for each other. No gradient is sent
between ranks, and the bits are those of one process.

Within a process threads wait for each other in compiled code. Ranks wait at their group's barrier,
between calls of compiled code: a rank may be stopped or end, which the group detects.
"""

import numpy

from xpnet.backend import NetworkSpec, get_threads
from xpnet.backend.group import SharedMemoryGroup
from xpnet_numba.llvm.memory import LINE
from xpnet_numba.step.functions import run_job
from xpnet_numba.step.job import Job, aligned, bytes_for, carve
from xpnet_numba.step.layout import buffer_size
from xpnet_numba.step.workspace import Workspace, set_buffers

GRADIENT = 2
"""Number of the phase that computes the gradients of slices, and may update the slices."""

UPDATE = 3
"""Number of the phase that only updates slices."""


class SharedMemoryTraining:
    """A training of which each rank of a group computes a part of every batch.

    group : the ranks
    job : a job of the step in which no buffers are set
    workspace : the buffers of one process, which are moved to common memory
    """

    def __init__(
        self, spec: NetworkSpec, group: SharedMemoryGroup, workspace: Workspace, job: Job
    ) -> None:
        self.spec = spec
        self.group = group
        self.job = job
        self.workspace = workspace
        self.plan = plan = workspace.plan
        self.label_width = workspace.label_width
        names = "params", "gradients", *spec.rule.buffers
        self.flat = aligned(
            spec.dtype, {**dict.fromkeys(names, buffer_size(spec)), "squares": group.size}
        )
        self._memory: numpy.ndarray | None = None
        rank = group.rank
        cores = plan.cores // group.size
        job.penalized = spec.l2 > 0
        job.first_thread = rank * cores
        # The phases of a batch, each with the first and the end of this rank's pieces.
        slices = plan.starts[rank * cores], plan.starts[(rank + 1) * cores]
        blocks = plan.blocks * rank // group.size, plan.blocks * (rank + 1) // group.size
        self._phases = [(0, *slices)] * (plan.parts > 0) + [(1, *blocks), (GRADIENT, *slices)]

    def bind(self) -> bool:
        """Place all buffers in common memory; return False if the ranks have too little of it."""
        memory = self.group.shared_memory(bytes_for(self.flat, self.workspace.arrays))
        if memory is None or memory is self._memory:
            return memory is not None
        self.flat, self.workspace.arrays = carve(memory, self.flat, self.workspace.arrays)
        self._memory = memory
        set_buffers(self.job, self.flat, self.spec)
        self.workspace.bind(self.job)
        return True

    def train(
        self, weights: numpy.ndarray, flat: dict[str, numpy.ndarray], max_grad_norm: float | None
    ) -> tuple[float, float]:
        """Train on the batches of the job's data; return the mean loss, and the penalty in it.

        weights : (batches,), weight of each batch's mean loss
        flat : parameters and the optimizer's buffers by name: those of rank 0 are read, and those
            of all ranks are written afterwards
        max_grad_norm : maximum norm of the gradient, to which larger gradients are scaled, or None
        """
        job = self.job
        clips = max_grad_norm is not None
        job.updating = not clips
        kept = "params", *self.spec.rule.buffers
        self.group.barrier()  # other ranks may still read the memory for the epoch before
        for name in kept if self.group.rank == 0 else ():
            self.flat[name][:] = flat[name]
        self.workspace.arrays["totals_at"].fill(0)
        self.workspace.reset(job, count := min(get_threads(), self.plan.cores // self.group.size))
        self.group.barrier()
        for step in range(weights.size):
            job.first_step = step
            for phase in self._phases:
                self._work(phase, count)
                if clips and phase[0] == GRADIENT:
                    self.flat["squares"][self.group.rank] = sum(
                        float(run @ run) for run in self._gradients()
                    )
                self.group.barrier()
            if max_grad_norm is not None:
                self._clip(max_grad_norm)
                self._work((UPDATE, *self._phases[-1][1:]), count)
                self.group.barrier()
            job.updates_made += 1
        for name in kept:
            flat[name][:] = self.flat[name]
        totals = self.workspace.arrays["totals_at"][:: LINE // 8]
        blocks = self.plan.blocks
        weight = float(weights.sum())
        penalty = float(totals[blocks:].sum()) / weight if weight else 0.0
        return (float(totals[:blocks].sum()) / weight + penalty if weight else 0.0), penalty

    def _work(self, phase: tuple[int, int, int], count: int) -> None:
        """Do this rank's pieces of a phase of a batch on ``count`` threads."""
        job = self.job
        job.phase, job.first_piece, job.end_piece = phase
        if job.first_piece < job.end_piece:
            run_job("train_phase", self.spec, job, count)

    def _gradients(self) -> list[numpy.ndarray]:
        """Return the gradients of this rank's slices."""
        _, first, end = self._phases[-1]
        return [
            self.flat["gradients"][piece.start : piece.start + piece.size]
            for piece in self.plan.slices[first:end]
        ]

    def _clip(self, max_grad_norm: float) -> None:
        """Scale the gradients of this rank's slices, after all ranks stored sums of squares."""
        norm = float(self.flat["squares"].sum()) ** 0.5
        if norm > max_grad_norm:
            for run in self._gradients():
                run *= max_grad_norm / norm
