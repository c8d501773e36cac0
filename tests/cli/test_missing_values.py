"""Gaps in files: codes and words that an option names, the usual words, and names of digits."""

from typing import Any

import numpy
import pandas
import pytest
from helpers.command_line import Run

import xpnet

QUICK = ("--target", "kind", "--quality", "1", "-o", "m")
ROWS = 400
KIND = numpy.random.default_rng(0).integers(0, 4, ROWS)
LABEL = numpy.where(KIND < 2, "p", "q")


def named(values: list[Any]) -> pandas.DataFrame:
    """Rows whose label only the value of one column tells."""
    x = numpy.random.default_rng(1).normal(size=ROWS)
    return pandas.DataFrame({"v": numpy.array(values, object)[KIND], "x": x, "kind": LABEL})


def accuracy(run: Run, file: str) -> float:
    """The share of the rows of a file whose label is predicted."""
    return float(numpy.mean(numpy.array(run("predict", "m", file).stdout.split()[1:]) == LABEL))


@pytest.mark.parametrize("by_blocks", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        [str(12345678901234567890 + k) for k in range(4)],
        [str(10**24 + k) for k in range(4)],
        ["01234", "09999", "1234", "9999"],
        ["-0123", "+0999", "-123", "999"],
        [" 0123", "  0999", "123", "999"],
    ],
    ids=["20 digits", "25 digits", "postcodes", "signs", "spaces"],
)
def test_digits_that_name_things_stay_text(
    run: Run, monkeypatch: pytest.MonkeyPatch, values: list[str], by_blocks: bool
) -> None:
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", 0 if by_blocks else 2**28)
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.SAMPLE_ROWS", 40)
    frame = named(values)
    frame.to_csv("d.csv", index=False)
    printed = run("train", "d.csv", *QUICK).stdout
    assert "v: holds digits that name things" in printed
    assert accuracy(run, "d.csv") == 1.0
    model = xpnet.load("m")
    assert model.score(frame[["v", "x"]], LABEL) == 1.0
    frame[["v", "x"]].to_parquet("d.parquet")
    assert accuracy(run, "d.parquet") == 1.0


def test_ordinary_numbers_stay_numbers(run: Run) -> None:
    frame = named([0, 10, 200, 3000]).assign(half=KIND / 2, small=KIND / 1000)
    frame["v"] = frame["v"].astype(int)
    frame.to_csv("d.csv", index=False)
    assert "name things" not in run("train", "d.csv", *QUICK).stdout
    kinds = {form.kind for form in xpnet.load("m").encoder_.forms_.values()}
    assert kinds == {"number"}


def test_na_is_a_value_by_option(run: Run) -> None:
    frame = named(["NA", "DE", "FR", ""])
    frame.to_csv("d.csv", index=False)
    printed = run("train", "d.csv", *QUICK).stdout
    assert "--missing ''" in printed
    assert accuracy(run, "d.csv") < 0.9
    run("train", "d.csv", *QUICK, "--missing", "")
    assert accuracy(run, "d.csv") == 1.0
    model = xpnet.load("m")
    assert model.score(frame[["v", "x"]], LABEL) == 1.0
    in_python = xpnet.TabularClassifier(quality=1, random_state=0).fit(frame[["v", "x"]], LABEL)
    in_python.save("m")
    assert accuracy(run, "d.csv") == 1.0


def test_missing_values_of_the_training_are_gaps_ever_after(run: Run) -> None:
    rng = numpy.random.default_rng(0)
    age = rng.integers(20, 90, ROWS)
    is_gap = rng.random(ROWS) < 0.2
    frame = pandas.DataFrame(
        {
            "age": numpy.where(is_gap, -999, age),
            "height": numpy.where(is_gap, 9999, age / 2),
            "town": numpy.where(is_gap, "N/A", numpy.where(age > 50, "NA", "DE")),
            "kind": numpy.where(is_gap | (age > 50), "p", "q"),
        }
    )
    frame.to_csv("d.csv", index=False)
    printed = run("train", "d.csv", *QUICK).stdout
    assert "--missing age=-999" in printed and "--missing height=9999" in printed
    printed = run("train", "d.csv", *QUICK, "--missing", "-999,9999,N/A").stdout
    assert f"age: holds values in {is_gap[:0].sum()}" not in printed
    assert "that are gaps by --missing" in printed
    model = xpnet.load("m")
    names = set(model.encoder_.get_feature_names_out())
    assert {"age_missing", "height_missing", "town_missing", "town_NA", "town_DE"} <= names
    features = frame.drop(columns="kind")
    gaps = features.mask(features.isin([-999, 9999, "N/A"]))
    expected = model.predict_proba(features)
    numpy.testing.assert_array_equal(model.predict_proba(gaps), expected)
    features.to_csv("new.csv", index=False)
    gaps.to_csv("gaps.csv", index=False)
    features.to_parquet("new.parquet")
    lines = run("predict", "m", "new.csv", "--proba").stdout
    assert run("predict", "m", "gaps.csv", "--proba").stdout == lines
    assert run("predict", "m", "new.parquet", "--proba").stdout == lines
    in_python = xpnet.TabularClassifier(missing_values=(-999, 9999, "N/A"), quality=1)
    in_python.fit(features, frame["kind"])
    assert in_python.encoder_.forms_ == model.encoder_.forms_


