"""Two results files: what became slower or faster, beyond the noise of the machine.

A machine is slower in one minute than in the next, and for all contenders. So xpnet is not compared
with its own past but, round by round, with the *controls* that ran beside it and did not change:
peers and floor of the same versions. What remains must pass three tests, each against one source of
error:

- the interval of the paired medians (bootstrap over rounds) lies beyond the threshold: not the
  scatter of rounds;
- it is beyond what the controls show among each other: not the luck of a process, which a bootstrap
  cannot see;
- the fastest tenth of the rounds moved as far: not a disturbance, which slows some rounds but never
  all.

For a plain table of the times of two files or more, see ``pytest-benchmark compare``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy
from scipy.stats import bootstrap, median_abs_deviation

from xpnet_bench.report.units import seconds
from xpnet_bench.results import Measurement, Results, conditions, read_results

MIN_ROUNDS = 6
"""Minimum number of rounds of a job that is judged."""

MIN_RATIO = 1.03
"""Smaller changes are not listed, however certain they are."""

DEVIATIONS = 3.0
"""Number of standard deviations of the controls that a change must exceed."""


class Pair(NamedTuple):
    """The measurements of one contender on one job, before and after a change."""

    old: Measurement
    new: Measurement


@dataclass(frozen=True, eq=False)
class Change:
    """The new time of a contender relative to its old time, corrected by the controls.

    lower, upper : 95 % interval of ``ratio``; fastest : the same ratio of the fastest tenth of the
        rounds
    """

    old: Measurement
    new: Measurement
    ratio: float
    lower: float
    upper: float
    fastest: float

    def is_slower(self, threshold: float, noise: float) -> bool:
        """Return whether the contender became slower by more than the threshold, for certain."""
        return self.lower > threshold and min(self.ratio, self.fastest) > max(threshold, noise)

    def is_faster(self, threshold: float, noise: float) -> bool:
        """Return whether the contender became faster by more than the threshold, for certain."""
        limit = 1 / max(threshold, noise)
        return self.upper < 1 / threshold and max(self.ratio, self.fastest) < limit


@dataclass(frozen=True)
class Comparison:
    """The changes of xpnet's measurements, the noise of the controls, and remarks for the reader.

    noise : minimum ratio that is beyond the noise
    """

    changes: list[Change]
    noise: float
    remarks: list[str]

    def slower(self, threshold: float = MIN_RATIO) -> list[Change]:
        """Return what became slower by more than the threshold."""
        return [change for change in self.changes if change.is_slower(threshold, self.noise)]

    def faster(self) -> list[Change]:
        """Return what became faster."""
        return [change for change in self.changes if change.is_faster(MIN_RATIO, self.noise)]


def compare_files(old: Path, new: Path) -> Comparison:
    """Compare what both files hold; raises DataFileError for files of another kind."""
    return compare_results(read_results(old), read_results(new))


def compare_results(old: Results, new: Results) -> Comparison:
    """Compare each measurement of xpnet with the controls of its job."""
    changes, control_changes = [], []
    for pairs in _judged_jobs(old, new):
        controls = {name: pair for name, pair in pairs.items() if _is_control(pair)}
        for name, pair in pairs.items():
            others = [control for other, control in controls.items() if other != name]
            if pair.new.role == "xpnet":
                changes.append(measure_change(pair, others))
            elif name in controls and others:
                control_changes.append(measure_change(pair, others))
    return Comparison(changes, noise_of(control_changes), _remarks(old, new, changes))


def _pairs_by_job(old: Results, new: Results) -> list[dict[str, Pair]]:
    """Return for each job of both files the contenders that were measured both times."""
    before = {(m.job.name, m.contender): m for m in old.measurements}
    return [
        {
            m.contender: Pair(before[key], m)
            for m in ms
            if (key := (job.name, m.contender)) in before
        }
        for job, ms in new.by_job().items()
    ]


def _judged_jobs(old: Results, new: Results) -> Iterator[dict[str, Pair]]:
    """Yield the jobs with enough rounds, without what other processes disturbed."""
    for pairs in _pairs_by_job(old, new):
        quiet = {name: pair for name, pair in pairs.items() if not any(m.disturbed for m in pair)}
        if quiet and min(len(m.seconds) for pair in quiet.values() for m in pair) >= MIN_ROUNDS:
            yield quiet


def _is_control(pair: Pair) -> bool:
    """Return whether a contender is not xpnet, and had the same versions both times."""
    old, new = pair
    return new.role != "xpnet" and bool(old.version) and old.version == new.version


def measure_change(pair: Pair, controls: Sequence[Pair]) -> Change:
    """Return the change of one contender, corrected by the controls, which were measured in the
    same rounds.
    """
    old = _relative_logs(pair.old, [control.old for control in controls])
    new = _relative_logs(pair.new, [control.new for control in controls])
    middle = numpy.median(new) - numpy.median(old)
    interval = bootstrap((new, old), _median_shift, n_resamples=1000, method="percentile", rng=0)
    lower, upper = interval.confidence_interval
    drift = numpy.mean([_fastest_shift(control) for control in controls]) if controls else 0.0
    logs = (middle, lower, upper, _fastest_shift(pair) - drift)
    return Change(*pair, *(float(numpy.exp(value)) for value in logs))


def _relative_logs(m: Measurement, controls: Sequence[Measurement]) -> numpy.ndarray:
    """log(time / median of the controls in the same round), for the rounds that all have."""
    count = min(len(other.seconds) for other in (m, *controls))
    logs = numpy.log(m.seconds[:count])
    if not controls:
        return logs
    return logs - numpy.median([numpy.log(c.seconds[:count]) for c in controls], axis=0)


def _median_shift(new: numpy.ndarray, old: numpy.ndarray, axis: int = -1) -> numpy.ndarray:
    return numpy.median(new, axis=axis) - numpy.median(old, axis=axis)


def _fastest_shift(pair: Pair) -> float:
    old, new = (numpy.percentile(m.seconds, 10) for m in pair)
    return float(numpy.log(new / old))


def noise_of(changes: Sequence[Change]) -> float:
    """Return the minimum ratio beyond the noise, from how much the controls seem to change.

    The scale is the median absolute deviation, so that a single control that did change does not
    matter.
    """
    if len(changes) < 2:
        return 1.0
    logs = numpy.log([change.ratio for change in changes])
    scale = median_abs_deviation(logs, center=lambda a, axis: numpy.zeros(()), scale="normal")
    return float(numpy.exp(DEVIATIONS * scale))


def _remarks(old: Results, new: Results, changes: list[Change]) -> list[str]:
    remarks = [
        f"{title}: {run['noise']['verdict']}"
        for title, run in (("Old", old.last), ("New", new.last))
    ]
    if conditions(old.last) != conditions(new.last):
        remarks.append(
            "The files come from two machines or numbers of threads: "
            "only large changes are meaningful."
        )
    pairs = [item for pairs in _pairs_by_job(old, new) for item in pairs.items()]
    controls = sorted({name for name, pair in pairs if _is_control(pair)})
    remarks.append(
        f"Controls: {', '.join(controls) or 'none, so each drift of the machine shows'}."
    )
    measured = (*old.measurements, *new.measurements)
    ours = {(m.job.name, m.contender) for m in measured if m.role == "xpnet"}
    judged = {(change.new.job.name, change.new.contender) for change in changes}
    if ours != judged:
        names = ", ".join(sorted({job for job, _ in ours - judged}))
        remarks.append(
            f"Not judged, since not in both files, with fewer than {MIN_ROUNDS} rounds, or "
            f"disturbed by other processes: {names}."
        )
    return remarks


def comparison_text(comparison: Comparison, fail_at: float) -> str:
    """Write a comparison for a terminal or a log."""
    slower, faster = comparison.slower(), comparison.faster()
    lines = [*comparison.remarks, f"Changes beyond the noise exceed {comparison.noise:.3f}."]
    for title, changes in (("Slower", slower), ("Faster", faster)):
        lines += [f"{title}:", *map(_line, changes)] if changes else []
    failed = len(comparison.slower(fail_at))
    lines.append(
        f"{len(comparison.changes)} measurements: {len(faster)} faster, {len(slower)} slower, "
        f"{failed} past --fail-at {fail_at:g}."
    )
    return "\n".join(lines)


def _line(change: Change) -> str:
    old, new = change.old, change.new
    times = f"{seconds(old.median):>8} -> {seconds(new.median):>8}"
    ratio = f"x{change.ratio:.3f} ({change.lower:.3f} to {change.upper:.3f})"
    return f"  {new.job.name:44} {new.contender:12} {times} {ratio}"
