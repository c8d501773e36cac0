"""The results file: merged by job, written after each, one line for each row."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
from helpers.made_up import run
from xpnet_bench.jobs import Job
from xpnet_bench.measure.race import Lane
from xpnet_bench.record import Record
from xpnet_bench.results import read_results

from xpnet import InputError

FIRST, SECOND = (
    Job(name, "kernels", "softmax", "softmax", {"rows": 3}, data="/home/me/mnist.npz")
    for name in "ab"
)


def lanes(*seconds: float) -> dict[str, Lane]:
    """Two contenders that were measured, and one that was not."""
    return {
        "xpnet-numba": Lane("xpnet-numba", seconds=list(seconds), turns=len(seconds)),
        "numpy": Lane("numpy", seconds=[2 * s for s in seconds], turns=len(seconds)),
        "torch": Lane("torch", failed="torch is not installed"),
    }


def named(**changes: Any) -> dict[str, Any]:
    """A run that was asked for both jobs."""
    return {**run(), "left_out": {"why": "it was interrupted", "jobs": ["a", "b"]}, **changes}


def test_a_job_that_was_measured_is_in_the_file_when_the_run_is_cut_off(tmp_path: Path) -> None:
    Record(tmp_path / "r.json", named()).add(FIRST, lanes(1.0, 3.0, 2.0))
    measured = read_results(tmp_path / "r.json")
    assert [(m.job.name, m.contender, m.median) for m in measured.measurements] == [
        ("a", "xpnet-numba", 2.0),
        ("a", "numpy", 4.0),
    ]
    assert measured.last["left_out"]["jobs"] == ["b"]
    assert measured.last["skipped"] == [
        {"job": "a", "contender": "torch", "reason": "torch is not installed"}
    ]
    assert measured.measurements[0].job.data == "mnist.npz"


def test_a_partial_run_replaces_its_own_jobs_only(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    record = Record(path, named(date="2026-01-01T00:00:00+00:00"))
    record.add(FIRST, lanes(1.0))
    record.add(SECOND, lanes(5.0))
    Record(path, named(date="2026-01-02T00:00:00+00:00")).add(FIRST, lanes(3.0))
    measured = read_results(path)
    assert [
        (m.job.name, m.median, m.run["date"][:10])
        for m in measured.measurements
        if m.role == "xpnet"
    ] == [
        ("a", 3.0, "2026-01-02"),
        ("b", 5.0, "2026-01-01"),
    ]
    assert [len(r["skipped"]) for r in measured.runs] == [1, 1]


@pytest.mark.parametrize(
    "change",
    [
        {"threads": 1},
        {"machine": {**run()["machine"], "cores": 9}},
        {"machine": {**run()["machine"], "card": "another card"}},
    ],
)
def test_runs_under_other_conditions_are_not_mixed(tmp_path: Path, change: dict[str, Any]) -> None:
    Record(tmp_path / "r.json", named()).add(FIRST, lanes(1.0))
    with pytest.raises(InputError, match="choose another folder"):
        Record(tmp_path / "r.json", named(**change))


def test_single_calls_leave_a_line_of_statistics(tmp_path: Path) -> None:
    job, seconds = (
        replace(FIRST, single_calls=True),
        numpy.random.default_rng(0).exponential(1e-5, 3000),
    )
    Record(tmp_path / "r.json", named()).add(
        job, {"numpy": Lane("numpy", seconds=seconds.tolist(), turns=12)}
    )
    (measured,) = read_results(tmp_path / "r.json").measurements
    assert measured.stats["rounds"] == 3000
    assert measured.median == pytest.approx(numpy.median(seconds), rel=1e-4)
    numpy.testing.assert_allclose(
        measured.seconds, numpy.median(seconds.reshape(12, 250), axis=1), rtol=1e-4
    )
    (note,) = measured.notes
    assert len(note) == 4
    for name, value in note.items():
        percent = float(name.partition(" ")[0])
        assert value == pytest.approx(numpy.percentile(seconds, percent) * 1e6, rel=1e-4)
    lines = (tmp_path / "r.json").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if '"stats"' in line]) == 1
    assert max(map(len, lines)) < 2000
    json.loads("".join(lines))
