"""Output that a terminal or a pipe cannot encode is escaped; files are always UTF-8."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from xpnet.cli.app import app

ESCAPED = {"cp1252": (r"\u5317\u4eac", "Zürich"), "ascii": (r"\u5317\u4eac", r"Z\xfcrich")}
"""How both labels are printed in an encoding."""


def call(encoding: str, *arguments: str) -> Result:
    """The command, with a standard output of this encoding."""
    result = CliRunner(charset=encoding).invoke(app, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose labels and columns no 8-bit encoding has together, and its model."""
    folder = tmp_path_factory.mktemp("cities")
    rng = np.random.default_rng(0)
    rows = [
        (f"{x:.3f}", "高" if z > 0 else "低", "北京" if x > 0 else "Zürich")
        for x, z in rng.normal(size=(200, 2))
    ]
    with (folder / "u.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("größe", "高度", "kind"), *rows])
    return folder


@pytest.mark.parametrize("encoding", ESCAPED)
def test_no_command_fails_for_the_encoding_of_its_output(
    folder: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    labels = ESCAPED[encoding]
    model = f"{encoding}.safetensors"
    options = ("--target", "kind", "--quality", "1", "--epochs", "2", "--class-weight", "balanced")
    trained = call(encoding, "train", "u.csv", *options, "-o", model, "--metrics-json", "m.json")
    assert "accuracy" in trained.stdout
    assert "北京" in Path("m.json").read_text(encoding="utf-8")
    for command in (("inspect", model), ("evaluate", model, "u.csv"), ("predict", model, "u.csv")):
        shown = call(encoding, *command).stdout_bytes.decode(encoding)
        assert all(label in shown for label in labels), (command, shown)
    assert len(call(encoding, "predict", model, "u.csv").stdout_bytes.splitlines()) == 201
    column = "\\u9ad8\\u5ea6"
    for command in (("explain", model, "u.csv"), ("explain", model, "u.csv", "--json")):
        assert column in call(encoding, *command).stdout_bytes.decode(encoding)
    call(encoding, "predict", model, "u.csv", "-o", "p.csv")
    text = Path("p.csv").read_text(encoding="utf-8")
    assert set(text.splitlines()[1:]) <= {"北京", "Zürich"}


@pytest.mark.parametrize("encoding", ESCAPED)
def test_messages_without_a_model_are_escaped_too(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (("doctor",), ("doctor", "--json"), ("backends",), ("train", "--help")):
        call(encoding, *command)
    missing = CliRunner(charset=encoding).invoke(app, ["inspect", "北京.safetensors"])
    assert missing.exit_code == 1
    assert r"\u5317\u4eac.safetensors" in missing.stderr


@pytest.mark.parametrize("encoding", ESCAPED)
def test_json_is_escaped_as_json_has_it(
    encoding: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    options = ("--target", "kind", "--quality", "1", "--epochs", "1", "-q")
    call(encoding, "train", "u.csv", *options, "-o", f"{encoding}.json.safetensors")
    shown = call(encoding, "inspect", f"{encoding}.json.safetensors", "--json").stdout_bytes
    assert list(json.loads(shown)["classes"]) == ["Zürich", "北京"]
