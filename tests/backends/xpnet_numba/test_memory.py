"""What is known of the machine's memory, and what is said before more is taken."""

from pathlib import Path

import numpy as np
import pytest
from xpnet_numba.runtime import memory
from xpnet_numba.step.step import compile_step

import xpnet
from xpnet.backend import NetworkSpec

MEMINFO = "MemTotal: 4000 kB\nMemAvailable: 1000 kB\nSwapFree: 24 kB\n"


def with_files(root: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    """Have the files of a machine lie under a folder."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.setattr(memory, "ROOT", root)


def test_without_files_the_allocation_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_files(tmp_path, monkeypatch, {})
    assert memory.available_memory() == float("inf")


def test_what_the_system_can_free_and_swap_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_files(
        tmp_path, monkeypatch, {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/a/b\n1:cpu:/\n"}
    )
    assert memory.available_memory() == 1024 * 1024


def test_the_tightest_control_group_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_files(
        tmp_path,
        monkeypatch,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/b/memory.max": "max\n",
            "sys/fs/cgroup/a/b/memory.current": "100\n",
            "sys/fs/cgroup/a/memory.max": "5000\n",
            "sys/fs/cgroup/a/memory.current": "2000\n",
            "sys/fs/cgroup/a/memory.stat": "anon 1500\ninactive_file 300\n",
        },
    )
    assert memory.available_memory() == 5000 - 2000 + 300


def test_control_groups_of_the_first_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_files(
        tmp_path,
        monkeypatch,
        {
            "proc/self/cgroup": "4:memory:/of/the/host\n3:cpuset:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "5000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "2000\n",
            "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 30\n",
        },
    )
    assert memory.available_memory() == 5000 - 2000 + 30


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with little memory, on which every request is looked at."""
    monkeypatch.setattr(memory, "LARGE_REQUEST", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 1e5)


def test_a_fit_that_needs_more_says_so_before_it_starts(
    crowded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = xpnet.FeedforwardNeuralNet(20, (30,), 4, optimizer="adam", backend="numba", rng=0)
    X, Y = np.random.default_rng(0).normal(size=(5000, 20)), np.arange(5000) % 4
    before = model.values()
    with pytest.raises(
        xpnet.DeviceMemoryError, match=r"batches of 3000 rows needs .* GiB .* smaller batch_size"
    ):
        model.fit(X, Y, epochs=3, batch_size=3000, rng=1)
    assert model.history.epochs == 0
    assert all((values == before[name]).all() for name, values in model.values().items())
    monkeypatch.setattr(memory, "available_memory", lambda: 1e9)
    model.fit(X, Y, epochs=1, batch_size=3000, rng=1)
    assert model.history.epochs == 1


def test_a_prediction_that_needs_more_says_so(crowded: None) -> None:
    step = compile_step(NetworkSpec((2, 50), ()))
    assert not isinstance(step, str)
    with pytest.raises(xpnet.DeviceMemoryError, match="4000 rows"):
        step.forward(np.ones((4000, 2)))
    assert step.forward(np.ones((40, 2))).shape == (40, 50)
