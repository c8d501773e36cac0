"""``import xpnet`` brings in nothing that is slow to import."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import xpnet

SLOW = {
    "numba",
    "llvmlite",
    "sklearn",
    "scipy",
    "cupy",
    "torch",
    "jax",
    "pandas",
    "matplotlib",
    "rich",
    "click",
    "joblib",
    "mpi4py",
    "dask",
    "distributed",
}
COUNT = (
    "import json, sys; {statement}; "
    "print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
)


@pytest.mark.parametrize("statement", ["import xpnet", "import xpnet; xpnet.available_backends()"])
def test_importing_is_light(statement: str) -> None:
    assert modules_after(statement) & SLOW == set()


@pytest.mark.parametrize("module", ["numpy.random", "difflib", "hashlib"])
def test_a_module_that_few_programs_need_is_imported_later(module: str) -> None:
    code = f"import sys, xpnet; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=280).returncode == 0


def test_the_help_page_is_light() -> None:
    heavy = SLOW - {"click"}
    assert (
        modules_after("from xpnet.cli.app import app; app(['--help'], standalone_mode=False)")
        & heavy
        == set()
    )


def modules_after(statement: str) -> set[str]:
    """Top-level packages that a fresh interpreter has imported after a statement."""
    command = [sys.executable, "-c", COUNT.format(statement=statement)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=280)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_a_first_fit_imports_little_but_its_compiler() -> None:
    fit = (
        "import xpnet; net = xpnet.FeedforwardNeuralNet(2, 2, 2, backend='numba'); "
        "net.fit([[0.0, 1.0]] * 4, [0, 1] * 2, epochs=1)"
    )
    # Numba imports SciPy to compile, and joblib counts the cores.
    assert modules_after(fit) & (SLOW - {"numba", "llvmlite", "scipy", "joblib"}) == set()


def test_opening_a_file_imports_the_backend_that_is_named_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "model"
    xpnet.FeedforwardNeuralNet(1, 2, 2, backend="numpy").save(path)
    imported = modules_after(f"import xpnet; xpnet.load({str(path)!r}, backend='numpy')")
    assert imported & {"numba", "cupy", "sklearn"} == set()
