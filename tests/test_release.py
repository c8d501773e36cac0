"""The version is written once, and what repeats it agrees."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import xpnet

ROOT = Path(__file__).parents[1]


def text(path: str) -> str:
    """The text of a file of the project."""
    return (ROOT / path).read_text(encoding="utf-8")


def test_the_version_stands_in_the_package_alone() -> None:
    project = tomllib.loads(text("pyproject.toml"))
    assert "version" not in project["project"] and "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "xpnet/__init__.py"
    assert text("xpnet/__init__.py").count("__version__ =") == 1


def test_pages_that_repeat_the_version_agree() -> None:
    released = xpnet.__version__.removesuffix(".dev0")
    citation = re.search(r"^version: (\S+)$", text("CITATION.cff"), flags=re.MULTILINE)
    recipe = re.search(r'^  version: "(\S+)"$', text(".ci/conda/recipe.yaml"), flags=re.MULTILINE)
    newest = re.search(r"^## (\S+)", text("CHANGELOG.md"), flags=re.MULTILINE)
    assert [match and match[1] for match in (citation, recipe, newest)] == [released] * 3


def test_the_recipe_for_conda_has_the_bounds_of_the_package() -> None:
    """All but Numba's, which a marker of the package divides by platform."""
    project = tomllib.loads(text("pyproject.toml"))["project"]
    wanted = {d.partition(";")[0].strip() for d in project["dependencies"]}
    listed = re.findall(r"^    - (\S+) (\S+)$", text(".ci/conda/recipe.yaml"), flags=re.MULTILINE)
    bounds = {name + bound for name, bound in listed}
    assert {bound for bound in wanted if not bound.startswith("numba")} <= bounds


def test_the_recipe_for_conda_has_the_python_and_the_addresses_of_the_package() -> None:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    recipe = text(".ci/conda/recipe.yaml")
    assert f'python_min: "{project["requires-python"].removeprefix(">=")}"' in recipe
    addresses = dict(re.findall(r"^  (\w+): (https://\S+)$", recipe, flags=re.MULTILINE))
    names = {"homepage": "Homepage", "repository": "Source", "documentation": "Documentation"}
    assert addresses == {name: project["urls"][url] for name, url in names.items()}


@pytest.mark.parametrize(
    ("system", "machine", "python", "bound"),
    [
        ("Linux", "x86_64", "3.15", ">=0.62"),
        ("Linux", "aarch64", "3.11", ">=0.62"),
        ("Linux", "riscv64", "3.13", None),
        ("Windows", "AMD64", "3.15", ">=0.62"),
        ("Windows", "ARM64", "3.11", None),
        ("Windows", "ARM64", "3.12", ">=0.68"),
        ("Windows", "ARM64", "3.14", ">=0.68"),
        ("Windows", "ARM64", "3.15", None),
        ("Darwin", "arm64", "3.15", ">=0.62"),
        ("Darwin", "x86_64", "3.13", "<0.63,>=0.62"),
        ("Darwin", "x86_64", "3.14", None),
        ("Emscripten", "wasm32", "3.13", None),
    ],
)
def test_numba_is_required_where_it_has_wheels(
    system: str, machine: str, python: str, bound: str | None
) -> None:
    environment = {
        "platform_system": system,
        "platform_machine": machine,
        "python_version": python,
    }
    project = tomllib.loads(text("pyproject.toml"))["project"]
    requirements = [Requirement(dependency) for dependency in project["dependencies"]]
    numba = [
        str(requirement.specifier)
        for requirement in requirements
        if requirement.name == "numba"
        and (requirement.marker is None or requirement.marker.evaluate(environment))
    ]
    assert numba == ([] if bound is None else [bound])


def test_fragments_of_the_changelog_have_a_topic_and_a_text() -> None:
    topics = {
        topic["directory"]
        for topic in tomllib.loads(text("pyproject.toml"))["tool"]["towncrier"]["type"]
    }
    for fragment in sorted((ROOT / "changes").glob("*.md")):
        name, topic, _ = fragment.name.rsplit(".", 2)
        assert re.fullmatch(r"\+[a-z0-9-]+", name) and topic in topics, fragment.name
        assert fragment.read_text(encoding="utf-8").strip()


def test_fragments_become_paragraphs_of_the_section_to_come(tmp_path: Path) -> None:
    pytest.importorskip("towncrier", reason="builds the changelog; in the group 'test'")
    for name in ("pyproject.toml", "CHANGELOG.md"):
        (tmp_path / name).write_text(text(name), encoding="utf-8")
    changes = tmp_path / "changes"
    changes.mkdir()
    (changes / "template.md.jinja").write_text(text("changes/template.md.jinja"), encoding="utf-8")
    (changes / "+one.speed.md").write_text("A fit\nis faster.\n")
    (changes / "+two.speed.md").write_text("So is a prediction.\n")
    (changes / "+other.files.md").write_text("Files are smaller.\n")
    command = [sys.executable, "-m", "towncrier", "build", "--yes", "--version", "0.1.0"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    marker = "<!-- make changelog adds here -->\n"
    above, below = text("CHANGELOG.md").split(marker)
    after = (tmp_path / "CHANGELOG.md").read_text(encoding="utf-8")
    assert after.startswith(above + marker) and after.endswith(below)
    added = after.removeprefix(above + marker).removesuffix(below)
    expected = ["**Speed.** A fit is faster. So is a prediction.", "**Files.** Files are smaller."]
    assert added.strip().split("\n\n") == expected
    assert sorted(path.name for path in changes.iterdir()) == ["template.md.jinja"]


def test_an_excluded_version_has_its_reason() -> None:
    lines = text("pyproject.toml").splitlines()
    assert [line for line in lines if re.search(r'^ *"[^"]*!=', line) and "#" not in line] == []
