"""What README shows is so: its ten lines run, its commands exist, its numbers were measured."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from xpnet.cli.app import app

ROOT = Path(__file__).parents[1]
PYPROJECT = ROOT / "pyproject.toml"
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


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


def numbers_by_row(page: str, header: str) -> dict[str, list[str]]:
    """The cells of a table, by the first cell of each row. header : its first line"""
    _, _, table = page.partition(f"{header}\n")
    rows: dict[str, list[str]] = {}
    for line in table.splitlines():
        if not line.startswith("|"):
            break
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows[name] = cells
    return rows


@pytest.mark.repository
def test_the_speeds_are_those_of_the_page_on_benchmarks() -> None:
    header = (
        "| network, batch | xpnet | JAX, an epoch in one scan | PyTorch, the better of plain and "
        "compiled | scikit-learn |"
    )
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    measured = numbers_by_row(page, header)
    shown = numbers_by_row(TEXT, header)
    assert shown.keys() == measured.keys() and len(shown) > 4
    for name, (ours, *others) in measured.items():
        if not name.startswith("---"):
            assert shown[name][0] == ours
            for multiple, other in zip(shown[name][1:], others, strict=True):
                ratio = microseconds(other) / microseconds(ours)
                assert float(multiple) == pytest.approx(ratio, abs=0.06)  # both are rounded


def microseconds(time: str) -> float:
    """A time such as "1.05 ms"."""
    number, unit = time.split()
    return float(number) * {"µs": 1, "ms": 1e3, "s": 1e6}[unit]


@pytest.mark.repository
def test_the_errors_on_tables_are_those_of_the_guide() -> None:
    header = "| | error | loss | CPU | error | loss | CPU |"
    guide = (ROOT / "docs" / "user_guide" / "tables.md").read_text(encoding="utf-8")
    shown = numbers_by_row(TEXT, header)
    assert len(shown) > 10
    assert shown == numbers_by_row(guide, header)


@pytest.mark.repository
def test_what_a_user_notices_is_what_the_report_says() -> None:
    header = (
        "| job | xpnet, `MLPClassifier` | xpnet, `TabularClassifier` | scikit-learn, "
        "`MLPClassifier` | scikit-learn, `HistGradientBoosting` |"
    )
    contenders = ("xpnet-mlp", "xpnet-table", "sklearn-mlp", "boosting")
    folder = ROOT / "bench" / "results" / "feel"
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))["benchmarks"]
    measured = {
        (one["params"]["job"], one["params"]["contender"]): one["stats"]["median"]
        for one in results
    }
    sizes = {
        one["params"]["contender"]: one["extra_info"]["notes"][0]
        for one in results
        if one["params"]["job"] == "save and load a model"
    }
    shown = numbers_by_row(TEXT, header)
    del shown["---"]
    for contender, file, installation in zip(
        contenders, shown.pop("model file"), shown.pop("installation"), strict=True
    ):
        assert file == f"{sizes[contender]['file_kib']:.3g} KiB"
        assert installation == f"{sizes[contender]['installed_mib']:.3g} MiB"
    assert shown.keys() == {job for job, _ in measured}
    for job, times in shown.items():
        for contender, time in zip(contenders, times, strict=True):
            seconds = measured[job, contender]
            # Three digits are shown.
            assert microseconds(time) == pytest.approx(seconds * 1e6, rel=0.005)
