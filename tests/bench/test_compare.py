"""The comparison finds what changed and nothing else, on machines whose noise we made."""

from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from click.testing import CliRunner
from helpers.made_up import measured, some_jobs, write
from xpnet_bench.cli import bench
from xpnet_bench.compare import Change, Pair, compare_results, measure_change, noise_of

JOBS = [job for job in some_jobs() if job.suite == "kernels"][:6]


@pytest.mark.slow
def test_an_unchanged_tree_passes_twenty_times_out_of_twenty() -> None:
    for seed in range(20):
        rng = numpy.random.default_rng(seed)
        old, new = measured(JOBS, rng), measured(JOBS, rng, drift=rng.uniform(0.7, 1.4))
        slower = compare_results(old, new).slower(1.10)
        assert not slower, (seed, slower)


@pytest.mark.parametrize("seed", range(5))
def test_a_kernel_slowed_by_1_3_is_found_and_is_alone(seed: int) -> None:
    rng, slow = numpy.random.default_rng(seed), JOBS[seed].name
    comparison = compare_results(measured(JOBS, rng), measured(JOBS, rng, {slow: 1.3}, drift=0.8))
    changes = comparison.slower(1.10)
    assert [change.new.job.name for change in changes] == [slow]
    assert 1.15 < changes[0].ratio < 1.45


def test_what_became_faster_is_told_and_does_not_fail(tmp_path: Path) -> None:
    rng, fast = numpy.random.default_rng(1), JOBS[3].name
    old = write(measured(JOBS, rng), tmp_path / "old.json")
    new = write(measured(JOBS, rng, {fast: 0.5}), tmp_path / "new.json")
    result = CliRunner().invoke(bench, ["compare", str(old), str(new)])
    assert result.exit_code == 0, result.output
    assert "1 faster, 0 slower" in result.output
    assert fast in result.output


def test_a_regression_is_exit_code_1_and_names_the_job(tmp_path: Path) -> None:
    rng, slow = numpy.random.default_rng(2), JOBS[4].name
    old = write(measured(JOBS, rng), tmp_path / "old.json")
    new = write(measured(JOBS, rng, {slow: 1.3}), tmp_path / "new.json")
    result = CliRunner().invoke(bench, ["compare", str(old), str(new), "--fail-at", "1.1"])
    assert result.exit_code == 1
    assert slow in result.output
    lenient = CliRunner().invoke(bench, ["compare", str(old), str(new), "--fail-at", "1.5"])
    assert lenient.exit_code == 0


def pair(old: numpy.ndarray, new: numpy.ndarray) -> Pair:
    """A contender that was measured twice, with these rounds."""
    (measurement, *_) = measured(JOBS[:1], numpy.random.default_rng(0)).measurements
    return Pair(replace(measurement, seconds=old), replace(measurement, seconds=new))


def test_a_disturbance_of_some_rounds_is_no_regression() -> None:
    rng = numpy.random.default_rng(3)
    old, control = (numpy.exp(rng.normal(0, 0.02, 24)) for _ in range(2))
    disturbed = old * numpy.where(numpy.arange(24) < 14, 1.5, 1.0)
    change = measure_change(pair(old, disturbed), [pair(control, control)])
    assert change.ratio > 1.3
    assert not change.is_slower(1.10, 1.0)


def test_a_drift_of_the_machine_cancels_against_controls() -> None:
    times = numpy.exp(numpy.random.default_rng(4).normal(0, 0.02, 24))
    drifted = pair(times, times * 1.4)
    assert measure_change(drifted, [drifted]).ratio == pytest.approx(1.0)
    assert measure_change(drifted, []).ratio == pytest.approx(1.4)


def test_controls_that_scatter_raise_the_bar() -> None:
    rng = numpy.random.default_rng(5)
    series = [numpy.exp(rng.normal(0, 0.01, 24)) for _ in range(8)]

    def changes(deviation: float) -> list[Change]:
        factors = numpy.exp(rng.normal(0, deviation, len(series)))
        return [measure_change(pair(s, s * f), []) for s, f in zip(series, factors, strict=True)]

    steady, restless = changes(0.01), changes(0.1)
    assert noise_of(steady) < 1.1 < noise_of(restless)
    assert noise_of(steady[:1]) == 1.0


def test_too_few_rounds_and_other_machines_are_said() -> None:
    rng, jobs = numpy.random.default_rng(6), some_jobs()
    old, new = measured(jobs, rng), measured(jobs, rng)
    new.machine["processor"] = "another"
    remarks = " ".join(compare_results(old, new).remarks)
    assert "two machines" in remarks
    assert "first use, cold cache" in remarks


def test_what_others_disturbed_is_not_judged() -> None:
    rng, slow = numpy.random.default_rng(7), JOBS[0].name
    old, new = measured(JOBS, rng), measured(JOBS, rng, {slow: 2.0})
    disturbed = [
        replace(m, others=0.5) if m.job.name == slow and m.role == "xpnet" else m
        for m in new.measurements
    ]
    comparison = compare_results(old, replace(new, measurements=disturbed))
    assert not comparison.slower(1.10)
    (remark,) = (remark for remark in comparison.remarks if slow in remark)
    assert "Not judged" in remark and "other processes" in remark


def test_another_file_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}")
    result = CliRunner().invoke(bench, ["compare", str(other), str(other)])
    assert str(other) in str(result.exception) and "xpnet bench" in str(result.exception)


def test_folders_of_runs_can_be_compared(tmp_path: Path) -> None:
    rng = numpy.random.default_rng(8)
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        write(measured(JOBS, rng), tmp_path / name / "results.json")
    folders = [str(tmp_path / name) for name in ("before", "after")]
    result = CliRunner().invoke(bench, ["compare", *folders])
    assert result.exit_code == 0, result.output
    assert "6 measurements" in result.output
