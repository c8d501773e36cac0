"""`xpnet warmup MODEL` compiles what the predictions of a model need, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest

import xpnet

RNG = numpy.random.default_rng(0)
TABLE: dict[str, Any] = {
    "x": RNG.normal(size=200),
    "kind": RNG.choice(["a", "b"], 200),
    "day": [f"2024-0{1 + k % 6}-1{k % 9}" for k in range(200)],
}

MODELS = {
    "table": lambda: xpnet.TabularClassifier(random_state=0, max_iter=1).fit(
        TABLE, numpy.where(TABLE["x"] > 0, "p", "q")
    ),
    "array": lambda: xpnet.TabularRegressor(random_state=0, max_iter=1).fit(
        RNG.normal(size=(200, 2)), TABLE["x"]
    ),
    "network": lambda: xpnet.FeedforwardNeuralNet(3, 4, 2, rng=0),
}
"""Models of each kind that a file holds."""

PREDICT = """
import sys, numpy, xpnet
model = xpnet.load("m")
for rows in (1, 50, 5000):
    if sys.argv[1] == "table":
        table = {"x": [0.5] * rows, "kind": ["a"] * rows, "day": ["2024-01-10"] * rows}
        model.predict_proba(table)
    else:
        model.predict(numpy.ones((rows, 2 if sys.argv[1] == "array" else 3)))
"""


def run_with_cache(folder: Path, *command: str) -> set[str]:
    """Run Python with a folder for compiled code; return the names of the compiled functions."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "code")}
    subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, check=True, capture_output=True
    )
    return {path.name for path in (folder / "code").rglob("*.code")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_nothing_is_compiled_after_it(kind: str, tmp_path: Path) -> None:
    MODELS[kind]().save(tmp_path / "m")
    command = ("-c", "from xpnet.cli import main; main()", "warmup", "m", "--backend", "numba")
    compiled = run_with_cache(tmp_path, *command)
    assert 5 < len(compiled) < 40  # `xpnet warmup` alone compiles hundreds
    assert run_with_cache(tmp_path, "-c", PREDICT, kind) == compiled
