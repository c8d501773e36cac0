"""The sections of the report, in the order in which they are read."""

from collections import defaultdict
from statistics import median

from xpnet_bench.report import charts
from xpnet_bench.report.model import Cell, Section, Table
from xpnet_bench.report.ratios import against_best_peer, ours
from xpnet_bench.report.results import Results
from xpnet_bench.report.tables import (
    PERCENTILES,
    accuracy_table,
    memory_table,
    percentile_table,
    time_table,
)
from xpnet_bench.report.units import times

OPERATIONS = {
    "softmax": "Softmax",
    "cross_entropy": "Cross-entropy with gradient",
    "relu": "ReLU",
    "adam": "Adam",
}


def sections(results: Results) -> list[Section]:
    """All sections; one whose suite was not run says so."""
    return [
        answer(results),
        training(results),
        kernels(results),
        scaling(results),
        prediction(results),
        first_use(results),
        memory(results),
        left_out(results),
    ]


def _not_measured(title: str, anchor: str) -> Section:
    return Section(title, ["Not measured in this run."], anchor=anchor)


def answer(results: Results) -> Section:
    """One sentence, one chart."""
    drawn = [charts.speed_chart(results)] if charts.headline_jobs(results) else []
    text = [answer_sentence(results), results.run["noise"]["verdict"]]
    if disturbed := sum(m.disturbed for m in results.measurements):
        text.append(
            f"During {disturbed} of {len(results.measurements)} measurements other processes used the processors."
        )
    return Section("The answer", text, drawn, anchor="answer")


def answer_sentence(results: Results) -> str:
    """How our backend stands to the best peer, by kind of job."""
    by_kind = defaultdict(list)
    for job, found in against_best_peer(results):
        if job.suite in ("training", "prediction", "kernels") and job.group not in ("batch", "threads"):
            by_kind[job.suite].append(found.median)
    if not by_kind:
        return "Nothing was measured here that a peer did, too."
    parts = [
        f"{times(median(found))} in {kind} ({times(min(found))} to {times(max(found))}, {len(found)} jobs)"
        for kind, found in sorted(by_kind.items(), reverse=True)
    ]
    return f"Against the best peer of each job, {ours(results)} runs at a median speed of {'; '.join(parts)}."


def training(results: Results) -> Section:
    """The four jobs, and time to accuracy."""
    jobs, accuracy = results.by_job(group="training"), results.by_job(group="accuracy")
    if not jobs:
        return _not_measured("Training", "training")
    text = [
        "Time for one update. Everybody starts from the same weights, on the same data; the floor is the five matrix "
        "products alone, through BLAS."
    ]
    if not results.run["data"]:
        text.append("No data file was given: time to accuracy is measured on made-up, MNIST-shaped data.")
    tables = [time_table("Training jobs, one update", results, jobs)]
    return Section("Training", text, [], tables + ([accuracy_table(accuracy)] if accuracy else []), "training")


def kernels(results: Results) -> Section:
    """A roofline and a table for each operation."""
    found = {name: results.by_job(group=name) for name in OPERATIONS}
    if not any(found.values()):
        return _not_measured("Kernels against size", "kernels")
    text = [
        "Bytes that must be read and written, over time. The dashed line is a plain copy of as many bytes into memory "
        "that exists already: no kernel that reads and writes main memory is much above it."
    ]
    drawn = [charts.roofline(results, name, title) for name, title in OPERATIONS.items() if found[name]]
    tables = [time_table(title, results, found[name]) for name, title in OPERATIONS.items() if found[name]]
    return Section("Kernels against size", text, drawn, tables, "kernels")


def scaling(results: Results) -> Section:
    """Over threads and over batch sizes."""
    threads, batch = results.by_job(group="threads"), results.by_job(group="batch")
    if not threads and not batch:
        return _not_measured("Scaling with threads and batch size", "scaling")
    widths = sorted({job.sizes["hidden"] for job in threads})
    drawn = [charts.threads_chart(results, width) for width in widths] + [charts.batch_chart(results)]
    tables = [
        time_table("By threads, one update", results, threads),
        time_table("By batch size, one update", results, batch),
    ]
    return Section("Scaling with threads and batch size", [], drawn, tables, "scaling")


def prediction(results: Results) -> Section:
    """Latency of one row, throughput of many."""
    latency, throughput = results.by_job(group="latency"), results.by_job(group="throughput")
    if not latency:
        return _not_measured("Prediction", "prediction")
    text = ["Class probabilities of a 784-100-10 network. For one row, each call is timed alone."]
    tables = [percentile_table(latency), time_table("Throughput", results, throughput)]
    return Section("Prediction", text, [charts.latency_chart(results, PERCENTILES)], tables, "prediction")


def first_use(results: Results) -> Section:
    """Import, and first result with cold and with warm caches."""
    jobs = results.by_job(suite="startup")
    if not jobs:
        return _not_measured("First use", "first-use")
    text = [
        "Each round is a new process. Import: into a bare interpreter. First use: from importing the library, NumPy "
        "being there already, to the end of ten updates on the digits."
    ]
    drawn = [charts.bars(results, "startup", "Import and first use", "seconds", lambda m: m.median)]
    return Section("First use", text, drawn, [time_table("Import and first use", results, jobs)], "first-use")


def memory(results: Results) -> Section:
    """Peak memory of processes that do one job."""
    jobs = results.by_job(suite="memory")
    if not jobs:
        return _not_measured("Memory", "memory")
    drawn = [
        charts.bars(results, "memory", "Peak memory", "MiB", lambda m: median(note["peak_mib"] for note in m.notes))
    ]
    text = ["Each round is a new process, data included; import and job are what they add to the peak before them."]
    return Section("Memory", text, drawn, [memory_table(jobs)], "memory")


def left_out(results: Results) -> Section:
    """Who was not measured, and why."""
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for entry in results.run["skipped"]:
        reasons[entry["contender"], entry["reason"]].append(entry["job"])
    rows = [
        [
            Cell(contender),
            Cell(reason),
            Cell(str(len(jobs)), ", ".join(jobs[:3]) + (" …" if len(jobs) > 3 else ""), len(jobs)),
        ]
        for (contender, reason), jobs in reasons.items()
    ]
    text = [f"Not asked for: {', '.join(results.run['not_asked'])}."] if results.run["not_asked"] else []
    tables = [Table("Left out", ["contender", "reason", "jobs"], rows)] if rows else []
    return Section("Left out", text or ([] if rows else ["Everybody did every job."]), [], tables, "left-out")
