"""Each contender is trained on each split of each table, and measured
on rows that it has not seen.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
from rich.console import Console
from sklearn.metrics import log_loss, root_mean_squared_error, zero_one_loss

import xpnet
from xpnet_bench.accuracy.contenders import CONTENDERS, installed, predict
from xpnet_bench.accuracy.one_thread import one_thread
from xpnet_bench.accuracy.tables import TABLES, Split, available, split_of
from xpnet_bench.measure.machine import describe_machine

SPLITS, SPLITS_QUICK = 3, 1
TABLES_QUICK = ("cancer", "diabetes", "titanic", "concrete", "election", "pigs")
OURS = "xpnet"
PREDICTED_ROWS = 10_000
"""Number of rows whose prediction is timed."""

WARM_TABLES = ("cancer", "digits", "diabetes", "titanic", "sacramento")
"""Tables of fits that only import and compile: two classes and more, numbers, text and gaps."""

WARM_ROWS = 150
"""Number of their training rows."""


def run_accuracy(folder: Path, *, quick: bool = False, only: Sequence[str] = ()) -> Path:
    """Measure errors into ``folder/tables.json``; splits that are in the file are not repeated.

    only : names of contenders in addition to xpnet's default; none for all that are installed
    """
    path = folder / "tables.json"
    folder.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = (
        json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"scores": []}
    )
    done = {(score["table"], score["seed"], score["contender"]) for score in document["scores"]}
    console = Console(stderr=True)
    names = [
        name
        for name in installed()
        if (not only or name in (OURS, *only)) and not (quick and CONTENDERS[name].slow)
    ]
    _warm_up(names)
    for seed in range(SPLITS_QUICK if quick else SPLITS):
        for table in [table for table in available() if not quick or table in TABLES_QUICK]:
            split = split_of(table, seed)
            for name in names:
                key = (table, seed, name)
                if key not in done and CONTENDERS[name].takes_part(table, seed):
                    score = measure_errors(name, split, seed)
                    about = {"table": table, "role": TABLES[table].role, "seed": seed}
                    document["scores"].append({**about, "contender": name, **score})
                    console.print(f"{table} {seed} {name}: {score['error']:.4g}", highlight=False)
            document |= {"machine": describe_machine(), "xpnet": xpnet.__version__}
            path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return path


def _warm_up(names: Sequence[str]) -> None:
    """Import and compile, which is not part of a table's time."""
    for table in [table for table in WARM_TABLES if table in available()]:
        split = split_of(table, 0)
        small = replace(split, X=split.X[:WARM_ROWS], y=split.y[:WARM_ROWS])
        for name in names:
            measure_errors(name, small, 0)


def measure_errors(name: str, split: Split, seed: int) -> dict[str, Any]:
    """Train a contender on one thread; return its errors on the test rows, and the CPU seconds of
    its fit and of predicting ``PREDICTED_ROWS`` rows.
    """
    many = split.X_test.iloc[numpy.arange(PREDICTED_ROWS) % len(split.X_test)]
    with one_thread():
        start = time.process_time()
        model = CONTENDERS[name].fit(split, seed)
        trained = time.process_time()
        error, loss = errors(split, predict(model, split.X_test))
        before = time.process_time()
        predict(model, many)
        predicted = time.process_time()
    return {
        "task": split.task,
        "rows": len(split.y),
        "columns": split.X.shape[1],
        "error": error,
        "loss": loss,
        "cpu_seconds": round(trained - start, 3),
        "predict_cpu_seconds": round(predicted - before, 3),
        "measured": time.strftime("%Y-%m-%d"),
    }


def errors(split: Split, outputs: numpy.ndarray) -> tuple[float, float]:
    """Share of wrong classes and log loss; for numbers the root mean squared error, twice."""
    if split.task == "regression":
        root = float(root_mean_squared_error(split.y_test, outputs))
        return root, root
    probabilities = numpy.clip(outputs.astype(numpy.float64), 1e-7, 1.0)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = numpy.arange(probabilities.shape[1])
    wrong = float(zero_one_loss(split.y_test, probabilities.argmax(axis=1)))
    return wrong, float(log_loss(split.y_test, probabilities, labels=labels))
