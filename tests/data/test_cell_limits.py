"""Where numbers, dates, gaps and forms in text begin and end."""

import datetime
import math

import numpy
import pytest

from xpnet.data.cells.dates import ISO_DATE, read_dates, read_each_date
from xpnet.data.cells.forms import (
    ColumnForm,
    TextRules,
    category_form,
    checked_form,
    learn_text,
    refused_types,
)
from xpnet.data.cells.gaps import GapValues, gap_values, suspicious_codes
from xpnet.data.cells.numbers import (
    NumberFormat,
    TextCounts,
    numeric_text,
    shown_decimal_marks,
)


def counted(*texts: str, each: int = 1) -> TextCounts:
    return TextCounts(texts, numpy.full(len(texts), each))


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("1.5", {"."}),
        ("1,5", {","}),
        ("1.234,5", {","}),
        ("1,234,567", set()),
        ("1,234", set()),
        ("1.234", set()),
        ("12", set()),
        ("a, b.", set()),
    ],
)
def test_texts_show_a_decimal_mark_where_one_reading_is_left(text: str, marks: set[str]) -> None:
    """Marks that repeat stand between thousands, so that they show none."""
    assert shown_decimal_marks([text, "7"]) == marks


@pytest.mark.parametrize(
    ("text", "number"),
    [("1,234,567", 1234567), ("1,234.5", 1234.5), ("1,234", None), ("1 234", 1234)],
)
def test_an_unknown_mark_between_thousands_is_read_where_it_is_certain(
    text: str, number: float | None
) -> None:
    assert NumberFormat().read(text) == number
    assert NumberFormat(thousands=",").read("1,234") == 1234


def test_words_with_line_feeds_are_counted() -> None:
    learned = numeric_text([TextCounts(["1.5", "not\nknown"], numpy.array([19, 1]))])
    assert learned is not None
    assert learned.words == ("not\nknown",)


def test_the_first_rows_tell_words_from_numbers() -> None:
    mixed, numbers = counted("1.5", "low"), counted("2.5", each=100)
    assert numeric_text([mixed, numbers]) is None
    later = numeric_text([numbers, mixed])
    assert later is not None
    assert later.words == ("low",)


@pytest.mark.parametrize(
    "text",
    ["2999-12-31", "2222-12-22", "1000-01-01", "2024-02-29", "2023-12-31 23:59:59"],
)
def test_iso_dates_are_those_of_the_calendar(text: str) -> None:
    dates = read_dates([text, text], ISO_DATE)
    assert dates is not None
    wanted = numpy.datetime64(datetime.datetime.fromisoformat(text), "us").astype(int)
    numpy.testing.assert_array_equal(dates.microseconds, [wanted, wanted])


@pytest.mark.parametrize(
    "text",
    ["0999-12-31", "3000-01-01", "2023-13-01", "2023-00-10", "2023-02-29", "2023-01-00"],
)
def test_no_iso_dates(text: str) -> None:
    assert read_dates([text], ISO_DATE) is None
    assert read_dates(["2023-01-02", text], ISO_DATE) is None


def test_whole_numbers_lack_zeros_in_formats_of_a_known_width_alone() -> None:
    assert read_dates(["2023"], "%Y%f") is None
    short = read_dates(["517"], "%H%M")
    assert short is not None
    assert short.microseconds.tolist() == [(5 * 60 + 17) * 60 * 10**6]


def test_later_dates_may_be_written_by_iso_8601_unless_the_year_is_first() -> None:
    eighth_of_april = float(numpy.datetime64("2023-04-08", "us").astype(int))
    assert read_each_date(["2023-04-08"], "%d.%m.%y", "naive").tolist() == [eighth_of_april]
    assert read_each_date(["2023-08-04"], "%Y-%d-%m", "naive").tolist() == [eighth_of_april]
    assert math.isnan(read_each_date(["2023-04-13"], "%Y-%d-%m", "naive")[0])


