"""Gaps and values that look like gaps, names of digits, and columns of another kind than before."""

import datetime
import warnings
from pathlib import Path
from typing import Any

import numpy
import pandas
import polars
import pyarrow
import pytest
from helpers.cases import each_case
from helpers.damage import sealed

import xpnet
from xpnet import TableEncoder

SETTINGS: dict[str, Any] = {"quality": 1, "max_iter": 3, "random_state": 0}


def encoded(values: Any, **settings: Any) -> numpy.ndarray:
    """A column as its encoder encodes it; warnings are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return TableEncoder(min_frequency=1, **settings).fit_transform({"c": values})


GAPS = [None, float("nan"), numpy.nan, pandas.NA, pandas.NaT, numpy.ma.masked]


@each_case("gap", GAPS)
@each_case("kind", ["text", "numbers", "whole", "truth", "dates"])
def test_each_gap_in_a_list_is_a_gap(gap: object, kind: str) -> None:
    day = datetime.date(2023, 4, 8)
    values: dict[str, list[Any]] = {
        "text": ["a", "b"],
        "numbers": [1.5, 2.5],
        "whole": [1, 2],
        "truth": [True, False],
        "dates": [day, day + datetime.timedelta(1)],
    }
    first, second = values[kind]
    column = [first, second, gap, first] * 10
    expected = encoded(polars.Series([first, second, None, first] * 10))
    assert expected.shape[1] > 1
    for table in column, tuple(column), numpy.array(column, object):
        numpy.testing.assert_array_equal(encoded(table), expected)


@each_case("digits", [20, 25, 70])
def test_whole_numbers_beyond_64_bits_are_text(digits: int) -> None:
    ids = [10**digits + k % 4 for k in range(60)]
    encoder = TableEncoder(min_frequency=1).fit({"c": ids})
    assert encoder.transform({"c": ids}).sum(axis=1).tolist() == [1.0] * 60
    assert len(encoder.get_feature_names_out()) == 4
    for column in list(map(str, ids)), pandas.Series(ids), [*ids[:-1], None][:-1]:
        numpy.testing.assert_array_equal(
            encoder.transform({"c": column}), encoder.transform({"c": ids})[: len(column)]
        )


def test_whole_decimals_beyond_float64_are_text() -> None:
    ids = pyarrow.array([10**20 + k % 4 for k in range(60)], pyarrow.decimal128(38))
    text = [str(10**20 + k % 4) for k in range(60)]
    for column in ids, polars.from_arrow(ids), ids.to_pylist():
        numpy.testing.assert_array_equal(encoded(column), encoded(text))


@each_case(
    "texts", [["01234", "09999", "1234", "9999"], ["007", "7", "12", "13"], ["00", "0", "1", "2"]]
)
def test_digits_that_begin_with_zero_are_text(texts: list[str]) -> None:
    numpy.testing.assert_array_equal(encoded(texts * 10)[:4] @ numpy.ones(4), numpy.ones(4))


def test_texts_that_differ_in_digits_alone_are_looked_at_for_themselves() -> None:
    prices = [f"${x}.50" for x in range(10, 99)] * 4
    words = ["room 12", "room 14", "room 15"]
    with pytest.warns(UserWarning, match="'room 12', 'room 14', 'room 15' among numbers in 3"):
        encoder = TableEncoder().fit({"c": prices + words})
    assert encoder.forms_[0].words == tuple(words)
    assert encoder.transform({"c": ["$10.50", "room 14"]})[1].tolist() == (
        encoder.transform({"c": [None]})[0].tolist()
    )
    four = TableEncoder().fit({"c": [*prices, *words, "room 16"]})
    assert four.forms_[0].kind == "category"
    exact = [f"{2**53 - k},5" for k in range(40)]
    assert TableEncoder().fit({"c": exact}).forms_[0].kind == "number"
    whole = [str(2**53 - 1), "1,5", str(2**53 + 1)]
    assert TableEncoder(min_frequency=1).fit({"c": whole * 20}).forms_[0].kind == "category"


@each_case("mark", ["-", "?", ".", "--"])
def test_marks_among_numbers_are_gaps_in_up_to_half_of_the_rows(mark: str) -> None:
    numbers = numpy.random.default_rng(0).normal(size=60).round(3)
    texts = [str(x) if k % 5 else mark for k, x in enumerate(numbers)]
    with pytest.warns(UserWarning, match="among numbers in 12 rows, which are gaps"):
        encoder = TableEncoder().fit({"c": texts})
    gaps = numpy.where(numpy.arange(60) % 5, numbers, numpy.nan)
    numpy.testing.assert_array_equal(encoder.transform({"c": texts}), encoded(gaps))
    mostly = [str(x) if k % 5 == 0 else mark for k, x in enumerate(numbers)]
    words = [str(x) if k % 5 else "none at all" for k, x in enumerate(numbers)]
    assert "c" in TableEncoder().fit({"c": words, "x": numbers}).left_out_
    assert TableEncoder(min_frequency=1).fit({"c": mostly}).forms_[0].kind == "category"


def test_hours_from_24_on_are_durations() -> None:
    minutes = numpy.random.default_rng(0).integers(0, 3000, 60)
    texts = [f"{m // 60:02}:{m % 60:02}:30.5" for m in minutes]
    numpy.testing.assert_array_equal(encoded(texts), encoded(minutes * 60 + 30.5))
    encoder = TableEncoder().fit({"c": texts})
    assert encoder.forms_[0].kind == "duration"
    later = encoder.transform({"c": ["01:41:30.5"]})
    numpy.testing.assert_array_equal(later, encoder.transform({"c": [6090.5]}))
    early = [f"{m % 24:02}:10:00" for m in minutes]
    assert TableEncoder().fit({"c": early}).forms_[0].kind == "time"


def test_missing_values_are_gaps_in_every_kind_of_column() -> None:
    rng = numpy.random.default_rng(0)
    is_gap = rng.random(200) < 0.2
    number = rng.normal(size=200).round(3)
    word = rng.choice(["a", "b"], 200)
    day = pandas.Timestamp("2023-01-01") + pandas.to_timedelta(rng.integers(0, 900, 200), "D")
    end = pandas.Timestamp("9999-12-31").as_unit("us")
    columns = {
        "number": (numpy.where(is_gap, -999, number), numpy.where(is_gap, numpy.nan, number)),
        "whole": (
            numpy.where(is_gap, -999, (number * 100).astype(int)),
            numpy.where(is_gap, numpy.nan, (number * 100).astype(int)),
        ),
        "price": (
            [f"${x}" if not gap else "-999" for x, gap in zip(number, is_gap, strict=True)],
            numpy.where(is_gap, numpy.nan, number),
        ),
        "word": (numpy.where(is_gap, "unknown", word), numpy.where(is_gap, None, word)),
        "code": (
            numpy.where(is_gap, "-999", numpy.where(word == "a", "1", "2")),
            numpy.where(is_gap, None, numpy.where(word == "a", "1", "2")),
        ),
        "day": (
            pandas.Series(day).dt.as_unit("us").mask(is_gap, end),
            pandas.Series(day).mask(is_gap),
        ),
        "written": (
            pandas.Series(day.strftime("%d/%m/%Y")).mask(is_gap, "31/12/9999"),
            pandas.Series(day).mask(is_gap),
        ),
    }
    values = (-999, "unknown", "9999-12-31")
    for name, (with_codes, with_gaps) in columns.items():
        for missing_values in values, {"c": values}:
            encoder = TableEncoder(min_frequency=1, missing_values=missing_values)
            encoder.fit({"c": with_codes})
            expected = encoded(with_gaps)
            numpy.testing.assert_array_equal(
                encoder.transform({"c": with_codes}), expected, err_msg=name
            )
            numpy.testing.assert_array_equal(encoder.transform({"c": with_gaps}), expected)
            assert f"{is_gap.sum()} rows" in encoder.notes_["c"]


def test_missing_values_of_one_column_are_values_of_another(tmp_path: Path) -> None:
    table = {"a": [-1, 4, 5, 9, 12] * 30, "b": [-1, 0, 1, 2, 3] * 30}
    y = numpy.tile(numpy.arange(5.0), 30)
    model = xpnet.TabularRegressor(missing_values={"a": -1}, **SETTINGS).fit(table, y)
    model.save(tmp_path / "m.safetensors")
    opened = xpnet.load(tmp_path / "m.safetensors")
    for later in model, opened:
        numpy.testing.assert_array_equal(
            later.predict(table), model.predict({**table, "a": [None, 4, 5, 9, 12] * 30})
        )
        assert (later.predict({**table, "b": [None] * 150}) != later.predict(table)).any()
    assert opened.missing_values == {"a": -1}
    both = TableEncoder(missing_values={"": [12, 3], "a": -1}).fit(table)
    gaps = {
        "a": [None, 4, 5, 9, None] * 30,
        "b": [-1, 0, 1, 2, None] * 30,
    }
    numpy.testing.assert_array_equal(both.transform(table), both.transform(gaps))
    assert {"a_missing", "b_missing"} <= set(both.get_feature_names_out())
    with pytest.raises(xpnet.InputError, match=r"missing_values.*'c'"):
        TableEncoder(missing_values={"c": -1}).fit(table)
    with pytest.raises(xpnet.InputError, match=r"missing_values.*None"):
        TableEncoder(missing_values=[-1, None]).fit(table)


def test_a_usual_word_for_gaps_is_a_value_where_the_training_holds_it() -> None:
    names = ["NA", "DE", "FR", None] * 20
    encoder = TableEncoder(min_frequency=1).fit({"c": names})
    assert set(encoder.get_feature_names_out()) == {"c_DE", "c_FR", "c_NA", "c_missing"}
    without = TableEncoder(min_frequency=1).fit({"c": ["DE", "FR", None] * 20})
    later = without.transform({"c": ["NA", "null", "IT", ""]})
    gap = without.transform({"c": [None]})[0]
    assert [(row == gap).all() for row in later] == [True, True, False, True]
    words = TableEncoder(min_frequency=1, missing_values="DE").fit({"c": ["DE", "FR", "IT"] * 20})
    later = words.transform({"c": ["NA", "DE"]})
    assert later.tolist() == [[0, 0, 0], words.transform({"c": [None]})[0].tolist()]


@each_case(
    ("codes", "shown"), [([-999.0], "-999"), ([9999.0], "9999"), ([-1.0, 999.0], "[-1, 999]")]
)
def test_values_that_look_like_missing_codes_are_reported(codes: list[float], shown: str) -> None:
    ages = numpy.random.default_rng(0).integers(20, 90, 400).astype(float)
    for k, code in enumerate(codes):
        ages[k::20] = code
    with pytest.warns(UserWarning) as caught:
        encoder = TableEncoder().fit({"age": ages})
    (message,) = [str(warning.message) for warning in caught]
    assert f"missing_values={{'age': {shown}}}" in message
    assert encoder.notes_["age"] in message
    is_code = numpy.isin(ages, codes)
    numpy.testing.assert_array_equal(
        encoded(ages, missing_values=codes), encoded(numpy.where(is_code, numpy.nan, ages))
    )


@each_case("case", ["counts", "signs", "dense", "few", "nothing"])
def test_usual_numbers_are_not_reported(case: str) -> None:
    rng = numpy.random.default_rng(0)
    ages = rng.integers(20, 90, 400).astype(float)
    columns = {
        "counts": rng.integers(-1, 4, 400),
        "signs": rng.choice([-1.0, 1.0], 400),
        "dense": rng.integers(0, 1000, 400),
        "few": numpy.where(numpy.arange(400) < 3, -999, ages),
        "nothing": numpy.full(400, numpy.nan),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = TableEncoder().fit({"x": columns[case], "age": ages})
    assert encoder.notes_ == {}


@each_case("end", [datetime.datetime(9999, 12, 31), datetime.datetime(1, 1, 1)])
def test_dates_any_distance_from_1970_are_read_from_every_source(end: datetime.datetime) -> None:
    days = [datetime.datetime(2020, 1, 2) + datetime.timedelta(k) for k in range(57)] + [end] * 3
    sources = {
        "list": days,
        "pandas": pandas.Series(pandas.array(days, "datetime64[us]")),
        "seconds": pandas.Series(pandas.array(days, "datetime64[s]")),
        "polars": polars.Series(days),
        "milliseconds": polars.Series(days).cast(polars.Datetime("ms")),
        "Arrow": pyarrow.array(days),
        "Arrow-backed": pandas.Series(days, dtype=pandas.ArrowDtype(pyarrow.timestamp("us"))),
        "days": pyarrow.array([day.date() for day in days]),
        "days of polars": polars.Series([day.date() for day in days]),
        "text": [f"{day.year:04}-{day:%m-%d}" for day in days],
        "objects": pandas.Series(days, dtype=object),
    }
    expected = encoded(numpy.array(days, "datetime64[us]"))
    assert expected.shape[1] > 3
    y = numpy.arange(60.0)
    model = xpnet.TabularRegressor(**SETTINGS).fit({"c": sources["list"]}, y)
    predicted = model.predict({"c": sources["list"]})
    for name, column in sources.items():
        numpy.testing.assert_array_equal(encoded(column), expected, err_msg=name)
        numpy.testing.assert_array_equal(model.predict({"c": column}), predicted, err_msg=name)


def test_durations_of_any_length_are_read_from_every_source() -> None:
    spans = [datetime.timedelta(days=500_000 + 3 * k, seconds=k) for k in range(60)]
    sources = [
        spans,
        numpy.array(spans, "timedelta64[us]"),
        pyarrow.array(spans),
        polars.Series(spans),
        [f"{span.days} days 00:00:{span.seconds:02}" for span in spans],
    ]
    expected = encoded([span.total_seconds() for span in spans])
    for column in sources:
        numpy.testing.assert_array_equal(encoded(column), expected)


def test_a_date_far_from_all_others_may_mean_no_date() -> None:
    days = [f"2020-{k % 12 + 1:02}-{k % 28 + 1:02}" for k in range(200)]
    with pytest.warns(
        UserWarning, match=r"'c'.*9999-12-31 in 10 rows.*missing_values='9999-12-31'"
    ):
        encoder = TableEncoder().fit({"c": [*days, *["9999-12-31"] * 10]})
    assert "9999-12-31" in encoder.notes_["c"]
    numpy.testing.assert_array_equal(
        encoded([*days, *["9999-12-31"] * 10], missing_values="9999-12-31"),
        encoded([*days, *[None] * 10]),
    )


@each_case(
    "texts",
    [
        ["2023-04-08-01", "2023-04-08-02", "2023-04-09-17", "2023-04-10-99"],
        ["4711-10", "4711-11", "0815-01", "9999-12"],
        ["2023-04-08T10:11+99:99", "2023-04-09T10:11+98:61"],
        ["2023-04-08T10:11+15:00", "2023-04-09T10:11+14:60"],
        ["0999-01-01", "3000-01-01"],
    ],
)
def test_names_that_resemble_dates_are_text(texts: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = TableEncoder(min_frequency=1).fit({"c": texts * 20})
    assert set(encoder.get_feature_names_out()) == {f"c_{text}" for text in texts}


def test_unusual_years_of_dates_are_noted() -> None:
    with pytest.warns(UserWarning, match=r"'c'.*'1204-3'.*categorical_features"):
        TableEncoder().fit({"c": ["1204-3", "1204-4", "1210-1"] * 20})


MOMENTS = pandas.Timestamp("2020-01-01") + pandas.to_timedelta(numpy.arange(60) * 7, "h")
HOURS = [moment.time() for moment in MOMENTS]


@each_case("form", ["typed", "text"])
def test_dates_and_times_of_day_are_not_mixed(form: str) -> None:
    days: Any = MOMENTS if form == "typed" else MOMENTS.strftime("%Y-%m-%d %H:%M")
    hours: Any = HOURS if form == "typed" else MOMENTS.strftime("%H:%M")
    for trained, later, kind in (days, hours, "dates"), (hours, days, "times of day|'%H:%M'"):
        encoder = TableEncoder().fit({"c": trained})
        with pytest.raises(xpnet.InputError, match=f"'c' must hold .*({kind})"):
            encoder.transform({"c": later})
        assert encoder.transform({"c": [None]}).shape[0] == 1


def test_a_category_refuses_what_none_of_its_values_spells() -> None:
    words = TableEncoder(min_frequency=1).fit({"c": ["a", "b", "c"] * 20})
    for later in [5], [1.5], [True], [datetime.date(2023, 4, 8)], [datetime.time(10)]:
        with pytest.raises(xpnet.InputError, match="'c' must hold text, as in training"):
            words.transform({"c": later})
    assert words.transform({"c": [float("nan")]}).tolist() == [[0, 0, 0]]
    codes = TableEncoder(min_frequency=1).fit({"c": ["1", "2", "A"] * 20})
    one = codes.transform({"c": ["1"]})
    for later in [1], [1.0], numpy.array([1], "uint8"):
        numpy.testing.assert_array_equal(codes.transform({"c": later}), one)
    assert not codes.transform({"c": [7]}).any()
    days = ["2023-04-08", "08.04.2023"] * 20
    with pytest.warns(UserWarning, match="looks like dates"):
        mixed = TableEncoder(min_frequency=1).fit({"c": days})
    later = mixed.transform({"c": [datetime.date(2023, 4, 8)]})
    numpy.testing.assert_array_equal(later, mixed.transform({"c": days[:1]}))


@each_case(
    ("field", "value"),
    [
        ("kind", "table"),
        ("number_format", {"decimal": ";"}),
        ("number_format", {"thousands": "," * 5000}),
        ("number_format", {"unit": 5}),
        ("words", ["a"] * 5000),
        ("words", [5]),
        ("codes", ["a"]),
        ("clock", "local"),
        ("unknown", 1),
    ],
)
def test_a_file_with_an_impossible_form_is_refused(
    tmp_path: Path, field: str, value: object
) -> None:
    model = xpnet.TabularRegressor(**SETTINGS)
    model.fit({"c": [f"${k}.5" for k in range(60)]}, numpy.arange(60.0))
    model.save(tmp_path / "m.safetensors")

    def change(entries: dict[str, Any], envelope: dict[str, Any]) -> None:
        forms = envelope["description"]["settings"]["encoder"]["forms"]
        assert forms["0"]["number_format"]["unit"] == "$"
        forms["0"][field] = value

    (tmp_path / "other").write_bytes(sealed((tmp_path / "m.safetensors").read_bytes(), change))
    with pytest.raises(xpnet.ModelFileError):
        xpnet.load(tmp_path / "other")


@pytest.mark.parametrize("word", ["NA", "n/a", "null"])
def test_digits_beside_a_word_for_gaps_are_noted(word: str) -> None:
    """A frame of polars has them where its reader was not told of the word."""
    texts = [word if k % 20 == 0 else str(k % 37) for k in range(200)]
    said = f"holds '{word}' among text of digits, and is read as text; .* convert the column"
    for column in (polars.Series(texts), pandas.Series(texts), texts):
        with pytest.warns(UserWarning, match=f"Column 'age' {said}"):
            encoder = TableEncoder().fit({"age": column})
        assert list(encoder.notes_) == ["age"]


@pytest.mark.parametrize("filled", ["07", "A7"])
def test_names_beside_a_word_for_gaps_are_not_noted(filled: str) -> None:
    texts = ["NA" if k % 20 == 0 else f"{filled}{k % 37}" for k in range(200)]
    assert TableEncoder().fit({"town": texts}).notes_ == {}
