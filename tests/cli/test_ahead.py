"""Imports beside the reading of a file."""

import gc
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xpnet.cli.ahead import imported


def test_errors_wait_for_who_needs_the_module() -> None:
    with imported("xpnet.cli.no_such_module", "no such backend"):
        pass
    assert gc.isenabled()


def test_ctrl_c_ends_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time\nfor _ in range(6000):\n    time.sleep(0.01)\n")
    monkeypatch.syspath_prepend(tmp_path)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), imported("slow_to_import", None):
        time.sleep(0.1)
        raise KeyboardInterrupt
    assert time.monotonic() - begun < 30
    assert "slow_to_import" not in sys.modules
    assert gc.isenabled()


def test_a_file_is_read_before_scikit_learn_is_there() -> None:
    code = "import xpnet.cli.training, sys; sys.exit(bool({'sklearn', 'numba'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
