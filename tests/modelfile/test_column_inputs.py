"""Columns as ONNX and C take them: described in the file, with gaps as the training knows them."""

import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pandas
import pytest
from helpers.c_program import compiled, compiled_text
from hypothesis import given, settings
from hypothesis import strategies as st

import xpnet
from xpnet.modelfile import export_model

ROWS = 240
SETTINGS: dict[str, Any] = {"quality": 1, "max_iter": 3, "random_state": 0}
needs_c = pytest.mark.skipif(
    shutil.which("gcc") is None and "CI" not in os.environ, reason="a C compiler is needed"
)


def table() -> pandas.DataFrame:
    """Rows with a column of each form; some cells are codes or words for gaps."""
    rng = numpy.random.default_rng(0)
    amount = rng.integers(10, 3_000_000, ROWS) / 100
    moment = pandas.Timestamp("2022-01-01") + pandas.to_timedelta(
        rng.integers(0, 10**6, ROWS), "min"
    )
    is_gap = rng.random(ROWS) < 0.2
    return pandas.DataFrame(
        {
            "plain": numpy.where(is_gap, -999, amount),
            "price": numpy.where(is_gap, "-999", [f"${x:,.2f}" for x in amount]),
            "share": [f"{x}%" for x in rng.integers(0, 100, ROWS)],
            "european": numpy.where(
                rng.random(ROWS) < 0.5, moment.strftime("%d/%m/%Y"), "31/12/9999"
            ),
            "zoned": moment.strftime("%Y-%m-%dT%H:%M:%S+02:00"),
            "hour": moment.strftime("%H:%M"),
            "span": [str(pandas.Timedelta(minutes=int(x))) for x in rng.integers(0, 10**4, ROWS)],
            "town": rng.choice(["Rome", "Oslo", "unknown", ""], ROWS),
            "river": rng.choice(["Po", "Ems", "NA", "Lee"], ROWS),
            "street": rng.choice(["High", "Low", None], ROWS),
            "level": rng.integers(1, 4, ROWS),
            "open": rng.choice([True, False], ROWS),
            "same": 1,
        }
    )


MISSING = {"": "9999-12-31", "plain": -999, "price": -999, "town": "unknown", "level": "77"}
CLOSE: dict[str, float] = {"rtol": 1e-5, "atol": 0.01}
"""Tolerance of float32 sums, in another order, of terms as large as 30,000."""


class Trained(NamedTuple):
    """A model, its rows, the prediction of each row alone, and files of other runtimes."""

    model: Any
    rows: pandas.DataFrame
    alone: numpy.ndarray
    folder: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A regressor of the table, and its ONNX file."""
    folder = tmp_path_factory.mktemp("columns")
    rows = table()
    model = xpnet.TabularRegressor(
        missing_values=MISSING, categorical_features=["level"], **SETTINGS
    )
    y = rows["plain"].to_numpy() + 5000 * (rows["town"] == "Rome") + 900 * rows["open"]
    model.fit(rows, y)
    model.export_onnx(folder / "m.onnx")
    alone = numpy.concatenate([model.predict(rows[k : k + 1]) for k in range(ROWS)])
    return Trained(model, rows, alone, folder)


def odd_rows(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Rows with other gaps and with unknown values."""
    odd = rows[:8].astype(object)
    odd.loc[0, ["town", "river", "street"]] = "Paris"
    odd.loc[1, ["river", "street"]] = "NA"
    odd.loc[2, ["river", "street"]] = "null"
    odd.loc[1, "town"] = "NA"
    odd.loc[2, "town"] = "null"
    odd.loc[3, ["plain", "share", "european", "zoned", "hour", "span", "town"]] = None
    odd.loc[4, "level"] = 77
    odd.loc[5, "plain"] = numpy.nan
    odd.loc[6, "open"] = None
    odd.loc[7, "european"] = "31/12/9999"
    return odd


