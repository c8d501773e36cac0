"""A value is read the same alone, in any batch, block, order and source: as in the training."""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pandas
import polars
import pyarrow
import pytest
from click.testing import CliRunner
from helpers.command_line import Run
from hypothesis import given, settings
from hypothesis import strategies as st

import xpnet
from xpnet.cli.app import app

ROWS = 240
QUICK = "--target y --quality 1 --epochs 3 -o m".split()


def table(rows: int = ROWS) -> pandas.DataFrame:
    """Rows with a column of each form, as people write them."""
    rng = numpy.random.default_rng(0)
    amount = rng.integers(10, 3_000_000, rows) / 100
    moment = pandas.Timestamp("2022-01-01") + pandas.to_timedelta(
        rng.integers(0, 10**6, rows), "min"
    )
    german = [f"{x:,.2f}".translate(str.maketrans(",.", ".,")) for x in amount[::-1]]
    columns = {
        "plain": amount,
        "whole": rng.integers(-5, 2000, rows),
        "dollars": [f"${x:,.2f}" for x in amount],
        "share": [f"{x}%" for x in rng.integers(0, 100, rows)],
        "euros": [f"{text} €" for text in german],
        "miles": [f"{x:,} mi" for x in rng.integers(100, 9000, rows)],
        "balance": [f"({x:,})" if x % 2 else f"{x:,}" for x in rng.integers(100, 9000, rows)],
        "words": [str(x) if x % 25 else "unknown" for x in rng.integers(1, 400, rows)],
        "thousands": [f"{x:,}".replace(",", ".") for x in rng.integers(100, 3_000_000, rows)],
        "american": moment.strftime("%m/%d/%Y"),
        "zoned": moment.strftime("%Y-%m-%dT%H:%M:%S+02:00"),
        "dotted": moment.strftime("%d.%m.%Y"),
        "far": ["9999-12-31" if k % 9 == 0 else f"{day:%Y-%m-%d}" for k, day in enumerate(moment)],
        "hour": moment.strftime("%H:%M"),
        "span": [str(pandas.Timedelta(minutes=int(x))) for x in rng.integers(0, 10**4, rows)],
        "town": rng.choice(["Rome", "Oslo", "Cork", ""], rows),
        "open": rng.choice([True, False], rows),
    }
    return pandas.DataFrame(columns)


