"""No kernel and no step touches a byte outside its arrays."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import guard
from helpers.programs import TESTS, run_module

pytestmark = pytest.mark.skipif(guard.missing() is not None, reason=str(guard.missing()))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guarding allocator."""
    return guard.build(tmp_path_factory.mktemp("guard"))


@pytest.mark.parametrize("side", ["end", "beginning"])
@pytest.mark.parametrize(("what", "few", "many"), [("kernels", 60, 4000), ("steps", 40, 4500)])
def test_nothing_lies_outside(
    library: Path,
    side: str,
    what: str,
    few: int,
    many: int,
    times: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    count = times(few, many)
    done = run_module("guarded_run", library, what, side, 1, count)
    last = done.stdout.splitlines()[-1:]
    assert done.returncode == 0, (
        f"{what} {side}: exit {done.returncode} after {last}\n{done.stderr[-2000:]}"
    )
    tally(f"{what} between guard pages, 0 out of bounds, 0 wrong", count)


@pytest.mark.parametrize(("side", "offset"), [(1, 40), (0, -1)])
def test_the_guard_bites(library: Path, side: int, offset: int) -> None:
    program = (
        "import ctypes, sys; from pathlib import Path; import numpy; from helpers.guard import "
        "guarded, load\n"
        f"with guarded(load(Path({str(library)!r})), at_end={bool(side)}):\n"
        "    array = numpy.zeros(10, 'float32')\n"
        f"    print(ctypes.string_at(array.ctypes.data + {offset}, 1))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=TESTS, capture_output=True)
    assert done.returncode == -signal.SIGSEGV, done
