"""``xpnet train --resume``: a run goes on with its own rows, columns and options, or not at all."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import Run

import xpnet
from xpnet.cli.resuming import SameRun

TRAIN = (
    "train",
    "d.csv",
    "--target",
    "y",
    "--quality",
    "1",
    "--epochs",
    "2",
    "--checkpoint-dir",
    "c",
)

CHANGES = {
    "--lr": ("--lr", "0.03"),
    "--batch-size": ("--batch-size", "16"),
    "--precision": ("--precision", "bf16"),
    "--backend": ("--backend", "numpy"),
    "--optimizer": ("--optimizer", "adam"),
    "--weight-decay": ("--weight-decay", "0.5"),
    "--dropout": ("--dropout", "0.5"),
    "--hidden": ("--hidden", "7"),
    "--members": ("--members", "3"),
    "--activation": ("--activation", "tanh"),
    "--patience": ("--patience", "1"),
    "--validation-size": ("--validation-size", "0.3"),
    "--test-size": ("--test-size", "0.4"),
    "--holdout": ("--holdout", "last"),
    "--seed": ("--seed", "1"),
    "--dtype": ("--dtype", "float64"),
    "--drop": ("--drop", "a"),
    "--id": ("--id", "a"),
    "--text": ("--text", "b"),
    "--text-features": ("--text-features", "on"),
    "--loss": ("--loss", "absolute_error"),
    "--quality": ("--quality", "2"),
    "--model": ("--model", "mlp"),
    "--weight": ("--weight", "w"),
    "--groups": ("--groups", "b"),
    "--time": ("--time", "b"),
}

SHOWS = {"all lines": (), "none": ("-q",), "each epoch": ("-v",)}
"""Options of what is shown of a training."""


@pytest.fixture
def begun(run: Run) -> Run:
    """The command, in the folder of a run whose training has ended after two epochs."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({name: rng.normal(size=80).round(4) for name in "ab"})
    X["w"] = rng.integers(1, 4, 80)
    X["y"] = (3 * X.a + X.b).round(4)
    X.to_csv("d.csv", index=False)
    run(*TRAIN)
    return run


@pytest.mark.parametrize("option", CHANGES)
def test_an_option_that_changes_the_result_is_refused_by_name(begun: Run, option: str) -> None:
    options = [*TRAIN, "--resume"]
    if option == "--model":
        del options[options.index("--quality") : options.index("--quality") + 2]
    said = begun(*options, *CHANGES[option], code=1).stderr.splitlines()[-1]
    assert said.startswith(f"Error: The checkpoints belong to a run with {option} "), said


def test_outputs_and_a_later_end_may_change(begun: Run) -> None:
    options = [*TRAIN, "--resume", "-o", "m.safetensors", "--metrics-json", "m.json"]
    options[options.index("--epochs") + 1] = "3"
    begun(*options, "--time-limit", "1000", "--jobs", "2")
    assert Path("m.safetensors").exists()


@pytest.mark.parametrize("begins", SHOWS)
@pytest.mark.parametrize("ends", SHOWS)
def test_what_is_shown_of_a_training_may_change(begun: Run, begins: str, ends: str) -> None:
    """The resumed run ends with the model of a run that was not interrupted."""
    longer = [*TRAIN[:-3], "3"]
    begun(*longer, "-o", "whole.safetensors")
    begun(*TRAIN[:-1], "shown", *SHOWS[begins])
    options = ["--checkpoint-dir", "shown", "--resume", *SHOWS[ends], "-o", "resumed.safetensors"]
    begun(*longer, *options)
    whole, resumed = xpnet.load("whole.safetensors"), xpnet.load("resumed.safetensors")
    assert whole.n_iter_ == resumed.n_iter_ == 3
    for network, same in zip(whole.networks_, resumed.networks_, strict=True):
        for name, values in network.values().items():
            np.testing.assert_array_equal(values, same.values()[name])


@pytest.mark.parametrize(
    ("target", "options", "is_refused"),
    [
        ("y", (), False),
        ("label", (), True),
        ("label", ("--ordered", "low,high"), False),
        ("label", ("--dtype", "float64"), False),
    ],
)
def test_only_trainings_for_classes_without_order_round_by_default(
    begun: Run, target: str, options: tuple[str, ...], *, is_refused: bool
) -> None:
    frame = pd.read_csv("d.csv").drop(columns="w")
    frame["label"] = np.where(frame.y > 0, "high", "low")
    frame[["a", "b", target]].to_csv("e.csv", index=False)
    command = ["train", "e.csv", "--target", target, *options, *TRAIN[4:-1], "precise"]
    begun(*command)
    said = begun(*command, "--resume", "--precision", "fp32", code=int(is_refused)).stderr
    assert ("a run with --precision auto; got fp32" in said) is is_refused


