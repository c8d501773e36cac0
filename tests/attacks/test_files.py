"""Damaged and hostile model files, kills at random moments, and file systems that are full."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.damaged_data import FILES, count_told
from helpers.mutants import mutants
from helpers.programs import run_module

import xpnet


def run(script: str, count: int) -> str:
    """Run one of the programs of tests/helpers so many times; what it printed."""
    done = run_module(script, count, timeout=7200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize(
    ("script", "few", "many", "name"),
    [
        (
            "fuzz",
            100,
            52_000,
            "mutated model files and checkpoints, 0 crashes, 0 wrong ones opened",
        ),
        pytest.param(
            *("kills", 2, 100, "kills of a training that is gone on with, 0 epochs lost"),
            marks=pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows"),
        ),
    ],
)
def test_files_survive(
    script: str,
    few: int,
    many: int,
    name: str,
    times: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    count = times(few, many)
    run(script, count)
    tally(name, count)


@pytest.mark.parametrize(
    ("name", "many"),
    [
        ("d.csv", 35_000),
        ("long.csv", 5_000),
        ("d.parquet", 32_000),
        ("d.npz", 10_000),
        ("packed.npz", 5_000),
        ("d.npy", 5_000),
        ("d.h5", 5_000),
    ],
)
def test_data_files_are_read_or_told(
    name: str,
    many: int,
    tmp_path: Path,
    times: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    make, _ = FILES[name]
    count = times(20, many)
    whole = make()
    assert count_told(tmp_path / name, mutants(whole, count, seed=1), whole) > 0
    tally(f"damaged data files ({name}), each a table or one line", count)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 kilobytes."""
    if sys.platform != "linux":
        pytest.skip("a small file system is mounted as on Linux")
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(tmp_path)], capture_output=True
    )
    if mount.returncode:
        pytest.skip("this user may not mount a small file system")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_full_disk_leaves_the_old_file(
    small_disk: Path, times: Callable[[int, int], int], tally: Callable[[str, int], None]
) -> None:
    path, count = small_disk / "model.safetensors", times(3, 100)
    small = xpnet.FeedforwardNeuralNet(4, 8, 2, backend="numpy", rng=0)
    small.save(path)
    before = path.read_bytes()
    large = xpnet.FeedforwardNeuralNet(100, 300, 2, backend="numpy", rng=0)
    for _ in range(count):
        with pytest.raises(xpnet.ModelFileError, match="No space left"):
            large.save(path)
        assert path.read_bytes() == before
        assert [entry.name for entry in small_disk.iterdir()] == [path.name]
    again = xpnet.load(path, backend="numpy")
    assert np.array_equal(again.predict(np.ones((1, 4))), small.predict(np.ones((1, 4))))
    tally("saves on a full disk, 0 old files harmed, 0 temporary files left", count)


READS = """
import faulthandler, sys
faulthandler.dump_traceback_later(500, exit=True)
from xpnet.data import open_data
from xpnet.errors import DataFileError
try:
    opened = open_data(sys.argv[1])
    opened.read(opened.names)
except DataFileError as error:
    print("told", ascii(str(error)), flush=True)
"""


@pytest.mark.parametrize("name", ["d.csv", "d\udcff.csv"])
def test_a_program_ends_well_after_a_file_that_cannot_be_read(
    name: str, tmp_path: Path, times: Callable[[int, int], int], tally: Callable[[str, int], None]
) -> None:
    """A thread that still reads ahead through a file of Python's would abort the program.

    Several programs at a time end while their threads wait for the processor.
    """
    row = "1.5," * 9 + "x\n"
    path = tmp_path / name
    path.write_text(f"a,b,c,d,e,f,g,h,i,j\n{5 * row}" + '"1.5,2\n' + 200_000 * row)
    count = times(4, 400)
    command = [sys.executable, "-c", READS, str(path)]
    for first in range(0, count, 4):
        programs = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(min(4, count - first))
        ]
        for program in programs:
            out, error = program.communicate(timeout=600)  # its own limit, 500, shows where
            assert (program.returncode, error) == (0, ""), (out, error)
            assert out.startswith("told") and "Row #7" in out
    tally("programs that end after a text file that cannot be read, none is aborted", count)
