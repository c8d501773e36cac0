"""``xpnet train --resume``: a run goes on with its own rows, columns and options, or not at all."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import Run

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
    "--quiet": ("--quiet",),
}


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
