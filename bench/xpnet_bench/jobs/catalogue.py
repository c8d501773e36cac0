"""All jobs of a suite."""

from xpnet_bench.jobs.cells import cell_jobs
from xpnet_bench.jobs.distributed import distributed_jobs
from xpnet_bench.jobs.feel import feel_jobs
from xpnet_bench.jobs.fresh import memory_jobs, startup_jobs
from xpnet_bench.jobs.gpu import gpu_jobs
from xpnet_bench.jobs.job import Job
from xpnet_bench.jobs.kernels import kernel_jobs
from xpnet_bench.jobs.prediction import prediction_jobs
from xpnet_bench.jobs.training import accuracy_job, training_jobs

USUAL = ("training", "prediction", "kernels", "startup", "memory")
"""Suites of a run that names none, the most informative first."""
SUITES = (*USUAL, "cells", "feel", "distributed", "gpu")
PER_PROCESS = ("startup", "memory")
"""Suites in which each round is a process of its own."""

FIRST = ("import", "first_fit")
"""Operations of which each round is a process of its own, in any suite."""


def is_per_process(job: Job) -> bool:
    """Return whether each round of a job is a process of its own."""
    return job.suite in PER_PROCESS or job.operation in FIRST


def jobs_of(suite: str, *, quick: bool, threads: int, data: str) -> list[Job]:
    """The jobs of one of ``SUITES``, in the order in which they are measured."""
    if suite == "training":
        return [*training_jobs(quick, threads), accuracy_job(data)]
    return {
        "kernels": lambda: kernel_jobs(quick),
        "prediction": lambda: prediction_jobs(quick),
        "cells": lambda: cell_jobs(quick),
        "feel": feel_jobs,
        "distributed": lambda: distributed_jobs(quick, threads),
        "gpu": lambda: gpu_jobs(quick),
        "startup": startup_jobs,
        "memory": lambda: memory_jobs(quick),
    }[suite]()
