"""The sections of the report, in the order in which they are read."""

from collections import defaultdict
from statistics import median, median_low

from xpnet_bench.jobs.cells import LBFGS_ITERATIONS
from xpnet_bench.report import charts
from xpnet_bench.report.model import Cell, Section, Table
from xpnet_bench.report.ratios import against_best_peer, ours
from xpnet_bench.report.results import Results, Run
from xpnet_bench.report.tables import (
    accuracy_table,
    count_table,
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
        cells(results),
        counts(results),
        distributed(results),
        gpu(results),
        first_use(results),
        memory(results),
        left_out(results),
    ]


def _not_measured(title: str, anchor: str) -> Section:
    return Section(title, ["Not measured in this run."], anchor=anchor)


def answer(results: Results) -> Section:
    """Say what is compared and under which conditions, in sentences, and one chart."""
    drawn = [charts.speed_chart(results)] if charts.headline_jobs(results) else []
    text = [answer_sentence(results), *behind_sentence(results), *_conditions(results)]
    if disturbed := sum(m.disturbed for m in results.measurements):
        text.append(
            f"During {disturbed} of {len(results.measurements)} measurements other processes used the processors."
        )
    return Section("The answer", text, drawn, anchor="answer")


def _conditions(results: Results) -> list[str]:
    """Say how noisy the machine was, and what holds contenders to fewer instructions than they could use."""
    text = [run["noise"]["verdict"] for run in results.used_runs if run["noise"]["noisy"]]
    text = text or [results.last["noise"]["verdict"]]
    if held := results.last["held"]:
        text.append(_limits(results.last["instructions"], ", ".join(held)))
    return text


def _limits(instructions: str, variables: str) -> str:
    if instructions == "native":
        return (
            f"{variables} held those libraries that read it to instructions of an older processor: they would be "
            "quicker without, and ratios to them are too good."
        )
    return f"Everybody was held to {instructions.upper()} (by {variables})."


def answer_sentence(results: Results) -> str:
    """Say how our backend compares with the best peer, by kind of job, in numbers that the chart shows."""
    speeds = defaultdict(list)
    for job, found in against_best_peer(charts.headline_jobs(results), ours(results)):
        speeds[job.suite].append(found.median)
    if not speeds:
        return "Nothing was measured here that a peer did, too."
    parts = [
        f"{times(median_low(found))} in {kind} ({times(min(found))} to {times(max(found))}, {len(found)} "
        f"job{'s' * (len(found) > 1)})"
        for kind, found in speeds.items()
    ]
    return f"Against the best peer of each job, {ours(results)} runs at a median speed of {'; '.join(parts)}."


def behind_sentence(results: Results) -> list[str]:
    """The jobs on which our backend is slower than the best peer, whether the chart shows them or not."""
    contested = [
        (job, found.median)
        for job, found in against_best_peer(results.by_job(), ours(results))
        if job.suite in charts.CONTESTED
    ]
    behind = [f"{job.name} ({times(speed)})" for job, speed in contested if speed < 1]
    if not behind:
        return ["It is behind a peer on no job."] if contested else []
    return [
        f"It is behind the best peer on {len(behind)} job{'s' * (len(behind) > 1)}: {', '.join(behind)}."
    ]


def training(results: Results) -> Section:
    """Show the four jobs, and time to accuracy."""
    jobs, accuracy = results.by_job(group="training"), results.by_job(group="accuracy")
    if not jobs:
        return _not_measured("Training", "training")
    text = [
        "Time for one update. Everybody starts from the same weights, on the same data; the floor is the five matrix "
        "products alone, through BLAS."
    ]
    if not all(run["data"] for run in results.used_runs if "training" in run["suites"]):
        text.append(
            "No data file was given: time to accuracy is measured on made-up, MNIST-shaped data."
        )
    tables = [time_table("Training jobs, one update", results, jobs)]
    return Section(
        "Training", text, [], tables + ([accuracy_table(accuracy)] if accuracy else []), "training"
    )


def kernels(results: Results) -> Section:
    """Show a roofline and a table for each operation."""
    found = {name: results.by_job(group=name) for name in OPERATIONS}
    if not any(found.values()):
        return _not_measured("Kernels against size", "kernels")
    text = [
        "Bytes that must be read and written, over time. The dashed line is a plain copy of as many bytes into memory "
        "that exists already: no kernel that reads and writes main memory is much above it."
    ]
    drawn = [
        charts.roofline(results, name, title) for name, title in OPERATIONS.items() if found[name]
    ]
    tables = [
        time_table(title, results, found[name]) for name, title in OPERATIONS.items() if found[name]
    ]
    return Section("Kernels against size", text, drawn, tables, "kernels")


