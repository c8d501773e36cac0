"""Prediction jobs: class probabilities of a 784-100-10 network, for one row and for many."""

from xpnet_bench.jobs.job import Job


def prediction_jobs(quick: bool) -> list[Job]:
    """One row, each call timed alone; and as many rows as MNIST has."""
    many = 20_000 if quick else 70_000
    return [_predict(1, "latency", True), _predict(many, "throughput", False)]


def _predict(rows: int, group: str, single_calls: bool) -> Job:
    return Job(
        name=f"predict {rows} row{'s' * (rows > 1)}",
        suite="prediction",
        operation="predict",
        group=group,
        sizes={"rows": rows, "features": 784, "hidden": 100, "classes": 10},
        single_calls=single_calls,
    )
