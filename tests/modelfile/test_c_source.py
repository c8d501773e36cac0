"""Models as C: compiled as strict C99 with sanitizers, run, and compared with predict."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from helpers.c_program import compiled

import xpnet
from xpnet.modelfile import export_model
from xpnet.ops import ACTIVATIONS

pytestmark = [
    pytest.mark.skipif(
        shutil.which("gcc") is None and "CI" not in os.environ, reason="a C compiler is needed"
    ),
    pytest.mark.filterwarnings("ignore:Stochastic Optimizer"),
    pytest.mark.slow,
]
QUICK: dict[str, Any] = {"hidden_layer_sizes": (7, 6), "max_iter": 3, "random_state": 0}


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
    """Numbers, gaps, text that C has to escape, booleans and timestamps."""
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


def words(values: list[Any]) -> Any:
    """A classifier of a column of words and one of numbers; the first word decides."""
    rng = np.random.default_rng(0)
    word = rng.choice(np.array(values, dtype=object), 300)
    frame = pandas.DataFrame({"number": rng.normal(size=300), "word": word})
    settings = {**QUICK, "max_iter": 12, "networks": 1}
    model = xpnet.TabularClassifier(**settings)
    return model.fit(frame, np.where(frame["word"] == values[0], "yes", "no"))


def test_empty_text_and_null_are_gaps(tmp_path: Path) -> None:
    model = words(["", "a", "b", None])
    asked = ["", None, "a", "unknown"]
    frame = pandas.DataFrame({"number": 0.1, "word": pandas.Series(asked, dtype=object)})
    wanted = model.predict_proba(frame)
    np.testing.assert_allclose(
        compiled(model, [[0.1, word] for word in asked], 2, tmp_path, "-O2"), wanted, atol=1e-5
    )
    np.testing.assert_array_equal(wanted[0], wanted[1])
    assert abs(wanted[0] - wanted[2]).max() > 0.1


def test_null_alone_is_a_gap_where_a_file_of_a_release_has_the_value_of_empty_text(
    tmp_path: Path,
) -> None:
    model = words(["x", "a", "b", None])
    category = model.encoder_.encodings_[-1]
    at = category.values.index("x")
    renamed = tuple("" if value == "x" else value for value in category.values)
    vars(category)["values"] = renamed  # as a release wrote it that took empty text for a value
    asked = ["", None, "a", "unknown"]
    frame = pandas.DataFrame({"number": 0.1, "word": pandas.Series(asked, dtype=object)})
    assert renamed[at] == ""
    model.save(tmp_path / "m.safetensors")
    wanted = xpnet.load(tmp_path / "m.safetensors").predict_proba(frame)
    assert abs(wanted[0] - wanted[1]).max() > 0.1
    found = compiled(model, [[0.1, word] for word in asked], 2, tmp_path)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_whole_numbers_as_text_are_known_with_and_without_decimals(tmp_path: Path) -> None:
    model = words(["1", "2", "07", "-3"])
    asked = ["1", "1.0", "07", "7", "07.0", "-3.0", "2.00", "1e0", "-", "3.0"]
    frame = pandas.DataFrame({"number": 0.1, "word": asked})
    wanted = model.predict_proba(frame)
    found = compiled(model, [[0.1, word] for word in asked], 2, tmp_path)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert abs(wanted[1] - wanted[6]).max() > 0.01


@pytest.mark.parametrize("zone", ["America/Los_Angeles", None])
def test_seconds_count_on_the_clock_of_the_training(tmp_path: Path, zone: str | None) -> None:
    hours = np.random.default_rng(0).integers(0, 24 * 300, 300)
    instants = pandas.Timestamp("2024-01-01", tz="UTC") + pandas.to_timedelta(hours, "h")
    when = pandas.Series(instants).dt.tz_convert(zone or "UTC")
    frame = pandas.DataFrame({"when": when if zone else when.dt.tz_localize(None)})
    settings = {**QUICK, "max_iter": 12, "networks": 1}
    model = xpnet.TabularClassifier(**settings).fit(frame, when.dt.hour < 12)
    unix = (instants - pandas.Timestamp(0, tz="UTC")).total_seconds()
    found = compiled(model, [[second] for second in unix], 2, tmp_path)
    np.testing.assert_allclose(found, model.predict_proba(frame), atol=1e-5)


def test_long_text_and_a_table_of_one_kind(tmp_path: Path) -> None:
    long = "ü" * 5000
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"word": rng.choice([long, "b"], 300)})
    model = xpnet.TabularClassifier(**QUICK, networks=1)
    model.fit(frame, np.where(frame["word"] == long, long, "no"))
    found = compiled(model, [[long], ["b"], [None]], 2, tmp_path)
    wanted = model.predict_proba(pandas.DataFrame({"word": [long, "b", None]}))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(("dtype", "value"), [("float32", np.nan), ("float64", 1e200)])
def test_parameters_that_are_not_finite_are_refused(
    tmp_path: Path, dtype: Any, value: float
) -> None:
    network = xpnet.FeedforwardNeuralNet(3, 4, 2, rng=0, dtype=dtype, backend="numpy")
    network.params["W1"] = np.full((3, 4), value)
    with pytest.raises(xpnet.InputError, match=re.escape(f"{value:g} in W1")):
        export_model(network, tmp_path / "predict.c")
    assert not (tmp_path / "predict.c").exists()


@pytest.mark.parametrize("where", ["category", "label"])
def test_text_with_nul_is_refused(tmp_path: Path, where: str) -> None:
    if where == "category":
        model = words(["a\0b", "a", "b"])
    else:
        X = np.random.default_rng(0).normal(size=(60, 3))
        model = xpnet.MLPClassifier(**QUICK).fit(X, np.array(["a\0b", "b"] * 30))
    with pytest.raises(xpnet.InputError, match=r"NUL.*'a\\x00b'"):
        export_model(model, tmp_path / "predict.c")
    assert not (tmp_path / "predict.c").exists()


@pytest.mark.parametrize("name", ["predict.c", "model.onnx"])
def test_labels_that_are_not_unicode_are_refused(tmp_path: Path, name: str) -> None:
    X = np.random.default_rng(0).normal(size=(60, 3))
    labels = np.array(["\ud800", "b"] * 30, dtype=object)
    model = xpnet.MLPClassifier(**QUICK).fit(X, np.array(["a", "b"] * 30, dtype=object))
    model.classes_ = labels[:2]
    with pytest.raises(xpnet.InputError, match=r"Unicode.*ud800"):
        export_model(model, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_differences_of_numbers_clock_times_and_dates(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, delay = rng.integers(0, 1440, 900), rng.integers(-60, 60, 900)
    second = (first + delay) % 1440
    price = np.exp(rng.normal(3, 1, 900))
    rise = np.where(rng.random(900) < 0.05, np.nan, 0.05 * rng.normal(size=900))
    days = rng.integers(0, 30, 900)
    day = pandas.Timestamp("2020-01-01") + pandas.to_timedelta(rng.integers(0, 900, 900), "D")
    frame = pandas.DataFrame(
        {
            "planned": first // 60 * 100.0 + first % 60,
            "actual": second // 60 * 100.0 + second % 60,
            "open": price,
            "close": price * np.exp(rise),
            "from": day,
            "to": day + pandas.to_timedelta(days, "D"),
        }
    )
    y = 2.0 * (delay > 15) + 2.0 * (np.nan_to_num(rise) > 0) + 2.0 * (days > 10)
    model = xpnet.TabularRegressor(**QUICK, networks=1).fit(frame, y)
    assert len(model.encoder_.added_) == 3
    values = frame.assign(
        **{name: (frame[name] - pandas.Timestamp(0)).dt.total_seconds() for name in ("from", "to")}
    )
    found = compiled(
        model, values.astype(object).where(values.notna(), None).to_numpy().tolist(), 1, tmp_path
    )
    np.testing.assert_allclose(found[:, 0], model.predict(frame), atol=1e-5 * y.std())
    model.export_onnx(tmp_path / "model.onnx")
    session = pytest.importorskip("onnxruntime").InferenceSession(tmp_path / "model.onnx")
    inputs = {name: values[[name]].to_numpy(float) for name in values}
    (predicted,) = session.run(["predictions"], inputs)
    np.testing.assert_allclose(predicted[:, 0], model.predict(frame), atol=1e-5 * y.std())
