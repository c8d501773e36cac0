"""Times of day in four digits, such as 0517, from a file and from a frame."""

import warnings
from typing import Any

import numpy
import pandas
import pytest
from helpers.cases import each_case
from helpers.command_line import Run

import xpnet

ROWS = 400
QUICK = ("--target", "late", "--quality", "1", "-o", "m")


def flights() -> pandas.DataFrame:
    """Rows whose label the hour tells."""
    rng = numpy.random.default_rng(0)
    hour, minute = rng.integers(0, 24, ROWS), rng.integers(0, 60, ROWS)
    texts = [f"{h:02}{m:02}" for h, m in zip(hour, minute, strict=True)]
    late = numpy.where((hour < 5) | (hour > 20), "yes", "no")
    return pandas.DataFrame({"leaves": texts, "x": rng.normal(size=ROWS), "late": late})


def test_times_of_four_digits_are_times_of_day_from_each_source(run: Run) -> None:
    rows = flights()
    rows.to_csv("d.csv", index=False)
    rows.to_parquet("d.parquet", index=False)
    forms = []
    for file in "d.csv", "d.parquet":
        printed = " ".join(run("train", file, *QUICK).stdout.split())
        assert "such as '0006', which is read as the time of day 00:06; --text" in printed
        assert "name things" not in printed
        forms.append(xpnet.load("m").encoder_.forms_)
    with pytest.warns(UserWarning, match="'leaves' holds text such as '0006'.*00:06"):
        encoder = xpnet.TableEncoder().fit(rows[["leaves", "x"]])
    assert forms[0] == forms[1] == encoder.forms_
    assert encoder.forms_[0].kind == "time"
    model = xpnet.load("m")
    assert model.score(rows, rows["late"]) > 0.97
    expected = model.predict_proba(rows)
    typed = [xpnet_time(text) for text in rows["leaves"]]
    for later in rows["leaves"].astype(int), typed, rows["leaves"].astype(int).astype(str):
        numpy.testing.assert_array_equal(model.predict_proba(rows.assign(leaves=later)), expected)
    lines = run("predict", "m", "d.parquet", "--proba").stdout
    rows[["leaves", "x"]].to_csv("new.csv", index=False)
    assert run("predict", "m", "new.csv", "--proba").stdout == lines


def xpnet_time(text: str) -> Any:
    """A time of Python."""
    return pandas.Timestamp(f"2000-01-01 {text[:2]}:{text[2:]}").time()


@each_case(
    "texts",
    [
        [f"{k:04}" for k in range(60, 100)],
        [f"{k:02}30" for k in range(24)],
        [f"{k:02}{m}" for k in range(24) for m in (10, 50)] + ["2400"],
        [f"{k:05}" for k in range(100, 159)],
    ],
)
def test_other_digits_that_begin_with_zero_stay_text(run: Run, texts: list[str]) -> None:
    rows = pandas.DataFrame({"code": texts * 5, "x": numpy.arange(5 * len(texts)) % 7})
    rows.assign(late=rows["x"] > 3).to_csv("d.csv", index=False)
    printed = run("train", "d.csv", *QUICK).stdout
    assert "code: holds digits that name things" in printed
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = xpnet.TableEncoder().fit(rows)
    assert encoder.forms_[0].kind == xpnet.load("m").encoder_.forms_[0].kind == "category"


@each_case(
    ("date_format", "texts"),
    [
        ("%H%M", ["0117", "0005", "1205", "2359", "0000"]),
        ("%d%m%Y", ["01112023", "11012023", "02032021", "31122020"]),
        ("%y%m%d", ["010203", "001112", "231231"]),
    ],
)
def test_whole_numbers_lack_only_the_first_zeros_of_a_format(
    date_format: str, texts: list[str]
) -> None:
    as_text = xpnet.TableEncoder(date_format={"c": date_format}).fit({"c": texts * 10})
    numbers = [int(text) for text in texts]
    numpy.testing.assert_array_equal(
        as_text.transform({"c": numbers}), as_text.transform({"c": texts})
    )
    as_numbers = xpnet.TableEncoder(date_format={"c": date_format}).fit({"c": numbers * 10})
    numpy.testing.assert_array_equal(
        as_numbers.transform({"c": numbers}), as_text.transform({"c": texts})
    )