def passed(rows: pandas.DataFrame, kinds: dict[str, str]) -> pandas.DataFrame:
    """Rows as the description of the columns says that they are passed; codes stay as they are."""
    midnight = pandas.Timestamp("1970-01-01")

    def seconds_of(text: Any) -> float:
        if text is None:
            return numpy.nan
        if text == "31/12/9999":
            return 253402214400.0
        return (pandas.to_datetime(text, format="%d/%m/%Y") - midnight).total_seconds()

    columns = {
        "plain": rows["plain"],
        "price": [float(text.strip("$").replace(",", "")) for text in rows["price"]],
        "share": [numpy.nan if text is None else float(text.strip("%")) for text in rows["share"]],
        "european": list(map(seconds_of, rows["european"])),
        "zoned": [
            numpy.nan if t is None else pandas.Timestamp(t).timestamp() for t in rows["zoned"]
        ],
        "hour": [
            numpy.nan if t is None else pandas.Timedelta(f"{t}:00").total_seconds()
            for t in rows["hour"]
        ],
        "span": [
            numpy.nan if t is None else pandas.Timedelta(t).total_seconds() for t in rows["span"]
        ],
        **{
            name: ["" if text is None else text for text in rows[name]]
            for name in ("town", "river", "street")
        },
        "level": [str(level) for level in rows["level"]],
        "open": [numpy.nan if flag is None else float(flag) for flag in rows["open"]],
        "same": rows["same"],
    }
    frame = pandas.DataFrame(columns)
    numbers = [name for name, kind in kinds.items() if kind != "text"]
    return frame.astype(dict.fromkeys(numbers, float))


def described(folder: Path) -> list[dict[str, Any]]:
    """The description of the columns in an ONNX file."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(folder / "m.onnx")
    (entry,) = [one for one in model.metadata_props if one.key == "xpnet_columns"]
    for given_input in model.graph.input:
        assert given_input.doc_string
    return json.loads(entry.value)


def holds(folder: Path) -> dict[str, str]:
    """What each column of an ONNX file holds."""
    return {column["name"]: column["holds"] for column in described(folder)}


def test_the_metadata_describes_each_column(trained: Trained) -> None:
    columns = {column["name"]: column for column in described(trained.folder)}
    assert {name: column["holds"] for name, column in columns.items()} == {
        "plain": "number",
        "price": "number",
        "share": "number",
        "european": "date",
        "zoned": "date",
        "hour": "time of day",
        "span": "duration",
        "town": "text",
        "river": "text",
        "street": "text",
        "level": "text",
        "open": "number",
        "same": "not used",
    }
    assert columns["plain"]["gaps"] == [-999.0]
    assert columns["european"]["gaps"] == [253402214400.0]
    assert columns["town"]["gaps"] == ["9999-12-31", "unknown"]
    assert {"9999-12-31", "NA", "null"} <= set(columns["street"]["gaps"])
    assert "null" in columns["river"]["gaps"] and "NA" not in columns["river"]["gaps"]
    assert {"77", "77.0"} <= set(columns["level"]["gaps"])
    assert columns["same"]["input"] is None and columns["town"]["input"] == "town"
    assert "'%'" in columns["share"]["how"] and "UTC" in columns["zoned"]["how"]
    assert "UTC" not in columns["european"]["how"] and "midnight" in columns["hour"]["how"]
    assert [column["name"] for column in described(trained.folder)] == list(trained.rows)


@pytest.fixture(scope="module")
def session(trained: Trained) -> Any:
    """An ONNX runtime with the model."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="has no wheel for every Python")
    return onnxruntime.InferenceSession(
        trained.folder / "m.onnx", providers=["CPUExecutionProvider"]
    )


def run(session: Any, rows: pandas.DataFrame) -> numpy.ndarray:
    """The predictions of an ONNX runtime."""
    feed = {
        one.name: rows[one.name].to_numpy(object if "string" in one.type else float)[:, None]
        for one in session.get_inputs()
    }
    return session.run(["predictions"], feed)[0][:, 0]


@settings(max_examples=25)
@given(indices=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=40))
def test_any_rows_are_predicted_by_onnx_as_by_predict(
    trained: Trained, session: Any, indices: list[int]
) -> None:
    rows = passed(trained.rows, holds(trained.folder)).iloc[indices]
    found = run(session, rows)
    numpy.testing.assert_allclose(found, trained.alone[indices], **CLOSE)
    alone = numpy.concatenate([run(session, rows[k : k + 1]) for k in range(len(rows))])
    numpy.testing.assert_allclose(found, alone, **CLOSE)