def test_ordered_classes_resume_from_a_checkpoint_that_says_auto(
    begun: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions said so of all classes."""
    frame = pd.read_csv("d.csv").drop(columns="w")
    frame["y"] = np.where(frame.y > 0, "high", "low")
    frame.to_csv("e.csv", index=False)
    command = ["train", "e.csv", *TRAIN[2:-1], "earlier", "--ordered", "low,high"]
    state = SameRun.state
    with monkeypatch.context() as patched:
        patched.setattr(SameRun, "state", lambda own: state(own) | {"precision": "auto"})
        begun(*command)
    begun(*command, "--resume")
    begun(*command, "--resume", "--precision", "fp32")
    said = begun(*command, "--resume", "--precision", "bf16", code=1).stderr
    assert "a run with --precision fp32; got bf16" in said


@pytest.mark.parametrize(
    "named",
    [
        ("--task", "regress"),
        ("--loss", "squared_error"),
        ("--text-features", "off"),
        ("--unreadable", "error"),
        ("--model", "mlp", "--hidden", "100", "--members", "1", "--dropout", "0"),
        ("--model", "linear", "--lr", "0.02"),
    ],
    ids=lambda named: named[-2],
)
def test_the_default_of_an_option_may_be_named_or_left_out(
    begun: Run, named: tuple[str, ...]
) -> None:
    kind = named[:2] if named[0] == "--model" else ()
    quality = () if kind else ("--quality", "1")
    unnamed = ["train", "d.csv", "--target", "y", *kind, *quality, "--epochs", "1"]
    with_names = [*unnamed, *named[len(kind) :]]
    for number, commands in enumerate([(unnamed, with_names), (with_names, unnamed)]):
        for options, resume in zip(commands, ((), ("--resume",)), strict=True):
            done = begun(*options, "--checkpoint-dir", f"default-{number}", *resume)
            assert "test" in done.stdout


def test_the_default_quality_may_be_named(begun: Run) -> None:
    command = ["train", "d.csv", "--target", "y", "--epochs", "1", "--checkpoint-dir", "third"]
    begun(*command)
    begun(*command, "--resume", "--quality", "3")
    said = begun(*command, "--resume", "--quality", "2", code=1).stderr
    assert "a run with --quality by default; got 2" in said


def test_weights_of_classes_are_compared_digit_by_digit(begun: Run) -> None:
    frame = pd.read_csv("d.csv")
    frame["y"] = np.where(frame.y > 0, "high", "low")
    frame.to_csv("d.csv", index=False)
    options = [*TRAIN[:-1], "weighted"]
    begun(*options, "--class-weight", "high=1234567")
    begun(*options, "--resume", "--class-weight", "high=1234567")
    said = begun(*options, "--resume", "--class-weight", "high=1234568", code=1).stderr
    assert "--class-weight high=1234567.0; got high=1234568.0" in said


def test_columns_in_another_order_are_refused(begun: Run) -> None:
    frame = pd.read_csv("d.csv")
    frame[["b", "a", "w", "y"]].to_csv("d.csv", index=False)
    said = begun(*TRAIN, "--resume", code=1).stderr
    assert "the same columns in another order" in said
    frame.to_csv("d.csv", index=False)
    begun(*TRAIN, "--resume")


def test_columns_of_other_names_are_refused(begun: Run) -> None:
    pd.read_csv("d.csv").rename(columns={"a": "c"}).to_csv("d.csv", index=False)
    assert "other columns" in begun(*TRAIN, "--resume", code=1).stderr


def test_other_rows_are_refused(begun: Run) -> None:
    frame = pd.read_csv("d.csv")
    frame["a"] += 1
    frame.to_csv("d.csv", index=False)
    assert "other rows" in begun(*TRAIN, "--resume", code=1).stderr


def test_a_large_table_resumes_no_checkpoint_of_another_division(
    begun: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the table as it is now a small one was trained; a large one has other validation rows."""
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.SAMPLE_ROWS", 10)
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", 100)
    assert "divided large tables in another way" in begun(*TRAIN, "--resume", code=1).stderr


def test_a_checkpoint_of_columns_that_were_encoded_in_another_way_is_refused(
    begun: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions encoded columns before they divided rows, and said nothing of it."""
    state = SameRun.state

    def state_of_earlier_version(self: SameRun) -> dict[str, object]:
        now = state(self)
        del now["is_divided_before_encoding"]
        return now

    options = [*TRAIN[:-1], "earlier"]
    with monkeypatch.context() as patched:
        patched.setattr(SameRun, "state", state_of_earlier_version)
        begun(*options)
    assert "encoded the columns in another way" in begun(*options, "--resume", code=1).stderr
    begun(*TRAIN, "--resume")
