"""The tables of a report."""

from statistics import median

from xpnet_bench.contenders import BOUNDS
from xpnet_bench.jobs import Job
from xpnet_bench.report.model import EMPTY, Cell, Table
from xpnet_bench.report.units import seconds, significant, times
from xpnet_bench.results import (
    Measurement,
    Results,
    best_of_role,
    contenders_of,
    named,
    ratio,
)

NOTE_DIGITS = 4
"""Number of significant digits of what was measured besides the time."""

Jobs = dict[Job, list[Measurement]]
"""Jobs with their measurements."""


def group_tables(caption: str, results: Results, jobs: Jobs) -> list[Table]:
    """The times of a group of jobs, and what was measured besides."""
    noted = [(job, m) for job, measurements in jobs.items() for m in measurements if m.notes]
    return [time_table(caption, results, jobs), *([note_table(caption, noted)] if noted else [])]


def time_table(caption: str, results: Results, jobs: Jobs) -> Table:
    """Median and quartiles of each contender, xpnet's ratios to the best peer and to the floor,
    and its share of the processor's peak where that was measured.
    """
    columns = contenders_of(jobs)
    of_xpnet = [name for name in (results.ours, *columns) if name in columns and "xpnet" in name]
    ours = of_xpnet[0] if of_xpnet else ""
    shares = {f"share of peak, {ours}": _share_of_peak} if "peak" in columns else {}
    rows = [
        [
            Cell(job.name),
            *_ratios(measurements, ours),
            *(share(measurements, ours) for share in shares.values()),
            *_times(measurements, columns),
        ]
        for job, measurements in jobs.items()
    ]
    header = ["job", f"best peer / {ours}", f"{ours} / floor", *shares, *columns]
    return Table(caption, header, rows)


def _times(measurements: list[Measurement], columns: list[str]) -> list[Cell]:
    fastest = min((m.median for m in measurements if m.role not in BOUNDS), default=0.0)
    own = [named(measurements, name) for name in columns]
    return [time_cell(m, best=m.median == fastest) if m else EMPTY for m in own]


def time_cell(m: Measurement, *, best: bool = False) -> Cell:
    """``190 µs`` with quartiles, the number of rounds and of outliers."""
    outliers = m.stats["iqr_outliers"]
    odd = f", {outliers} outlier{'s' * (outliers > 1)}" if outliers else ""
    quartiles = f"{seconds(m.stats['q1'])}–{seconds(m.stats['q3'])}"
    return Cell(seconds(m.median), f"{quartiles}, n={m.stats['rounds']}{odd}", m.median, best)


def _ratios(measurements: list[Measurement], ours: str) -> list[Cell]:
    own, peer = named(measurements, ours), best_of_role(measurements, "peer")
    floor = best_of_role(measurements, "floor")
    return [_ratio_cell(peer, own, f", {peer.contender}" if peer else ""), _ratio_cell(own, floor)]


def _share_of_peak(measurements: list[Measurement], ours: str) -> Cell:
    """The operations a second of a contender's products over those of multiply-adds alone."""
    own, peak = named(measurements, ours), best_of_role(measurements, "peak")
    if own is None or peak is None:
        return EMPTY
    share = ratio(peak, own)
    return Cell(f"{share.median:.2f}", f"{share.lower:.2f}–{share.upper:.2f}", share.median)


def _ratio_cell(slower: Measurement | None, faster: Measurement | None, remark: str = "") -> Cell:
    if slower is None or faster is None:
        return EMPTY
    quotient = ratio(slower, faster)
    detail = f"{times(quotient.lower)}–{times(quotient.upper)}{remark}"
    return Cell(times(quotient.median), detail, quotient.median)


def note_table(caption: str, noted: list[tuple[Job, Measurement]]) -> Table:
    """A row for each contender and job: median and range over the rounds of what its notes say."""
    names = list(dict.fromkeys(name for _, m in noted for name in m.notes[0]))
    rows = [
        [
            Cell(m.contender, job.name),
            *(_range_cell([note[name] for note in m.notes if name in note]) for name in names),
        ]
        for job, m in noted
    ]
    header = ["contender", *(name.replace("_", " ") for name in names)]
    return Table(f"{caption}: what was measured besides", header, rows)


def _range_cell(values: list[float]) -> Cell:
    if not values:
        return EMPTY
    middle = median(values)
    ends = dict.fromkeys(significant(value, NOTE_DIGITS) for value in (min(values), max(values)))
    return Cell(significant(middle, NOTE_DIGITS), "–".join(ends) if len(ends) > 1 else "", middle)
