"""Estimators of tables in files and in ONNX: encoder and networks come back, from raw columns to
labels.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from helpers import damage
from sklearn.preprocessing import StandardScaler

import xpnet
from xpnet.errors import InputError, ModelFileError
from xpnet.modelfile import container, tables, values

ROWS = 300


@pytest.fixture
def table(rng: np.random.Generator) -> pandas.DataFrame:
    """Numbers with gaps, text with gaps, many values, dates, flags, and columns that are left
    out.
    """
    table = pandas.DataFrame(
        {
            "a": np.where(np.arange(ROWS) % 7 == 0, np.nan, rng.normal(size=ROWS) * 50 + 1e6),
            "label": rng.integers(0, 50, ROWS),
            "s": [None if k % 11 == 0 else "abcdefgh"[k % 8] for k in range(ROWS)],
            "many": [f"value {k}" for k in rng.integers(0, 60, ROWS)],
            "when": pandas.Timestamp("1890-01-01")
            + pandas.to_timedelta(rng.integers(0, 1_900_000, ROWS), unit="h"),
            "flag": rng.random(ROWS) < 0.4,
            "number": np.arange(ROWS),
            "always": "the same",
        }
    )
    table.loc[5, "when"] = pandas.NaT
    return table


def labels(table: pandas.DataFrame) -> Any:
    return np.where(table["label"] > 25, "yes", np.where(table["flag"], "no", "perhaps"))


def classifier(**changed: Any) -> Any:
    """Two small networks."""
    options = {
        "hidden_layer_sizes": (6,),
        "members": 2,
        "max_iter": 3,
        "random_state": 0,
        "backend": "numpy",
        **changed,
    }
    return xpnet.TabularClassifier(**options)


def regressor(**changed: Any) -> Any:
    """Two small networks."""
    options = {
        "hidden_layer_sizes": (6,),
        "members": 2,
        "max_iter": 3,
        "random_state": 0,
        "backend": "numpy",
        **changed,
    }
    return xpnet.TabularRegressor(**options)


def fitted(kind: str, table: Any, target: Any) -> Any:
    """An estimator of each kind that a file may hold."""
    if kind == "classifier":
        return classifier().fit(
            table, np.where(target > 25, "yes", np.where(target > 10, "no", "perhaps"))
        )
    if kind == "settings":
        encoder = xpnet.TableEncoder(bins=5, scaling="standard", binning="tree", task="regression")
        return classifier(encoder=encoder, class_weight={0: 2.0, 1: 1.0}, dtype="float64").fit(
            table, target > 25
        )
    if kind == "counts":
        return regressor(loss="poisson").fit(table, target)
    targets = np.stack([target, -target], axis=1) if kind == "several" else target * 1e3
    return regressor(dtype="float64").fit(table, targets)


KINDS = ["classifier", "settings", "regressor", "several", "counts"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_comes_back_bit_for_bit(tmp_path: Path, table: pandas.DataFrame, kind: str) -> None:
    model = fitted(kind, table, table["label"].to_numpy())
    model.save(tmp_path / "m", {"unit": "kg"})
    found = xpnet.load(tmp_path / "m", backend="numpy")
    table.loc[3, ["s", "a"]] = ["never seen", np.inf]
    np.testing.assert_array_equal(found.predict(table), model.predict(table), strict=True)
    np.testing.assert_array_equal(
        found.predict_members(table), model.predict_members(table), strict=True
    )
    assert found.extra == {"unit": "kg"} and found.encoder_.left_out_ == model.encoder_.left_out_
    assert (found.best_epochs_, found.n_iter_) == (model.best_epochs_, model.n_iter_)
    assert list(found.feature_names_in_) == list(table.columns)
    kept = {
        name: value for name, value in model.get_params().items() if not name.startswith("encoder")
    }
    assert {name: found.get_params()[name] for name in kept} == kept
    found.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "m").read_bytes()
    facts = xpnet.modelfile.describe(tmp_path / "m")
    used = [name for name in table.columns if name not in model.encoder_.left_out_]
    assert facts["features"] == used
    assert facts["classes"] == (None if not hasattr(model, "classes_") else model.classes_.tolist())
    assert (
        facts["kind"] == type(model).__name__
        and facts["widths"][0] == facts["tensors"]["0/W1"]["shape"][0]
    )


def test_a_matrix_comes_back(tmp_path: Path, rng: np.random.Generator) -> None:
    X = rng.normal(size=(60, 5))
    X[:, 3] = 1
    model = classifier().fit(X, np.arange(60) % 3)
    xpnet.save(model, tmp_path / "m")
    found = xpnet.load(tmp_path / "m", backend="numpy")
    np.testing.assert_array_equal(found.predict_proba(X), model.predict_proba(X))
    assert found.n_features_in_ == 5 and not hasattr(found, "feature_names_in_")


def test_any_number_of_values_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The description of a file is short; what a table taught is in its tensors."""
    monkeypatch.setattr(values, "VALUES_LIMIT", 2000)
    words = np.array([f"é{k}" * (k % 3) for k in range(3000)] * 3, dtype=object)
    X = {"word": words, "other": np.array(["", "a", "\U0001f600"] * 3000, dtype=object)}
    model = classifier(members=1, max_iter=1).fit(X, np.arange(9000) % 2)
    model.save(tmp_path / "m")
    found = xpnet.load(tmp_path / "m", backend="numpy")
    np.testing.assert_array_equal(found.predict_proba(X), model.predict_proba(X))
    for one, other in zip(found.encoder_.encodings_, model.encoder_.encodings_, strict=True):
        np.testing.assert_equal(vars(one), vars(other))


