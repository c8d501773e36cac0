"""The recipes of docs/contributing, followed to the letter in a copy of the tree, and the commands
that they name.
"""

import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from helpers.recipes import FOLDER, apply_changes, blocks

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
RECIPES = sorted(page.name for page in FOLDER.glob("add_*.md"))

NEW_FILES = [
    ("add_a_column_type.md", "xpnet/tabular/encodings/log.py", 0),
    ("add_a_column_type.md", "tests/tabular/test_log_encoding.py", 1),
    ("add_a_command.md", "xpnet/cli/commands/size.py", 0),
    ("add_a_command.md", "tests/cli/test_size.py", 1),
    ("add_a_file_format.md", "xpnet/data/readers/arrow_files.py", 0),
    ("add_a_file_format.md", "tests/data/test_arrow_files.py", 1),
]
"""Page, the file that it tells to write, and the number of its block of Python."""

ACTIVATION = """
import numpy, xpnet
from xpnet import gradcheck

x = numpy.array([-1.0, 0.5, 9.0, numpy.nan, numpy.inf])
numpy.testing.assert_array_equal(xpnet.relu6(x), [0, 0.5, 6, numpy.nan, 6])
rng = numpy.random.default_rng(0)
X, y = 3 * rng.normal(size=(60, 4)), rng.integers(0, 3, 60)
for backend in ("numpy", "numba"):
    network = xpnet.FeedforwardNeuralNet(
        4, (6, 5), 3, activation="relu6", dtype="float64", backend=backend, rng=0
    )
    gradcheck.check_model(network, X, y)
    assert ("compiled step" in network.why_) == (backend == "numba"), network.why_
    print(network.fit(X, y, epochs=3, batch_size=20).loss[-1])
"""

LOSS = """
import numpy, xpnet

rng = numpy.random.default_rng(0)
X = rng.normal(size=(200, 3))
y = X @ [1.0, 2.0, -1.0]
for backend in ("numpy", "numba"):
    regressor = xpnet.MLPRegressor(
        hidden_layer_sizes=(8,), loss="log_cosh", alpha=0, solver="lbfgs", max_iter=100,
        random_state=0, backend=backend,
    ).fit(X, y)
    expected = numpy.log(numpy.cosh(regressor.predict(X) - y)).mean()
    assert abs(regressor.loss_ - expected) < 1e-9 and expected < 0.01
    assert ("compiled step" in regressor.why_) == (backend == "numba"), regressor.why_
    print(expected)
"""

OPTIMIZER = """
import numpy, xpnet

rng = numpy.random.default_rng(0)
X, y = rng.normal(size=(90, 4)), rng.integers(0, 3, 90)
for backend in ("numpy", "numba"):
    network = xpnet.LogisticRegression(
        4, 3, learning_rate=0.1, optimizer=xpnet.Adagrad(), dtype="float64", backend=backend
    )
    weight, total = numpy.zeros((4, 3)), numpy.zeros((4, 3))
    for _ in range(5):
        network.step(X, y)
        total += network.gradients["W"] ** 2
        weight -= 0.1 * network.gradients["W"] / (numpy.sqrt(total) + 1e-10)
    numpy.testing.assert_allclose(network.params["W"], weight, rtol=1e-10)
    assert ("compiled step" in network.why_) == (backend == "numba"), network.why_
    solved = xpnet.MLPClassifier(
        (6,), solver="adagrad", learning_rate_init=0.1, max_iter=500, random_state=0,
        backend=backend,
    ).fit(X, X[:, 0] > 0)
    assert solved.score(X, X[:, 0] > 0) > 0.95
    print(network.loss(X, y))
"""

COLUMN_TYPE = """
import ctypes, subprocess, sys
import numpy, onnxruntime, xpnet
from xpnet.modelfile import export_model

class Value(ctypes.Structure):
    _fields_ = [("number", ctypes.c_double), ("text", ctypes.c_char_p)]

rng = numpy.random.default_rng(0)
X = {"noise": rng.normal(size=300), "income": numpy.exp(rng.normal(5, 3, 300))}
X["income"][::20] = numpy.nan
y = numpy.nan_to_num(numpy.log(X["income"]))
model = xpnet.TabularRegressor(quality=1, random_state=0).fit(X, y)
assert "income_log" in model.encoder_.get_feature_names_out()
expected = model.predict(X)
folder = sys.argv[1]
model.save(f"{folder}/m.safetensors")
numpy.testing.assert_array_equal(xpnet.load(f"{folder}/m.safetensors").predict(X), expected)
columns = xpnet.modelfile.describe(f"{folder}/m.safetensors")["columns"]
assert columns == {"noise": "number", "income": "number"}, columns
table = numpy.column_stack([*X.values()])
export_model(model, f"{folder}/m.onnx")
(output,) = onnxruntime.InferenceSession(f"{folder}/m.onnx").run(None, {"X": table})
numpy.testing.assert_allclose(output.ravel(), expected, rtol=1e-4, atol=1e-4)
export_model(model, f"{folder}/m.c")
flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
subprocess.run(["cc", *flags, "m.c", "-o", "m.so", "-lm"], cwd=folder, check=True)
predict = ctypes.CDLL(f"{folder}/m.so").xpnet_predict
result = ctypes.c_float()
for row, number in zip(table, expected):
    predict((Value * 2)(*((value, None) for value in row)), ctypes.byref(result))
    assert abs(result.value - number) < 1e-3 * max(1, abs(number)), (row, result.value, number)
"""


