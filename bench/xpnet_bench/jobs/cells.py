"""Whole fits through scikit-learn's contract, and of many networks."""

from xpnet_bench.jobs.job import Job
from xpnet_bench.jobs.training import DIGITS_FIT, mini_batch

SMALL_DATA = ("iris", "wine", "breast_cancer", "digits", "diabetes")
LBFGS_ITERATIONS = 30
SEARCHES = ((32, 16, 4), (100, 30, 5))
"""The searches: hidden units of the networks, candidates, and folds."""


def cell_jobs(quick: bool) -> list[Job]:
    """The fits, shorter in a quick run."""
    return [
        *_lbfgs_fits(),
        *_minibatch_fits(4_096 if quick else 20_000),
        *_searches(2 if quick else 10),
        _many_networks(2 if quick else 20),
    ]


def _lbfgs_fits() -> list[Job]:
    """Two hidden layers of 10 units, on a data set of scikit-learn's."""
    sizes = {"hidden": 10, "layers": 2, "epochs": LBFGS_ITERATIONS}
    return [
        _fit(f"L-BFGS on {name}", "fit_lbfgs", sizes, data=name, dtype="float64")
        for name in SMALL_DATA
    ]


def _minibatch_fits(rows: int) -> list[Job]:
    """784-100-10, Adam, five epochs."""
    sizes = {**mini_batch(rows, 100, 200).sizes, "epochs": 5}
    return [
        _fit("weighted rows", "fit_weighted", sizes),
        _fit("dropout of one half", "fit_dropout", {**sizes, "dropped_per_cent": 50}),
        _fit("sparse rows", "fit_sparse", {**sizes, "filled_per_cent": 5}),
    ]


def _searches(epochs: int) -> list[Job]:
    """Searches in processes, which are started before the measurement, in threads, with one fit
    after the other, and in threads in float64.
    """
    variants = (
        ("", "search", "float32"),
        (", in threads", "search_in_threads", "float32"),
        (", in turn", "search_in_turn", "float32"),
        (", in threads, float64", "search_in_threads", "float64"),
    )
    return [
        _fit(
            f"{candidates * folds} fits of 64-{hidden}-10 in GridSearchCV{suffix}",
            operation,
            {**DIGITS_FIT, "hidden": hidden, "candidates": candidates, "folds": folds}
            | {"epochs": epochs},
            data="digits",
            dtype=dtype,
        )
        for hidden, candidates, folds in SEARCHES
        for suffix, operation, dtype in variants
    ]


def _many_networks(epochs: int) -> Job:
    """64 networks of 30-32-2 on the same rows."""
    sizes = {**mini_batch(5_000, 32, 200).sizes, "networks": 64, "features": 30, "classes": 2}
    sizes["epochs"] = epochs
    return _fit("64 networks of 30-32-2 at once", "fit_many", sizes)


def _fit(
    name: str, operation: str, sizes: dict[str, int], data: str = "", dtype: str = "float32"
) -> Job:
    return Job(name, "cells", operation, "cells", sizes, dtype, data=data)
