"""``xpnet train`` and ``xpnet doctor`` on several ranks, and what they say where that cannot be."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from helpers.ranks.launch import LIMIT, MPIRUN_COMMAND, Ended, mpirun, needs_mpi, run
from pyarrow import parquet

import xpnet

XPNET = [sys.executable, "-c", "from xpnet.cli import main; main()"]
TRAIN = [
    "train",
    "digits",
    "--model=mlp",
    "--epochs",
    "4",
    "--hidden=12",
    "--dtype",
    "float64",
    "--batch-size",
    "300",
    "--threads=1",
]
DISTRIBUTED = ["--distributed", "mpi", "--timeout", "120"]


def train(ranks: int, *options: str | Path, cwd: Path) -> Ended:
    """A training on so many ranks, or for 0 without MPI, that must end well."""
    command = [*XPNET, *TRAIN, *map(str, options)]
    ended = mpirun(ranks, *command, *DISTRIBUTED, cwd=cwd) if ranks else run(command, cwd=cwd)
    assert (ended.code, ended.left) == (0, []), ended.stderr
    return ended


def losses(path: Path) -> Any:
    """What a metrics file says of training and validation."""
    history = json.loads(path.read_text())["history"]
    return [history["loss"], history["validation_loss"]]


@needs_mpi
def test_ranks_find_what_one_process_finds(tmp_path: Path) -> None:
    train(0, "--metrics-json", "alone.json", "-o", "alone.safetensors", cwd=tmp_path)
    # 1,347 rows in batches of 300: the last holds 147.
    for name, ranks in (("first", 2), ("second", 2), ("three", 3)):
        ended = train(
            ranks, "--metrics-json", f"{name}.json", "-o", f"{name}.safetensors", cwd=tmp_path
        )
        assert ended.stdout.count("written") == 1
        np.testing.assert_allclose(
            losses(tmp_path / f"{name}.json"), losses(tmp_path / "alone.json"), rtol=1e-10
        )
    files = {path.name: path for path in tmp_path.iterdir()}
    assert set(files) == {
        f"{n}.{e}" for n in ("alone", "first", "second", "three") for e in ("json", "safetensors")
    }
    assert files["first.safetensors"].read_bytes() == files["second.safetensors"].read_bytes()
    assert xpnet.load(files["three.safetensors"]) is not None


@needs_mpi
def test_a_table_beyond_memory_is_read_by_both_ranks(tmp_path: Path) -> None:
    small = (
        "import xpnet.data.sources as s, xpnet.data.table_size as d; "
        "import xpnet.tabular.rows.large_tables as t; d.LARGE_TABLE_BYTES = t.MAX_ENCODED = 1000; "
        "t.SAMPLE_ROWS = 500; t.BLOCK_ROWS = 50"
    )
    command = [
        sys.executable,
        "-c",
        f"{small}; s.BUFFER_ROWS = 200; from xpnet.cli import main; main()",
    ]
    rng = np.random.default_rng(0)
    for k in range(3):
        X = rng.normal(size=(400, 3))
        table = pyarrow.table(
            {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": np.where(X[:, 0] > 0.7, "yes", "no")}
        )
        (tmp_path / "rows").mkdir(exist_ok=True)
        parquet.write_table(table, tmp_path / f"rows/{k}.parquet", row_group_size=50)
    options = (
        "--target",
        "y",
        "--epochs",
        "3",
        "--dtype",
        "float64",
        "--class-weight",
        "balanced",
        "--metrics-json",
    )
    command += ["train", "rows", *options]
    for ended in (
        run([*command, "one.json"], cwd=tmp_path),
        mpirun(2, *command, "two.json", *DISTRIBUTED, cwd=tmp_path),
    ):
        assert ended.code == 0, ended.stderr
    np.testing.assert_allclose(
        losses(tmp_path / "two.json"), losses(tmp_path / "one.json"), rtol=1e-10
    )
    why = json.loads((tmp_path / "two.json").read_text())["model"]["why"]
    assert "trained on 2 ranks" in why


@pytest.mark.attack
@needs_mpi
def test_a_run_that_was_killed_goes_on_with_another_number_of_ranks(tmp_path: Path) -> None:
    options = ["--epochs", "20", "--checkpoint-dir", "kept", "--metrics-json", "losses.json"]
    killed = subprocess.Popen(
        [*MPIRUN_COMMAND, "-n", "2", *XPNET, *TRAIN, *options, *DISTRIBUTED],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    limit = time.monotonic() + LIMIT
    while (
        not list(tmp_path.glob("kept/*/checkpoint-*"))
        and killed.poll() is None
        and time.monotonic() < limit
    ):
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait(LIMIT)
    assert not (tmp_path / "losses.json").exists()
    train(3, *options, "--resume", cwd=tmp_path)
    train(0, "--epochs", "20", "--metrics-json", "alone.json", cwd=tmp_path)
    np.testing.assert_allclose(
        losses(tmp_path / "losses.json"), losses(tmp_path / "alone.json"), rtol=1e-10
    )


@needs_mpi
def test_the_doctor_knows_each_rank() -> None:
    ended = mpirun(2, *XPNET, "doctor", "--distributed", "mpi", "--json")
    assert ended.code == 0, ended.stderr
    ranks = json.loads(ended.stdout)["ranks"]
    assert [rank["rank"] for rank in ranks] == [0, 1]
    for rank in ranks:
        assert (
            rank["host"]
            and rank["cores"] >= 1
            and rank["threads"] >= 1
            and "bound" in rank["binding"]
        )
        assert "MPI" in rank["library"]


def test_several_processes_without_the_option_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    ended = run([*XPNET, "train", "iris", "-o", "model.safetensors"], cwd=tmp_path)
    assert ended.code == 2
    assert "mpirun has started several" in ended.stderr and "--distributed mpi" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_mpi4py(tmp_path: Path) -> None:
    program = "import sys; sys.modules['mpi4py'] = None; from xpnet.cli import main; main()"
    ended = run(
        [sys.executable, "-c", program, "train", "iris", "--distributed", "mpi"], cwd=tmp_path
    )
    assert ended.code == 2
    assert "pip install 'xpnet[mpi]'" in ended.stderr and "Traceback" not in ended.stderr


def test_wrong_options(tmp_path: Path) -> None:
    ended = run([*XPNET, "train", "iris", "--distributed", "horses"], cwd=tmp_path)
    assert ended.code == 2 and "one of those that are installed: mpi, torch" in ended.stderr


@pytest.mark.skipif(
    not os.path.exists("/proc/self/maps"), reason="what a process has loaded is read from /proc"
)
def test_the_help_page_loads_no_mpi() -> None:
    show = "app(['--help'], standalone_mode=False); print(open('/proc/self/maps').read())"
    ended = run([sys.executable, "-c", f"from xpnet.cli.app import app; {show}"])
    assert "Usage" in ended.stdout and "libpython" in ended.stdout or "python" in ended.stdout
    assert (
        "libmpi" not in ended.stdout
        and "MPI.abi" not in ended.stdout
        and "mpi4py" not in ended.stdout
    )
