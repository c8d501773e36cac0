"""Jobs that are counted, not timed: how many Python functions a call runs through, which no other process disturbs."""

from dataclasses import replace

from xpnet_bench.jobs.job import Job
from xpnet_bench.jobs.kernels import over_rows

FURTHER = 10
"""By so many epochs the second fit is longer than the first: their difference tells what an epoch takes."""


def count_jobs() -> list[Job]:
    """Fits of one epoch and of more, predictions of one row, two operations."""
    return [
        fit_of(1),
        fit_of(1 + FURTHER),
        *(
            replace(fit_of(1), name=f"{call} of one row", operation=call)
            for call in ("predict_label", "predict_proba")
        ),
        *(
            replace(
                over_rows(operation, 200, 10, "float32"),
                name=name,
                suite="counts",
                group="counts",
                counted=True,
            )
            for operation, name in (("softmax", "softmax"), ("cross_entropy", "cross-entropy"))
        ),
    ]


def fit_of(epochs: int) -> Job:
    """A warm fit of a 64-32-10 classifier for so many epochs."""
    sizes = {
        "rows": 1347,
        "features": 64,
        "hidden": 32,
        "classes": 10,
        "batch": 200,
        "adam": 1,
        "epochs": epochs,
    }
    name = f"fit of {epochs} epoch{'s' * (epochs > 1)}"
    return Job(name, "counts", "fit_plain", "counts", sizes, counted=True)
