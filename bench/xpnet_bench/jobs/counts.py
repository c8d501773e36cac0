"""Jobs that are counted, not timed: how many Python functions a call runs through, which no other
process disturbs.
"""

from dataclasses import replace

from xpnet_bench.jobs.job import Job
from xpnet_bench.jobs.kernels import over_rows
from xpnet_bench.jobs.training import DIGITS_FIT


def count_jobs() -> list[Job]:
    """Fits of one epoch and of eleven, whose difference is the cost of ten epochs; predictions of
    one row; two operations.
    """
    predictions = [
        replace(fit_of(1), name=f"{call} of one row", operation=call)
        for call in ("predict_label", "predict_proba")
    ]
    operations = [
        over_rows(operation, 200, 10, "float32") for operation in ("softmax", "cross_entropy")
    ]
    counted = [
        replace(
            job, name=job.operation.replace("_", "-"), suite="counts", group="counts", counted=True
        )
        for job in operations
    ]
    return [fit_of(1), fit_of(11), *predictions, *counted]


def fit_of(epochs: int) -> Job:
    """A warm fit of a 64-32-10 classifier."""
    name = f"fit of {epochs} epoch{'s' * (epochs > 1)}"
    sizes = {**DIGITS_FIT, "epochs": epochs}
    return Job(name, "counts", "fit_plain", "counts", sizes, data="digits", counted=True)
