"""Two results files against each other."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpnet_bench.compare.statistics import (
    LEAST_ROUNDS,
    Change,
    change,
    is_faster,
    is_slower,
    noise_of_controls,
)
from xpnet_bench.report import Measurement, Results, read_results
from xpnet_bench.report.units import seconds

WORTH_TELLING = 1.03
"""Smaller changes are not listed, however certain they are."""

Pair = tuple[Measurement, Measurement]


@dataclass(frozen=True)
class Row:
    """One measurement of xpnet in both files."""

    old: Measurement
    new: Measurement
    change: Change


@dataclass(frozen=True)
class Comparison:
    """Holds what changed between two runs.

    regressions : slower than ``fail_at``, beyond the noise; slower, faster : beyond the noise and worth telling
    unchanged : the others; noise : the least ratio beyond the noise; remarks : what a reader should know
    """

    fail_at: float
    noise: float
    rows: list[Row]
    remarks: list[str]

    @property
    def regressions(self) -> list[Row]:
        """Slower by more than is allowed."""
        return [row for row in self.rows if is_slower(row.change, self.fail_at, self.noise)]

    @property
    def slower(self) -> list[Row]:
        """Slower for sure, regressions included."""
        return [row for row in self.rows if is_slower(row.change, WORTH_TELLING, self.noise)]

    @property
    def faster(self) -> list[Row]:
        """Faster for sure."""
        return [row for row in self.rows if is_faster(row.change, WORTH_TELLING, self.noise)]


def compare_files(old: Path, new: Path, fail_at: float) -> Comparison:
    """Compare what both files hold; raises DataFileError for files of another kind."""
    return compare_results(read_results(old), read_results(new), fail_at)


def compare_results(old: Results, new: Results, fail_at: float) -> Comparison:
    """Compare every measurement of xpnet with the controls of its job."""
    rows, among_controls = [], []
    for pairs in _undisturbed(_in_both(old, new)):
        controls = {name: pair for name, pair in pairs.items() if _is_control(pair)}
        for name, pair in pairs.items():
            others = [p for other, p in controls.items() if other != name]
            if pair[0].role == "xpnet":
                rows.append(Row(*pair, _change(pair, others)))
            elif name in controls and others:
                among_controls.append(_change(pair, others))
    return Comparison(fail_at, noise_of_controls(among_controls), rows, _remarks(old, new, rows))


def _change(pair: Pair, controls: list[Pair]) -> Change:
    befores, afters = [c[0].seconds for c in controls], [c[1].seconds for c in controls]
    return change(pair[0].seconds, pair[1].seconds, befores, afters)


def _is_control(pair: Pair) -> bool:
    """Return whether a contender is not ours, and ran by the same versions both times."""
    old, new = pair
    return new.role != "xpnet" and bool(old.version) and old.version == new.version


def _in_both(old: Results, new: Results) -> list[dict[str, Pair]]:
    """Return for each job of both files the contenders that were measured both times."""
    before = {(m.job.name, m.contender): m for m in old.measurements}
    return [
        {
            m.contender: (before[job.name, m.contender], m)
            for m in measurements
            if (job.name, m.contender) in before
        }
        for job, measurements in new.by_job().items()
    ]


def _undisturbed(jobs: list[dict[str, Pair]]) -> Iterator[dict[str, Pair]]:
    """Return the results without what other processes disturbed, and without jobs of too few rounds."""
    for found in jobs:
        pairs = {name: pair for name, pair in found.items() if not any(m.disturbed for m in pair)}
        if pairs and min(len(m.seconds) for pair in pairs.values() for m in pair) >= LEAST_ROUNDS:
            yield pairs


def _remarks(old: Results, new: Results, rows: list[Row]) -> list[str]:
    remarks = [
        f"{which}: {results.last['noise']['verdict']}"
        for which, results in (("Old", old), ("New", new))
    ]
    if _conditions(old) != _conditions(new):
        remarks.append(
            "The files come from two machines, numbers of threads or sets of instructions: only large changes mean "
            "anything."
        )
    controls = {
        name for pairs in _in_both(old, new) for name, pair in pairs.items() if _is_control(pair)
    }
    remarks.append(
        f"Controls: {', '.join(sorted(controls)) or 'none, so that every drift of the machine shows'}."
    )
    disturbed = {
        m.job.name
        for m in (*old.measurements, *new.measurements)
        if m.disturbed and m.role == "xpnet"
    }
    if disturbed:
        remarks.append(
            f"Not judged, since other processes used the processors: {', '.join(sorted(disturbed))}."
        )
    left_out = (
        {m.job.name for m in new.measurements if m.role == "xpnet"}
        - {row.new.job.name for row in rows}
        - disturbed
    )
    if left_out:
        remarks.append(
            f"Not in both files, or fewer than {LEAST_ROUNDS} rounds: {', '.join(sorted(left_out))}."
        )
    return remarks


def _conditions(results: Results) -> tuple[Any, ...]:
    return results.machine["processor"], results.last["threads"], results.last["held"]


def comparison_text(comparison: Comparison, show_all: bool) -> str:
    """Write a comparison for a terminal or a log."""
    lines = [
        *comparison.remarks,
        f"Beyond the noise are changes by more than {comparison.noise:.3f}.",
    ]
    told: list[Row] = []
    for title, rows in (("Slower", comparison.slower), ("Faster", comparison.faster)):
        lines += [f"{title}:", *map(_line, rows)] if rows else []
        told += rows
    if show_all:
        lines += ["Unchanged:", *(_line(row) for row in comparison.rows if row not in told)]
    failed = len(comparison.regressions)
    lines.append(
        f"{len(comparison.rows)} measurements: {len(comparison.faster)} faster, {len(comparison.slower)} slower, "
        f"{failed} past --fail-at {comparison.fail_at:g}."
    )
    return "\n".join(lines)


def _line(row: Row) -> str:
    found = row.change
    return (
        f"  {row.new.job.name:44} {row.new.contender:12} {seconds(row.old.median):>8} -> {seconds(row.new.median):>8} "
        f"x{found.ratio:.3f} ({found.lower:.3f} to {found.upper:.3f})"
    )
