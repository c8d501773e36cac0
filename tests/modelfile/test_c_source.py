"""Models as C: compiled by gcc as C99, and compared with predict."""

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import xpnet
from xpnet.modelfile import export_model
from xpnet.ops import ACTIVATIONS

pytestmark = [
    pytest.mark.skipif(shutil.which("gcc") is None, reason="a C compiler is needed"),
    pytest.mark.filterwarnings("ignore:Stochastic Optimizer"),
]
QUICK: dict[str, Any] = {"hidden_layer_sizes": (7, 6), "max_iter": 3, "random_state": 0}


class Value(ctypes.Structure):
    """A column of a row, as the C file has it."""

    _fields_ = [("number", ctypes.c_double), ("text", ctypes.c_char_p)]


def compiled(model: Any, rows: list[list[Any]], columns: int, folder: Path) -> np.ndarray:
    """What the C file of a model predicts. rows : numbers, text, or None for gaps"""
    export_model(model, folder / "predict.c")
    strict = [
        "-std=c99",
        "-pedantic",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-unused-function",
        "-Wno-unused-variable",
    ]
    strict += ["-Wno-unused-const-variable", "-Wno-type-limits", "-Wno-missing-field-initializers"]
    command = ["gcc", *strict, "-shared", "-fPIC", "-O0", "predict.c", "-o", "predict.so", "-lm"]
    subprocess.run(command, cwd=folder, check=True, timeout=300)
    predict = ctypes.CDLL(str(folder / "predict.so")).xpnet_predict
    found = np.zeros((len(rows), columns), np.float32)
    for row, out in zip(rows, found, strict=True):
        values = [
            Value(0, v.encode()) if isinstance(v, str) else Value(np.nan if v is None else v, None)
            for v in row
        ]
        predict((Value * len(row))(*values), out.ctypes.data_as(ctypes.c_void_p))
    return found


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation(tmp_path: Path, activation: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 4))
    y = np.digitize(X[:, 0] * X[:, 1], [-0.5, 0.5])
    model = xpnet.MLPClassifier(**QUICK, activation=activation, learning_rate_init=0.05).fit(X, y)
    np.testing.assert_allclose(
        compiled(model, X.tolist(), 3, tmp_path), model.predict_proba(X), atol=1e-5
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"members": 3},
        {"loss": "gamma"},
        {"loss": "quantile", "quantile": [0.1, 0.5, 0.9]},
        {"hidden_layer_sizes": ()},
    ],
    ids=str,
)
def test_regressors(tmp_path: Path, settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    model = xpnet.MLPRegressor(**{**QUICK, **settings}).fit(X, np.exp(X[:, 0]))
    wanted = model.predict(X).reshape(60, -1)
    np.testing.assert_allclose(
        compiled(model, X.tolist(), wanted.shape[1], tmp_path), wanted, rtol=1e-5, atol=1e-5
    )


def test_two_classes_several_labels_and_a_network(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    for place, (model, columns) in enumerate(
        [
            (xpnet.MLPClassifier(**QUICK).fit(X, X[:, 0] > 0), 2),
            (xpnet.MLPClassifier(**QUICK).fit(X, (X[:, :3] > 0).astype(int)), 3),
        ]
    ):
        (tmp_path / str(place)).mkdir()
        found = compiled(model, X.tolist(), columns, tmp_path / str(place))
        np.testing.assert_allclose(found, model.predict_proba(X), atol=1e-5)
    network = xpnet.FeedforwardNeuralNet(4, 5, 3, rng=0)
    np.testing.assert_allclose(
        compiled(network, X.tolist(), 3, tmp_path), network.predict(X), atol=1e-5
    )


def table(rows: int) -> tuple[pandas.DataFrame, np.ndarray]:
    """Numbers, gaps, text that C has to escape, truths and moments."""
    rng = np.random.default_rng(0)
    names = np.array(["red", 'q"uote\\', "été", "what??/", "tab\t"])
    frame = pandas.DataFrame(
        {
            "number": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows) * 100),
            "constant": np.ones(rows),
            "name": np.where(rng.random(rows) < 0.1, None, rng.choice(names, rows)),
            "many": [f"v{k}" for k in rng.integers(0, 40, rows)],
            "truth": rng.random(rows) < 0.3,
            "when": pandas.Timestamp("1999-12-28")
            + pandas.to_timedelta(rng.integers(0, 60_000, rows), "h"),
        }
    )
    return frame, np.nan_to_num(frame["number"]) + 30 * frame["truth"] + 10 * frame["when"].dt.month


def as_values(frame: pandas.DataFrame) -> list[list[Any]]:
    seconds = (frame["when"] - pandas.Timestamp(0)).dt.total_seconds()
    return [
        [None if v is None or v != v else float(v) if not isinstance(v, str) else v for v in row]
        for row in frame.assign(when=seconds).astype(object).to_numpy().tolist()
    ]


@pytest.mark.parametrize("settings", [{}, {"loss": "quantile", "quantile": [0.2, 0.8]}], ids=str)
def test_a_regressor_of_tables(tmp_path: Path, settings: dict[str, Any]) -> None:
    frame, y = table(600)
    model = xpnet.TabularRegressor(**QUICK, members=2, networks=2, **settings).fit(
        frame[:500], y[:500]
    )
    wanted = model.predict(frame).reshape(600, -1)
    found = compiled(model, as_values(frame), wanted.shape[1], tmp_path)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * y.std())


def test_a_classifier_of_tables(tmp_path: Path) -> None:
    frame, y = table(600)
    labels = np.where(y > np.median(y), "high", "low")
    model = xpnet.TabularClassifier(**QUICK, members=2, networks=2, calibration="temperature")
    model.fit(frame[:500], labels[:500])
    frame.loc[599, "name"] = "unknown"
    found = compiled(model, as_values(frame), 2, tmp_path)
    np.testing.assert_allclose(found, model.predict_proba(frame), atol=1e-5)
    assert '"high", "low"' in (tmp_path / "predict.c").read_text()
