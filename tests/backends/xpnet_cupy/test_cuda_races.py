"""No kernel has a race: ThreadSanitizer sees every access, and an order between two where CUDA
gives one alone.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.cuda.rig import compiled, needs_compiler
from helpers.cuda.tsan_battery import BARRIERS
from helpers.programs import with_helpers
from xpnet_cupy.cuda import SOURCE


def libtsan() -> str:
    """The compiler's library of ThreadSanitizer; its name alone where there is none."""
    command = ["g++", "-print-file-name=libtsan.so"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.attack
@needs_compiler
def test_threads_of_a_kernel_do_not_race_and_each_barrier_is_needed(tmp_path: Path) -> None:
    if not Path(libtsan()).is_absolute():
        pytest.skip(
            "g++ has no ThreadSanitizer here (on Debian: apt-get install libtsan2, with libgcc's "
            "headers)"
        )
    built = compiled(SOURCE, "float64", tmp_path, "-O1", "-g", "-fsanitize=thread")
    environment = {
        **with_helpers(os.environ, *filter(None, sys.path)),
        "LD_PRELOAD": libtsan(),
        "TSAN_OPTIONS": "exitcode=0 suppress_equal_stacks=0 suppress_equal_addresses=0 symbolize=0",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, "-W", "ignore", "-m", "helpers.cuda.tsan_battery", str(built)]
    if shutil.which(
        "setarch"
    ):  # ThreadSanitizer's own memory may lie where Linux puts other things at random
        command = ["setarch", "-R", *command]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    if "unexpected memory mapping" in done.stderr or "personality" in done.stderr:
        pytest.skip(f"ThreadSanitizer cannot run here: {done.stderr.splitlines()[0]}")
    parts = re.findall(r"== ([^\n]*)\n(.*?)(?=\n?== |\Z)", done.stderr, re.DOTALL)
    races = {name: said.count("WARNING: ThreadSanitizer: data race") for name, said in parts}
    assert done.returncode == 0 and "done" in races, done.stderr[-2000:]
    assert races["as it is"] == 0, done.stderr[:4000]
    for barrier in range(BARRIERS):
        assert races[f"without barrier {barrier}"], (
            f"barrier {barrier} could be taken away and nothing be noticed"
        )
