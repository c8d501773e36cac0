"""Commands that other packages add to ``xpnet`` through entry points."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.command_line import Run, check_one_line

HELLO = """
import click

@click.command(short_help="Greet.")
@click.argument("name")
def hello(name):
    click.echo(f"Hello {name}")
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``install("hello", source)``: a package of that command's name, as an installer leaves it."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def write(command: str, source: str) -> None:
        metadata = folder / f"{command}_package-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {command}-package\nVersion: 1.0\n"
        )
        entry = f"[xpnet.commands]\n{command} = {command}_module:{command}\n"
        (metadata / "entry_points.txt").write_text(entry)
        (folder / f"{command}_module.py").write_text(source)

    yield write
    for name in [name for name in sys.modules if name.endswith("_module")]:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_command_of_another_package_is_listed_and_runs(run: Run, install) -> None:
    install("hello", HELLO)
    assert "hello      Greet." in run("--help").stdout
    assert run("hello", "Ada").stdout == "Hello Ada\n"
    assert "Exit codes: 0 done" in run("hello", "--help").stdout


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import a_package_that_nobody_has", "No module named 'a_package_that_nobody_has'"),
        ("raise RuntimeError('half an installation')", "half an installation"),
        ("broken = 3", "broken_module:broken is not a click.Command"),
    ],
)
def test_a_broken_command_is_listed_and_ends_in_one_line(
    run: Run, install, source: str, reason: str
) -> None:
    install("broken", source)
    listing = run("--help").stdout
    assert "broken     Not available" in listing and "train" in listing
    for arguments in (("broken",), ("broken", "--help"), ("broken", "a", "--option", "b")):
        check_one_line(run(*arguments, code=1), reason)
        check_one_line(run(*arguments, code=1), "pip install broken-package")


@pytest.fixture(params=["xpnet_bench", "psutil", "pytest_benchmark"])
def missing(request: pytest.FixtureRequest) -> Iterator[str]:
    """A package that cannot be imported, while the benchmarks are imported anew."""

    def loaded() -> list[str]:
        packages = {"xpnet_bench", request.param}
        return [name for name in sys.modules if name.partition(".")[0] in packages]

    before = {name: sys.modules.pop(name) for name in loaded()}
    sys.modules[request.param] = None  # type: ignore[assignment]
    yield request.param
    for name in loaded():
        del sys.modules[name]
    sys.modules.update(before)


def test_the_benchmarks_without_their_extra_end_in_a_line_that_names_it(
    run: Run, missing: str
) -> None:
    done = run("bench", "--quick", "--suite", "prediction", "-o", "out", code=1)
    check_one_line(done, missing)
    assert "pip install 'xpnet[bench]'" in done.stderr


def test_the_command_line_imports_no_command_of_others_before_it_is_asked_for() -> None:
    code = (
        "import sys\nfrom xpnet.cli.app import app\n"
        "app(['backends', '--help'], standalone_mode=False)\n"
        "print([name for name in sys.modules if name.startswith('xpnet_bench')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
