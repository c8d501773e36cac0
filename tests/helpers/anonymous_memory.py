"""How much anonymous memory a program takes at its peak, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

linux = pytest.mark.skipif(sys.platform != "linux", reason="anonymous memory is read from /proc")

WATCHED = """
import sys, threading
peak, ended = [0], threading.Event()
def watch():
    while not ended.wait(0.01):
        lines = open("/proc/self/status").read().splitlines()
        sizes = [int(line.split()[1]) for line in lines if line.startswith("RssAnon")]
        peak[0] = max(peak[0], *sizes)
thread = threading.Thread(target=watch)
thread.start()
try:
    exec(sys.argv.pop(1))
finally:
    ended.set()
    thread.join()
    print(f"peak {peak[0] * 1024}", file=sys.stderr)
"""


def peak_of(program: str, *arguments: object, folder: Path) -> int:
    """Bytes at the peak of a Python program with these arguments, which must end well."""
    command = [sys.executable, "-c", WATCHED, program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=600)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.rpartition("peak ")[2])
