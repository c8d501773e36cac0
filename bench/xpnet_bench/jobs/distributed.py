"""One training on several ranks: each with its part of the cores, beside one process that has all
of them.
"""

from dataclasses import replace

from xpnet_bench.jobs.job import Job
from xpnet_bench.jobs.training import mini_batch

BATCHES = (128, 256, 512, 1024)


def distributed_jobs(quick: bool, threads: int) -> list[Job]:
    """784-256-10 by plain descent over batch sizes, for each division of the threads among two
    ranks or more.
    """
    counts = [ranks for ranks in range(2, threads + 1) if threads % ranks == 0]
    return [
        _job(batch, ranks, threads, quick)
        for ranks in counts
        for batch in BATCHES[:: 3 if quick else 1]
    ]


def _job(batch: int, ranks: int, threads: int, quick: bool) -> Job:
    job = mini_batch(4_096 if quick else 16_384, 256, batch)
    own = threads // ranks
    return replace(
        job,
        name=f"784-256-10 batch {batch}, {ranks} ranks of {own} thread{'s' * (own > 1)}",
        suite="distributed",
        group="distributed",
        sizes={**job.sizes, "adam": 0, "ranks": ranks},
    )
