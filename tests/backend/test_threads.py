"""How many threads a process is allowed: as many as joblib counts, of the cores that it may run on
now.
"""

from typing import Any

import joblib
import pytest

from xpnet.backend import threads


def test_joblib_counts_as_many() -> None:
    assert threads.allowed_threads() == joblib.cpu_count()


@pytest.mark.parametrize("count", [1, 5])
def test_a_quota_counts_as_joblib_reads_it(count: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: count)
    monkeypatch.setattr(threads, "_quota", threads._quota.__wrapped__)
    for affinity in (1, 2, 8):
        monkeypatch.setattr(threads, "cores", lambda n=affinity: frozenset(range(n)))
        assert threads.allowed_threads() == min(count, affinity)
