"""What README shows is so: its ten lines run, its commands exist."""

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from xpnet.cli.app import app

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_ten_lines_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert len(code.splitlines()) <= 11
    exec(compile(code, "README.md", "exec"), {})
    accuracy = re.search(r"accuracy (\d\.\d+)", capsys.readouterr().out)
    assert accuracy is not None
    assert float(accuracy[1]) > 0.95
    assert (tmp_path / "digits.safetensors").is_file()


def test_every_command_line_is_one_that_is_understood() -> None:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
    code = "".join(block for language, block in blocks if not language).splitlines()
    lines = [line.partition("#")[0] for line in code if line.startswith("xpnet ")]
    assert len(lines) >= 8
    for line in lines:
        name, *arguments = shlex.split(line)[1:]
        command = app.commands[name]
        # Parsed only: neither defaults nor callbacks, which would look for files, are asked.
        command.make_parser(click.Context(command)).parse_args(arguments)


def test_on_a_package_index_no_link_and_no_list_of_links_leads_nowhere() -> None:
    settings = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    hook = settings["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = TEXT
    for substitution in hook["substitutions"]:
        text = re.sub(substitution["pattern"], substitution["replacement"], text)
    assert re.findall(r"\]\((?!https?:)[^)]*\)", text) == []
    assert "getting started" not in text
    assert re.findall(r"^#+ .*", text, re.M) == re.findall(r"^#+ .*", TEXT, re.M)