def test_codes_for_gaps_are_usual_numbers_in_many_rows_far_from_the_others() -> None:
    others = [*range(10, 34)] * 2
    assert suspicious_codes(numpy.array([*others, *[99.0] * 5])) == [99.0]
    assert suspicious_codes(numpy.array([*others, *[-99.0] * 5])) == [-99.0]
    assert suspicious_codes(numpy.array([*others, *[99.0] * 4])) == []
    assert suspicious_codes(numpy.array([*others, *[9_999_999.0] * 5])) == [9_999_999.0]
    assert suspicious_codes(numpy.array([*others, *[99_999_999.0] * 5])) == []
    assert suspicious_codes(numpy.full(9, numpy.nan)) == []


def test_a_number_for_gaps_is_written_in_two_ways_if_it_is_whole() -> None:
    assert gap_values([9.0]) == GapValues(("9.0", "9"), (9.0,), False)
    assert gap_values([9.5]) == GapValues(("9.5",), (9.5,), False)
    assert gap_values(["none", 9]) == GapValues(("none", "9", "9.0"), (9.0,), True)


def test_usual_words_for_gaps_are_values_of_a_category_that_holds_them() -> None:
    learned = learn_text(lambda: [counted("red", "blue", "NA", "")], TextRules())
    assert learned.form.values == ("NA",)
    assert category_form([counted("", "NA")], GapValues()).values == ("NA",)
    assert category_form([counted("NA")], GapValues(("x",), (), True)).values == ()


def test_truth_values_are_numbers() -> None:
    words = ["TRUE", "True", "true", "FALSE", "False", "false", "2.5"]
    read = ColumnForm("number").read(words)
    assert read.values.tolist() == [1, 1, 1, 0, 0, 0, 2.5]
    assert not read.is_wrong.any()


@pytest.mark.parametrize(("first", "count", "is_time"), [(0, 30, True), (0, 29, False)])
def test_four_digits_are_times_from_thirty_different_ones(
    first: int, count: int, is_time: bool
) -> None:
    times = [f"{hour:02}{minute:02}" for hour in (first, 11) for minute in range(0, 60, 4)]
    learned = learn_text(lambda: [counted(*times[:count])], TextRules())
    assert (learned.form.kind == "time") == is_time


def test_times_in_four_digits_begin_with_0_in_some_row() -> None:
    times = [f"{hour}{minute:02}" for hour in (10, 11) for minute in range(0, 60, 2)]
    assert learn_text(lambda: [counted(*times)], TextRules()).form.kind != "time"


@pytest.mark.parametrize(
    ("text", "is_noted"),
    [
        ("1799-12-31", True),
        ("1800-01-01", False),
        ("2199-12-31", False),
        ("2200-01-01", True),
        ("9999-12-31", False),
    ],
)
def test_dates_of_unusual_years_are_noted(text: str, is_noted: bool) -> None:
    learned = learn_text(lambda: [counted("2023-04-08", text)], TextRules())
    assert learned.form.kind == "date"
    assert learned.is_doubtful == is_noted
    assert (text in learned.note) == is_noted


def test_a_category_refuses_types_that_no_value_spells() -> None:
    assert refused_types(["nan", "red"]) == ("numbers", "dates")
    assert refused_types(["red", "5"]) == ("dates",)
    assert refused_types(["True", "red"]) == ("dates",)
    assert refused_types(["red", "2023-04-08"]) == ("numbers",)
    assert refused_types(["red", "12:30"]) == ("numbers",)


def test_forms_of_files_have_few_short_words() -> None:
    codes = tuple(float(code) for code in range(11))
    few = ColumnForm("number", words=("x", "y"), codes=codes)
    assert checked_form(few) == few
    many = tuple(map(str, range(989)))
    assert checked_form(ColumnForm("number", words=many, codes=codes)).words == many
    with pytest.raises(ValueError, match="words"):
        checked_form(ColumnForm("number", words=(*many, "x"), codes=codes))
    assert checked_form(ColumnForm("category", values=("x" * 1000,)))
    with pytest.raises(ValueError, match="words"):
        checked_form(ColumnForm("category", values=("x" * 1001,)))


def test_rules_name_the_form_or_the_format_of_dates() -> None:
    assert "form '%d.%m.%Y'" in ColumnForm("date", date_format="%d.%m.%Y").rule
    assert "format '%d|%m|%Y'" in ColumnForm("date", date_format="%d|%m|%Y").rule
