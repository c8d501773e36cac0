"""Whole pipelines in one file, and in ONNX: what comes back predicts the same; what cannot be kept is told."""

import random
import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import damage
import numpy as np
import onnxruntime
import pandas
import pytest
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, PolynomialFeatures, StandardScaler

import xpnet
from xpnet.errors import InputError, ModelFileError
from xpnet.modelfile import export_model

ROWS = 120


@pytest.fixture(autouse=True)
def no_word_of_convergence() -> Iterator[None]:
    """Few epochs do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="Found unknown categories")
        yield


@pytest.fixture
def frame(rng: np.random.Generator) -> pandas.DataFrame:
    """Numbers with gaps, text with gaps, grades, whole numbers."""
    return pandas.DataFrame(
        {
            "a": np.where(np.arange(ROWS) % 7 == 0, np.nan, rng.normal(size=ROWS) * 50 + 1000),
            "b": rng.integers(0, 50, ROWS),
            "s": [None if k % 11 == 0 else "abcdefgh"[k % 8] for k in range(ROWS)],
            "o": ["low mid high".split()[k % 3] for k in range(ROWS)],
            "n": rng.integers(0, 4, ROWS) * 10,
            "label": rng.normal(size=ROWS),
        }
    )


def network(**changed: Any) -> xpnet.MLPClassifier:
    """A small classifier."""
    return xpnet.MLPClassifier((6,), **{"max_iter": 4, "random_state": 0, "backend": "numpy", **changed})


NUMBERS = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
TEXT = make_pipeline(
    SimpleImputer(strategy="constant", fill_value="missing"),
    OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=4, sparse_output=False, dtype=np.float32),
)
COLUMNS = {
    "everything": ColumnTransformer(
        [
            ("numbers", NUMBERS, ["a", "b"]),
            ("text", TEXT, ["s"]),
            ("grades", OrdinalEncoder(categories=[["low", "mid", "high"]]), ["o"]),
            ("range", MinMaxScaler((-1, 1), clip=True), ["n"]),
        ],
        remainder="passthrough",
        transformer_weights={"range": 3.0},
    ),
    "selected": ColumnTransformer(
        [
            ("numbers", SimpleImputer(strategy="mean"), make_column_selector(dtype_include="number")),
            ("text", OneHotEncoder(drop="first", handle_unknown="ignore"), ["o"]),
        ]
    ),
    "by number": ColumnTransformer(
        [("some", StandardScaler(), slice(4, 6)), ("one", "passthrough", [1])], remainder="drop"
    ),
    "whole numbers": ColumnTransformer(
        [
            ("hot", OneHotEncoder(min_frequency=25, handle_unknown="infrequent_if_exist"), ["n"]),
            ("rest", StandardScaler(), ["b"]),
        ],
        verbose_feature_names_out=False,
    ),
    "gaps are a category": ColumnTransformer(
        [("hot", OneHotEncoder(handle_unknown="ignore"), ["s", "n"]), ("not at all", StandardScaler(), [])]
    ),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_pipeline_comes_back(tmp_path: Path, frame: pandas.DataFrame, name: str) -> None:
    y = np.where(frame["b"] > 25, "yes", "no")
    model = Pipeline([("columns", COLUMNS[name]), ("model", network())]).fit(frame, y)
    xpnet.save(model, tmp_path / "m", {"unit": "kg"})
    found = xpnet.load(tmp_path / "m", backend="numpy")
    frame.loc[3, ["s", "a"]] = ["never seen", np.nan]
    np.testing.assert_array_equal(found.predict_proba(frame), model.predict_proba(frame))
    assert found.predict(frame).tolist() == model.predict(frame).tolist()
    assert found[:-1].get_feature_names_out().tolist() == model[:-1].get_feature_names_out().tolist()
    assert found[-1].extra == {"unit": "kg"}
    xpnet.save(found, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "m").read_bytes()
    assert xpnet.modelfile.describe(tmp_path / "m")["kind"] == "Pipeline"


@pytest.mark.parametrize("name", COLUMNS)
def test_a_pipeline_in_onnx(tmp_path: Path, frame: pandas.DataFrame, name: str) -> None:
    y = np.where(frame["b"] > 25, "yes", "no")
    model = Pipeline([("columns", COLUMNS[name]), ("model", network())]).fit(frame, y)
    export_model(model, tmp_path / "m.onnx")
    frame.loc[3, "a"] = np.nan
    if name != "everything":
        frame.loc[5, "o"] = "never seen"
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    label, probabilities = session.run(["label", "probabilities"], fed(session, frame))
    np.testing.assert_allclose(probabilities, model.predict_proba(frame), atol=1e-6)
    assert label.tolist() == model.predict(frame).tolist()


def fed(session: Any, frame: pandas.DataFrame) -> dict[str, Any]:
    """The frame as a model's inputs; an input whose name another tensor has begins with an x."""
    feed = {}
    for given in session.get_inputs():
        if given.name == "X":
            feed["X"] = frame.to_numpy(dtype=np.float64)
            continue
        column = frame[given.name.removeprefix("x_")]
        text = given.type == "tensor(string)"
        values = [value if isinstance(value, str) else "" for value in column] if text else column.astype(np.float64)
        feed[given.name] = np.array(values, dtype=object if text else np.float64)[:, None]
    return feed


