"""The public names: all that the rooms list, nothing beside them, each with a type that a checker
sees.
"""

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import mypy.api
import pytest
from helpers.public_rooms import NAMED, ROOMS

import xpnet

ROOT = Path(__file__).parents[1]


def test_rooms_are_known() -> None:
    rooms = ["backend", "gradcheck", "layers", "modelfile", "ops", "optimizers", "training"]
    assert ROOMS == ["xpnet", *(f"xpnet.{room}" for room in rooms), *NAMED]
    assert all(f"``{room}``" in (xpnet.__doc__ or "") for room in NAMED)


@pytest.mark.parametrize("room", ROOMS)
def test_every_listed_name_exists_once(room: str) -> None:
    module = import_module(room)
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_dir_shows_the_public_names_alone() -> None:
    assert set(dir(xpnet)) == {*xpnet.__all__, "__version__"}


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="'xpnet' has no attribute 'softmin'"):
        xpnet.softmin  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.exhaustive
def test_types_of_public_names(tmp_path: Path) -> None:
    names = [f"{room}.{name}" for room in ROOMS for name in import_module(room).__all__]
    file = tmp_path / "names.py"
    imported = f"import {', '.join(ROOMS)}\n"
    file.write_text(imported + "".join(f"reveal_type({name})\n" for name in names))
    revealed = dict(zip(names, re.findall(r'Revealed type is "(.*)"', check(file)), strict=True))
    assert [name for name, kind in revealed.items() if kind == "Any"] == []


@pytest.mark.exhaustive
def test_typing_tests() -> None:
    assert "Success" in check(*sorted((ROOT / "tests/typing_tests").glob("*.py")))


def check(*files: Path) -> str:
    """What mypy prints of these files."""
    settings = [
        "--config-file",
        str(ROOT / "pyproject.toml"),
        "--cache-dir",
        str(ROOT / ".mypy_cache"),
    ]
    printed, errors, _ = mypy.api.run([*settings, *map(str, files)])
    assert not errors, errors
    return printed


@pytest.mark.repository
@pytest.mark.parametrize("room", ["xpnet", "xpnet.optimizers", "xpnet.training", "xpnet.layers"])
def test_the_api_reference_lists_every_name(room: str) -> None:
    index = (ROOT / "docs/api/index.md").read_text()
    listed = set(re.findall(r"^   (\w+)$", index, re.MULTILINE))
    module = import_module(room)
    names = {name for name in module.__all__ if not isinstance(getattr(module, name), ModuleType)}
    # Dictionaries have no entry of their own: the text of a page names them.
    text = (ROOT / "docs/api/estimators.md").read_text()
    assert {name for name in names - listed if f"`{room}.{name}`" not in text} == set()


@pytest.mark.repository
def test_pages_of_users_import_public_names_alone() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.py")]
    modules = {
        f"{page.relative_to(ROOT)}: {module}"
        for page in pages
        if not {"contributing", "design"} & set(page.parts)
        for module in re.findall(r"(?:from|import) (xpnet(?:\.\w+)*)\b", page.read_text())
        if module not in ROOMS
    }
    assert modules == set()
