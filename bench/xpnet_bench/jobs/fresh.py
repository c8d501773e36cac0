"""Jobs that need a new process for each round: import, first use, peak memory."""

from dataclasses import replace

from xpnet_bench.jobs.job import Job
from xpnet_bench.jobs.prediction import prediction_jobs
from xpnet_bench.jobs.training import digits, mini_batch


def startup_jobs() -> list[Job]:
    """Import alone; import and the first ten updates on the digits, with empty and with filled
    caches.
    """
    first = replace(digits(10), suite="startup", units=1, flops=0)
    return [
        replace(first, name="import", operation="import", group="startup"),
        replace(first, name="first use, cold cache", group="cold"),
        replace(first, name="first use, warm cache", group="warm"),
    ]


def memory_jobs(quick: bool) -> list[Job]:
    """A process that trains one epoch, and one that predicts many rows: time of the whole, and peak
    memory.
    """
    rows = 12_000 if quick else 60_000
    train, predict = mini_batch(rows, 100, 200), prediction_jobs(quick)[1]
    return [
        replace(
            train, name=f"train {rows} rows once", suite="memory", group="memory", units=1, flops=0
        ),
        replace(
            predict,
            name=f"predict {predict.sizes['rows']} rows once",
            suite="memory",
            group="memory",
            flops=0,
        ),
    ]