def python(tree: Path, *arguments: str, timeout: int = 300) -> str:
    """Return the output of Python in a process that imports xpnet from a tree."""
    path = os.pathsep.join(str(tree / folder) for folder in ("", "backends", "bench", "tests"))
    outcome = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository to which every recipe has been applied."""
    copy = tmp_path_factory.mktemp("repository")
    skipped = shutil.ignore_patterns("__pycache__", "corpus", "_build", "generated", "auto_gallery")
    for folder in ("xpnet", "backends", "bench", "tests", "docs"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=skipped)
    for page in ("pyproject.toml", "ARCHITECTURE.md"):
        shutil.copy(ROOT / page, copy)
    for page, file, number in NEW_FILES:
        (copy / file).write_text(blocks(page, "python")[number])
    for page in RECIPES:
        apply_changes(page, copy)
    return copy


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(ACTIVATION, id="activation"),
        pytest.param(LOSS, id="loss", marks=pytest.mark.exhaustive),
        pytest.param(OPTIMIZER, id="optimizer", marks=pytest.mark.exhaustive),
    ],
)
def test_what_a_recipe_adds_computes_on_both_backends(tree: Path, program: str) -> None:
    """The reference step and the compiled step give the same loss."""
    losses = [float(line) for line in python(tree, "-c", program).split()]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def test_a_new_column_type_is_in_files_onnx_graphs_and_c(tree: Path, tmp_path: Path) -> None:
    """All of them predict as the model does."""
    pytest.importorskip("onnxruntime")
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    python(tree, "-c", COLUMN_TYPE, str(tmp_path))


def test_the_command_prints_the_number_of_parameters(tree: Path, tmp_path: Path) -> None:
    import xpnet

    file = tmp_path / "model.safetensors"
    xpnet.FeedforwardNeuralNet(5, 7, 2, rng=0).save(file)
    assert str(5 * 7 + 7 + 7 * 2 + 2) in python(tree, "-m", "xpnet", "size", str(file))
    assert "Show the number of parameters" in python(tree, "-m", "xpnet", "--help")


def test_the_command_of_a_package_is_registered_where_xpnet_looks() -> None:
    (metadata,) = blocks("add_a_command.md", "toml")
    from xpnet.cli.extensions import GROUP

    assert GROUP in tomllib.loads(metadata)["project"]["entry-points"]


def test_a_model_is_trained_from_the_new_format(tree: Path, tmp_path: Path) -> None:
    import numpy
    import pyarrow
    from pyarrow import ipc

    x = numpy.linspace(-1, 1, 200)
    table = pyarrow.table(
        {"x": x, "noise": numpy.sin(50 * x), "sign": numpy.where(x > 0, "+", "-")}
    )
    with ipc.new_file(tmp_path / "rows.arrow", table.schema) as file:
        file.write_table(table, max_chunksize=50)
    scores, model = tmp_path / "scores.json", tmp_path / "m.safetensors"
    arguments = ["--target", "sign", "--model", "mlp", "--lr", "0.01", "--epochs", "60"]
    outputs = ["--backend", "numpy", "--metrics-json", str(scores), "-o", str(model)]
    python(tree, "-m", "xpnet", "train", str(tmp_path / "rows.arrow"), *arguments, *outputs)
    losses = json.loads(scores.read_text())["history"]["loss"]
    assert losses[-1] < 0.3 < losses[0]


def test_the_recipes_own_tests_pass_and_those_of_the_rooms(tree: Path) -> None:
    tests = [file for _, file, _ in NEW_FILES if file.startswith("tests/")]
    rooms = "tests/test_architecture.py"
    python(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, rooms)


@pytest.mark.parametrize("page", [*RECIPES, "../../CONTRIBUTING.md"])
def test_the_tests_that_a_page_names_exist(page: str) -> None:
    text = (FOLDER / page).read_text(encoding="utf-8")
    commands = re.findall(r"`pytest ([^`]+)`", text)
    assert commands
    named = [word for command in commands for word in command.split() if word.startswith("tests/")]
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder that holds the backend of the recipe as an installer would have left it."""
    (metadata,) = blocks("add_a_backend.md", "toml")
    project = tomllib.loads(metadata)["project"]
    (tmp_path / "xpnet_scipy.py").write_text(blocks("add_a_backend.md", "{code-cell}")[0])
    folder = tmp_path / f"xpnet_scipy-{project['version']}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in names.items())
        for group, names in project["entry-points"].items()
    ]
    (folder / "entry_points.txt").write_text("\n".join(groups))
    return tmp_path


def xpnet_with(site: Path, *arguments: str) -> str:
    """Return the output of the command line in a process that sees the package."""
    outcome = subprocess.run(
        [sys.executable, "-m", "xpnet", *arguments],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_the_backend_is_listed(site: Path) -> None:
    listed = json.loads(xpnet_with(site, "backends", "--json"))
    backend = {entry["name"]: entry for entry in listed}["scipy"]
    assert backend["usable"]
    assert "scipy" in backend["facts"]


def test_the_backend_trains(site: Path) -> None:
    options = "--backend scipy --hidden 8 --lr 0.01 --epochs 30 --metrics-json".split()
    shown = xpnet_with(site, "train", "iris", *options, str(site / "m.json"))
    metrics = json.loads((site / "m.json").read_text(encoding="utf-8"))
    assert "backend scipy" in shown
    assert metrics["history"]["loss"][-1] < 0.5 * metrics["history"]["loss"][0]


def test_the_backends_kernel_has_the_reference_signature(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xpnet import ops

    monkeypatch.syspath_prepend(site)
    kernels = importlib.import_module("xpnet_scipy").backend.kernels
    for name, kernel in kernels.items():
        assert list(inspect.signature(kernel.launch).parameters) == list(
            inspect.signature(getattr(ops, name)).parameters
        )
