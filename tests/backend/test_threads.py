"""How many threads a process is allowed: what a control group says, against joblib's own reading."""

from pathlib import Path
from typing import Any

import joblib
import pytest

from xpnet.backend import threads

V2, QUOTA, PERIOD = "cpu.max", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"


@pytest.fixture
def on_64_cores(monkeypatch: Any) -> Any:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT", raising=False)
    return threads._quota.__wrapped__


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 64),
        ({V2: "max 100000"}, 64),
        ({V2: "250000 100000"}, 3),
        ({V2: "1000 100000"}, 1),
        ({V2: "20000000 100000"}, 64),
        ({QUOTA: "-1", PERIOD: "100000"}, 64),
        ({QUOTA: "200000", PERIOD: "100000"}, 2),
        ({QUOTA: "200000"}, 64),
        ({V2: ""}, 64),
    ],
)
def test_a_quota_is_rounded_up(
    files: dict[str, str], cores: int, on_64_cores: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(threads, "GROUP", tmp_path)
    assert on_64_cores() == cores


@pytest.mark.parametrize(("value", "cores"), [("5", 5), ("100", 64), ("", 64)])
def test_joblib_can_be_told(value: str, cores: int, on_64_cores: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(threads, "GROUP", tmp_path)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", value)
    assert on_64_cores() == cores


def test_joblib_counts_as_many() -> None:
    assert threads.allowed_threads() == joblib.cpu_count()
