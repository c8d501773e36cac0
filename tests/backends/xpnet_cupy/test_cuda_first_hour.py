"""The command for a new card, rehearsed: parts end on their own, and what they say is kept."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cuda_host import needs_compiler

GPU = Path(__file__).parents[2] / "gpu"


@pytest.fixture
def first_hour(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(GPU))
    import first_hour

    return first_hour


def test_each_part_is_reported_as_it_ended(first_hour: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_hour, "SECONDS", 2)
    codes = {"good": "print('fine')", "bad": "print('oh', flush=True); 1 / 0", "long": "import time; time.sleep(60)"}
    parts = [first_hour.Part(name, f"It is {name}.", ["-c", code]) for name, code in codes.items()]
    parts.append(first_hour.Part("none", "A tool.", [], program="no-such-tool"))
    results = [(part, *first_hour.run(part, tmp_path, False)) for part in parts]
    first_hour.write_report(tmp_path, results, False)
    ended = [status.split(" after")[0] for _, status, _ in results]
    assert ended == ["done", "failed with exit code 1", "ended by the clock", "left out: no-such-tool is not installed"]
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## good\n\nIt is good.\n\n```\nfine\n```" in report and "ZeroDivisionError" in report
    assert (tmp_path / "bad.txt").read_text(encoding="utf-8").startswith("oh\n")


@needs_compiler
def test_the_rehearsal_counts_launches_and_sees_the_card(tmp_path: Path) -> None:
    pytest.importorskip("click", reason="the command line needs click, which is not installed")
    command = [sys.executable, str(GPU / "first_hour.py"), "--rehearse", "-o", str(tmp_path), "--only"]
    subprocess.run([*command, "doctor", "step", "memcheck"], check=True, capture_output=True, timeout=300)
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "a host, cuda:0 of 1" in report and "left out: it needs a card" in report
    assert "a graph of 1 batches: 11 nodes\n  a graph of 8 batches: 88 nodes" in report
    assert "an epoch in one launch for batches of up to" in report
