"""The CPU time of fits on made-up tables, by the number of rows and of columns.

A share of the columns are categories. Targets depend on some columns and have noise, so that the
validation loss ends most trainings, as it does on real tables.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pandas
from rich.console import Console

import xpnet
from xpnet_bench.accuracy.one_thread import one_thread
from xpnet_bench.accuracy.tables import Task
from xpnet_bench.measure.machine import describe_machine

COLUMNS = 30
ROWS = (100, 300, 1000, 3000, 9000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
"""Numbers of rows of tables of COLUMNS columns."""

MAX_ROWS = {1: 1_000_000, 3: 100_000}
"""Maximum number of rows of a fit, by its quality: a table of more rows takes minutes."""

MAX_ROWS_QUICK = 3000
WIDE = (400, 20_000)
"""Rows and columns of a wide table, which has a fit of quality 1."""

CATEGORIES = (2, 3, 5, 8, 12, 20, 30, 50, 100, 200)
"""Numbers of values of the categories; the other columns are numbers."""


class Fit(NamedTuple):
    """A fit that is measured."""

    rows: int
    columns: int
    quality: int
    task: Task


def made_up_table(rows: int, columns: int) -> pandas.DataFrame:
    """Return independent columns: normally distributed numbers, and categories among COLUMNS."""
    rng = numpy.random.default_rng(0)
    counts = CATEGORIES if columns == COLUMNS else ()
    numbers = rng.normal(size=(rows, columns - len(counts)))
    frame = pandas.DataFrame(numbers, columns=[f"n{k}" for k in range(numbers.shape[1])])
    for count in counts:
        texts = numpy.array([f"v{value}" for value in range(count)], object)
        frame[f"c{count}"] = pandas.Categorical.from_codes(rng.integers(0, count, rows), texts)
    return frame


def made_up_target(frame: pandas.DataFrame, task: Task) -> numpy.ndarray:
    """Return a target of some columns, half of which is noise."""
    noise = numpy.random.default_rng(1).normal(size=len(frame))
    y = frame["n0"] * frame["n1"] + numpy.sin(2 * frame["n2"]) + frame["n3"] + 1.5 * noise
    numbers = y.to_numpy()
    return (numbers > 0).astype(int) if task == "classification" else numbers


def fits(*, quick: bool) -> Iterator[Fit]:
    """Yield the fits that are measured, the small ones first."""
    tasks: tuple[Task, ...] = ("classification", "regression")
    for rows in ROWS:
        for quality, maximum in MAX_ROWS.items():
            if rows <= (min(maximum, MAX_ROWS_QUICK) if quick else maximum):
                yield from (Fit(rows, COLUMNS, quality, task) for task in tasks)
    if not quick:
        yield Fit(*WIDE, 1, "classification")


def cpu_seconds_of(fit: Fit) -> float:
    """Return the CPU seconds of a fit on one thread."""
    frame = made_up_table(fit.rows, fit.columns)
    y = made_up_target(frame, fit.task)
    is_classifier = fit.task == "classification"
    kind = xpnet.TabularClassifier if is_classifier else xpnet.TabularRegressor
    with one_thread():
        start = time.process_time()
        kind(quality=fit.quality, random_state=0).fit(frame, y)
        return time.process_time() - start


def run_costs(folder: Path, *, quick: bool = False) -> Path:
    """Measure CPU times into ``folder/costs.json``; fits that are in the file are not repeated."""
    path = folder / "costs.json"
    folder.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = (
        json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"costs": []}
    )
    done = {Fit(**{name: cost[name] for name in Fit._fields}) for cost in document["costs"]}
    console = Console(stderr=True)
    for task in ("classification", "regression"):
        cpu_seconds_of(Fit(300, COLUMNS, 1, task))  # imports and compiles
    for fit in fits(quick=quick):
        if fit in done:
            continue
        seconds = round(cpu_seconds_of(fit), 3)
        document["costs"].append({**fit._asdict(), "cpu_seconds": seconds})
        console.print(f"{fit.rows} x {fit.columns}, quality {fit.quality}: {seconds:g} s")
        document |= {"machine": describe_machine(), "xpnet": xpnet.__version__}
        path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return path