def test_gaps_and_unknown_values_are_those_of_predict_in_onnx(
    trained: Trained, session: Any
) -> None:
    odd = odd_rows(trained.rows)
    found = run(session, passed(odd, holds(trained.folder)))
    numpy.testing.assert_allclose(found, trained.model.predict(odd), **CLOSE)


def values(rows: pandas.DataFrame) -> list[list[Any]]:
    """Rows as the C program reads them."""
    return rows.astype(object).to_numpy().tolist()


@needs_c
def test_rows_gaps_and_unknown_values_are_those_of_predict_in_c(
    trained: Trained, tmp_path: Path
) -> None:
    kinds = holds(trained.folder)
    order = numpy.random.default_rng(0).permutation(ROWS)
    odd = odd_rows(trained.rows)
    rows = pandas.concat([passed(trained.rows, kinds).iloc[order], passed(odd, kinds)])
    found = compiled(trained.model, values(rows), 1, tmp_path)[:, 0]
    expected = [*trained.alone[order], *trained.model.predict(odd)]
    numpy.testing.assert_allclose(found, expected, **CLOSE)
    back = numpy.argsort(order)
    again = compiled(trained.model, values(rows.iloc[back]), 1, tmp_path)[:, 0]
    numpy.testing.assert_array_equal(again, found[:ROWS][back])  # to the bit, in another order


@needs_c
def test_c_refuses_a_value_of_the_other_type(trained: Trained, tmp_path: Path) -> None:
    row = values(passed(trained.rows[:1], holds(trained.folder)))[0]
    names = list(trained.rows)
    wrong = []
    for name, value in ("plain", "12"), ("hour", "10:30"), ("town", 5.0), ("level", 2.0):
        wrong.append([value if own == name else old for own, old in zip(names, row, strict=True)])
    empty = [["" if own == "plain" else old for own, old in zip(names, row, strict=True)]]
    gap = [[None if own == "plain" else old for own, old in zip(names, row, strict=True)]]
    found = compiled(trained.model, [*wrong, *empty, *gap], 1, tmp_path)[:, 0]
    assert numpy.isnan(found[:4]).all()
    assert found[4] == found[5] and not numpy.isnan(found[5])


@needs_c
def test_the_c_file_describes_each_column(trained: Trained, tmp_path: Path) -> None:
    export_model(trained.model, tmp_path / "m.c")
    text = (tmp_path / "m.c").read_text()
    for column in described(trained.folder):
        assert f'"{column["name"]}": {column["how"]}' in text
    odd = trained.rows.rename(columns={"town": "*/ int x; /*\\\n??/"})
    model = xpnet.TabularRegressor(missing_values="9999-12-31", **SETTINGS)
    model.fit(odd.drop(columns="plain").drop(columns="price"), trained.alone)
    compiled_text(model, tmp_path)


def test_a_table_of_numbers_has_codes_for_gaps_of_its_columns(
    tmp_path: Path, rng: numpy.random.Generator
) -> None:
    X = {"a": rng.normal(size=80), "b": rng.normal(size=80), "c": rng.normal(size=80)}
    X["a"][::5], X["b"][::7], X["b"][1::9] = -1, -9, -99
    model = xpnet.TabularRegressor(missing_values={"a": -1, "b": [-9, -99]}, **SETTINGS)
    model.fit(X, X["c"] + X["a"])
    model.export_onnx(tmp_path / "m.onnx")
    onnxruntime = pytest.importorskip("onnxruntime", reason="has no wheel for every Python")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    matrix = numpy.column_stack(list(X.values()))
    matrix[3] = [-9, -1, -99]  # no codes of their columns
    (found,) = session.run(None, {"X": matrix})
    expected = model.predict(dict(zip("abc", matrix.T, strict=True)))
    numpy.testing.assert_allclose(found[:, 0], expected, rtol=1e-5, atol=1e-6)
    assert [column["gaps"] for column in described(tmp_path)] == [[-1.0], [-9.0, -99.0], []]
    assert {column["input"] for column in described(tmp_path)} == {"X"}
