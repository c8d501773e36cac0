"""The command for a new card, rehearsed: parts end on their own, and what they say is kept."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cuda_host import needs_compiler

GPU = Path(__file__).parents[2] / "gpu"

LONG = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(2, lambda *_: 0); time.sleep(60)"])
print(child.pid, flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("what was found so far")
"""


@pytest.fixture
def first_hour(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(GPU))
    import first_hour

    return first_hour


def test_each_part_is_reported_as_it_ended(first_hour: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_hour, "SECONDS", 2)
    codes = {"good": "print('fine')", "bad": "print('oh', flush=True); 1 / 0", "long": LONG}
    parts = [first_hour.Part(name, f"It is {name}.", ["-c", code]) for name, code in codes.items()]
    parts.append(first_hour.Part("none", "A tool.", [], program="no-such-tool"))
    results = [(part, *first_hour.run(part, tmp_path, False)) for part in parts]
    first_hour.write_report(tmp_path, results, False)
    started = Path("/proc") / (tmp_path / "long.txt").read_text(encoding="utf-8").split()[0] / "stat"
    assert ends(started)  # what a part has started ends with it
    ended = [status.split(" after")[0] for _, status, _ in results]
    assert ended == ["done", "failed with exit code 1", "ended by the clock", "left out: no-such-tool is not installed"]
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## good\n\nIt is good.\n\n```\nfine\n```" in report and "ZeroDivisionError" in report
    assert "what was found so far" in report
    assert (tmp_path / "bad.txt").read_text(encoding="utf-8").startswith("oh\n")


def ends(stat: Path) -> bool:
    """Whether a process that has been killed is gone, or waits for its parent to notice."""
    for _ in range(1000):
        try:
            if " Z " in stat.read_text():
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


@needs_compiler
def test_the_rehearsal_counts_launches_and_sees_the_card(tmp_path: Path) -> None:
    pytest.importorskip("click", reason="the command line needs click, which is not installed")
    command = [sys.executable, str(GPU / "first_hour.py"), "--rehearse", "-o", str(tmp_path), "--only"]
    subprocess.run([*command, "doctor", "step", "memcheck"], check=True, capture_output=True, timeout=300)
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "a host, cuda:0 of 1" in report and "left out: it needs a card" in report
    assert "a graph of 1 batches: 11 nodes\n  a graph of 8 batches: 88 nodes" in report
    assert "an epoch in one launch for batches of up to" in report
