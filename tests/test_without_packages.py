"""Numba, pyarrow and safetensors have no builds for browsers: NumPy computes there, and what is
missing is named.
"""

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


def run(program: str, folder: Path) -> str:
    """The output of a program that finds none of those packages."""
    command = [sys.executable, "-c", WITHOUT + program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_layers_models_and_estimators_work_on_numpy_alone(tmp_path: Path) -> None:
    said = run(PROGRAM, tmp_path)
    assert "pip install safetensors" in said and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_notebook_is_reproduced(tmp_path: Path) -> None:
    program = "import sys; from xpnet.cli import main; sys.argv = ['xpnet', 'reproduce']; main()"
    assert "All 24 numbers are the notebook's." in run(program, tmp_path)
