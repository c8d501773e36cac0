"""No output takes the place of an input or of another output, whatever name it is given."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import Run, check_one_line

import xpnet

ROWS = "a,b,y\n" + "".join(f"{k % 7},{k % 5},{'pq'[k % 2]}\n" for k in range(40))
TRAIN = ("train", "d.csv", "--target", "y", "--epochs", "1", "--members", "1")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """The files of a folder: a table, also as a link, a model, a configuration, a folder of
    Parquet, labels.
    """
    import pyarrow.csv
    import pyarrow.parquet

    (tmp_path / "d.csv").write_text(ROWS)
    os.link(tmp_path / "d.csv", tmp_path / "hard.csv")
    if sys.platform != "win32":
        (tmp_path / "soft.csv").symlink_to("d.csv")
    X, y = np.arange(80.0).reshape(40, 2), np.arange(40) % 2
    xpnet.MLPClassifier((2,), tol=9.0, backend="numpy").fit(X, y).save(tmp_path / "m")
    (tmp_path / "run.toml").write_text('target = "y"\nepochs = 1\n')
    (tmp_path / "parts.d").mkdir()
    pyarrow.parquet.write_table(
        pyarrow.csv.read_csv(tmp_path / "d.csv"), tmp_path / "parts.d" / "0.parquet"
    )
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "X.npy", X)
    return {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


CLASHES: list[tuple[str, ...]] = [
    (*TRAIN, "-o", "d.csv"),
    (*TRAIN, "-o", "./d.csv"),
    (*TRAIN, "-o", "hard.csv"),
    (*TRAIN, "--metrics-json", "d.csv"),
    (*TRAIN, "--plot", "one.svg", "-o", "one.svg"),
    (*TRAIN, "-o", "one", "--metrics-json", "one"),
    (*TRAIN, "--metrics-json", "parts.d/../one", "-o", "one"),
    (*TRAIN, "-o", "c", "--checkpoint-dir", "c"),
    (*TRAIN, "-o", "c/checkpoint-00000001.safetensors", "--checkpoint-dir", "c"),
    ("train", "d.csv", "--config", "run.toml", "--metrics-json", "run.toml"),
    ("train", "parts.d", "--target", "y", "-o", "parts.d/0.parquet"),
    ("train", "parts.d", "--target", "y", "-o", "parts.d/1.parquet"),
    ("train", "X.npy", "--target", "y.npy", "-o", "y.npy"),
    ("predict", "m", "d.csv", "-o", "d.csv"),
    ("predict", "m", "d.csv", "-o", "hard.csv"),
    ("predict", "m", "d.csv", "-o", "m"),
    ("predict", "-o", "m", "m", "d.csv"),
    ("evaluate", "m", "d.csv", "--plot", "d.csv"),
    ("export", "m", "m"),
    ("export", "m", "parts.d/../m"),
]
if sys.platform != "win32":
    CLASHES += [(*TRAIN, "-o", "soft.csv"), ("predict", "m", "soft.csv", "-o", "d.csv")]


@pytest.mark.parametrize("arguments", CLASHES, ids=" ".join)
def test_an_output_that_is_another_file_of_the_command_is_refused_before_any_work(
    run: Run, files: dict[str, bytes], arguments: tuple[str, ...]
) -> None:
    if "c/checkpoint-00000001.safetensors" in arguments:
        Path("c").mkdir()
    check_one_line(run(*arguments, code=2), "must not replace" if "--plot" not in arguments else "")
    for name, content in files.items():
        assert Path(name).read_bytes() == content
    assert not Path("one").exists()


def test_outputs_of_different_names_are_written(run: Run, files: dict[str, bytes]) -> None:
    outputs = ("-o", "n", "--metrics-json", "n.json", "--checkpoint-dir", "c")
    run(*TRAIN, *outputs)
    run(*TRAIN, *outputs, "--resume")  # as a run that is started again: its outputs are replaced
    run("train", "iris", "--epochs", "1", "--members", "1", "-o", "iris")
    run(
        "train", "iris", "--epochs", "1", "--members", "1", "-o", "iris"
    )  # the data set, not the file
    run(
        "train",
        "parts.d",
        "--target",
        "y",
        "--epochs",
        "1",
        "--members",
        "1",
        "-o",
        "parts.d/model",
    )
    assert Path("n").stat().st_size > 0 < Path("parts.d/model").stat().st_size


def test_a_run_does_not_go_on_with_other_rows(run: Run, files: dict[str, bytes]) -> None:
    options = (
        "--target",
        "y",
        "--members",
        "1",
        "--hidden",
        "3",
        "--checkpoint-dir",
        "c",
        "--resume",
    )
    run("train", "d.csv", *options, "--epochs", "2")
    Path("e.csv").write_text(ROWS.replace(",3,", ",4,"))
    said = "The checkpoints belong to a run on other rows or columns"
    check_one_line(run("train", "e.csv", *options, "--epochs", "3", code=1), said)
    Path("e.csv").write_text(ROWS.replace("a,b", "a,c"))
    columns = "The checkpoints belong to a run on other columns"
    check_one_line(run("train", "e.csv", *options, "--epochs", "3", code=1), columns)
    seeded = run("train", "d.csv", *options, "--epochs", "3", "--seed", "9", code=1)
    check_one_line(seeded, "a run with --seed 0; got 9")
    fewer = run("train", "d.csv", *options, "--epochs", "3", "--test-size", "0.3", code=1)
    check_one_line(fewer, "a run with --test-size 0.25; got 0.3")
    Path("e.csv").write_text(ROWS.translate(str.maketrans("pq", "qp")))
    check_one_line(run("train", "e.csv", *options, "--epochs", "3", code=1), said)
    numbers = (
        "--target",
        "b",
        "--task",
        "regress",
        *options[2:4],
        "--checkpoint-dir",
        "n",
        "--resume",
    )
    run("train", "d.csv", *numbers, "--epochs", "2")
    Path("e.csv").write_text(ROWS.replace(",3,", ",4,").replace("6,", "5,"))
    check_one_line(run("train", "e.csv", *numbers, "--epochs", "3", code=1), said)
    run("train", "hard.csv", *options, "--epochs", "3")


def test_a_run_does_not_go_on_with_other_rows_that_are_read_by_blocks(
    run: Run, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", 0)
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.SAMPLE_ROWS", 40)
    options = (
        "--target",
        "y",
        "--members",
        "1",
        "--hidden",
        "3",
        "--checkpoint-dir",
        "c",
        "--resume",
    )
    run("train", "d.csv", *options, "--epochs", "2")
    Path("e.csv").write_text(ROWS.replace(",3,", ",4,"))
    said = "The checkpoints belong to a run on other rows"
    check_one_line(run("train", "e.csv", *options, "--epochs", "3", code=1), said)
    run("train", "d.csv", *options, "--epochs", "3")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_names_that_are_not_utf8(run: Run) -> None:
    name, model = os.fsdecode(b"d\xff.csv"), os.fsdecode(b"m\xfe")
    Path(name).write_text(ROWS)
    shown = run(
        "train",
        name,
        "--target",
        "y",
        "--epochs",
        "1",
        "--members",
        "1",
        "-o",
        model,
        "--metrics-json",
        "n.json",
    ).stdout
    assert "d\\udcff.csv" in shown
    assert run("predict", model, name).stdout.startswith("prediction\n")
    assert '"d\\udcff.csv"' in Path("n.json").read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use cannot be removed there")
def test_a_model_whose_folder_has_gone_is_kept_elsewhere(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xpnet.cli import training

    Path("gone").mkdir()
    scores = training.baseline_scores

    def measure_and_remove(*arguments: Any) -> Any:
        shutil.rmtree("gone")
        return scores(*arguments)

    monkeypatch.setattr(training, "baseline_scores", measure_and_remove)
    result = run(
        "train", "iris", "--epochs", "1", "--members", "1", "-o", "gone/m.safetensors", code=1
    )
    assert "rows of" in result.stdout
    kept = result.stderr.split("It is kept as ")[1].strip().rstrip(".")
    assert kept in result.stdout
    assert xpnet.load(kept).n_features_in_ == 4


def xpnet_with_stdin(folder: Path, stdin: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, whose standard input is a file."""
    code = "from xpnet.cli import main; main()"
    environment = {**os.environ, "XPNET_BACKEND": "numpy"}
    with (folder / stdin).open() as file:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            **{"stdin": file, "capture_output": True, "text": True},
            **{"cwd": folder, "env": environment},
        )