def test_it_can_be_fitted_again(tmp_path: Path, table: pandas.DataFrame) -> None:
    model = classifier().fit(table, labels(table))
    model.save(tmp_path / "m")
    found = xpnet.load(tmp_path / "m", backend="numpy").fit(table, labels(table))
    np.testing.assert_array_equal(found.predict_proba(table), model.predict_proba(table))


def test_what_a_file_cannot_hold_is_told(tmp_path: Path, rng: np.random.Generator) -> None:
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    other = classifier(encoder=StandardScaler()).fit(X, y)
    with pytest.raises(InputError, match=r"TableEncoder; got a StandardScaler.*skops"):
        other.save(tmp_path / "m")
    with pytest.raises(InputError, match="got a StandardScaler"):
        other.export_onnx(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_labels_that_no_file_can_hold_are_refused_at_fit(rng: np.random.Generator) -> None:
    labels = np.array(["a", "\ud800"] * 20, dtype=object)
    with pytest.raises(InputError, match="ud800"):
        classifier().fit(rng.normal(size=(40, 3)), labels)


def test_what_would_not_open_again_is_not_written(tmp_path: Path, rng: np.random.Generator) -> None:
    X = rng.normal(size=(40, 3))
    model = regressor().fit(X, X[:, 0])
    model.target_[1] = np.inf
    with pytest.raises(InputError, match="this one would not"):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def fed(session: Any, table: pandas.DataFrame) -> dict[str, Any]:
    """The table as a model's inputs, by their types."""
    feed = {}
    for given in session.get_inputs():
        column = table[given.name.removeprefix("x_")]
        if given.type == "tensor(string)":
            feed[given.name] = np.array(
                [value if isinstance(value, str) else "" for value in column], dtype=object
            )
        elif column.dtype.kind == "M":
            seconds = column.to_numpy("datetime64[us]").astype(np.int64) / 1e6
            feed[given.name] = np.where(column.isna(), np.nan, seconds)
        else:
            feed[given.name] = column.to_numpy(dtype=np.float64)
    return {name: values[:, None] for name, values in feed.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_onnx_answers_from_raw_columns(
    tmp_path: Path, table: pandas.DataFrame, kind: str, onnxruntime: Any
) -> None:
    model = fitted(kind, table, table["label"].to_numpy())
    model.export_onnx(tmp_path / "m.onnx")
    table.loc[3, "s"] = "never seen"
    table.loc[4:6, "a"] = [np.inf, -1e305, 1e9]
    table.loc[7:9, "when"] = pandas.to_datetime(
        ["2000-02-29 23:59:59.5", "1900-03-01 00:00:00.0", "1969-12-31 23:00:00.0"]
    )
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, fed(session, table)), strict=True))
    if names == ["predictions"]:
        expected = model.predict(table)
        np.testing.assert_allclose(
            found["predictions"].reshape(expected.shape), expected, rtol=1e-5, atol=1e-5
        )
    else:
        np.testing.assert_allclose(found["probabilities"], model.predict_proba(table), atol=1e-6)
        assert found["probabilities"].dtype == model.dtype
        assert found["label"].tolist() == model.predict(table).tolist()


