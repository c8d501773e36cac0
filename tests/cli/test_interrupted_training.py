"""Ctrl-C after a training, whatever the command then does, leaves the model in its file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import Run

import xpnet
from xpnet.modelfile.checkpoint import write_checkpoint
from xpnet.tabular.importance import Importances

TRAIN = ("train", "iris", "--quality", "1", "--epochs", "3", "-o", "m.safetensors")


def press_ctrl_c(*_: Any, **__: Any) -> None:
    """Raise what Ctrl-C raises."""
    raise KeyboardInterrupt


LONG_WORK = {
    "scores": ("xpnet.cli.training.baseline_scores", {"rows": 112}),
    "importances": ("xpnet.tabular.importance.Importances.shares", {"rows": 112}),
}


@pytest.mark.parametrize("work", LONG_WORK)
def test_the_model_is_written_before_what_takes_long(
    run: Run, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, training = LONG_WORK[work]
    with monkeypatch.context() as patched:
        patched.setattr(target, press_ctrl_c)
        assert "Aborted!" in run(*TRAIN, code=130).stderr
    interrupted = xpnet.load("m.safetensors")
    assert interrupted.extra["training"].items() >= training.items()
    assert interrupted.extra["target"] == "target"
    X = np.asarray([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]])
    Path("m.safetensors").rename("interrupted.safetensors")
    run(*TRAIN)
    whole = xpnet.load("m.safetensors")
    columns = dict(zip(whole.feature_names_in_, X.T, strict=True))
    np.testing.assert_array_equal(interrupted.predict_proba(columns), whole.predict_proba(columns))
    assert whole.extra["training"]["test"]["rows"] == 38
    assert whole.feature_importances_.sum() == pytest.approx(1.0)


def test_without_a_file_nothing_is_measured_for_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(Importances, "shares", fail)
    run(*TRAIN[:-2])


def test_a_model_that_cannot_be_written_is_kept_elsewhere_as_a_whole(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("m.safetensors").write_text("old")
    Path("m.safetensors").chmod(0o444)
    said = run(*TRAIN, code=1).stderr
    kept = said.partition("It is kept as ")[2].strip().removesuffix(".")
    assert said.count("It is kept as ") == 1
    assert xpnet.load(kept).feature_importances_.sum() == pytest.approx(1.0)
    assert Path("m.safetensors").read_text() == "old"


CHECKPOINTS = ("--checkpoint-dir", "c")


def press_ctrl_c_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Ctrl-C come when that many checkpoints have been written."""
    written = []

    def write(path: Path, state: Any) -> None:
        if len(written) == epochs:
            raise KeyboardInterrupt
        written.append(path)
        write_checkpoint(path, state)

    monkeypatch.setattr("xpnet.modelfile.checkpoint.write_checkpoint", write)


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_ctrl_c_tells_how_a_run_with_checkpoints_goes_on(
    run: Run, quiet: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        press_ctrl_c_after(2, patched)
        said = run(*TRAIN, *CHECKPOINTS, *quiet, code=130).stderr.splitlines()
    assert said[-2:] == [
        "The epochs so far are in c. Give the same command with --resume to go on.",
        "Aborted!",
    ]
    run(*TRAIN, *CHECKPOINTS, *quiet, "--resume")


def test_ctrl_c_before_a_checkpoint_or_without_them_does_not_name_resume(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    press_ctrl_c_after(0, monkeypatch)
    assert "--resume" not in run(*TRAIN, *CHECKPOINTS, code=130).stderr
    monkeypatch.setattr("xpnet.cli.training.fit", press_ctrl_c)
    assert "--resume" not in run(*TRAIN, code=130).stderr
