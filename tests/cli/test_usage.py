"""Wrong usage and bad data, told in one line."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.command_line import Run, check_one_line

import xpnet
from xpnet.cli.app import app

BAD_DATA = {
    "single.csv": ("a,y\n1,p\n2,p\n", "at least two classes; every label is 'p'"),
    "ragged.csv": ("a,y\n1,p,3\n2,q\n", "Row #2: Expected 2 columns, got 3"),
    "target.csv": (
        "a,Y\n1,p\n2,q\n",
        "there is no column 'y'; the columns are 'a', 'Y'. Did you mean 'Y'?",
    ),
    "numbers.csv": ("1.5,2\n1,2\n", "add --no-header"),
    "alone.csv": ("y\n1\n2\n", "at least one column besides the target"),
    "empty.csv": ("", "empty.csv is empty"),
    "labels.csv": ("a,y\n1,\n2,\n", "none of 2 has one in column 'y'"),
    "few.csv": ("a,y\n1,p\n2,q\n3,p\n4,q\n", "4 rows are too few for --test-size 0.9"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_told_in_one_line(run: Run, tmp_path: Path, name: str) -> None:
    content, said = BAD_DATA[name]
    (tmp_path / name).write_text(content)
    test_size = "0.9" if name == "few.csv" else "0.3"
    check_one_line(run("train", name, "--target", "y", "--test-size", test_size, code=1), said)


def test_a_table_of_too_many_columns_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpnet.cli.reading.MAX_COLUMNS", 3)
    rows = [f"{k % 5},{k % 7},{k % 3},{k % 2},{'pq'[k % 2]}" for k in range(40)]
    Path("d.csv").write_text("\n".join(["a,b,c,d,y", *rows]))
    command = ("train", "d.csv", "--target", "y", "--epochs", "1", "--members", "1")
    check_one_line(run(*command, code=1), "at most 3 columns; got 4")
    run(*command, "--features", "a,b,c")


def test_a_target_that_is_not_named(run: Run) -> None:
    Path("d.csv").write_text("a,y\n1,p\n")
    check_one_line(
        run("train", "d.csv", code=1),
        "--target must name the column that holds the labels, one of 'a', 'y'",
    )
    check_one_line(run("train", "iris", "--target", "kind", code=1), "there is no column 'kind'")


def test_a_column_that_an_option_names_must_be_there(run: Run) -> None:
    Path("d.csv").write_text("aa,y\n1,p\n2,q\n3,p\n4,q\n")
    for option in ("--drop", "--id", "--text", "--features"):
        check_one_line(
            run("train", "d.csv", "--target", "y", option, "ab", code=1), "there is no column 'ab'"
        )


def test_the_target_is_no_feature(run: Run) -> None:
    Path("d.csv").write_text("a,y\n1,p\n2,q\n3,p\n4,q\n")
    command = ("train", "d.csv", "--target", "y", "--features", "a,y")
    check_one_line(run(*command, code=1), "'y' is the target, so it must not be a feature")


@pytest.mark.skipif(sys.platform == "win32", reason="links take a privilege there")
def test_a_path_that_the_system_refuses_is_told_with_its_reason(run: Run) -> None:
    Path("loop.csv").symlink_to("loop.csv")
    reason = os.strerror(errno.ELOOP)
    check_one_line(run("train", "loop.csv", code=1), f"loop.csv cannot be opened: {reason}")


USAGE = [
    (("train", "iris", "--activation", "swish"), "got 'swish'. Did you mean 'silu'?"),
    (("train", "iris", "--optimizer", "Adam"), "got 'Adam'. Did you mean 'adam'?"),
    (("train", "diabetes", "--loss", "mse"), "got 'mse'. Did you mean 'squared_error'?"),
    (("train", "iris", "--task", "regression"), "got 'regression'. Did you mean 'regress'?"),
    (("train", "iris", "--backend", "cuda"), "Did you mean 'cupy'?"),
    (("train", "iris", "--backend", "dask"), "Pass arrays of dask"),
    (
        ("train", "iris", "--backend", "nope"),
        "must be one of cupy, jax, numba, numpy, torch; got 'nope'",
    ),
    (
        ("train", "iris", "-o", "no/m.safetensors"),
        "The folder no must exist and be writable to write m.safetensors",
    ),
    (("train", "iris", "--metrics-json", "no/m.json"), "The folder no must exist and be writable"),
    (("train", "iris", "--plot", "no/m.png"), "The folder no must exist and be writable"),
    (("train", "iris", "--plot", "loss.doc"), "a plot must end in"),
    (("train", "iris", "-o", "."), "is a folder or a device"),
    (("predict", "m", "iris", "-o", os.devnull), "is a folder or a device"),
    (("train", "iris", "--resume"), "--checkpoint-dir"),
    (("train", "iris", "--hidden", "10,x"), "'x' is not a valid integer"),
    (("train", "iris", "--hidden", "0"), "0 is not in the range x>=1"),
    (
        ("train", "iris", "--loss", "quantile", "--quantile", "0.5,1"),
        "1.0 is not in the range 0<x<1",
    ),
    (("train", "iris", "--lr", "0"), "0.0 is not in the range x>0"),
    (("train", "iris", "--lr", "nan"), "nan is not a number"),
    (("train", "iris", "--test-size", "nan"), "nan is not a number"),
    (("train", "iris", "--epochs", "0"), "0 is not in the range x>=1"),
    (("train", "iris", "--threads", "0"), "0 is not in the range x>=1"),
    (("train", "iris", "--test-size", "1"), "1.0 is not in the range"),
    (("train", "iris", "--optimizer", "tiger"), "got 'tiger'"),
    (("train", "iris", "--model", "linear", "--hidden", "5"), "--model linear has no hidden layer"),
    (("train", "iris", "--task", "classify", "--loss", "poisson"), "--loss must go with"),
    (("train", "diabetes", "--class-weight", "balanced"), "--class-weight must go with classes"),
    (("train", "iris", "-q", "-v"), "--quiet and --verbose must not come together"),
    (
        ("train", "diabetes", "--loss", "huber", "--quantile", "0.5"),
        "--quantile must go with --loss quantile",
    ),
    (
        ("train", "diabetes", "--loss", "huber", "--offset", "bmi"),
        "--offset must go with --loss poisson, gamma or tweedie; got --loss huber",
    ),
    (("train", "iris", "--time-limit", "0"), "0.0 is not in the range x>0"),
    (("train", "iris", "--validation-size", "0.6"), "0.6 is not in the range"),
    (("train", "iris", "--class-weight", "much"), "balanced, or label=weight"),
    (("train", "iris", "--class-weight", "setosa=-1"), "balanced, or label=weight"),
    (("train", "iris", "--class-weight", "setosa=nan"), "balanced, or label=weight"),
    (
        ("train", "iris", "--task", "regress", "--class-weight", "balanced"),
        "--class-weight must go with classes",
    ),
    (("train", "iris", "--separator", "ab"), "a mark must be one ASCII character"),
    (("train", "iris", "--config", "no.toml"), "'no.toml' does not exist"),
    (("export", "m", "no/m.onnx"), "The folder no must exist and be writable"),
    (("train",), "Missing argument 'DATA'"),
    (("teach",), "No such command 'teach'"),
]


@pytest.mark.parametrize(
    ("arguments", "said"), USAGE, ids=[" ".join(arguments) for arguments, _ in USAGE]
)
def test_wrong_usage_is_told_in_one_line_before_any_work(
    run: Run, arguments: tuple[str, ...], said: str
) -> None:
    check_one_line(run(*arguments, code=2), said)


def test_weights_are_for_classes_that_are_there(run: Run) -> None:
    check_one_line(run("train", "iris", "--class-weight", "tulip=2", code=1), "got 'tulip'")


def test_an_unknown_backend_in_the_environment(run: Run) -> None:
    check_one_line(
        run("train", "iris", code=2, XPNET_BACKEND="nope"),
        "The environment variable XPNET_BACKEND names it",
    )


def test_cupy_without_a_card_says_why_and_what_to_install(run: Run) -> None:
    try:
        xpnet.get_backend("cupy")
    except xpnet.BackendError:
        check_one_line(run("train", "iris", "--backend", "cupy", code=2), "cupy")
    else:
        pytest.skip("CuPy and a GPU are here, so nothing refuses")


def test_a_diverging_training_fails_and_writes_nothing(run: Run) -> None:
    options = ("--optimizer", "sgd", "--lr", "1e30", "--hidden", "9", "-o", "m")
    result = run("train", "wine", *options, code=1)
    check_one_line(result, "The loss must stay finite")
    assert not Path("m").exists()


def test_a_reader_that_has_gone_is_no_error_to_tell(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*facts: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "refused")

    monkeypatch.setattr("xpnet.cli.report.show_facts", refuse)
    result = run("train", "iris", "--epochs", "1", "--members", "1", code=1)
    assert result.stdout == ""
    assert "Error" not in result.stderr


def test_without_pyarrow_one_line_says_what_to_install(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['pyarrow'] = None; sys.argv[:] = ['xpnet', 'train', 'iris']"
    code = f"{hidden}; from xpnet.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 1
    assert ended.stderr.strip() == (
        "Error: pyarrow must be installed to read tables. Run pip install 'xpnet[tables]'."
    )


def test_a_package_that_is_missing_for_another_reason_is_no_usage_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: object) -> None:
        raise ModuleNotFoundError("No module named 'tiger'", name="tiger")

    monkeypatch.setattr("xpnet.cli.commands.doctor.available_backends", fail)
    result = CliRunner().invoke(app, ["backends"])
    assert isinstance(result.exception, ModuleNotFoundError)
    assert result.exception.name == "tiger"


def test_a_plot_needs_matplotlib(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpnet.cli.options.files.find_spec", lambda name: None)
    check_one_line(run("train", "iris", "--plot", "loss.svg", code=2), "pip install 'xpnet[plot]'")


WITHOUT_EFFECT = [
    (("--test", "iris", "--test-size", "0.9"), "--test-size has no effect with --test"),
    (("--test", "iris", "--holdout", "random"), "--holdout has no effect with --test"),
    (("--model", "linear", "--activation", "tanh"), "--activation has no effect with --model"),
    (("--model", "linear", "--dropout", "0.5"), "--dropout has no effect with --model linear"),
    (("--model", "linear", "--members", "3"), "--members has no effect with --model linear"),
    (("--validation-size", "0", "--patience", "3"), "--patience has no effect with --validation"),
    (("--optimizer", "adam", "--weight-decay", "1"), "--weight-decay has no effect with an --opt"),
    (("--timeout", "9"), "--timeout must go with --distributed"),
    (("--jobs", "0"), "must be at least 1, or -1 for one for each core; got 0"),
]


@pytest.mark.parametrize(("options", "said"), WITHOUT_EFFECT)
def test_an_option_without_effect_is_refused(run: Run, options: tuple[str, ...], said: str) -> None:
    assert said in run("train", "iris", *options, code=2).stderr


def test_an_option_without_effect_is_refused_in_a_configuration_file_too(run: Run) -> None:
    Path("c.toml").write_text('holdout = "last"\ntest = "iris"\n')
    said = run("train", "iris", "--config", "c.toml", code=2).stderr
    assert "--holdout has no effect with --test" in said
