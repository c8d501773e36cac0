"""A memory map that is larger as numbers than the memory it may take."""

import subprocess
import sys
from pathlib import Path

import pytest

FIT = """
import sys, threading, warnings
import numpy, xpnet
warnings.simplefilter("ignore")
X = numpy.memmap(sys.argv[1], "uint8", "r", shape=(300_000, 1000))
peak, ended = [0], threading.Event()
def watch():
    while not ended.wait(0.02):
        lines = open("/proc/self/status").read().splitlines()
        peak[0] = max(peak[0], *(int(line.split()[1]) for line in lines if line.startswith("RssAnon")))
thread = threading.Thread(target=watch)
thread.start()
settings = {"max_iter": 1, "batch_size": 8192, "dtype": "float32", "early_stopping": True}
xpnet.MLPClassifier((2,), **settings).fit(X, numpy.arange(len(X)) % 2)
ended.set()
thread.join()
print(peak[0] * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="anonymous memory is read from /proc")
def test_uint8_with_early_stopping_takes_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "X"
    with path.open("wb") as file:
        file.truncate(300_000 * 1000)  # holes, which take no room on the disk
    found = subprocess.run([sys.executable, "-c", FIT, path], capture_output=True, text=True, check=True)
    assert 0 < int(found.stdout) < 8 * 10**8 < 300_000 * 1000 * 4
