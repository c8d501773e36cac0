"""``make test-changed`` knows the tests of each folder, and of what the tests themselves use."""

from pathlib import Path
from typing import Any

import pytest
from helpers.scripts import script_of_ci

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> Any:
    """The script as a module."""
    return script_of_ci("test-changed")


def test_each_folder_has_tests_that_exist(script: Any) -> None:
    parts = [path for top in ("xpnet", "backends") for path in (ROOT / top).iterdir()]
    names = {
        path.relative_to(ROOT).as_posix()
        for path in parts
        if path.name not in ("__pycache__", "py.typed")
    }
    assert names <= set(script.FOLDERS)
    tests = {test for tests in script.FOLDERS.values() for test in tests}
    assert [test for test in sorted(tests) if not (ROOT / test).exists()] == []


@pytest.mark.parametrize(
    ("file", "tests"),
    [
        ("xpnet/dispatch/choose.py", {"tests/dispatch"}),
        ("tests/layers/test_layers.py", {"tests/layers/test_layers.py"}),
        ("tests/cli/conftest.py", {"tests/cli"}),
        ("tests/modelfile/corpus/a.safetensors", {"tests/modelfile"}),
        ("tests/helpers/ranks/threads_group.py", {"tests/estimators/test_ranks.py"}),
        ("tests/helpers/libraries.py", {"tests"}),
        ("LICENSE", set()),
    ],
)
def test_the_tests_of_a_changed_file(script: Any, file: str, tests: set[str]) -> None:
    selected = script.without_parts(script.tests_of(file))
    assert selected == tests or (tests and "helpers" in file and tests <= selected)
