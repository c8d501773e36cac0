"""Dates as people write them: forms, the order of day and month, formats of the user, and notes."""

import warnings
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy
import pandas
import polars
import pytest
from helpers.cases import each_case
from helpers.damage import sealed
from sklearn.preprocessing import StandardScaler

import xpnet
from xpnet import TableEncoder

DAYS = [date(2023, 4, 8), date(2022, 11, 13), date(2024, 2, 29), date(1999, 12, 31)] * 10
HOURS = [0, 10, 12, 23] * 10
MOMENTS = [datetime.combine(day, time(hour, 11, 12)) for day, hour in zip(DAYS, HOURS, strict=True)]
FORMS = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%d-%b-%Y",
    "%B %d, %Y",
    "%b-%d-%Y",
    "%b %d %Y",
]


def written(moments: list[Any], form: str) -> list[str]:
    """The moments as Python writes them."""
    return [moment.strftime(form) for moment in moments]


def encoded(values: Any, **settings: Any) -> numpy.ndarray:
    """A column of a table as its encoder encodes it; warnings are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return TableEncoder(**settings).fit_transform({"when": values})


@each_case("form", FORMS)
def test_days_are_read_in_each_form(form: str) -> None:
    numpy.testing.assert_array_equal(encoded(written(DAYS, form)), encoded(DAYS))


@each_case("form", ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d %B %Y", "%B %d, %Y"])
def test_numbers_may_lack_their_leading_zero(form: str) -> None:
    texts = [text.replace("/0", "/").replace(".0", ".") for text in written(DAYS, form)]
    texts = [text.removeprefix("0").replace(" 0", " ") for text in texts]
    assert not any(part.startswith("0") for text in texts for part in text.split("/"))
    numpy.testing.assert_array_equal(encoded(texts), encoded(DAYS))


@each_case(
    "ending", [" %H:%M:%S", "T%H:%M:%S", " %I:%M:%S %p", ", %I:%M:%S%p", " %H:%M:%S.%f", " %H:%M"]
)
@each_case("form", ["%Y-%m-%d", "%d/%m/%Y", "%B %d, %Y"])
def test_a_time_of_day_may_follow(form: str, ending: str) -> None:
    moments = MOMENTS
    if "%S" not in ending:
        moments = [moment.replace(second=0) for moment in MOMENTS]
    if "%f" in ending:
        moments = [moment.replace(microsecond=250_000) for moment in MOMENTS]
    numpy.testing.assert_array_equal(encoded(written(moments, form + ending)), encoded(moments))


@each_case("ending", ["Z", "+00:00", "+0530", "-03"])
def test_text_with_a_time_zone_is_an_instant(ending: str) -> None:
    minutes = {"+0530": 330, "-03": -180}.get(ending, 0)
    zone = timezone(timedelta(minutes=minutes))
    instants = [moment.replace(tzinfo=zone).astimezone(UTC) for moment in MOMENTS]
    texts = [f"{moment.isoformat()}{ending}" for moment in MOMENTS]
    numpy.testing.assert_array_equal(encoded(texts), encoded(instants))


@each_case("form", ["%Y-%m", "%b %Y", "%B %Y"])
def test_months_are_their_first_days(form: str) -> None:
    months = [day.replace(day=1) for day in DAYS]
    numpy.testing.assert_array_equal(encoded(written(DAYS, form)), encoded(months))


@each_case("form", ["%H:%M:%S", "%H:%M", "%I:%M %p"])
def test_times_without_a_date_are_times_of_day(form: str) -> None:
    times = [time(moment.hour, 11, 12 if "%S" in form else 0) for moment in MOMENTS]
    numpy.testing.assert_array_equal(encoded(written(times, form)), encoded(times))


@each_case("separator", ["/", "-"])
def test_a_number_above_12_decides_its_column(separator: str) -> None:
    early = [f"{month}{separator}11{separator}2023" for month in range(1, 13)] * 3
    form = separator.join(["%d", "%m", "%Y"])
    day_first = [*early, f"13{separator}11{separator}2023"]
    month_first = [*early, f"11{separator}13{separator}2023"]
    for texts, order in (day_first, form), (month_first, separator.join(["%m", "%d", "%Y"])):
        expected = [datetime.strptime(text, order) for text in texts]
        numpy.testing.assert_array_equal(encoded(texts), encoded(expected))


def test_a_column_that_does_not_decide_is_reported_and_read_with_the_month_first() -> None:
    texts = ["3/11/2023", "4/5/2023", "12/10/2022"] * 10
    with pytest.warns(UserWarning, match=r"'when'.*'3/11/2023'.*'%m/%d/%Y'.*'%d/%m/%Y'"):
        encoder = TableEncoder().fit({"when": texts})
    assert "'%d/%m/%Y'" in encoder.notes_["when"]
    for form in "%m/%d/%Y", "%d/%m/%Y":
        days = [datetime.strptime(text, form) for text in texts]
        numpy.testing.assert_array_equal(encoded(texts, date_format=form), encoded(days))
        if form == "%m/%d/%Y":
            numpy.testing.assert_array_equal(encoder.transform({"when": texts}), encoded(days))


def test_the_same_number_twice_is_not_ambiguous() -> None:
    assert encoded(["3/3/2023", "4/4/2023", "5/5/2022"] * 10).shape[1] > 3


def test_rows_of_weight_0_do_not_decide() -> None:
    texts = ["3/11/2023", "4/5/2023", "12/10/2022"] * 20 + ["25/12/2022"]
    weight = numpy.array([1.0] * 60 + [0.0])
    model = xpnet.TabularRegressor(hidden_layer_sizes=(4,), max_iter=2, networks=1)
    y = numpy.arange(61.0)
    with pytest.warns(UserWarning, match="'%m/%d/%Y'"):
        model.fit({"when": texts}, y, weight)


SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": (8,),
    "max_iter": 3,
    "networks": 1,
    "random_state": 0,
}


def test_later_text_is_read_in_the_form_of_training(tmp_path: Path) -> None:
    texts = written(DAYS, "%d/%m/%Y")
    days = pandas.DataFrame({"when": pandas.to_datetime(DAYS)})
    model = xpnet.TabularRegressor(**SETTINGS).fit({"when": texts}, numpy.arange(40.0))
    model.save(tmp_path / "m.safetensors")
    certain = [0, 4]  # of the fourth of August, which alone would be read as the eighth of April
    expected = model.predict(days.iloc[certain])
    assert texts[0] == "08/04/2023"
    for reader in model, xpnet.load(tmp_path / "m.safetensors"):
        for column in ["08/04/2023"] * 2, ["2023-04-08"] * 2:
            for frame in pandas.DataFrame({"when": column}), polars.DataFrame({"when": column}):
                numpy.testing.assert_array_equal(reader.predict(frame), expected)
        for wrong in "30/02/2023", "04/28/2023", "8 Apr 2023", "08.04.2023":
            message = rf"'when'.*'%d/%m/%Y'.*'{wrong}' in row 1"
            with pytest.raises(xpnet.InputError, match=message):
                reader.predict({"when": ["08/04/2023", wrong]})
    model.fit(days, numpy.arange(40.0))
    for column in ["13/11/2023", "4/11/2023"], ["4/11/2023", "13/11/2023"]:
        with pytest.raises(xpnet.InputError, match=rf"'when'.*'{column[0]}' in row 0"):
            model.predict({"when": column})
    certain = ["13.11.2022", "29 Feb 2024", "2023/04/08"]
    numpy.testing.assert_array_equal(
        model.predict({"when": certain}), model.predict(days.iloc[[1, 2, 0]])
    )


@each_case("form", ["text", "category", "int64", "float64", "Int64"])
def test_days_of_eight_digits_are_read_by_option(form: str, tmp_path: Path) -> None:
    numbers = pandas.Series(written(DAYS, "%Y%m%d"))
    column = numbers if form == "text" else numbers.astype("category")
    if form not in ("text", "category"):
        column = numbers.astype("int64").astype(form)
    frame = pandas.DataFrame({"when": column})
    for settings in {"date_format": {"when": "%Y%m%d"}}, {"date_format": "%Y%m%d"}:
        if form in ("category", "float64") and isinstance(settings["date_format"], str):
            continue  # a category stays one, and a fraction is no date, unless its column is named
        numpy.testing.assert_array_equal(encoded(frame["when"], **settings), encoded(DAYS))
    if form == "Int64":
        model = xpnet.TabularRegressor(date_format={"when": "%Y%m%d"}, **SETTINGS)
        model.fit(frame, numpy.arange(40.0)).save(tmp_path / "m.safetensors")
        opened = xpnet.load(tmp_path / "m.safetensors")
        assert opened.date_format == {"when": "%Y%m%d"}
        with_gap = frame["when"].mask(frame.index == 1)
        expected = model.predict(
            {"when": pandas.to_datetime(pandas.Series(DAYS)).mask(frame.index == 1)}
        )
        for later in with_gap, with_gap.astype("float64"), with_gap.astype("string"):
            numpy.testing.assert_array_equal(opened.predict({"when": later}), expected)


def test_whole_numbers_that_look_like_dates_are_reported() -> None:
    numbers = numpy.array(written(DAYS, "%Y%m%d")).astype(int)
    with pytest.warns(UserWarning, match=r"'when'.*'%Y%m%d'"):
        encoder = TableEncoder().fit({"when": numbers})
    assert encoder.get_feature_names_out()[0] == "when"
    numbers = numpy.repeat(numpy.arange(19000000, 19000040), 2)
    assert TableEncoder().fit({"x": numbers}).notes_ == {}


@pytest.mark.thread_unsafe  # catches warnings
@each_case(
    ("texts", "example"),
    [
        (["13/11/23", "14/11/23", "1/12/23"], "13/11/23"),
        (["08.04.23", "09.04.23", "31.12.22"], "08.04.23"),
        (["13/11/2023", "11/13/2023", "12/10/2022"], "13/11/2023"),
        (["2023-04-08", "08.04.2023", "2023-04-09"], "2023-04-08"),
        (["20230408", "20230409", "20221231"], "20230408"),
        ([f"2023-04-{day:02}" for day in range(1, 31)] + ["unknown"], "unknown"),
    ],
)
def test_what_looks_like_dates_and_is_not_read_as_dates_is_reported(
    texts: list[str], example: str
) -> None:
    with pytest.warns(UserWarning, match=rf"'when' looks like dates.*'{example}'.*date_format"):
        encoder = TableEncoder().fit({"when": texts * 10})
    assert set(encoder.notes_) == {"when"}


@each_case(
    "texts",
    [
        ["1.2.10", "1.2.3", "10.0.1"],
        ["555-1234", "555-9876", "555-0000"],
        ["10.0.0.1", "10.0.0.2", "192.168.0.1"],
        ["3-2", "0-1", "4-4"],
        ["May", "June", "April"],
        ["A 2023", "B 2023", "C 2023"],
        ["2023-13-01", "2023-99-99", "1234-56-78"],
    ],
)
def test_other_text_stays_text(texts: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = TableEncoder(min_frequency=1).fit({"word": texts * 10})
    assert encoder.get_feature_names_out().tolist() == sorted(f"word_{text}" for text in texts)


def test_a_format_that_cannot_be_used_is_refused() -> None:
    texts = written(DAYS, "%d/%m/%y")
    numpy.testing.assert_array_equal(encoded(texts, date_format="%d/%m/%y"), encoded(DAYS))
    with pytest.raises(xpnet.InputError, match=r"'when'.*'%Y'.*'08/04/23'"):
        TableEncoder(date_format={"when": "%Y"}).fit({"when": texts})
    with pytest.raises(xpnet.InputError, match=r"date_format.*'date'"):
        TableEncoder(date_format={"date": "%d/%m/%y"}).fit({"when": texts})
    for wrong in "%d/%Q", "day", "%d" * 60:
        with pytest.raises(xpnet.InputError, match="date_format.*strptime"):
            TableEncoder(date_format=wrong).fit({"when": texts})
    with pytest.warns(UserWarning, match="'%H'"):
        TableEncoder(date_format="%H").fit({"x": numpy.arange(30.0)})
    with pytest.raises(xpnet.InputError, match="date_format"):
        model = xpnet.TabularRegressor(date_format="%d", encoder=StandardScaler())
        model.fit(numpy.arange(40.0)[:, None], numpy.arange(40.0))


def test_validation_by_time_reads_dates_of_text_as_the_encoder_does() -> None:
    days = [date(2023, 1, 1) + timedelta(days=3 * k) for k in range(120)]
    frame = pandas.DataFrame({"when": written(days, "%d/%m/%Y"), "x": range(120)})
    y = numpy.arange(120.0)
    model = xpnet.TabularRegressor(**SETTINGS).fit(frame, y, time="when")
    same = frame.assign(when=pandas.to_datetime(days))
    other = xpnet.TabularRegressor(**SETTINGS).fit(same, y, time="when")
    numpy.testing.assert_array_equal(model.predict(frame), other.predict(same))


def test_an_exported_graph_takes_dates_of_text_as_seconds(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="has no wheel for every Python")
    texts = written(DAYS, "%d/%m/%Y")
    model = xpnet.TabularRegressor(**SETTINGS).fit({"when": texts}, numpy.arange(40.0))
    model.export_onnx(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    seconds = numpy.array(DAYS, "datetime64[s]").astype(numpy.float64)[:, None]
    (predicted,) = session.run(None, {session.get_inputs()[0].name: seconds})
    numpy.testing.assert_allclose(predicted.ravel(), model.predict({"when": texts}), rtol=1e-5)


@each_case("date_format", ["%Q", "day", "%d" * 60, 5, None])
def test_a_file_with_an_impossible_format_is_refused(tmp_path: Path, date_format: Any) -> None:
    texts = written(DAYS, "%d/%m/%Y")
    model = xpnet.TabularRegressor(**SETTINGS).fit({"when": texts}, numpy.arange(40.0))
    model.save(tmp_path / "m.safetensors")

    def change(entries: dict[str, Any], envelope: dict[str, Any]) -> None:
        forms = envelope["description"]["settings"]["encoder"]["forms"]
        assert forms["0"]["date_format"] == "%d/%m/%Y"
        forms["0"]["date_format"] = date_format

    (tmp_path / "other").write_bytes(sealed((tmp_path / "m.safetensors").read_bytes(), change))
    with pytest.raises(xpnet.ModelFileError):
        xpnet.load(tmp_path / "other")
