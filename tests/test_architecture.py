"""The direction of imports, and which room may do what, read from the source with ``ast``."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = [
    {"ops"},
    {"backend"},
    {"dispatch"},
    {"distributed"},
    {"layers", "optimizers"},
    {"steps"},
    {"training"},
    {"models", "data", "gradcheck", "functional"},
    {"estimators"},
    {"tabular"},
    {"modelfile"},
    {"cli", "dask"},
]
"""From the ground up; a room may import from those before it and from those beside it."""
ROOM_NAMES = set().union(*ROOMS)

BESIDE = {"layers": set(), "optimizers": set()}
EVERYWHERE = {"errors"}
BACKENDS_MAY = {"backend", "ops", "errors"}
ENVIRONMENT = ("os.environ", "os.getenv", "environ", "getenv")
FILES = {"data", "modelfile", "cli"}
OPENERS = {
    "open",
    "read_text",
    "read_bytes",
    "write_text",
    "write_bytes",
    "fdopen",
    "memmap",
    "savetxt",
    "loadtxt",
}
PRINTING, PRINTERS = {"cli"}, {"print", "echo", "secho"}
NO_NUMPY = ("xpnet/ops/", "xpnet/layers/", "xpnet/optimizers.py", "xpnet/steps/reference.py")


def sources(folder: str) -> list[Path]:
    """Python files under a folder of the project."""
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Full names of what a file imports, by a statement or by ``import_module`` with a name that is written there.

    Names under ``if TYPE_CHECKING`` are left out: they are never imported.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relative to itself"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (
                a.value
                for a in node.args
                if isinstance(a, ast.Constant) and isinstance(a.value, str)
            )


def room(module: str) -> str:
    """``layers`` for ``xpnet.layers.affine``; "" for ``xpnet`` itself and for names it exports."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "xpnet" else ""


def room_of(path: Path) -> str:
    """The room a file of ``xpnet/`` lies in."""
    return path.relative_to(ROOT / "xpnet").parts[0].removesuffix(".py")


def floor(name: str) -> int | None:
    """How far from the ground a room lies; None for what is no room."""
    return next((level for level, names in enumerate(ROOMS) if name in names), None)


@pytest.mark.parametrize("path", sources("xpnet"), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_arrows_point_to_the_ground(path: Path) -> None:
    own = room_of(path)
    if own in ("__init__", "__main__") or own in EVERYWHERE:
        return
    here = floor(own)
    assert here is not None, f"{own} has no place in ROOMS"
    for module in imports(path):
        other = room(module)
        there = floor(other)
        if there is None or other == own:
            continue
        assert there <= here, f"{path.name} in {own} imports {module}"
        assert there < here or own not in BESIDE, f"{own} must not know {other}"


@pytest.mark.parametrize("path", sources("backends"), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_backends_know_the_contract_only(path: Path) -> None:
    for module in imports(path):
        if module.split(".")[0] == "xpnet":
            assert room(module) in BACKENDS_MAY, f"{path.name} imports {module}"


def test_no_two_rooms_import_each_other() -> None:
    arrows = {
        (room_of(path), room(module))
        for path in sources("xpnet")
        for module in imports(path)
        if room(module) in ROOM_NAMES
    }
    assert [(a, b) for a, b in arrows if a < b and (b, a) in arrows] == []


def test_core_names_no_backend() -> None:
    backends = {path.relative_to(ROOT / "backends").parts[0] for path in sources("backends")}
    assert "xpnet_numba" in backends
    found = [
        (path.name, m)
        for path in sources("xpnet")
        for m in imports(path)
        if m.split(".")[0] in backends
    ]
    assert found == []


def test_the_mathematics_receives_its_namespace() -> None:
    pure = [
        path for path in sources("xpnet") if path.relative_to(ROOT).as_posix().startswith(NO_NUMPY)
    ]
    assert pure
    assert [(p.name, m) for p in pure for m in imports(p) if m.split(".")[0] == "numpy"] == []


def test_the_environment_is_read_where_backends_and_ranks_are_chosen_and_for_threads_only() -> None:
    paths = [path for path in sources("xpnet") if any(name in ENVIRONMENT for name in names(path))]
    assert {room_of(path) for path in paths} == {"dispatch", "distributed", "backend"}
    assert [path.name for path in paths if room_of(path) == "backend"] == ["threads.py"]


def test_printing_happens_in_the_command_line_only() -> None:
    """Elsewhere ``print`` is only what a parameter called ``sink`` is by default, and never called."""
    found = [
        (path, name)
        for path in sources("xpnet")
        for name in calls(path)
        if name.split(".")[-1] in PRINTERS
    ]
    assert {room_of(path) for path, _ in found} == PRINTING
    for path in sources("xpnet"):
        if room_of(path) not in PRINTING:
            mentioned = sum(name == "print" for name in names(path))
            assert mentioned == sum(default == ("sink", "print") for default in defaults(path)), (
                path
            )


def test_files_are_opened_in_their_rooms_only() -> None:
    found = [
        path
        for path in sources("xpnet")
        if any(name.split(".")[-1] in OPENERS for name in calls(path))
    ]
    assert {room_of(path) for path in found} == FILES


def test_the_page_on_architecture_names_the_rooms_from_the_top_down() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \|",
        (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    floors = [ROOMS.index(next(names for names in ROOMS if row in names)) for row in rows]
    assert sorted(rows) == sorted(ROOM_NAMES)
    assert floors == sorted(floors, reverse=True)


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_the_pages_name_every_package_beside_xpnet(page: str) -> None:
    packages = {path.relative_to(ROOT / "backends").parts[0] for path in sources("backends")}
    assert [name for name in sorted(packages) if f"`{name}`" not in (ROOT / page).read_text()] == []


def names(path: Path) -> Iterator[str]:
    """Every name and dotted name a file uses."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name | ast.Attribute):
            yield ast.unparse(node)


def calls(path: Path) -> Iterator[str]:
    """What a file calls, as it is written there."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def defaults(path: Path) -> Iterator[tuple[str, str]]:
    """Every parameter with a default in a file, and the default, as it is written there."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            given = node.args
            plain = [*given.posonlyargs, *given.args]
            last = plain[len(plain) - len(given.defaults) :]
            pairs = [
                *zip(last, given.defaults, strict=True),
                *zip(given.kwonlyargs, given.kw_defaults, strict=True),
            ]
            yield from (
                (name.arg, ast.unparse(default)) for name, default in pairs if default is not None
            )