def test_labels_and_groups_have_gaps_as_features_have(run: Run) -> None:
    frame = named(["a", "b", "c", "d"]).assign(site=numpy.array(["s", "t", "u", "v"])[KIND])
    frame.loc[:9, "kind"] = "NA"
    frame.to_csv("d.csv", index=False)
    assert "10 of 400 rows have no label" in run("train", "d.csv", *QUICK).stdout
    assert "390" in run("evaluate", "m", "d.csv").stdout
    run("train", "d.csv", *QUICK, "--missing", "")
    assert xpnet.load("m").classes_.tolist() == ["NA", "p", "q"]
    frame.loc[:9, "site"] = "unknown"
    frame.to_csv("d.csv", index=False)
    groups = ("--groups", "site", "--missing", "unknown")
    error = run("train", "d.csv", *QUICK, *groups, code=1).stderr
    assert "--groups" in error and "10" in error


def test_missing_values_of_one_column(run: Run) -> None:
    rng = numpy.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "age": rng.choice([-1, -9, 30, 40, 50], ROWS),
            "change": rng.choice([-1, 0, 1, 2], ROWS),
            "income": rng.choice(["NA", "-1", "unknown", "$500", "$700"], ROWS),
            "land": rng.choice(["NA", "DE", "FR"], ROWS),
            "a=b": rng.choice(["x", "y", "c=d"], ROWS),
            "kind": rng.choice(["p", "q", "refused"], ROWS),
        }
    )
    frame.to_csv("d.csv", index=False)
    in_python = {
        "": ["c=d"],
        "age": ["-1", "-9"],
        "income": ["NA", "-1", "unknown"],
        "land": [""],
    }
    options = ("--missing", "age=-1|-9,income=NA|-1|unknown", "--missing", "=c=d")
    options = (*options, "--missing", "land=", "--missing", "kind=refused")
    printed = run("train", "d.csv", *QUICK, *options, "--test-size", "0").stdout
    refused = (frame["kind"] == "refused").sum()
    assert f"{refused} of 400 rows have no label" in printed
    model = xpnet.load("m")
    assert model.classes_.tolist() == ["p", "q"]
    labelled = frame[frame["kind"] != "refused"].reset_index(drop=True)
    encoder = xpnet.TableEncoder(missing_values=in_python)
    encoder.fit(labelled.drop(columns="kind"))
    forms = model.encoder_.forms_
    assert [forms[k].codes for k in range(3)] == [(-1.0, -9.0), (), (-1.0,)]
    assert [encoder.forms_[k].codes for k in range(3)] == [(-1.0, -9.0), (), (-1.0,)]
    assert "land_NA" in model.encoder_.get_feature_names_out()
    assert "a=b_c=d" not in model.encoder_.get_feature_names_out()
    gaps = labelled.assign(age=labelled["age"].mask(labelled["age"] < 0))
    numpy.testing.assert_array_equal(model.predict_proba(labelled), model.predict_proba(gaps))
    assert f"{len(labelled):,}" in run("evaluate", "m", "d.csv").stdout
    with open("c.toml", "w") as file:
        file.write('missing = ["age=-1|-9,income=NA|-1|unknown", "=c=d", "land=", "kind=refused"]')
    run("train", "d.csv", *QUICK, "--config", "c.toml", "--test-size", "0")
    assert xpnet.load("m").encoder_.forms_ == forms
    with open("c.toml", "w") as file:
        file.write('[missing]\nage = [-1, -9]\nincome = ["NA", -1, "unknown"]\n"" = "c=d"\n')
        file.write('land = ""\nkind = "refused"')
    run("train", "d.csv", *QUICK, "--config", "c.toml", "--test-size", "0")
    assert xpnet.load("m").encoder_.forms_ == forms
    error = run("train", "d.csv", *QUICK, "--missing", "agee=-1", code=1).stderr
    assert "there is no column 'agee'" in error and "'age'" in error


def test_a_note_on_codes_is_an_option_that_works(run: Run) -> None:
    rng = numpy.random.default_rng(0)
    age = rng.integers(20, 90, ROWS)
    age[::20], age[5::20] = -1, 999
    frame = named(["a", "b", "c", "d"]).assign(**{"age at first visit": age})
    frame.to_csv("d.csv", index=False)
    printed = " ".join(run("train", "d.csv", *QUICK).stdout.split())
    option = "age at first visit=-1|999"
    assert f"--missing '{option}'" in printed
    printed = run("train", "d.csv", *QUICK, "--missing", option, "--test-size", "0").stdout
    assert "far outside" not in printed
    assert "holds values in 40 rows that are gaps" in " ".join(printed.split())
