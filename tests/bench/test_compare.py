"""The comparison finds what changed and nothing else, on machines whose noise we made."""

from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from click.testing import CliRunner
from helpers.made_up import measured, some_jobs, write
from xpnet_bench.cli import bench
from xpnet_bench.compare.files import compare_results
from xpnet_bench.compare.statistics import change, is_slower, noise_of_controls

JOBS = [job for job in some_jobs() if job.suite == "kernels"][:6]


def test_an_unchanged_tree_passes_twenty_times_out_of_twenty() -> None:
    for seed in range(20):
        rng = numpy.random.default_rng(seed)
        old, new = measured(JOBS, rng), measured(JOBS, rng, drift=rng.uniform(0.7, 1.4))
        found = compare_results(old, new, fail_at=1.10)
        assert not found.regressions, (seed, [row.change for row in found.regressions])


@pytest.mark.parametrize("seed", range(5))
def test_a_kernel_slowed_by_1_3_is_found_and_is_alone(seed: int) -> None:
    rng, slow = numpy.random.default_rng(seed), JOBS[seed].name
    found = compare_results(
        measured(JOBS, rng), measured(JOBS, rng, {slow: 1.3}, drift=0.8), fail_at=1.10
    )
    assert [row.new.job.name for row in found.regressions] == [slow]
    assert 1.15 < found.regressions[0].change.ratio < 1.45


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


def test_a_disturbance_of_some_rounds_is_no_regression() -> None:
    rng = numpy.random.default_rng(3)
    old, control = (numpy.exp(rng.normal(0, 0.02, 24)) for _ in range(2))
    disturbed = old * numpy.where(numpy.arange(24) < 14, 1.5, 1.0)
    found = change(old, disturbed, [control], [control])
    assert found.ratio > 1.3
    assert not is_slower(found, 1.10, 1.0)


def test_a_drift_of_the_machine_cancels_against_controls() -> None:
    times = numpy.exp(numpy.random.default_rng(4).normal(0, 0.02, 24))
    assert change(times, times * 1.4, [times], [times * 1.4]).ratio == pytest.approx(1.0)
    assert change(times, times * 1.4, [], []).ratio == pytest.approx(1.4)


def test_controls_that_scatter_raise_the_bar() -> None:
    rng = numpy.random.default_rng(5)
    series = [numpy.exp(rng.normal(0, 0.01, 24)) for _ in range(8)]
    steady = [change(s, s * numpy.exp(rng.normal(0, 0.01)), [], []) for s in series]
    restless = [change(s, s * numpy.exp(rng.normal(0, 0.1)), [], []) for s in series]
    assert noise_of_controls(steady) < 1.1 < noise_of_controls(restless)
    assert noise_of_controls(steady[:1]) == 1.0


def test_too_few_rounds_and_other_machines_are_said() -> None:
    rng, jobs = numpy.random.default_rng(6), some_jobs()
    old, new = measured(jobs, rng), measured(jobs, rng)
    new.machine["processor"] = "another"
    remarks = " ".join(compare_results(old, new, 1.1).remarks)
    assert "two machines" in remarks
    assert "first use, cold cache" in remarks


def test_what_others_disturbed_is_not_judged() -> None:
    rng, slow = numpy.random.default_rng(7), JOBS[0].name
    old, new = measured(JOBS, rng), measured(JOBS, rng, {slow: 2.0})
    disturbed = [
        replace(m, others=0.5) if m.job.name == slow and m.role == "xpnet" else m
        for m in new.measurements
    ]
    found = compare_results(old, replace(new, measurements=disturbed), 1.1)
    assert not found.regressions
    assert f"Not judged, since other processes used the processors: {slow}." in found.remarks


def test_another_file_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}")
    result = CliRunner().invoke(bench, ["compare", str(other), str(other)])
    assert "A results file is one that `xpnet bench` wrote" in str(result.exception)
