"""Times and sizes that a user notices: the import, the first fit, one row, files."""

from xpnet_bench.jobs.job import Job

IRIS = {"rows": 150, "features": 4, "classes": 3}
"""Sizes of the rows on which the small models are trained."""


def feel_jobs() -> list[Job]:
    """Return the jobs, each through an estimator with its defaults."""
    return [
        _job("import of the estimator", "import"),
        _job("first fit on a new machine", "first_fit", cold=1),
        _job("first fit of a process", "first_fit"),
        _job("fit of iris", "fit_iris"),
        _job("predict one row of an array", "predict_array", single_calls=True),
        _job("predict one row of a frame", "predict_frame", single_calls=True),
        _job("predict one row, model from a file", "predict_loaded", single_calls=True),
        _job("save and load a model", "store"),
    ]


def _job(name: str, operation: str, *, single_calls: bool = False, **sizes: int) -> Job:
    return Job(
        name, "feel", operation, "feel", {**IRIS, **sizes}, "float64", single_calls=single_calls
    )