def scaling(results: Results) -> Section:
    """Over threads and over batch sizes."""
    threads, batch = results.by_job(group="threads"), results.by_job(group="batch")
    if not threads and not batch:
        return _not_measured("Scaling with threads and batch size", "scaling")
    widths = sorted({job.sizes["hidden"] for job in threads})
    drawn = [charts.threads_chart(results, width) for width in widths] + [
        charts.batch_chart(results)
    ]
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
    return Section("Prediction", text, [charts.latency_chart(results)], tables, "prediction")


def cells(results: Results) -> Section:
    """Small calls and fits, each beside its best peer."""
    jobs = results.by_job(suite="cells")
    if not jobs:
        return _not_measured("Cells", "cells")
    text = [
        "Small calls as a user makes them; the time of whole fits through scikit-learn's contract (PyTorch as a loop), "
        f"L-BFGS for {LBFGS_ITERATIONS} iterations on standardized columns, the others for five epochs of Adam on "
        "784-100-10; and a search, with as many jobs as threads."
    ]
    return Section("Cells", text, [], [time_table("Cells", results, jobs)], "cells")


def counts(results: Results) -> Section:
    """Python calls, which no disturbance of the machine changes."""
    jobs = results.by_job(suite="counts")
    if not jobs:
        return _not_measured("Python calls", "counts")
    text = [
        "How many Python functions a warm call runs through in its thread, and in brackets how many of them are the "
        "library's own. Digits, 64-32-10, batch 200."
    ]
    return Section("Python calls", text, [], [count_table(jobs)], "counts")


def distributed(results: Results) -> Section:
    """Ranks beside one process with all threads, and beside PyTorch's."""
    jobs = results.by_job(suite="distributed")
    if not jobs:
        return _not_measured("Several processes", "distributed")
    text = [
        "Time for one update of a batch that ranks share. xpnet-mpi and torch-ddp (over gloo) divide it among ranks of "
        "so many threads each; the others are one process with all threads. Ranks of xpnet-mpi on one machine share "
        "memory as threads do; they are for several machines, and no quicker than threads on one."
    ]
    return Section(
        "Several processes",
        text,
        [],
        [time_table("Ranks and threads", results, jobs)],
        "distributed",
    )


def gpu(results: Results) -> Section:
    """Training and the loss on a GPU, beside what the card can do."""
    jobs = results.by_job(suite="gpu")
    if not jobs:
        return _not_measured("GPU", "gpu")
    text = [
        "Time for one step of Adam, gathering included, with data, labels and order on the device, and for one call of "
        "the loss with its gradient. The floor is the larger of the bytes over the card's measured copy rate and the "
        "operations over its measured rate of products in that precision."
    ]
    return Section("GPU", text, [], [time_table("On the GPU", results, jobs)], "gpu")


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
    return Section(
        "First use", text, drawn, [time_table("Import and first use", results, jobs)], "first-use"
    )


def memory(results: Results) -> Section:
    """Peak memory of processes that do one job."""
    jobs = results.by_job(suite="memory")
    if not jobs:
        return _not_measured("Memory", "memory")
    drawn = [
        charts.bars(
            results,
            "memory",
            "Peak memory",
            "MiB",
            lambda m: median(note["peak_mib"] for note in m.notes),
        )
    ]
    text = [
        "Each round is a new process, data included; import and job are what they add to the peak before them."
    ]
    return Section("Memory", text, drawn, [memory_table(jobs)], "memory")


def left_out(results: Results) -> Section:
    """List the contenders that were not measured, and why."""
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for run in results.runs:
        for entry in run["skipped"]:
            reasons[entry["contender"], entry["reason"]].append(entry["job"])
    rows = [
        [
            Cell(contender),
            Cell(reason),
            Cell(str(len(jobs)), ", ".join(jobs[:3]) + (" …" if len(jobs) > 3 else ""), len(jobs)),
        ]
        for (contender, reason), jobs in reasons.items()
    ]
    text = list(map(_unmeasured, filter(lambda run: run["left_out"]["jobs"], results.runs[-1:])))
    if results.last["not_asked"]:
        text.append(f"Not asked for: {', '.join(results.last['not_asked'])}.")
    tables = [Table("Left out", ["contender", "reason", "jobs"], rows)] if rows else []
    return Section(
        "Left out", text or ([] if rows else ["Everybody did every job."]), [], tables, "left-out"
    )


def _unmeasured(run: Run) -> str:
    return f"Not measured, since {run['left_out']['why']}: {', '.join(run['left_out']['jobs'])}."
