"""Imports beside the reading of a file."""

import gc
import subprocess
import sys

import pytest

from xpnet.cli.ahead import imported


def test_errors_wait_for_who_needs_the_module() -> None:
    with imported("xpnet.cli.no_such_module", "no such backend"):
        pass
    assert gc.isenabled()


def test_the_body_decides_how_it_ends() -> None:
    with pytest.raises(KeyboardInterrupt), imported("xpnet.cli.fitting", None):
        raise KeyboardInterrupt


def test_a_file_is_read_before_scikit_learn_is_there() -> None:
    code = "import xpnet.cli.training, sys; sys.exit(bool({'sklearn', 'numba'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
