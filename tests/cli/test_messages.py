"""What the command line says about files and names: the fact, one remedy, at most 25 words."""

import gzip
from pathlib import Path

import pytest
from helpers.command_line import Run

MAX_WORDS = 25

TABLE = "\n".join(["age,city,bought", *(f"{k % 50},Rome,{'yn'[k % 2]}" for k in range(60))])

FILES: dict[str, bytes] = {
    "shop.csv": TABLE.encode(),
    "empty.csv": b"",
    "header.csv": b"a,b,c\n",
    "latin.csv": "a,b\n1,é\n".encode("latin-1"),
    "sheet.xlsx": b"PK",
    "noending": b"a,b\n1,2\n",
    "damaged.parquet": b"PAR1xxxxPAR1",
    "damaged.npz": b"PK\x03\x04",
    "damaged.csv.gz": gzip.compress(TABLE.encode())[:-30],
    "damaged.model": b"1234567890",
}


def one_line(run: Run, *command: str, code: int = 1) -> str:
    """The message of a command that fails, with 25 words or fewer."""
    lines = [line for line in run(*command, code=code).stderr.splitlines() if "Error:" in line]
    assert len(lines) == 1
    message = lines[0].removeprefix("Error: ")
    assert len(message.split()) <= MAX_WORDS, message
    return message


@pytest.fixture(autouse=True)
def files(run: Run) -> None:
    for name, content in FILES.items():
        Path(name).write_bytes(content)


@pytest.mark.parametrize(
    ("file", "facts"),
    [
        ("shp.csv", ["shp.csv", "'shop.csv'"]),
        ("nothing.csv", ["nothing.csv", "no file"]),
        ("sheet.xlsx", [".xlsx", "spreadsheet program", "CSV UTF-8"]),
        ("noending", ["noending", "without an ending", "CSV"]),
        ("empty.csv", ["empty.csv is empty"]),
        ("header.csv", ["header.csv", "no rows"]),
        ("latin.csv", ["latin.csv", "row 2", "'b'", "0xe9", "--encoding"]),
        ("damaged.parquet", ["damaged.parquet", "cannot be read", "Write it again"]),
        ("damaged.npz", ["damaged.npz", "cannot be read", "Write it again"]),
        ("damaged.csv.gz", ["damaged.csv.gz", "cannot be read", "Compress the table again"]),
        (".", ["cannot be read", "Write its files again"]),
    ],
)
def test_a_data_file_that_cannot_be_read(run: Run, file: str, facts: list[str]) -> None:
    message = one_line(run, "train", file, "--target", "bought")
    for fact in facts:
        assert fact in message


def test_a_file_is_not_suggested_for_its_ending_alone(run: Run) -> None:
    assert "Did you mean" not in one_line(run, "train", "nothere.csv")


@pytest.mark.parametrize("command", ["predict", "inspect"])
def test_a_model_file_that_is_damaged(run: Run, command: str) -> None:
    data = ["shop.csv"] if command == "predict" else []
    assert "damaged.model is damaged" in one_line(run, command, "damaged.model", *data)
    assert "Did you mean 'damaged.model'?" in one_line(run, command, "damagd.model", *data)


@pytest.mark.parametrize(
    ("options", "suggested"),
    [
        (["--target", "bougt"], "'bought'"),
        (["--target", "bought", "--drop", "cty"], "'city'"),
        (["--target", "bought", "--features", "aeg"], "'age'"),
        (["--target", "city", "--class-weight", "Rme=2"], "'Rome'"),
    ],
)
def test_unknown_names_get_a_suggestion(run: Run, options: list[str], suggested: str) -> None:
    text = Path("shop.csv").read_text().replace("20,Rome", "20,Oslo")
    Path("shop.csv").write_text(text)
    assert f"Did you mean {suggested}?" in one_line(run, "train", "shop.csv", *options)


@pytest.mark.parametrize(
    ("command", "suggested"),
    [
        (["train", "iris", "--activation", "swish"], "'silu'"),
        (["train", "iris", "--optimizer", "adm"], "'adam'"),
        (["train", "diabetes", "--loss", "poison"], "'poisson'"),
        (["train", "iris", "--model", "tabula"], "'tabular'"),
        (["train", "iris", "--taks", "classify"], "'--task'"),
        (["trian", "iris"], "'train'"),
        (["bench", "--suite", "trainin", "-o", "x"], "'training'"),
        (["bench", "--peer", "pytorc", "-o", "x"], "'torch'"),
        (["doctor", "--distributed", "mpii"], "'mpi'"),
    ],
)
def test_unknown_choices_get_a_suggestion_as_the_one_remedy(
    run: Run, command: list[str], suggested: str
) -> None:
    message = one_line(run, *command, code=2)
    assert suggested in message
    assert "--help" not in message


@pytest.mark.parametrize("option", ["--activation", "--optimizer", "--loss", "--model"])
def test_unknown_choices_without_a_similar_one_lead_to_the_help(run: Run, option: str) -> None:
    assert "train --help" in one_line(run, "train", "iris", option, "zzz", code=2)


@pytest.mark.parametrize(
    ("command", "outputs"),
    [("evaluate", []), ("explain", []), ("refine", ["-o", "refined"])],
)
def test_rows_without_a_label_are_counted_as_in_training(
    run: Run, command: str, outputs: list[str]
) -> None:
    lines = TABLE.splitlines()
    unlabelled = [line.rpartition(",")[0] + "," for line in lines[1:8]]
    Path("some.csv").write_text("\n".join([lines[0], *unlabelled, *lines[8:]]))
    sentence = "7 of 60 rows have no label, and are left out"
    small = ("--target", "bought", "--quality", "1", "--epochs", "1", "-q")
    assert sentence in run("train", "some.csv", *small, "-o", "m").stdout
    assert f"Note: {sentence}" in run(command, "m", "some.csv", *outputs).stderr
    assert run(command, "m", "some.csv", *outputs, "-q").stderr == ""


def test_predict_prints_no_notes_with_quiet(run: Run) -> None:
    run("train", "shop.csv", "--target", "bought", "--quality", "1", "--epochs", "1", "-o", "m")
    Path("new.csv").write_text("age,city\n900,Oslo\n")
    noted = run("predict", "m", "new.csv")
    quiet = run("predict", "m", "new.csv", "--quiet")
    assert "Note: age" in noted.stderr
    assert (quiet.stdout, quiet.stderr) == (noted.stdout, "")
