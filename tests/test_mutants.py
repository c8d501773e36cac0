"""``make mutants`` leaves out what changes no behaviour, and its lists name what is in the tree."""

import ast
from pathlib import Path
from typing import Any

import pytest
from helpers.cases import each_case
from helpers.scripts import script_of_ci

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> Any:
    """The script as a module."""
    return script_of_ci("mutants")


SOURCE = """
def f(a: int | None, *, b: float = 1.5) -> list | None:
    é = {**a, "x": b * 2}  # é is two bytes
    assert a > 3
    if a < 4:
        raise ValueError(f"{a + 5}")
    return [*zip(a, b + 6, strict=True)]
"""


@each_case(
    ("text", "operator", "matters"),
    [
        ("| None, *", "ReplaceBinaryOperator_BitOr_Add", False),
        ("*, b", "ReplaceBinaryOperator_Mul_Add", False),
        ("1.5)", "NumberReplacer", True),
        ("| None:", "ReplaceBinaryOperator_BitOr_Add", False),
        ("**a", "ReplaceBinaryOperator_Pow_Add", False),
        ("* 2", "ReplaceBinaryOperator_Mul_Add", True),
        ("2}", "NumberReplacer", True),
        ("> 3", "ReplaceComparisonOperator_Gt_Lt", False),
        ("< 4", "ReplaceComparisonOperator_Lt_Gt", True),
        ("+ 5", "ReplaceBinaryOperator_Add_Sub", False),
        ("+ 6", "ReplaceBinaryOperator_Add_Sub", True),
        ("True)", "ReplaceTrueWithFalse", False),
    ],
)
def test_what_changes_behaviour(script: Any, text: str, operator: str, matters: bool) -> None:
    offset = SOURCE.index(text)
    line = SOURCE[:offset].count("\n") + 1
    column = offset - (SOURCE.rfind("\n", 0, offset) + 1)
    change = script.Change("f.py", "f", operator, 0, (line, column))
    assert script.Places(SOURCE).matter(change) is matters


def test_a_sample_has_one_change_a_place(script: Any) -> None:
    changes = [script.Change("f.py", "", f"o{k % 5}", 0, (k // 5, 0)) for k in range(50)]
    sample = script.sample_of(changes, 6, 1)
    assert len({change.position for change in sample}) == len(sample) == 6
    assert sample == script.sample_of(changes, 6, 1) != script.sample_of(changes, 6, 2)
    assert len(script.sample_of(changes, 99, 1)) == 10


KERNEL = """template <class T, int N> struct A {};  // a + b
  for (long long k = 0; k < n && aligned(x); k++) sum += real(0.5) * x[k] - *y;
"""


def test_operators_of_kernels_are_changed_one_at_a_time(script: Any) -> None:
    changes = script.c_changes("a.cu", KERNEL)
    assert [change.operator for change in changes] == ["<", "&&", "+=", "*", "-"]
    changed = [script.changed_source(KERNEL, change).splitlines()[1] for change in changes]
    assert "k <= n && aligned(x)" in changed[0] and "k < n || aligned(x)" in changed[1]
    assert "sum -= real(0.5) * x[k] - *y" in changed[2]
    assert "sum += real(0.5) / x[k] - *y" in changed[3]
    assert "sum += real(0.5) * x[k] + *y" in changed[4]


def test_files_and_tests_of_rooms_are_there(script: Any) -> None:
    for tests_of in script.ROOMS.values():
        for file, tests in tests_of.items():
            assert all((ROOT / name).exists() for name in [file, *tests.split()])


def test_changes_that_nobody_can_see_are_of_lines_in_the_tree(script: Any) -> None:
    for key in script.equivalent_changes():
        source = (ROOT / key.file).read_text("utf-8")
        lines = {" ".join(line.split()) for line in source.splitlines()}
        assert key.before in lines, key
        tree = ast.parse(source if key.file.endswith(".py") else "")
        functions = {node.name for node in ast.walk(tree) if hasattr(node, "name")}
        assert key.function in functions | {""}, key
