"""xpnet as a user has it: installed, called from another folder. These tests read nothing of the
source tree.
"""

import subprocess
import sys
from importlib.metadata import entry_points, files
from pathlib import Path

import numpy as np
import pytest

import xpnet

XPNET = Path(sys.executable).with_name("xpnet")


def run(*arguments: str, folder: Path) -> str:
    """The output of ``xpnet ARGUMENTS``, called in ``folder``."""
    done = subprocess.run(
        [XPNET, *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_backends_are_registered() -> None:
    names = {entry.name for entry in entry_points(group="xpnet.backends")}
    assert {"numpy", "numba", "cupy"} <= names
    assert xpnet.get_backend("numpy").name == "numpy"


def test_types_are_shipped() -> None:
    package = Path(xpnet.__file__).parent
    assert (package / "py.typed").is_file()


def test_only_names_of_xpnet_are_installed() -> None:
    installed = files("xpnet") or []
    # The bytecode of a module that is no package lies in a folder that all such modules share.
    named = [str(file).removeprefix("__pycache__/") for file in installed]
    top = {Path(name).parts[0] for name in named if not name.startswith("..")}
    assert top, "the installation lists no files"
    assert {name for name in top if not name.startswith(("xpnet", "_xpnet", "_editable"))} == set()


def test_reproduces_the_notebook(tmp_path: Path) -> None:
    assert "All 24 numbers are the notebook's." in run("reproduce", folder=tmp_path)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_train_then_predict(tmp_path: Path) -> None:
    run("train", "iris", "--epochs", "20", "-o", "iris.safetensors", folder=tmp_path)
    lines = run("predict", "iris.safetensors", "iris", folder=tmp_path).split()
    assert lines[0] == "prediction"
    assert len(lines) == 151
    model = xpnet.load(tmp_path / "iris.safetensors")
    assert model.predict_proba(np.zeros((2, 4))).shape == (2, 3)
