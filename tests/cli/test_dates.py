"""Dates in files: a frame, its CSV file and its Parquet file give the same predictions."""

import json
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
from helpers.command_line import Run

import xpnet

ROWS = 120
QUICK = ("--target", "label", "--epochs", "2", "--members", "1", "--quality", "1", "-o", "m")


def visits() -> pandas.DataFrame:
    """Visits with dates in several forms, of which only some rows show where the day is."""
    day = pandas.date_range("2023-01-01", periods=ROWS, freq="2D").to_series(index=range(ROWS))
    return pandas.DataFrame(
        {
            "booked": day.dt.strftime("%d/%m/%Y"),
            "named": day.dt.strftime("%B %d, %Y"),
            "dotted": day.dt.strftime("%d.%m.%Y %H:%M"),
            "month": day.dt.strftime("%Y-%m"),
            "digits": day.dt.strftime("%Y%m%d").astype(int),
            "iso": day.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "label": numpy.where(day.dt.month > 4, "late", "early"),
        }
    )


def predicted(run: Run, file: str) -> list[list[float]]:
    """The probabilities that the command gives."""
    lines = run("predict", "m", file, "--proba").stdout.splitlines()[1:]
    return [[float(number) for number in line.split(",")[1:]] for line in lines]


@pytest.mark.parametrize(("ending", "by_blocks"), [("csv", True), ("parquet", False)])
def test_a_frame_and_its_files_give_the_same_predictions(
    run: Run, monkeypatch: pytest.MonkeyPatch, ending: str, by_blocks: bool
) -> None:
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", 0 if by_blocks else 2**28)
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.SAMPLE_ROWS", 40)
    frame = visits()
    frame.to_csv("d.csv", index=False)
    frame.to_parquet("d.parquet", index=False)
    run("train", f"d.{ending}", *QUICK, "--date-format", "%Y%m%d", "--metrics-json", "m.json")
    report = json.loads(Path("m.json").read_text())
    assert report["data"]["left_out"] == {}
    model = xpnet.load("m", backend="numpy")
    names = model.encoder_.get_feature_names_out().tolist()
    assert {f"{name}_trend" for name in frame.columns.drop("label")} <= set(names)
    few = frame[frame["booked"].str[:2].astype(int) <= 12].drop(columns="label")[:5]
    few.to_csv("few.csv", index=False)
    few.to_parquet("few.parquet", index=False)
    expected = model.predict_proba(few)
    of_csv = predicted(run, "few.csv")
    assert of_csv == predicted(run, "few.parquet")
    numpy.testing.assert_allclose(of_csv, expected, rtol=1e-4, atol=1e-7)
    encoded = model.encoder_.transform(few)
    read = pandas.read_csv("few.csv")
    numpy.testing.assert_array_equal(model.encoder_.transform(read), encoded)


def test_dates_that_may_be_meant_in_another_way_are_noted(run: Run) -> None:
    frame = visits()
    frame["booked"] = frame["booked"].str.replace(r"^\d\d", "07", regex=True)
    frame["named"] = frame["iso"].str[2:10]
    frame["dotted"] = numpy.arange(ROWS) % 7
    frame.to_csv("d.csv", index=False)
    printed = " ".join(run("train", "d.csv", *QUICK).stdout.split())
    for fact in "booked: holds dates", "named: looks like dates", "digits: holds whole numbers":
        assert fact in printed
    assert "--date-format '%d/%m/%Y'" in printed and "date_format" not in printed
    run("train", "d.csv", *QUICK, "--date-format", "%d/%m/%Y")
    assert "booked: holds" not in run("train", "d.csv", *QUICK, "--text", "booked").stdout


@pytest.mark.parametrize(
    ("date_format", "fact", "code"),
    [("%H", "d.csv", 1), ("%d/%Q", "strptime", 2), ("day", "strptime", 2)],
)
def test_a_format_that_no_column_has_is_refused(
    run: Run, date_format: str, fact: str, code: int
) -> None:
    frame: Any = visits()[["booked", "label"]]
    frame.to_csv("d.csv", index=False)
    error = run("train", "d.csv", *QUICK, "--date-format", date_format, code=code).output
    assert "--date-format" in error and fact in error and repr(date_format) in error


def test_free_text_is_used_by_option(run: Run) -> None:
    rng = numpy.random.default_rng(0)
    words = numpy.array([["boat", "harbour", "sail"], ["train", "railway", "station"]])
    codes = rng.integers(0, 2, 240)
    remarks = [f"{rng.choice(words[code])} no. {k}" for k, code in enumerate(codes)]
    labels = numpy.where(codes, "rail", "sea")
    frame = pandas.DataFrame({"remark": remarks, "x": rng.normal(size=240), "label": labels})
    frame.to_csv("d.csv", index=False)
    assert "--text-features on" in " ".join(run("train", "d.csv", *QUICK).stdout.split())
    run("train", "d.csv", *QUICK, "--text-features", "on", "--epochs", "20")
    predictions = run("predict", "m", "d.csv").stdout.split()[1:]
    assert numpy.mean(numpy.array(predictions) == labels) > 0.95


def test_the_latest_rows_are_those_of_dates_in_text(run: Run) -> None:
    frame = visits()[["booked", "dotted", "label"]].assign(x=range(ROWS))
    frame["label"] = numpy.where(numpy.arange(ROWS) % 3 == 0, "yes", "no")
    frame.to_csv("text.csv", index=False)
    frame["booked"] = pandas.to_datetime(frame["booked"], format="%d/%m/%Y")
    frame.to_csv("dates.csv", index=False)
    reports = []
    for file in "text.csv", "dates.csv":
        run("train", file, *QUICK, "--time", "booked", "--metrics-json", "m.json")
        report = json.loads(Path("m.json").read_text())
        reports.append((report["histories"], report["scores"]))
    assert reports[0] == reports[1]
