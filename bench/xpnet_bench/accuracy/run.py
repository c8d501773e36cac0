"""Each contender is trained on each split of each table, and measured
on rows that it has not seen.
"""

import json
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
from rich.console import Console
from threadpoolctl import threadpool_limits

import xpnet
from xpnet_bench.accuracy.contenders import CONTENDERS, installed
from xpnet_bench.accuracy.tables import BUNDLED, Split, available, split_of
from xpnet_bench.measure.machine import describe_machine

SPLITS, SPLITS_QUICK = 5, 1
TABLES_QUICK = ("cancer", "diabetes", "titanic", "concrete")
SLOW = ("TabM",)
"""Contenders that a quick run leaves out."""


def run_accuracy(folder: Path, *, quick: bool = False, only: Sequence[str] = ()) -> Path:
    """Measure errors into ``folder/tables.json``; splits that are in the file are not repeated.

    only : names of contenders in addition to xpnet; none for all that are installed
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
        if (not only or name in ("xpnet", *only)) and not (quick and name in SLOW)
    ]
    for bundled in BUNDLED:  # compiling and importing is not part of a table's time
        measure_errors("xpnet", split_of(bundled, 0), 0)
    for seed in range(SPLITS_QUICK if quick else SPLITS):
        for table in [table for table in available() if not quick or table in TABLES_QUICK]:
            split = split_of(table, seed)
            for name in names:
                if (table, seed, name) not in done:
                    score = {
                        "table": table,
                        "seed": seed,
                        "contender": name,
                        **measure_errors(name, split, seed),
                    }
                    document["scores"].append(score)
                    console.print(f"{table} {seed} {name}: {score['error']:.4g}", highlight=False)
            document |= {"machine": describe_machine(), "xpnet": xpnet.__version__}
            path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return path


def measure_errors(name: str, split: Split, seed: int) -> dict[str, Any]:
    """Train a contender on one thread; return its errors on the test rows, and the CPU seconds it
    took.
    """
    began = os.times()
    started = began.user + began.system
    threads = xpnet.get_threads()
    xpnet.set_threads(1)
    try:
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")
            outputs = CONTENDERS[name][1](split, seed)
    finally:
        xpnet.set_threads(threads)
    ended = os.times()
    error, loss = errors(split, outputs)
    return {
        "task": split.task,
        "rows": len(split.y),
        "columns": split.X.shape[1],
        "error": error,
        "loss": loss,
        "cpu_seconds": round(ended.user + ended.system - started, 3),
        "measured": time.strftime("%Y-%m-%d"),
    }


def errors(split: Split, outputs: numpy.ndarray) -> tuple[float, float]:
    """Share of wrong classes and log loss; for numbers the root mean squared error, twice."""
    if split.task == "regression":
        root = float(numpy.sqrt(numpy.mean((outputs - split.y_test) ** 2)))
        return root, root
    probabilities = numpy.clip(outputs.astype(numpy.float64), 1e-7, 1.0)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    wrong = float(numpy.mean(probabilities.argmax(axis=1) != split.y_test))
    return wrong, float(
        -numpy.log(probabilities[numpy.arange(len(split.y_test)), split.y_test]).mean()
    )
