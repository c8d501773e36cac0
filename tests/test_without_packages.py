"""Numba, pyarrow and safetensors have no builds for browsers: NumPy computes there, and what is
missing is named.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

WITHOUT = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"numba", "llvmlite", "pyarrow", "safetensors", "pandas"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""
QUIET = """
import warnings
warnings.simplefilter("ignore")
"""

PROGRAM = """
import numpy as np
import xpnet
from xpnet import gradcheck

rng = np.random.default_rng(0)
X = rng.standard_normal((200, 4))
y = (X[:, 0] > 0).astype(int)
out = xpnet.Affine().forward(X, np.ones((4, 3)), np.zeros(3))
assert out.shape == (200, 3)
gradcheck.check_affine(xpnet.Affine(), sink=lambda line: None)
model = xpnet.FeedforwardNeuralNet(4, 8, 2, optimizer="adam", rng=0)
history = model.fit(X, y, epochs=20, batch_size=20)
assert history.loss[-1] < history.loss[0]
assert model.backend.name == "numpy" and "numba" in model.why_
settings = dict(learning_rate_init=0.01, max_iter=100, random_state=0)
assert xpnet.MLPClassifier((8,), **settings).fit(X, y).score(X, y) > 0.9
regressor = xpnet.MLPRegressor(hidden_layer_sizes=(8,), max_iter=5, random_state=0).fit(X, X[:, 0])
assert regressor.predict(X).shape == (200,)
assert xpnet.TabularClassifier(members=2, max_iter=30, random_state=0).fit(X, y).score(X, y) > 0.9
try:
    model.save("model.safetensors")
except xpnet.ModelFileError as error:
    print(error)
"""


WARNED = """
import xpnet
for _ in range(2):
    xpnet.softmax([1.0, 2.0])
    xpnet.FeedforwardNeuralNet(1, 2, 2).fit([[0.0], [1.0]], [0, 1], epochs=1)
"""

NONE = "import sys; sys.modules['numba'] = None\n"
STAND_IN = "import sys, types; sys.modules['numba'] = types.ModuleType('numba')\n"
COMMAND = "import sys; from xpnet_command import main; sys.argv = ['xpnet', *{}]; main()"


def complete(
    program: str, folder: Path, without: str = WITHOUT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a program that finds none of those packages, or no Numba alone."""
    done = subprocess.run(
        [sys.executable, "-c", without + program],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=folder,
        env=os.environ | variables,
    )
    assert done.returncode == 0, done.stderr
    return done


def run(program: str, folder: Path) -> str:
    """The output of a program that finds none of those packages, and whose warnings are off."""
    return complete(QUIET + program, folder).stdout


def test_layers_models_and_estimators_work_on_numpy_alone(tmp_path: Path) -> None:
    said = run(PROGRAM, tmp_path)
    assert "pip install safetensors" in said and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_notebook_is_reproduced(tmp_path: Path) -> None:
    program = COMMAND.format(["reproduce"])
    assert "All 24 numbers are the notebook's." in run(program, tmp_path)


@pytest.mark.parametrize("program", ["import xpnet", WARNED])
@pytest.mark.parametrize(
    "without, named", [(WITHOUT, "No module named 'numba'"), (NONE, "import of numba halted")]
)
def test_importing_warns_once_that_numpy_computes_and_what_is_missing(
    program: str, without: str, named: str, tmp_path: Path
) -> None:
    warned = complete(program, tmp_path, without).stderr
    assert warned.count("NumPy computes") == 1
    assert warned.count(named) == 1
    assert f"Python {platform.python_version()} on {platform.system()}" in warned


def test_importing_warns_of_nothing_where_numba_is_there_or_a_backend_is_named(
    tmp_path: Path,
) -> None:
    assert complete("import xpnet", tmp_path, "").stderr == ""
    assert complete("import xpnet", tmp_path, STAND_IN).stderr == ""
    assert complete(WARNED, tmp_path, XPNET_BACKEND="numpy").stderr == ""


def test_a_command_that_computes_warns_once_and_its_help_does_not(tmp_path: Path) -> None:
    assert complete(COMMAND.format(["reproduce"]), tmp_path).stderr.count("NumPy computes") == 1
    assert complete(COMMAND.format(["--help"]), tmp_path).stderr == ""


def test_the_doctor_reports_once_that_numpy_computes_and_what_is_missing(tmp_path: Path) -> None:
    done = complete(COMMAND.format(["doctor"]), tmp_path)
    assert done.stdout.count("NumPy arrays run on NumPy") == 1
    assert done.stdout.count("No module named 'numba'") == 1
    assert done.stderr == ""
