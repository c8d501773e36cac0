"""The list of phrases that `make lint` replaces: codespell finds each of them, and nothing else."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIST = ROOT / "docs" / "contributing" / "words.txt"
PHRASES = [line.partition("->")[0] for line in LIST.read_text(encoding="utf-8").splitlines()]

pytest.importorskip("codespell_lib", reason="checks the spelling; in the group 'test'")


def check(file: Path) -> subprocess.CompletedProcess[str]:
    """Run codespell on a file as `make lint` does."""
    command = [sys.executable, "-m", "codespell_lib", "--dictionary", "-", "--dictionary"]
    return subprocess.run(
        [*command, str(LIST), str(file)], capture_output=True, text=True, timeout=120, cwd=ROOT
    )


def test_each_phrase_is_reported_with_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("".join(f"Words {phrase} words.\n" for phrase in PHRASES), encoding="utf-8")
    outcome = check(page)
    reported = re.findall(r":(\d+): (.*) ==> ", outcome.stdout)
    assert reported == [(str(line), phrase) for line, phrase in enumerate(PHRASES, 1)]
    assert outcome.returncode != 0


def test_a_misspelt_word_is_reported_and_plain_text_is_not(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    misspelt = "recieved"  # codespell:ignore recieved
    page.write_text(f"The gradient with respect to the inputs.\nIt is {misspelt}.\n")
    outcome = check(page)
    assert outcome.stdout == f"{page}:2: {misspelt} ==> received\n"


def test_a_phrase_with_a_space_is_one_word_for_the_checker() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    words = re.compile(settings["tool"]["codespell"]["regex"])
    assert [words.match(phrase)[0] for phrase in PHRASES] == PHRASES
