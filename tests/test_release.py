"""The version is written once, and what repeats it agrees."""

import re
import tomllib
from pathlib import Path

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


def test_an_excluded_version_has_its_reason() -> None:
    lines = text("pyproject.toml").splitlines()
    assert [line for line in lines if re.search(r'^ *"[^"]*!=', line) and "#" not in line] == []
