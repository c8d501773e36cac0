"""Where dates begin and end: times of a clock, days of a calendar, lengths and shares."""

from datetime import datetime

import numpy
import pytest
from helpers.cases import each_case

import xpnet
from xpnet.data.cells import dates
from xpnet.data.cells.dates import (
    FORMS,
    TIME_OF_DAY,
    are_whole_dates,
    check_date_format,
    common_forms,
    read_dates,
    unlike_date,
)

SECOND = 1_000_000


def clock_time(text: str) -> int | None:
    """Microseconds since midnight of one text; None where no clock shows it."""
    result = read_dates([text], TIME_OF_DAY)
    return None if result is None else int(result.microseconds[0])


@each_case(
    ("text", "seconds"),
    [
        ("0:00", 0),
        ("23:59:59", 86_399),
        ("24:00", None),
        ("23:60", None),
        ("23:59:60", None),
        ("1:02:03", 3_723),
        ("1:02:03.5", 3_723.5),
        ("1:02:03.000001", 3_723.000001),
        ("1:02:03.000001999", 3_723.000001),
        ("1:02:03.0000019999", None),
        ("12:00 AM", 0),
        ("12:30 pm", 45_000),
        ("1:00 a.m.", 3_600),
        ("1:00 P.M.", 46_800),
        ("11:59 PM", 86_340),
        ("0:30 AM", None),
        ("13:00 PM", None),
        ("13:00", 46_800),
        ("1:2", None),
        ("123:00", None),
    ],
)
def test_times_that_a_clock_shows(text: str, seconds: float | None) -> None:
    wanted = None if seconds is None else round(seconds * SECOND)
    assert clock_time(text) == wanted


@each_case(
    ("text", "form", "wanted"),
    [
        ("2024-02-29", "%Y-%m-%d", datetime(2024, 2, 29)),
        ("2023-02-29", "%Y-%m-%d", None),
        ("2023-2-9", "%Y-%m-%d", datetime(2023, 2, 9)),
        ("2023-02-09 01:02:03.123456", "%Y-%m-%d", datetime(2023, 2, 9, 1, 2, 3, 123_456)),
        ("2023-02-09T01:02:03Z", "%Y-%m-%d", datetime(2023, 2, 9, 1, 2, 3)),
        ("2023-02-09 01:02 UTC", "%Y-%m-%d", datetime(2023, 2, 9, 1, 2)),
        ("2023-02-09T01:02:03+05:45", "%Y-%m-%d", datetime(2023, 2, 8, 19, 17, 3)),
        ("2023-02-09T01:02:03-0330", "%Y-%m-%d", datetime(2023, 2, 9, 4, 32, 3)),
        ("2023-02-09T01:02:03 -11", "%Y-%m-%d", datetime(2023, 2, 9, 12, 2, 3)),
        ("1969-12-31 23:59:59", "%Y-%m-%d", datetime(1969, 12, 31, 23, 59, 59)),
        ("0001-01-01", "%Y/%m/%d", None),
        ("0001/01/01", "%Y/%m/%d", datetime(1, 1, 1)),
        ("0000/01/01", "%Y/%m/%d", None),
        ("9999/12/31", "%Y/%m/%d", datetime(9999, 12, 31)),
        ("5 sept. 2021", "%d %b %Y", datetime(2021, 9, 5)),
        ("5 Sept 2021, 7:05", "%d %b %Y", datetime(2021, 9, 5, 7, 5)),
        ("5 may 2021", "%d %b %Y", datetime(2021, 5, 5)),
        ("5 Mayo 2021", "%d %b %Y", None),
        ("December 2021", "%b %Y", datetime(2021, 12, 1)),
        ("2021-13", "%Y-%m", None),
        ("2021-12", "%Y-%m", datetime(2021, 12, 1)),
    ],
)
def test_one_text_in_a_form(text: str, form: str, wanted: datetime | None) -> None:
    result = read_dates([text], form)
    if wanted is None:
        assert result is None
        return
    assert result is not None
    elapsed = wanted - datetime(1970, 1, 1)
    microseconds = (elapsed.days * 86_400 + elapsed.seconds) * SECOND + elapsed.microseconds
    assert result.microseconds.tolist() == [microseconds]
    has_zone = text.endswith(("Z", "UTC", "+05:45", "-0330", " -11"))
    assert result.clock == ("utc" if has_zone else "naive")


def test_the_months_by_their_names() -> None:
    names = [datetime(2000, month, 1).strftime("%B") for month in range(1, 13)]
    for name in (*names, *(name[:3] for name in names)):
        result = read_dates([f"{name} 2000"], "%b %Y")
        month = 1 + [whole[:3] for whole in names].index(name[:3])
        expected = numpy.datetime64(f"2000-{month:02}", "us").astype(int)
        assert result is not None and result.microseconds.tolist() == [expected]


