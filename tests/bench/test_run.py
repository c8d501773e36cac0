"""A whole run, as a user starts it, of the smallest suite."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from xpnet_bench.cli import bench
from xpnet_bench.settings import Settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a quick run of the prediction suite writes."""
    folder = tmp_path_factory.mktemp("run")
    options = ["--quick", "--suite", "prediction", "--backend", "numpy", "--peer", "none", "-o", str(folder)]
    done = subprocess.run([sys.executable, "-m", "xpnet_bench", *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "machine was" in done.stderr
    return folder


def test_the_run_writes_results_and_report(folder: Path) -> None:
    results = json.loads((folder / "results.json").read_text())
    assert {b["extra_info"]["contender"] for b in results["benchmarks"]} == {"xpnet-numpy", "numpy", "floor"}
    assert results["machine_info"]["node"] == ""
    assert results["xpnet_bench"]["contenders"]["numpy"]["pools"]
    latency = next(b for b in results["benchmarks"] if b["group"] == "predict 1 row")
    assert len(latency["stats"]["data"]) >= 300
    assert latency["stats"]["rounds"] == len(latency["stats"]["data"])
    assert "Latency of one row" in (folder / "report.html").read_text()


def test_pytest_benchmark_reads_the_file(folder: Path) -> None:
    script = "from pytest_benchmark.cli import main; main()"
    command = [sys.executable, "-c", script, "compare", str(folder / "results.json"), "--columns=median,rounds"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "predict 1 row-xpnet-numpy" in done.stdout


def test_the_run_passes_against_itself(folder: Path) -> None:
    results = str(folder / "results.json")
    compared = CliRunner().invoke(bench, ["compare", results, results, "--all"], catch_exceptions=False)
    assert compared.exit_code == 0
    assert "Controls: floor, numpy." in compared.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "needs -o DIR"),
        (["-o", "x", "--backend", "abacus"], "A backend is one of"),
        (["-o", "x", "--peer", "abacus"], "A peer is one of"),
        (["-o", "x", "--suite", "some"], "Invalid value"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(bench, arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_contenders_follow_what_was_asked() -> None:
    everybody = Settings.of("all", (), (), quick=False, data="", threads=None)
    assert len(everybody.contenders) == 10
    assert "torch.compile" not in Settings.of("all", (), (), quick=True, data="", threads=1).contenders
    chosen = Settings.of("kernels", ("numba",), ("jax",), quick=True, data="", threads=10**6)
    assert chosen.contenders == ("xpnet-numba", "jax", "numpy", "floor")
    assert chosen.threads < 10**6