@pytest.mark.slow
@pytest.mark.parametrize("output", ["d.csv", "hard.csv"])
def test_the_file_behind_standard_input_is_not_replaced(
    run: Run, files: dict[str, bytes], tmp_path: Path, output: str
) -> None:
    for arguments in (
        ("predict", "m", "-", "-o", output),
        ("train", "-", *TRAIN[2:], "-o", output),
    ):
        ended = xpnet_with_stdin(tmp_path, "d.csv", *arguments)
        assert ended.returncode == 2
        assert f"both name {output}" in ended.stderr
    for name, content in files.items():
        assert Path(name).read_bytes() == content
    ended = xpnet_with_stdin(tmp_path, "d.csv", "evaluate", "m", "-", "--target", "y")
    assert "both name" not in ended.stderr


@pytest.mark.parametrize("name", ["m.txt", "model", "m.onnx.bak", "m.pkl"])
def test_export_refuses_a_name_that_says_no_format(
    run: Run, files: dict[str, bytes], name: str
) -> None:
    result = run("export", "m", name, code=2)
    check_one_line(result, ".onnx or .c")
    assert name in result.stderr
    assert not Path(name).exists()


def test_export_reads_endings_in_both_cases(run: Run, files: dict[str, bytes]) -> None:
    run("export", "m", "m.C")
    assert "xpnet_predict" in Path("m.C").read_text()
    run("export", "m", "m.c")
    assert Path("m.c").read_text() == Path("m.C").read_text()


def test_a_model_file_whose_name_is_of_another_format_is_noted(run: Run) -> None:
    options = ("train", "iris", "--epochs", "1", "--members", "1", "--hidden", "2", "-q")
    assert "m.pkl is a safetensors file" in run(*options, "-o", "m.pkl").stdout
    for name in ("m.safetensors", "m"):
        assert "is a safetensors file" not in run(*options, "-o", name).stdout
    assert xpnet.load("m.pkl").n_features_in_ == 4
