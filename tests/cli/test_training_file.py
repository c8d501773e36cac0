"""Notes on measurements of a model on the file that it was trained on."""

import json
from pathlib import Path

import pytest
from helpers.command_line import Run

FAST = ("--model", "linear", "--epochs", "2", "-q")
NOTE = "is the file that the model was trained on"


def save_pets(name: str, rows: int = 40) -> None:
    """Write a table of a number and two classes."""
    lines = [f"{k * 7 % 11},{'cat' if k % 3 else 'dog'}" for k in range(rows)]
    Path(name).write_text("\n".join(["size,kind", *lines, ""]))


@pytest.mark.parametrize("command", ["evaluate", "explain"])
def test_the_file_of_the_training_is_named(run: Run, command: str) -> None:
    save_pets("pets.csv")
    run("train", "pets.csv", "--target", "kind", *FAST, "-o", "m.safetensors")
    assert run(command, "m.safetensors", "pets.csv").stderr == (
        f"Note: pets.csv {NOTE}, with 30 of 40 rows (75%); "
        "scores of rows that a model has seen are better than those of new rows\n"
    )
    assert NOTE not in run(command, "m.safetensors", "pets.csv", "-q").stderr


def test_a_copy_of_the_file_is_known_and_a_changed_file_is_not(run: Run) -> None:
    save_pets("pets.csv")
    run("train", "pets.csv", "--target", "kind", "--final", *FAST, "-o", "m.safetensors")
    content = Path("pets.csv").read_text()
    Path("copy.csv").write_text(content)
    said = run("evaluate", "m.safetensors", "copy.csv").stderr
    assert f"copy.csv {NOTE}, with all 40 rows;" in said
    Path("changed.csv").write_text(content.replace("0,dog", "1,dog", 1))
    assert NOTE not in run("evaluate", "m.safetensors", "changed.csv").stderr


def test_a_bundled_data_set_is_known_by_its_name(run: Run) -> None:
    run("train", "iris", *FAST, "-o", "m.safetensors")
    assert f"iris {NOTE}" in run("evaluate", "m.safetensors", "iris").stderr


def test_text_on_standard_input_and_files_without_a_checksum_have_no_note(run: Run) -> None:
    save_pets("pets.csv")
    run("train", "pets.csv", "--target", "kind", *FAST, "-o", "m.safetensors")
    training = json.loads(run("inspect", "--json", "m.safetensors").stdout)["extra"]["training"]
    assert len(training["data_sha256"]) == 64
    run("train", "iris", *FAST, "-o", "iris.safetensors")
    described = json.loads(run("inspect", "--json", "iris.safetensors").stdout)
    assert "data_sha256" not in described["extra"]["training"]
