"""``python -m xpnet_bench.gpu``: xpnet beside PyTorch and JAX on one NVIDIA GPU, and beside what the card can do.

Each contender runs in a process of its own, round after round, so that neither allocators nor clocks of one weigh on
another. A job's floor is the larger of bytes over the measured copy bandwidth and operations over the measured rate of
products. Writes one JSON file with card, driver and versions; prints a table.
"""

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from xpnet_bench.gpu_jobs import CONTENDERS, JOBS, Job

SECONDS = 300  # a contender that compiles longer than this is reported as failed


def main() -> None:
    """Runs all jobs."""
    parser = argparse.ArgumentParser(prog="python -m xpnet_bench.gpu", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("bench/results"), help="folder of the JSON file")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each contender, interleaved")
    parser.add_argument("--only", default="", help="jobs and contenders whose name has this in it")
    options = parser.parse_args()
    machine, floors = _child("machine"), _child("floors")
    results = _measure(options.rounds, options.only)
    rows = [_row(job, contender, runs, floors) for (job, contender), runs in results.items()]
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "floors": floors,
        "jobs": rows,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"gpu-{machine['card'].replace(' ', '-').lower()}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    _print(machine, floors, rows)
    sys.stdout.write(f"written to {path}\n")


def _measure(rounds: int, only: str) -> dict[tuple[str, str], list[Any]]:
    """What each contender's processes gave, round after round."""
    pairs = [(job, name) for job in JOBS for name in CONTENDERS[JOBS[job].kind] if only in f"{job} {name}"]
    results: dict[tuple[str, str], list[Any]] = {pair: [] for pair in pairs}
    for turn in range(rounds):
        for job, name in pairs:
            sys.stderr.write(f"round {turn + 1} of {rounds}: {job}: {name}\n")
            results[job, name].append(_child("run", job, name))
    return results


def _child(*arguments: str) -> Any:
    """What ``xpnet_bench.gpu_jobs`` prints in a process of its own, or the error it ended with."""
    command = [sys.executable, "-m", "xpnet_bench.gpu_jobs", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except subprocess.TimeoutExpired:
        return {"error": f"no result within {SECONDS} s"}
    except subprocess.CalledProcessError as error:
        if arguments[0] != "run":
            raise SystemExit(_last_line(error)) from error
        return {"error": _last_line(error)}
    return json.loads(done.stdout.splitlines()[-1])


def _last_line(error: subprocess.CalledProcessError) -> str:
    """What a failed process said last."""
    return (error.stderr.strip().splitlines() or [f"exit status {error.returncode}"])[-1]


def _row(job: str, contender: str, runs: list[Any], floors: dict[str, float]) -> dict[str, Any]:
    """Median and quartiles over all processes, in microseconds, beside the floor."""
    floor = floor_us(JOBS[job], CONTENDERS[JOBS[job].kind][contender], floors)
    row: dict[str, Any] = {"job": job, "contender": contender, "floor_us": floor}
    errors = [run["error"] for run in runs if "error" in run]
    if errors:
        return row | {"error": errors[0]}
    samples = [sample for run in runs for sample in run["us"]]
    low, _, high = quantiles(samples, n=4)
    return row | {"median_us": median(samples), "quartiles_us": [low, high], "samples": len(samples)}


def floor_us(job: Job, precision: str, floors: dict[str, float]) -> float:
    """Microseconds that the card needs at the least: the larger of moving the bytes and of doing the products."""
    moving = job.bytes / floors["copy_gb_per_s"] / 1e3
    products = job.flop / floors[f"{precision}_tflop_per_s"] / 1e6
    return max(moving, products)


def _print(machine: dict[str, str], floors: dict[str, float], rows: list[dict[str, Any]]) -> None:
    sys.stdout.write(", ".join(f"{k} {v}" for k, v in (machine | floors).items()) + "\n")
    for row in rows:
        number = row.get("error") or "{:9.1f} us  [{:.1f}, {:.1f}]".format(row["median_us"], *row["quartiles_us"])
        sys.stdout.write(f"{row['job']:42} {row['contender']:28} {number}   floor {row['floor_us']:.1f}\n")


if __name__ == "__main__":
    main()