def test_scaled_targets(tmp_path: Path, rng: np.random.Generator) -> None:
    X = rng.normal(size=(ROWS, 3)) * [1, 10, 100]
    for scaler in (StandardScaler(), MinMaxScaler()):
        inner = xpnet.MLPRegressor(
            hidden_layer_sizes=(5,), max_iter=3, random_state=0, dtype="float64", backend="numpy"
        )
        model = make_pipeline(MinMaxScaler(), TransformedTargetRegressor(inner, transformer=scaler)).fit(
            X, X[:, 0] * 1e5
        )
        xpnet.save(model, tmp_path / "m")
        np.testing.assert_array_equal(xpnet.load(tmp_path / "m", backend="numpy").predict(X), model.predict(X))
        export_model(model, tmp_path / "m.onnx")
        (found,) = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(["predictions"], {"X": X})
        np.testing.assert_allclose(found[:, 0], model.predict(X), rtol=1e-9)
    xpnet.save(model[-1], tmp_path / "target")
    np.testing.assert_array_equal(xpnet.load(tmp_path / "target", backend="numpy").predict(X), model[-1].predict(X))


def test_a_pipeline_can_be_fitted_again(tmp_path: Path, frame: pandas.DataFrame) -> None:
    y = frame["b"] > 25
    model = Pipeline([("columns", COLUMNS["everything"]), ("model", network())]).fit(frame, y)
    xpnet.save(model, tmp_path / "m")
    found = xpnet.load(tmp_path / "m", backend="numpy").fit(frame, y)
    np.testing.assert_allclose(found.predict_proba(frame), model.predict_proba(frame), atol=1e-12)


def test_what_a_file_cannot_hold_is_told(tmp_path: Path, rng: np.random.Generator) -> None:
    X, y = rng.normal(size=(30, 2)), np.arange(30) % 2
    cases = [
        (make_pipeline(PolynomialFeatures(), network()), "received a PolynomialFeatures"),
        (make_pipeline(StandardScaler(), MinMaxScaler()), "ends in a MinMaxScaler"),
        (make_pipeline(OneHotEncoder(min_frequency=29, handle_unknown="ignore"), network()), "a frequent category"),
    ]
    for model, said in cases:
        with pytest.raises(InputError, match=said):
            xpnet.save(model.fit(X, y), tmp_path / "m")
    with pytest.raises(NotFittedError):
        xpnet.save(make_pipeline(StandardScaler(), network()), tmp_path / "m")
    assert not (tmp_path / "m").exists()
    with pytest.raises(InputError, match="PolynomialFeatures has no form in ONNX"):
        export_model(make_pipeline(PolynomialFeatures(), network()).fit(X, y), tmp_path / "m.onnx")


def test_hostile_pipelines_end_in_an_error_or_in_a_pipeline(tmp_path: Path, frame: pandas.DataFrame) -> None:
    model = Pipeline([("columns", COLUMNS["everything"]), ("model", network())])
    xpnet.save(model.fit(frame, frame["b"] > 25), tmp_path / "m")
    whole, chance, told = (tmp_path / "m").read_bytes(), random.Random(0), 0
    for _ in range(300):
        (tmp_path / "x").write_bytes(damage.sealed(whole, lambda entries, envelope: _change(envelope, chance)))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                opened = xpnet.load(tmp_path / "x")
            assert isinstance(opened, Pipeline)
        except ModelFileError as error:
            told += 1
            assert "\n" not in str(error)
    assert told > 100