def test_onnx_subtracts_a_centre_that_is_zero_in_float32(
    tmp_path: Path, rng: np.random.Generator, onnxruntime: Any
) -> None:
    X = rng.lognormal(size=(80, 1)) * 1e-60
    model = classifier().fit(X, X[:, 0] > 1e-60)
    model.export_onnx(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"X": X})
    # Without the centre, 1e-60, the scaled numbers would be larger by about 1.
    np.testing.assert_allclose(probabilities, model.predict_proba(X), atol=1e-6)


def test_a_table_of_numbers_is_one_input(
    tmp_path: Path, rng: np.random.Generator, onnxruntime: Any
) -> None:
    X = rng.normal(size=(60, 4))
    X[::5, 0], X[:, 2] = np.nan, 1
    model = classifier().fit(X, np.arange(60) % 2)
    model.export_onnx(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    label, probabilities = session.run(["label", "probabilities"], {"X": X})
    np.testing.assert_allclose(probabilities, model.predict_proba(X), atol=1e-6)
    assert label.tolist() == model.predict(X).tolist()


def test_text_that_is_left_out_is_no_input(
    tmp_path: Path, table: pandas.DataFrame, onnxruntime: Any
) -> None:
    numbers = table[["a", "always", "number", "flag"]]
    model = classifier().fit(numbers, labels(table))
    model.export_onnx(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    assert [given.name for given in session.get_inputs()] == ["a", "flag"]
    _, probabilities = session.run(None, fed(session, numbers))
    np.testing.assert_allclose(probabilities, model.predict_proba(numbers), atol=1e-6)


def zones_and_words(zone: str | None) -> tuple[pandas.DataFrame, np.ndarray]:
    """Instants of a zone, categories with empty text, floats as categories; labels of the local
    clock.
    """
    rng = np.random.default_rng(0)
    hours = pandas.to_timedelta(rng.integers(0, 24 * 300, ROWS), "h")
    when = pandas.Series(pandas.Timestamp("2024-01-01", tz="UTC") + hours)
    local = when.dt.tz_convert(zone) if zone else when.dt.tz_localize(None)
    word = rng.choice(["", "a", "b"], ROWS)
    half = pandas.Categorical(rng.integers(0, 5, ROWS) / 2)
    frame = pandas.DataFrame({"when": local, "word": word, "half": half})
    return frame, np.where((local.dt.hour < 12) == (word == ""), "yes", "no")


@pytest.mark.parametrize("zone", ["America/Los_Angeles", None])
def test_onnx_reads_seconds_on_the_clock_of_the_training(
    tmp_path: Path, zone: str | None, onnxruntime: Any
) -> None:
    frame, label = zones_and_words(zone)
    model = classifier(max_iter=15).fit(frame, label)
    model.export_onnx(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    expected = model.predict_proba(frame)
    when = frame["when"].dt.tz_convert("UTC").dt.tz_localize(None) if zone else frame["when"]
    for whole in ("{:g}", "{:.1f}"):  # a category of floats with and without the decimal
        halves = [whole.format(value) for value in frame["half"]]
        feed = fed(session, frame.assign(when=when, half=halves))
        (probabilities,) = session.run(["probabilities"], feed)
        np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    gaps = frame.assign(word=None)
    empty = model.predict_proba(frame.assign(word=""))
    np.testing.assert_array_equal(model.predict_proba(gaps), empty)


# A small file takes little, whatever it says.


def category(settings: dict[str, Any]) -> Any:
    """The first category that an encoder encodes."""
    return next(entry for entry in settings["encoder"]["encodings"] if "frequent" in entry)


def number(settings: dict[str, Any], part: str) -> Any:
    """The first number that an encoder encodes of such a part of moments."""
    return next(entry for entry in settings["encoder"]["encodings"] if entry.get("part") == part)


def classes(settings: dict[str, Any]) -> Any:
    """The classes that a classifier has learned."""
    return next(value["array"] for name, value in settings["fitted"]["dict"] if name == "classes_")


HARMS: dict[str, Any] = {
    "fewer classes": lambda settings: classes(settings).pop(),
    "more classes": lambda settings: classes(settings).append("zebra"),
    "values": lambda settings: category(settings).update(frequent=10**9),
    "other details": lambda settings: category(settings).update(detail_labels=["one"] * 10**5),
    "another column": lambda settings: category(settings).update(column=10**9),
    "two kinds of numbers in a column": lambda settings: number(settings, "").update(
        column=number(settings, "trend")["column"]
    ),
    "columns": lambda settings: settings["encoder"].update(columns=10**9, names=None),
    "members": lambda settings: settings["fitted"]["dict"].__setitem__(
        0, ["best_epochs_", [1] * 100_000]
    ),
    "names": lambda settings: settings["encoder"]["names"].append("one more"),
    "another encoder": lambda settings: settings["encoder"]["encodings"].pop(),
    "no encoder": lambda settings: settings.update(encoder={}),
    "an encoder of another kind": lambda settings: settings["encoder"]["params"]["dict"].append(
        ["steps", []]
    ),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_hostile_encoder_is_refused(tmp_path: Path, table: pandas.DataFrame, harm: str) -> None:
    classifier().fit(table, labels(table)).save(tmp_path / "m")
    change = HARMS[harm]
    content = damage.sealed(
        (tmp_path / "m").read_bytes(),
        lambda entries, envelope: change(envelope["description"]["settings"]),
    )
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ModelFileError, match="describes no model"):
        xpnet.load(tmp_path / "x")


def test_hostile_files_end_in_an_error_or_in_an_estimator(
    tmp_path: Path, table: pandas.DataFrame
) -> None:
    classifier().fit(table, labels(table)).save(tmp_path / "m")
    whole, chance, told = (tmp_path / "m").read_bytes(), random.Random(0), 0
    for _ in range(150):
        (tmp_path / "x").write_bytes(
            damage.sealed(whole, lambda entries, envelope: change_somewhere(envelope, chance))
        )
        try:
            opened = xpnet.load(tmp_path / "x", backend="numpy")
        except ModelFileError as error:
            told += 1
            assert "\n" not in str(error)
            continue
        try:
            opened.predict(table)
        except InputError as error:  # such as for a column of another name
            assert "column" in str(error).lower()
    assert told > 50


@pytest.mark.filterwarnings("ignore:X has feature names")  # of an encoder that lost its names
def test_an_encoder_that_was_tampered_with_is_refused(
    tmp_path: Path, table: pandas.DataFrame
) -> None:
    classifier().fit(table, labels(table)).save(tmp_path / "m")
    whole, rng, refused = (tmp_path / "m").read_bytes(), np.random.default_rng(0), 0

    def change(entries: Any, envelope: Any) -> None:
        encoder = envelope["description"]["settings"]["encoder"]
        entry: Any = rng.choice([encoder, *encoder["encodings"]])
        entry[str(rng.choice(list(entry)))] = [None, -1, 10**12, "x", [], {}, [1], 0.5][
            rng.integers(8)
        ]

    for _ in range(120):
        (tmp_path / "x").write_bytes(damage.sealed(whole, change))
        try:
            restored = xpnet.load(tmp_path / "x", backend="numpy").encoder_
            assert np.isfinite(restored.transform(table)).all()
        except (ModelFileError, InputError):
            refused += 1
    assert refused > 80
    description, tensors = container.read(tmp_path / "m")
    for name in [name for name in tensors if name.startswith("encoder/")]:
        array = tensors[name]
        for wrong in (
            array[:-1],
            array[:0],
            array.astype(complex),
            array[None],
            array.astype(float) * np.nan,
            None,
        ):
            if (
                wrong is None
                or wrong.shape != array.shape
                or wrong.dtype != array.dtype
                or wrong.size
            ):
                with pytest.raises((ValueError, TypeError)):
                    tables.open_file(description, {**tensors, name: wrong}, "numpy")


def test_many_columns_of_one_name_take_no_longer_than_others(tmp_path: Path) -> None:
    encoder = xpnet.TableEncoder(bins=None).fit({"a": np.arange(9.0)})
    encoder.encodings_ *= 20_000
    assert encoder.get_feature_names_out()[-1] == "a_20000"


def change_somewhere(envelope: dict[str, Any], chance: random.Random) -> None:
    """Put something else somewhere in the settings."""
    place: Any = envelope["description"]["settings"]
    while True:
        key = chance.choice(list(place) if isinstance(place, dict) else list(range(len(place))))
        if isinstance(place[key], dict | list) and place[key] and chance.random() < 0.85:
            place = place[key]
            continue
        place[key] = chance.choice(
            [
                None,
                5,
                -1,
                "x",
                [],
                {},
                1e300,
                [[["a"]]],
                {"float": "nan"},
                True,
                10**6,
                2**63,
                {"dict": []},
            ]
        )
        return