class Trained(NamedTuple):
    """A model in a folder, its rows, and the prediction of each row alone."""

    folder: Path
    model: Any
    rows: pandas.DataFrame
    alone: numpy.ndarray


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A model that the command line has trained on the CSV file of the table."""
    folder = tmp_path_factory.mktemp("reading")
    rows = table()
    y = rows["plain"] + 100 * (rows["town"] == "Rome")
    rows.assign(y=y).to_csv(folder / "d.csv", index=False)
    result = CliRunner().invoke(
        app, ["train", str(folder / "d.csv"), *QUICK[:-1], str(folder / "m")]
    )
    assert result.exit_code == 0, result.output
    model = xpnet.load(folder / "m")
    assert model.encoder_.left_out_ == {}
    alone = numpy.concatenate([model.predict(rows[k : k + 1]) for k in range(ROWS)])
    return Trained(folder, model, rows, alone)


def test_each_column_has_the_form_of_its_training(trained: Trained) -> None:
    encoder = trained.model.encoder_
    kinds = {trained.rows.columns[k]: form.kind for k, form in encoder.forms_.items()}
    dates = {"american", "zoned", "dotted", "far"}
    others = {"hour": "time", "span": "duration", "town": "category"}
    assert kinds == {
        name: "date" if name in dates else others.get(name, "number") for name in trained.rows
    }


@given(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=40), st.integers(1, 9))
def test_any_rows_in_any_order_are_predicted_as_alone(
    trained: Trained, indices: list[int], pieces: int
) -> None:
    chosen = trained.rows.iloc[indices]
    expected = trained.alone[indices]
    frames: list[Any] = [
        chosen,
        chosen.to_dict("list"),
        polars.DataFrame(chosen.to_dict("list")),
        pyarrow.Table.from_pandas(chosen, preserve_index=False),
    ]
    for frame in frames:
        numpy.testing.assert_array_equal(trained.model.predict(frame), expected)
    parts = [trained.model.predict(chosen[k : k + pieces]) for k in range(0, len(chosen), pieces)]
    numpy.testing.assert_array_equal(numpy.concatenate(parts), expected)


@settings(max_examples=8)
@given(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=30), st.sampled_from([";", ","]))
def test_a_file_of_any_rows_is_predicted_as_its_rows_alone(
    trained: Trained, indices: list[int], separator: str
) -> None:
    chosen = trained.rows.iloc[indices]
    expected = trained.alone[indices].astype(str).tolist()
    chosen.to_csv(trained.folder / "some.csv", index=False, sep=separator)
    chosen.to_csv(trained.folder / "some.tsv", index=False, sep="\t")
    chosen.to_parquet(trained.folder / "some.parquet", index=False)
    for ending in "csv", "tsv", "parquet":
        file = str(trained.folder / f"some.{ending}")
        result = CliRunner().invoke(app, ["predict", str(trained.folder / "m"), file])
        assert result.exit_code == 0, result.output
        assert result.stdout.split()[1:] == expected


def test_a_frame_and_its_files_train_the_same_model(trained: Trained, run: Run) -> None:
    rows = trained.rows.assign(y=trained.rows["plain"])
    rows.to_csv("a.csv", index=False)
    rows.to_parquet("a.parquet", index=False)
    for file in "a.csv", "a.parquet":
        run("train", file, *QUICK, "--test-size", "0", "--seed", "3")
        opened = xpnet.load("m")
        model = xpnet.TabularRegressor(quality=1, max_iter=3, random_state=3)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(trained.rows, rows["y"])
        notes = " ".join(str(warning.message) for warning in caught)
        assert len(caught) == 2
        assert "'words' holds 'unknown' among numbers" in notes and "9999-12-31 in 27" in notes
        numpy.testing.assert_array_equal(opened.predict(trained.rows), model.predict(trained.rows))
        assert opened.encoder_.forms_ == model.encoder_.forms_


def write_dates(name: str, texts: list[str], label: str = "half") -> None:
    """A file whose label tells the half of the year of each date, month first."""
    frame = pandas.DataFrame({"when": texts, "x": numpy.arange(len(texts)) % 7})
    months = frame["when"].str[:2].astype(int)
    frame[label] = numpy.where(months <= 6, "first", "second")
    frame.to_csv(name, index=False)


def american_dates(rows: int = 300) -> list[str]:
    """Dates that show that the month is first."""
    days = pandas.date_range("2022-01-01", periods=rows, freq="2D")
    return days.strftime("%m/%d/%Y").tolist()


@pytest.mark.parametrize("by_blocks", [False, True])
def test_a_date_of_another_form_is_an_error_or_a_gap_that_is_counted(
    run: Run, monkeypatch: pytest.MonkeyPatch, by_blocks: bool
) -> None:
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", 0 if by_blocks else 2**28)
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.SAMPLE_ROWS", 40)
    write_dates("d.csv", american_dates())
    run("train", "d.csv", "--target", "half", "--quality", "1", "--epochs", "20", "-o", "m")
    texts = ["02/11/2023"] * 300
    write_dates("same.csv", texts)
    expected = run("predict", "m", "same.csv", "--proba").stdout.splitlines()
    texts[250] = "13/05/2023"
    pandas.DataFrame({"when": texts, "x": numpy.arange(300) % 7}).to_csv("new.csv", index=False)
    error = run("predict", "m", "new.csv", "--proba", code=1)
    assert "'when'" in error.stderr and "'%m/%d/%Y'" in error.stderr
    assert "'13/05/2023' in row 252" in error.stderr and error.stdout == ""
    result = run("predict", "m", "new.csv", "--proba", "--unreadable", "gap")
    assert "1 values became gaps" in result.stderr and "'13/05/2023' in row 252" in result.stderr
    lines = result.stdout.splitlines()
    assert [*lines[:251], *lines[252:]] == [*expected[:251], *expected[252:]]


def test_a_gap_for_another_form_is_warned_of_in_python() -> None:
    texts = american_dates()
    y = numpy.arange(300.0)
    model = xpnet.TabularRegressor(quality=1, max_iter=3, random_state=0, unreadable="gap")
    model.fit({"when": texts}, y)
    with pytest.warns(UserWarning, match=r"2 values.*'%m/%d/%Y'.*'13/05/2023' in row 1"):
        predicted = model.predict({"when": ["02/11/2023", "13/05/2023", "soon"]})
    with_gaps = model.predict({"when": ["02/11/2023", "", None]})
    numpy.testing.assert_array_equal(predicted, with_gaps)


def german(numbers: numpy.ndarray) -> list[str]:
    """Whole numbers with points between thousands."""
    return [f"{number:,}".replace(",", ".") for number in numbers.tolist()]


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_the_format_of_numbers_is_that_of_the_training(run: Run, ending: str) -> None:
    separator = {"csv": ";", "tsv": "\t"}[ending]
    price = numpy.random.default_rng(0).integers(10_000, 3_000_000, 300)
    x = numpy.arange(300) % 9 / 8
    frame = pandas.DataFrame({"price": german(price), "x": x, "y": price / 1000})
    frame.to_csv(f"d.{ending}", index=False, sep=separator)
    run("train", f"d.{ending}", "--target", "y", "--quality", "1", "--epochs", "9", "-o", "m")
    predictions = []
    for prices in (["650.000", "120.000", "1.200.000"], ["650.000", "120.000"]):
        new = pandas.DataFrame({"price": prices, "x": 0.1})
        new.to_csv(f"new.{ending}", index=False, sep=separator)
        predictions.append(run("predict", "m", f"new.{ending}").stdout.split()[1:3])
        expected = xpnet.load("m").predict({"price": prices, "x": [0.1] * len(prices)})
        assert predictions[-1] == expected[:2].astype(str).tolist()
    assert predictions[0] == predictions[1]
    pandas.DataFrame({"price": ["650.50"], "x": 0.1}).to_csv(f"new.{ending}", sep=separator)
    error = run("predict", "m", f"new.{ending}", code=1).stderr
    assert "'price'" in error and "decimal mark ','" in error and "'650.50' in row 2" in error


def test_decimal_commas_of_the_training_are_decimal_commas_ever_after(run: Run) -> None:
    w = numpy.random.default_rng(0).uniform(0.1, 9, 300).round(2)
    frame = pandas.DataFrame({"w": w, "x": numpy.arange(300) % 9, "y": w})
    frame.to_csv("d.tsv", index=False, sep="\t", decimal=",")
    run("train", "d.tsv", "--target", "y", "--quality", "1", "--epochs", "9", "-o", "m")
    answers = []
    for texts in (["0,500", "2,500"], ["0,500", "2,50"]):
        Path("new.tsv").write_text("w\tx\n" + "".join(f"{text}\t1\n" for text in texts))
        answers.append(run("predict", "m", "new.tsv").stdout)
    expected = xpnet.load("m").predict({"w": [0.5, 2.5], "x": [1, 1]}).astype(str).tolist()
    assert answers[0] == answers[1]
    assert answers[0].split()[1:] == expected


def test_labels_keep_their_format(run: Run) -> None:
    price = numpy.random.default_rng(0).integers(10_000, 3_000_000, 300)
    frame = pandas.DataFrame({"x": price / 1e6, "price": german(price)})
    frame.to_csv("d.csv", index=False, sep=";")
    run("train", "d.csv", "--target", "price", "--quality", "1", "--epochs", "9", "-o", "m")
    few = frame[frame["price"].str.len() == 7][:40]  # 650.000, which could be 650
    few.to_csv("few.csv", index=False, sep=";")
    printed = run("evaluate", "m", "few.csv").stdout
    error = float(printed.split("few.csv")[1].split()[1].replace(",", ""))
    predicted = xpnet.load("m").predict(few[["x"]])
    truth = few["price"].str.replace(".", "").astype(float)
    assert error == pytest.approx(numpy.abs(predicted - truth).mean(), rel=1e-3)


@pytest.mark.parametrize("text", ["31.02.2020", "29.02.2021", "04.13.2020"])
def test_days_that_do_not_exist_are_no_dates(run: Run, text: str) -> None:
    days = [f"{k % 4 + 10}.{k % 3 + 10}.20{20 + k % 4}" for k in range(190)] + [text] * 10
    frame = pandas.DataFrame({"d": days, "y": ["p", "q"] * 100})
    frame.to_csv("d.csv", index=False)
    note = f"d: looks like dates and is read as text, since its values, such as {text!r}"
    assert note in run("train", "d.csv", *QUICK).stdout
    with pytest.warns(UserWarning, match=f"'d' looks like dates.*{text!r}"):
        encoder = xpnet.TableEncoder().fit(frame[["d"]])
    assert encoder.forms_ == xpnet.load("m").encoder_.forms_


def test_two_digits_are_years_by_the_rule_of_datetime(run: Run) -> None:
    years = [68, 69, 99, 0, 22] * 40
    days = [f"{k % 4 + 10}.{k % 3 + 10}.{year:02}" for k, year in enumerate(years)]
    frame = pandas.DataFrame({"d": days, "y": numpy.arange(200) % 7 / 6})
    frame.to_csv("d.csv", index=False)
    assert "d: looks like dates" in run("train", "d.csv", *QUICK).stdout
    run("train", "d.csv", *QUICK, "--date-format", "%d.%m.%y")
    model = xpnet.load("m")
    whole = pandas.to_datetime(pandas.Series(days), format="%d.%m.%y")
    assert set(whole.dt.year) == {2068, 1969, 1999, 2000, 2022}
    expected = model.predict({"d": whole}).astype(str).tolist()
    assert run("predict", "m", "d.csv").stdout.split()[1:] == expected


def test_mixed_forms_are_text_in_a_file_and_in_a_frame(run: Run) -> None:
    days = [f"2020-03-1{k % 7}" if k % 2 else f"1{k % 7}.03.2020" for k in range(200)]
    frame = pandas.DataFrame({"d": days, "y": numpy.arange(200) % 7 / 6})
    frame.to_csv("d.csv", index=False)
    assert "d: looks like dates and is read as text" in run("train", "d.csv", *QUICK).stdout
    with pytest.warns(UserWarning, match="looks like dates"):
        encoder = xpnet.TableEncoder().fit(frame[["d"]])
    assert encoder.forms_ == xpnet.load("m").encoder_.forms_
    assert encoder.forms_[0].kind == "category"


def test_lines_above_the_header_are_skipped_by_every_command(run: Run, tmp_path: Path) -> None:
    rows = [f"{k % 7},{k * k % 11},{'pq'[k % 2]}" for k in range(60)]
    table = "\n".join(["a,b,y", *rows])
    (tmp_path / "plain.csv").write_text(table)
    (tmp_path / "titled.csv").write_text(f"Sales of May\n\n{table}")
    skip = ("--skip-rows", "2")
    said = run("train", "titled.csv", "--target", "y", code=1).stderr
    assert "Line 3 of the file names them: add --skip-rows 2." in said
    for name, options in {"plain": (), "titled": skip}.items():
        run("train", f"{name}.csv", *QUICK[:-2], "-o", name, *options)
    predicted = [
        run("predict", "titled", f"{name}.csv", *options).stdout
        for name, options in {"plain": (), "titled": skip}.items()
    ]
    assert predicted[0] == predicted[1] == run("predict", "plain", "plain.csv").stdout
    run("evaluate", "titled", "titled.csv", *skip)
    assert "add --skip-rows 2" in run("predict", "plain", "titled.csv", code=1).stderr