def _change(envelope: dict[str, Any], chance: random.Random) -> None:
    """Put something else somewhere in the tree of the pipeline."""
    place: Any = envelope["description"]["settings"]["tree"]
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = chance.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and chance.random() < 0.85:
            place = place[key]
            continue
        others = [None, 5, -1, "x", [], {}, 1e300, [[["a"]]], {"float": "nan"}, {"kind": "estimator"}, True, 10**6]
        place[key] = chance.choice(others)
        return


def gaps_and_objects() -> Iterator[tuple[Any, pandas.DataFrame]]:
    """Pipelines whose transformers learn more than a file tells."""
    y = np.arange(40) % 2
    numbers = pandas.DataFrame({"a": np.where(np.arange(40) % 7 == 0, np.nan, np.arange(40.0)), "b": np.arange(40.0)})
    objects = pandas.DataFrame({"i": pandas.Series([1, 2, 3, 4] * 10, dtype=object)})
    zeros = SimpleImputer(strategy="constant")
    yield make_pipeline(zeros, network()).fit(numbers, y), numbers
    yield make_pipeline(zeros, StandardScaler(), network()).fit(numbers, y), numbers
    encoder = ColumnTransformer([("t", OneHotEncoder(handle_unknown="ignore"), ["i"])])
    yield make_pipeline(encoder, network()).fit(objects, y), objects


@pytest.mark.parametrize("case", range(3))
def test_what_would_not_come_back_is_not_written(tmp_path: Path, case: int) -> None:
    model, X = list(gaps_and_objects())[case]
    try:
        xpnet.save(model, tmp_path / "m")
    except InputError as error:
        assert "come back the same" in str(error) and not (tmp_path / "m").exists()
        return
    found = xpnet.load(tmp_path / "m", backend="numpy")
    np.testing.assert_array_equal(found.predict_proba(X), model.predict_proba(X))


def starts_processes(tree: Any) -> None:
    tree["params"]["dict"].append(["n_jobs", 40])


def takes_many_columns(tree: Any) -> None:
    tree["inputs"] = 3_000_000


def encodes_many_columns(tree: Any) -> None:
    """One column of many categories makes as many rows, and each other column as many cells of its own."""
    leaf, columns = tree["transformers"][0][1], 1500
    many = [{"array": [f"{k}" for k in range(3000)], "dtype": "str"}]
    leaf["inputs"], leaf["names"] = columns, None
    categories = many + [{"array": ["a"], "dtype": "str"}] * (columns - 1)
    leaf["learned"] = {"dict": [["categories_", categories], ["infrequent_categories_", [None] * columns]]}


@pytest.mark.parametrize("harm", [starts_processes, takes_many_columns, encodes_many_columns])
def test_a_small_file_takes_little(tmp_path: Path, harm: Any) -> None:
    X = np.array([["a", "b"]] * 20, dtype=object)
    model = make_pipeline(ColumnTransformer([("t", OneHotEncoder(sparse_output=False), [0, 1])]), network())
    xpnet.save(model.fit(X, np.arange(20) % 2), tmp_path / "m")

    def change(entries: Any, envelope: Any) -> None:
        harm(envelope["description"]["settings"]["tree"]["steps"][0][1])

    content = damage.sealed((tmp_path / "m").read_bytes(), change)
    (tmp_path / "x").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(ModelFileError, match="cannot be put together"):
        xpnet.load(tmp_path / "x")
    assert tracemalloc.get_traced_memory()[1] < 20 * len(content) + 2**22
    tracemalloc.stop()


def test_skops_keeps_a_pipeline_around_what_is_xpnets(tmp_path: Path, frame: pandas.DataFrame) -> None:
    skops = pytest.importorskip("skops.io")
    y = np.where(frame["b"] > 25, "yes", "no")
    ends = (make_pipeline(COLUMNS["everything"], network()), make_pipeline(xpnet.TableEncoder(), network()))
    for model in ends:
        skops.dump(model.fit(frame, y), tmp_path / "m")
        untrusted = skops.get_untrusted_types(file=tmp_path / "m")
        assert {name.split(".")[0] for name in untrusted} <= {"xpnet", "numpy"}
        found = skops.load(tmp_path / "m", trusted=untrusted)
        np.testing.assert_array_equal(found.predict_proba(frame), model.predict_proba(frame))
