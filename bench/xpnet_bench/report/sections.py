"""The sections of the report, in the order in which they are read."""

from collections import defaultdict
from statistics import median_low
from textwrap import shorten

from xpnet_bench.jobs.cells import LBFGS_ITERATIONS
from xpnet_bench.report import charts, tables
from xpnet_bench.report.model import Cell, Section, Table
from xpnet_bench.report.units import times
from xpnet_bench.results import Results, against_best_peer

CONTESTED = ("training", "prediction", "kernels", "cells", "gpu")
"""Suites in which all contenders do the same work."""

SUITES = {
    "training": (
        "Training",
        "Time for one update. All contenders start from the same weights, on the same data; the "
        "floor is the five matrix products alone, through BLAS. The peak is as many fused "
        "multiply-adds as these products need, with all operands in registers. Time to accuracy is "
        "measured on the data that its job names; the digits are scikit-learn's.",
    ),
    "kernels": (
        "Kernels",
        "Time of one call. The floor is a plain copy of as many bytes as the kernel must read and "
        "write, into memory that exists already.",
    ),
    "prediction": (
        "Prediction",
        "Class probabilities of a 784-100-10 network. For one row, each call is timed alone.",
    ),
    "cells": (
        "Whole fits",
        "The time of whole fits through scikit-learn's contract (PyTorch as a loop): "
        f"L-BFGS for {LBFGS_ITERATIONS} iterations on standardized columns, "
        "the others for five epochs of Adam on 784-100-10; and searches in as many "
        "processes as threads, in threads, and with one fit after the other.",
    ),
    "feel": (
        "What a user notices",
        "Estimators with their defaults: xpnet's MLPClassifier (xpnet-mlp) and TabularClassifier "
        "(xpnet-table), scikit-learn's MLPClassifier (sklearn-mlp) and its "
        "HistGradientBoostingClassifier (boosting). The import and the first fits, on 150 rows of "
        "4 columns, are new processes; a new machine has compiled nothing yet. A file is xpnet's "
        "own, for scikit-learn a pickle; an installation includes all that it requires.",
    ),
    "distributed": (
        "Several processes",
        "Time for one update of a batch that ranks share. xpnet-mpi and torch-ddp (over gloo) "
        "divide it among ranks of the stated number of threads; the others are one process with "
        "all threads. Ranks of xpnet-mpi on one machine share memory as threads do; they are "
        "meant for several machines, and are not faster than threads on one.",
    ),
    "gpu": (
        "GPU",
        "Time for one step of Adam, gathering included, with data and labels on the device, and "
        "for one call of the loss with its gradient. The floor is the larger of the bytes over "
        "the card's measured copy rate and the operations over its measured rate of products in "
        "that precision.",
    ),
    "startup": (
        "First use",
        "Each round is a new process. Import: in a bare interpreter. First use: from importing "
        "the library, with NumPy imported already, to the end of ten updates on the digits.",
    ),
    "memory": (
        "Memory",
        "Each round is a new process, data included. Peaks of its memory in MiB: with the data "
        "alone, after the import, and at the end.",
    ),
}
"""The title of the section on each suite, and what was measured, in the order of the sections."""


def sections(results: Results) -> list[Section]:
    """All sections of the report."""
    return [answer(results), *(_suite(name, results) for name in SUITES), left_out(results)]


def _suite(suite: str, results: Results) -> Section:
    """Tables for each group of a suite's jobs."""
    title, text = SUITES[suite]
    groups = dict.fromkeys(job.group for job in results.by_job(suite=suite))
    section = Section(title, [text if groups else "Not measured in this run."], anchor=suite)
    for group in groups:
        jobs, caption = results.by_job(suite=suite, group=group), group.replace("_", " ")
        section.tables.extend(tables.group_tables(caption.capitalize(), results, jobs))
    return section


def answer(results: Results) -> Section:
    """How xpnet compares, and under which conditions, in sentences and one chart."""
    drawn = [charts.speed_chart(results)] if charts.headline_jobs(results) else []
    text = [answer_sentence(results), *behind_sentence(results), *_conditions(results)]
    if disturbed := sum(m.disturbed for m in results.measurements):
        total = len(results.measurements)
        text.append(
            f"Other processes used the processors during {disturbed} of {total} measurements."
        )
    return Section("The answer", text, drawn, anchor="answer")


def _conditions(results: Results) -> list[str]:
    """How noisy the machine was."""
    runs = results.used_runs or results.runs
    noisiest = max(runs, key=lambda run: (run["noise"]["noisy"], run["noise"]["spread"]))
    text = [noisiest["noise"]["verdict"]]
    if len(runs) > 1:
        noisy = sum(run["noise"]["noisy"] for run in runs)
        text = [f"{noisy} of {len(runs)} runs were made on a noisy machine; the noisiest:", *text]
    return text


def answer_sentence(results: Results) -> str:
    """How xpnet compares with the best peer, by kind of job, in numbers that the chart shows."""
    speeds = defaultdict(list)
    for job, speed in against_best_peer(charts.headline_jobs(results), results.ours):
        speeds[job.suite].append(speed.median)
    if not speeds:
        return "Neither xpnet nor a peer was measured on the same job."
    parts = [
        f"{times(median_low(values))} in {suite} ({times(min(values))} to {times(max(values))}, "
        f"{len(values)} job{'s' * (len(values) > 1)})"
        for suite, values in speeds.items()
    ]
    summary = "; ".join(parts)
    return f"Against the best peer of each job, {results.ours} runs at a median speed of {summary}."


def behind_sentence(results: Results) -> list[str]:
    """The jobs on which xpnet is slower than the best peer, whether the chart shows them or not."""
    contested = [
        (job, speed.median)
        for job, speed in against_best_peer(results.by_job(), results.ours)
        if job.suite in CONTESTED
    ]
    behind = [f"{job.name} ({times(speed)})" for job, speed in contested if speed < 1]
    if not behind:
        return ["It is behind a peer on no job."] if contested else []
    jobs = f"{len(behind)} job{'s' * (len(behind) > 1)}"
    return [f"It is behind the best peer on {jobs}: {', '.join(behind)}."]


def left_out(results: Results) -> Section:
    """The contenders and jobs that were not measured, and why."""
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for run in results.runs:
        for entry in run["skipped"]:
            reasons[entry["contender"], entry["reason"]].append(entry["job"])
    rows = [
        [
            Cell(contender),
            Cell(reason),
            Cell(str(len(jobs)), shorten(", ".join(jobs), 100, placeholder=" …"), len(jobs)),
        ]
        for (contender, reason), jobs in reasons.items()
    ]
    last, text = results.last, []
    if last["left_out"]["jobs"]:
        jobs = ", ".join(last["left_out"]["jobs"])
        text.append(f"Not measured, since {last['left_out']['why']}: {jobs}.")
    if last["not_asked"]:
        text.append(f"Not asked for: {', '.join(last['not_asked'])}.")
    reason_tables = [Table("Left out", ["contender", "reason", "jobs"], rows)] if rows else []
    text = text or ([] if rows else ["All contenders did all jobs."])
    return Section("Left out", text, tables=reason_tables, anchor="left-out")
