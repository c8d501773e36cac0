"""Jobs that need a new process for each round: import, first use, peak memory."""

from dataclasses import replace

from xpnet_bench.jobs.job import Job
from xpnet_bench.jobs.prediction import prediction_jobs
from xpnet_bench.jobs.training import digits, mini_batch


def startup_jobs() -> list[Job]:
    """Import alone; import and the first ten updates on the digits, with empty and with filled
    caches.
    """
    first = replace(digits(10), suite="startup", group="startup", units=1)
    return [
        replace(first, name="import", operation="import"),
        replace(first, name="first use, cold cache", sizes={**first.sizes, "cold": 1}),
        replace(first, name="first use, warm cache"),
    ]


def memory_jobs(quick: bool) -> list[Job]:
    """A process that trains one epoch, and one that predicts many rows: time of the whole, and peak
    memory.
    """
    train = mini_batch(12_000 if quick else 60_000, 100, 200)
    predict = prediction_jobs(quick)[1]
    return [
        replace(
            job,
            name=f"{verb} {job.sizes['rows']} rows once",
            suite="memory",
            group="memory",
            units=1,
        )
        for verb, job in (("train", train), ("predict", predict))
    ]
