"""A whole run, as a user starts it, of the smallest suite."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from xpnet_bench.cli import bench
from xpnet_bench.contenders import ENTRIES
from xpnet_bench.jobs import BFLOAT16_BITS
from xpnet_bench.measure.pinning import pinned_environment, set_variables
from xpnet_bench.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a quick run of the prediction suite writes."""
    folder = tmp_path_factory.mktemp("run")
    options = [
        "--quick",
        "--suite",
        "prediction",
        "--backend",
        "numpy",
        "--peer",
        "none",
        "-o",
        str(folder),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "xpnet_bench", *options], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "machine was" in done.stderr
    return folder


def test_the_run_writes_results_and_report(folder: Path) -> None:
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert {b["extra_info"]["contender"] for b in results["benchmarks"]} == {
        "xpnet-numpy",
        "numpy",
        "floor",
    }
    assert results["machine_info"]["node"] == ""
    assert results["xpnet_bench"]["runs"][0]["contenders"]["numpy"]["pools"]
    latency = next(b for b in results["benchmarks"] if b["group"] == "predict 1 row")
    assert latency["stats"]["rounds"] >= 300
    assert 3 <= len(latency["stats"]["data"]) <= 12
    assert len(latency["extra_info"]["notes"][0]) == 4
    assert "<caption>Latency</caption>" in (folder / "report.html").read_text(encoding="utf-8")


def test_pytest_benchmark_reads_the_file(folder: Path) -> None:
    script = "from pytest_benchmark.cli import main; main()"
    command = [
        sys.executable,
        "-c",
        script,
        "compare",
        str(folder / "results.json"),
        "--columns=median,rounds",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "predict 1 row-xpnet-numpy" in done.stdout


def test_the_run_passes_against_itself(folder: Path) -> None:
    results = str(folder / "results.json")
    compared = CliRunner().invoke(bench, ["compare", results, results], catch_exceptions=False)
    assert compared.exit_code == 0
    assert "Controls: floor, numpy." in compared.output


@pytest.mark.attack
@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no SIGTERM that a process can catch"
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_its_report(tmp_path: Path, number: signal.Signals) -> None:
    options = [
        "--quick",
        "--suite",
        "kernels",
        "--backend",
        "numpy",
        "--peer",
        "none",
        "-o",
        str(tmp_path),
    ]
    running = subprocess.Popen(
        [sys.executable, "-m", "xpnet_bench", *options], stderr=subprocess.PIPE, text=True
    )
    for _ in range(6000):  # a busy machine takes its time
        if (tmp_path / "results.json").is_file():
            break
        time.sleep(0.1)
    running.send_signal(number)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "the run was interrupted" in said
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "Not measured, since the run was interrupted: softmax" in report
    assert "| softmax 200x10 float32 |" in report


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "needs -o DIR"),
        (["-o", "x", "--backend", "abacus"], "Invalid value for '--backend'"),
        (["-o", "x", "--peer", "abacus"], "Invalid value for '--peer'"),
        (["-o", "x", "--suite", "tables", "--peer", "abacus"], "Invalid value for '--peer'"),
        (["-o", "x", "--suite", "some"], "Invalid value"),
        (["-o", "x", "--suite", "kernels", "--precision", "bf16"], "needs --suite training"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(bench, arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_contenders_follow_what_was_asked() -> None:
    assert Settings().contenders == ENTRIES
    assert "torch.compile" not in [entry.name for entry in Settings(quick=True).contenders]
    chosen = Settings(suite="kernels", backends=("numba",), peers=("jax",))
    names = [entry.name for entry in chosen.contenders]
    assert names == ["xpnet-numba", "jax", "numpy", "floor", "peak", "floor-cuda"]
    assert {job.dtype for job in Settings(suite="training").jobs} == {"float32", "float64"}
    halved = Settings(suite="training", precision="bf16").jobs
    assert {(job.dtype, job.sizes["bits"]) for job in halved} == {("float32", BFLOAT16_BITS)}
    assert {job.operation for job in halved} == {"train", "accuracy"}


def test_a_quick_run_says_what_it_had_no_time_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpnet_bench.run.QUICK_SECONDS", 0.0)
    options = [
        "--quick",
        "--suite",
        "prediction",
        "--backend",
        "numpy",
        "--peer",
        "none",
        "-o",
        str(tmp_path),
    ]
    done = CliRunner().invoke(bench, options, catch_exceptions=False)
    assert done.exit_code == 0
    assert (
        "Not measured, since the time of a quick run was over: predict 1 row, predict 20000 rows"
        in done.stderr
    )
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "Not measured, since the time of a quick run was over: predict 1 row" in report


def test_variables_of_another_processor_do_not_reach_contenders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert set_variables()["OPENBLAS_CORETYPE"] == "Haswell"
    assert "OPENBLAS_CORETYPE" not in pinned_environment(1, {})