def test_times_with_and_without_a_zone_are_not_one_column() -> None:
    texts = ["2023-02-09T01:02:03Z", "2023-02-09T01:02:03"]
    assert read_dates(texts, "%Y-%m-%d") is None
    assert common_forms([texts[:1], texts[1:]]).forms == []
    assert common_forms([texts[:1], texts[:1]]).forms == ["%Y-%m-%d"]


def test_which_form_is_of_all_parts() -> None:
    both = common_forms([["1/2/2023"], ["3/3/2023"]])
    assert (both.forms, both.is_ambiguous) == (["%m/%d/%Y", "%d/%m/%Y"], True)
    same = common_forms([["1/1/2023"], ["3/3/2023"]])
    assert (same.forms, same.is_ambiguous) == (["%m/%d/%Y", "%d/%m/%Y"], False)
    first = common_forms([["1/2/2023"], [], ["13/3/2023"]])
    assert (first.forms, first.is_ambiguous) == (["%d/%m/%Y"], False)
    assert first.dates is not None
    assert first.dates.microseconds.tolist() == [numpy.datetime64("2023-03-13", "us").astype(int)]
    for parts in ([], [[]], [["1/2/2023"], ["x"]]):
        assert common_forms(parts) == ([], False, None)


def test_which_formats_are_times_of_day() -> None:
    date_letters = "YymbBdjUWGVcxs"
    for letter in date_letters:
        assert not dates.Dates(numpy.empty(0), "", f"%H %{letter}").is_time_of_day
    for form in ("%H:%M", "%I:%M:%S.%f %p", "d %H"):
        assert dates.Dates(numpy.empty(0), "", form).is_time_of_day


def test_a_format_of_the_user_may_have_a_zone() -> None:
    result = read_dates(["1.2.70 00:00:01 +0100"], "%d.%m.%y %H:%M:%S %z")
    assert result is not None
    assert (result.microseconds.tolist(), result.clock) == ([(31 * 86_400 - 3_599) * SECOND], "utc")


def test_formats_have_a_maximum_length() -> None:
    check_date_format("%Y" + " " * 98)
    with pytest.raises(xpnet.InputError, match="`when`"):
        check_date_format("%Y" + " " * 99, "when")


@each_case(
    ("number", "is_date"),
    [
        (19000101, True),
        (19000100, False),
        (19000132, False),
        (19001231, True),
        (19001301, False),
        (19010001, False),
        (18991231, False),
        (21001231, True),
        (21010101, False),
        (20240131, True),
        (20240201, True),
        (20240132, False),
    ],
)
def test_whole_numbers_that_look_like_dates(number: int, is_date: bool) -> None:
    assert are_whole_dates(numpy.array([20000615, number])) is is_date
    assert are_whole_dates(numpy.array([number, 20000615])) is is_date


def test_no_numbers_are_no_dates() -> None:
    assert not are_whole_dates(numpy.empty(0, int))


@each_case(
    ("texts", "example"),
    [
        ([], None),
        (["2023-01-01"], None),
        (["2023-01-01"] * 2, "2023-01-01"),
        (["2023-01-01"] * 9 + ["x"], "x"),
        (["2023-01-01"] * 8 + ["x"] * 2, None),
        (["2023-01-01"] * 8 + ["x1"] * 2, None),
        (["2023-01-01"] * 2 + ["13/11/23"] * 7 + ["x"], "13/11/23"),
        (["13/11/23", "x"], None),
    ],
)
def test_nearly_all_texts_look_like_dates(texts: list[str], example: str | None) -> None:
    assert unlike_date(texts) == example


@each_case(("rows", "step"), [(200, 1), (201, 2), (400, 2), (401, 3)])
def test_a_few_hundred_texts_are_looked_at(rows: int, step: int) -> None:
    is_looked_at = [k % step == 0 for k in range(rows)]
    texts = ["2023-01-01" if looked_at else "word" for looked_at in is_looked_at]
    assert unlike_date(texts) == "2023-01-01"
    assert (
        unlike_date(["word" if looked_at else "2023-01-01" for looked_at in is_looked_at]) is None
    )


@each_case("text", ["13/11/23", "11-13-23", "1-1-23", "08.04.23", "4-Nov-23", "20230408"])
def test_forms_that_only_look_like_dates(text: str) -> None:
    assert unlike_date([text] * 3) == text
    assert all(read_dates([text], form) is None for form in FORMS)


@each_case("text", ["99/99/23", "123/11/23", "1.1.23", "2023040", "202304081", "1/1/1"])
def test_other_numbers_do_not_look_like_dates(text: str) -> None:
    assert unlike_date([text] * 3) is None
