"""Models with exposures, offsets, an order, soft labels, a refinement or monotonic columns, in ONNX
and C: what they compute is what predict gives for an exposure of 1 and an offset of 0, and the file
says how the known part of a row is added.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers.c_program import compiled
from scipy.special import expit, softmax

import xpnet
from xpnet.modelfile import export_model

pytestmark = [pytest.mark.filterwarnings("ignore:Stochastic Optimizer"), pytest.mark.slow]
ROWS = 300
rng = np.random.default_rng(0)
X = rng.normal(size=(ROWS, 3)).astype(np.float32)
YEARS = rng.uniform(0.2, 5, ROWS)
COUNTS = rng.poisson(YEARS * np.exp(0.4 * X[:, 0])).astype(float)
ODDS = rng.normal(size=ROWS)
OFFSETS = rng.normal(size=(ROWS, 3))
YES = rng.uniform(size=ROWS) < expit(X[:, 0] + ODDS)
LETTERS = np.array(list("abc"))[
    [rng.choice(3, p=p) for p in softmax(X @ rng.normal(size=(3, 3)) + OFFSETS, axis=1)]
]
LEVELS = np.array(["low", "middle", "high"])[
    np.digitize(X[:, 0] + 0.5 * rng.normal(size=ROWS), [-0.5, 1])
]
SHARES = np.column_stack([1 - expit(X[:, 0]), expit(X[:, 0])])
QUICK: dict[str, Any] = {"max_iter": 6, "random_state": 0}


def tabular(kind: Any, **settings: Any) -> Any:
    return kind(quality=1, members=2, networks=2, **QUICK, **settings)


def network(kind: Any, **settings: Any) -> Any:
    return kind(hidden_layer_sizes=(7, 6), **QUICK, **settings)


def refined() -> Any:
    model = tabular(xpnet.TabularClassifier).fit(X, YES, offset=ODDS)
    model.refine(X[:200], ~YES[:200], offset=ODDS[:200], learning_rate_share=0.5)
    return model


class Case(NamedTuple):
    """A fitted model, what its rows have that is known, and the entry of a file about it.

    known : arguments of predict; described : a part of the sentence in files, "" for none
    """

    fit: Callable[[], Any]
    known: dict[str, Any] = {}
    described: str = ""


COUNTED = {"loss": "poisson"}
RATES, PROBABILITIES = "mean of an exposure of 1", "those of an offset of 0"
CASES = {
    "exposure, table": Case(
        lambda: tabular(xpnet.TabularRegressor, **COUNTED).fit(X, COUNTS, exposure=YEARS),
        {"exposure": YEARS},
        RATES,
    ),
    "offset of numbers, table": Case(
        lambda: tabular(xpnet.TabularRegressor, **COUNTED).fit(X, COUNTS, offset=np.log(YEARS)),
        {"offset": np.log(YEARS)},
        RATES,
    ),
    "exposure": Case(
        lambda: network(xpnet.MLPRegressor, **COUNTED).fit(X, COUNTS, exposure=YEARS),
        {"exposure": YEARS},
        RATES,
    ),
    "offset of two classes, table": Case(
        lambda: tabular(xpnet.TabularClassifier, calibration="temperature").fit(
            X, YES, offset=ODDS
        ),
        {"offset": ODDS},
        PROBABILITIES,
    ),
    "offset of three classes, table": Case(
        lambda: tabular(xpnet.TabularClassifier).fit(X, LETTERS, offset=OFFSETS),
        {"offset": OFFSETS},
        PROBABILITIES,
    ),
    "offset of two classes": Case(
        lambda: network(xpnet.MLPClassifier).fit(X, YES, offset=ODDS),
        {"offset": ODDS},
        PROBABILITIES,
    ),
    "offset of three classes": Case(
        lambda: network(xpnet.MLPClassifier).fit(X, LETTERS, offset=OFFSETS),
        {"offset": OFFSETS},
        PROBABILITIES,
    ),
    "ordered, table": Case(
        lambda: tabular(xpnet.TabularClassifier, ordered=["low", "middle", "high"]).fit(X, LEVELS)
    ),
    "ordered": Case(
        lambda: network(xpnet.MLPClassifier, ordered=["low", "middle", "high"]).fit(X, LEVELS)
    ),
    "soft labels, table": Case(
        lambda: tabular(xpnet.TabularClassifier).fit(X, SHARES, classes=["n", "y"]),
        described=PROBABILITIES,
    ),
    "soft labels": Case(
        lambda: network(xpnet.MLPClassifier).fit(X, SHARES, classes=["n", "y"]),
        described=PROBABILITIES,
    ),
    "refined, table": Case(refined, {"offset": ODDS}, PROBABILITIES),
    "monotonic, table": Case(
        lambda: tabular(xpnet.TabularRegressor, monotonic_cst=[1, 0, -1]).fit(X, COUNTS)
    ),
    "monotonic": Case(lambda: network(xpnet.MLPRegressor, monotonic_cst=[1, 0, -1]).fit(X, COUNTS)),
    "monotonic ordered, table": Case(
        lambda: tabular(
            xpnet.TabularClassifier, ordered=["low", "middle", "high"], monotonic_cst=[1, 0, 0]
        ).fit(X, LEVELS)
    ),
}


def predicted(model: Any, **known: Any) -> np.ndarray:
    """Return probabilities or numbers: (rows, results)."""
    method = getattr(model, "predict_proba", model.predict)
    return np.asarray(method(X, **known)).reshape(ROWS, -1)


def with_known_part(results: np.ndarray, known: dict[str, Any]) -> np.ndarray:
    """Add the known part of rows to results of a file, as the file says."""
    if "exposure" in known:
        return results * known["exposure"][:, None]
    factors = np.exp(known["offset"])
    if results.shape[1] == 1:
        return results * factors[:, None]
    if factors.ndim == 1:
        factors = np.column_stack([np.ones(ROWS), factors])
    return results * factors / (results * factors).sum(axis=1, keepdims=True)


def run_onnx(model: Any, folder: Path) -> tuple[np.ndarray, str]:
    """Return the results of a model in onnxruntime, and the entry of the file about them."""
    pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    export_model(model, folder / "model.onnx")
    session = runtime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (columns,) = session.get_inputs()
    typed = X.astype(np.float64 if "double" in columns.type else np.float32)
    outputs = {output.name for output in session.get_outputs()}
    (name,) = outputs & {"probabilities", "predictions"}
    (results,) = session.run([name], {columns.name: typed})
    described = session.get_modelmeta().custom_metadata_map
    assert all(json.loads(described.get("xpnet_columns", "[]")) or [True])
    return results.reshape(ROWS, -1), described.get("xpnet_result", "")


def run_c(model: Any, folder: Path) -> tuple[np.ndarray, str]:
    """Return the results of a model in C, and the comment at the beginning of the file."""
    if shutil.which("gcc") is None and "CI" not in os.environ:
        pytest.skip("a C compiler is needed")
    columns = predicted(model).shape[1]
    results = compiled(model, X.astype(float).tolist(), columns, folder)
    comment = (folder / "predict.c").read_text().partition("*/")[0]
    return results, " ".join(comment.replace("\n *", " ").split())


@pytest.mark.parametrize("run", [run_onnx, run_c])
@pytest.mark.parametrize("name", CASES)
def test_a_file_computes_what_predict_does(tmp_path: Path, name: str, run: Any) -> None:
    case = CASES[name]
    model = case.fit()
    results, described = run(model, tmp_path)
    np.testing.assert_allclose(results, predicted(model), rtol=1e-5, atol=1e-5)
    if case.known:
        expected = predicted(model, **case.known)
        assert np.abs(expected - predicted(model)).max() > 0.1
        np.testing.assert_allclose(
            with_known_part(results, case.known), expected, rtol=2e-5, atol=2e-5
        )
    if case.described:
        assert case.described in described
    else:
        assert "offset" not in described and "exposure" not in described
