"""The wheel: what is in it, and nothing else."""

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names of the files in a freshly built wheel."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip(
            "hatchling, which builds the wheel, is not installed (it is in the group 'test')"
        )
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built).namelist()


def test_every_name_begins_with_xpnet(wheel: list[str]) -> None:
    assert {name.split("/")[0] for name in wheel if not name.startswith("xpnet")} == set()


def test_library_backends_and_types_are_in_it(wheel: list[str]) -> None:
    for package in ("xpnet", "xpnet_numpy", "xpnet_numba", "xpnet_cupy"):
        assert f"{package}/__init__.py" in wheel
        assert f"{package}/py.typed" in wheel


def test_every_source_file_is_in_it(wheel: list[str]) -> None:
    sources = [path.relative_to(ROOT).as_posix() for path in (ROOT / "xpnet").rglob("*.py")]
    sources += [
        path.relative_to(ROOT / "backends").as_posix() for path in (ROOT / "backends").rglob("*.py")
    ]
    assert sorted(set(sources) - set(wheel)) == []


def test_no_tests_no_notes_no_caches(wheel: list[str]) -> None:
    stray = [
        name
        for name in wheel
        if name.endswith((".md", ".pyc", ".nbi", ".nbc")) or "test" in name.split("/")[0]
    ]
    assert [name for name in stray if ".dist-info/" not in name] == []
