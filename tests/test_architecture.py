"""The direction of imports, and what each room may do, read from the source with ``ast``."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeGuard

from scipy import sparse
from scipy.sparse.csgraph import connected_components

ROOT = Path(__file__).parents[1]
ROOMS = [
    {"ops"},
    {"backend"},
    {"dispatch"},
    {"layers", "optimizers"},
    {"steps", "data"},
    {"training"},
    {"distributed"},
    {"models", "gradcheck", "functional"},
    {"learning"},
    {"estimators", "tabular"},
    {"modelfile"},
    {"cli", "dask", "mlflow"},
]
"""Rooms from the bottom up; a room may import from lower floors and from its own floor."""
ROOM_NAMES = set().union(*ROOMS)

SEPARATE = {"layers", "optimizers", "estimators", "tabular"}
"""Rooms that must not import the other rooms of their floor."""
OPEN_TO_ALL = {"errors", "typing"}
BACKENDS_MAY_IMPORT = {"backend", "ops", "steps", "errors", "typing"}
ENVIRONMENT = ("os.environ", "os.getenv", "environ", "getenv")
FILE_ROOMS = {"data", "modelfile", "cli"}
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
PRINTING_ROOMS = {"cli"}
PRINTERS = {"print", "echo", "secho"}
WITHOUT_NUMPY = ("xpnet/ops/", "xpnet/layers/", "xpnet/optimizers/", "xpnet/steps/reference.py")

NAMES_WITHOUT_AND_WITH_DASK = {"MLPClassifier", "MLPRegressor"}
"""Class names that `xpnet.estimators` and `xpnet.dask` share on purpose."""

MAX_FILES = 15
"""Maximum number of files in a folder of `SMALL_FOLDERS`."""

SMALL_FOLDERS = ("xpnet/cli", "xpnet/data", "xpnet/estimators", "xpnet/learning", "xpnet/tabular")
"""Rooms whose folders have few files each."""

WITHOUT_PRIVATE_NAMES = (
    "cli",
    "data",
    "estimators",
    "layers",
    "modelfile",
    "ops",
    "optimizers",
    "snapshots",
    "tabular",
)
"""Folders of tests that use names without a leading underscore alone."""

UNDERSCORED_BY_OTHERS = {"_optimizer", "_replace", "_repr_html_"}
"""Names that scikit-learn, NamedTuple and Jupyter have given."""

ROOTS_OF_ESTIMATORS = {"EstimatorParameters", "TabularParameters", "HoldsFit", "FittedAttributes"}
"""Base classes of all estimators with networks."""

FUNCTIONS_OF_FITTED_ESTIMATORS = {
    "xpnet/estimators/views/display.py: LossCurveDisplay.from_estimator",
    "xpnet/estimators/views/inspection.py: expected_gradients",
    "xpnet/learning/fitted/record.py: FittedAttribute.__get__",
    "xpnet/learning/fitted/record.py: FittedAttribute.__set__",
}
"""Functions that take an estimator: scikit-learn's displays, which users call with one, and the
descriptor of its attributes.
"""

MAX_USES_OF_ANY = 475
"""Maximum number of times that xpnet and the backends say ``Any``. It may only shrink."""


# ---- reading the source --------------------------------------------------------------------


def sources(folder: str) -> list[Path]:
    """Python files under a folder of the project."""
    return sorted((ROOT / folder).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes(path: Path, *, with_typing: bool = False) -> list[ast.AST]:
    """All nodes of a file that run, and with ``with_typing`` those under ``if TYPE_CHECKING``."""
    typing_only = {
        id(inner)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    return [node for node in ast.walk(tree(path)) if with_typing or id(node) not in typing_only]


@cache
def exports() -> dict[str, str]:
    """Where the names that ``xpnet/__init__.py`` exports are defined: save -> xpnet.modelfile.save.

    The imports of that file say it, those of the lazy table under ``TYPE_CHECKING`` included.
    """
    names = {}
    for node in ast.walk(tree(ROOT / "xpnet/__init__.py")):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "xpnet":
            names |= {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def resolved(module: str) -> str:
    """The full name of what ``xpnet.NAME`` means; other names as they are."""
    package, _, name = module.partition(".")
    first, _, remainder = name.partition(".")
    if package != "xpnet" or first not in exports():
        return module
    return ".".join(filter(None, (exports()[first], remainder)))


@cache
def imports(path: Path, *, with_typing: bool = False) -> list[str]:
    """Full names of what a file imports, the names that it takes from the package xpnet included.

    A name is imported by a statement, by ``import_module`` with a literal name, or as
    ``xpnet.NAME`` after ``import xpnet``; with ``with_typing`` also for types alone.
    """
    modules, aliases = [], set()
    for node in nodes(path, with_typing=with_typing):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
            aliases |= {a.asname or a.name for a in node.names if a.name == "xpnet"}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relative to itself"
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            literals = [a.value for a in node.args if isinstance(a, ast.Constant)]
            modules += [value for value in literals if isinstance(value, str)]
    modules += [f"xpnet.{name}" for name in attributes(path, aliases)]
    return [resolved(module) for module in modules]


def attributes(path: Path, aliases: set[str]) -> list[str]:
    """Attributes that a file reads from the names ``aliases``."""
    return [
        node.attr
        for node in nodes(path)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in aliases
    ]


def names(path: Path) -> Iterator[str]:
    """Names and dotted names that a file uses."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Name | ast.Attribute):
            yield ast.unparse(node)


def calls(path: Path) -> Iterator[str]:
    """What a file calls, as it is written there."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def room(module: str) -> str:
    """``layers`` for ``xpnet.layers.affine``; "" for ``xpnet`` itself and for other packages."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "xpnet" else ""


def room_of(path: Path) -> str:
    """The room that a file of ``xpnet/`` lies in."""
    return path.relative_to(ROOT / "xpnet").parts[0].removesuffix(".py")


def files_of(room_name: str) -> list[Path]:
    """The files of a room."""
    return [path for path in sources("xpnet") if room_of(path) == room_name]


def floor(name: str) -> int | None:
    """Index of a room's floor, 0 for the lowest; None for what is no room."""
    return next((level for level, rooms in enumerate(ROOMS) if name in rooms), None)


def shown(path: Path) -> str:
    """A path as it is named in a complaint."""
    return path.relative_to(ROOT).as_posix()


# ---- directions of imports -----------------------------------------------------------------


def upward_imports(room_name: str) -> list[str]:
    """Imports of a room that lead to a higher floor, or to a room that it must not know; those for
    types alone count, too.
    """
    complaints, level = [], floor(room_name)
    for path in files_of(room_name):
        for module in imports(path, with_typing=True):
            other = floor(room(module))
            if other is None or room(module) == room_name:
                continue
            if other > level or (other == level and room_name in SEPARATE):
                complaints.append(f"{shown(path)} imports {module}")
    return complaints


def test_the_rooms_are_those_of_the_source() -> None:
    without_room = {"__init__", "__main__"} | OPEN_TO_ALL
    assert {room_of(path) for path in sources("xpnet")} - without_room == ROOM_NAMES


def test_imports_point_down() -> None:
    assert [line for name in sorted(ROOM_NAMES) for line in upward_imports(name)] == []


def test_backends_import_the_contract_only() -> None:
    complaints = [
        f"{shown(path)} imports {module}"
        for path in sources("backends")
        for module in imports(path)
        if module.split(".")[0] == "xpnet" and room(module) not in BACKENDS_MAY_IMPORT
    ]
    assert complaints == []


def test_no_two_rooms_import_each_other() -> None:
    arrows = {
        (room_of(path), room(module))
        for path in sources("xpnet")
        for module in imports(path)
        if room(module) in ROOM_NAMES
    }
    assert [(a, b) for a, b in arrows if a < b and (b, a) in arrows] == []


def test_the_library_imports_neither_its_backends_nor_its_benchmarks() -> None:
    packages = {path.relative_to(ROOT / "backends").parts[0] for path in sources("backends")}
    assert "xpnet_numba" in packages
    complaints = [
        f"{shown(path)} imports {module}"
        for path in sources("xpnet")
        for module in imports(path)
        if module.split(".")[0] in packages | {"xpnet_bench"}
    ]
    assert complaints == []


def test_a_folder_has_at_most_fifteen_files() -> None:
    paths = [path for room in SMALL_FOLDERS for path in (ROOT / room, *(ROOT / room).rglob("*"))]
    folders = [path for path in paths if path.is_dir()]
    assert len(folders) > 2 * len(SMALL_FOLDERS)
    counts = {shown(folder): len(list(folder.glob("*.py"))) for folder in folders}
    assert {name: count for name, count in counts.items() if count > MAX_FILES} == {}


def files_without_a_line(folder: Path) -> list[str]:
    """Names of the files of a folder that its map does not explain; none without a map.

    The map is the docstring of the folder's ``__init__``, if it names one of the files.
    """
    parts = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}
    parts |= {path.parent.name for path in folder.glob("*/__init__.py")}
    text = ast.get_docstring(tree(folder / "__init__.py")) or ""
    named = set(re.findall(r"``(\w+)``", text))
    entries = set(re.findall(r"^``(\w+)``  +", text, re.MULTILINE))
    if not parts & named:
        return []
    return sorted(parts - named) + sorted(f"{name}, which is none" for name in entries - parts)


def test_the_map_of_a_folder_explains_each_of_its_files() -> None:
    folders = [path.parent for path in sources("xpnet") if path.name == "__init__.py"]
    maps = {shown(folder): files_without_a_line(folder) for folder in folders[1:]}
    assert {name: files for name, files in maps.items() if files} == {}


def test_a_map_that_misses_a_file_or_has_another_one_is_seen(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text(
        '"""A room.\n\n``a``     one file\n``gone``  no file\n"""'
    )
    for name in "ab":
        (tmp_path / f"{name}.py").touch()
    assert files_without_a_line(tmp_path) == ["b", "gone, which is none"]


# ---- circles of files ----------------------------------------------------------------------


def module_of(path: Path, folder: str) -> str:
    """The module that a file is, under a folder of packages."""
    parts = path.relative_to(ROOT / folder).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def circles(paths: list[Path], folder: str = "") -> list[list[str]]:
    """Groups of files that import one another, directly or through others, also inside functions
    and for types alone.
    """
    modules = [module_of(path, folder) for path in paths]
    index = {module: k for k, module in enumerate(modules)}
    arrows = sparse.lil_array((len(paths), len(paths)), dtype=bool)
    for k, path in enumerate(paths):
        for module in imports(path, with_typing=True):
            target = index.get(module, index.get(module.rpartition(".")[0]))
            if target is not None and target != k:
                arrows[k, target] = True
    count, labels = connected_components(arrows.tocsr(), connection="strong")
    groups = [[modules[k] for k in (labels == label).nonzero()[0]] for label in range(count)]
    return [group for group in groups if len(group) > 1]


def test_no_files_of_a_room_import_one_another() -> None:
    assert [group for name in sorted(ROOM_NAMES) for group in circles(files_of(name))] == []


def test_no_files_of_backends_and_benchmarks_import_one_another() -> None:
    assert circles(sources("backends"), "backends") == []
    assert circles(sources("bench/xpnet_bench"), "bench") == []


# ---- what happens in one room only ---------------------------------------------------------


def test_the_mathematics_receives_its_namespace() -> None:
    paths = [path for path in sources("xpnet") if shown(path).startswith(WITHOUT_NUMPY)]
    assert paths
    assert [(p.name, m) for p in paths for m in imports(p) if m.split(".")[0] == "numpy"] == []


def test_the_environment_is_read_where_backends_ranks_and_threads_are_chosen() -> None:
    paths = [path for path in sources("xpnet") if any(name in ENVIRONMENT for name in names(path))]
    assert {room_of(path) for path in paths} == {"dispatch", "distributed", "backend"}
    assert [path.name for path in paths if room_of(path) == "backend"] == [
        "precision.py",
        "threads.py",
    ]


def test_printing_happens_in_the_command_line_only() -> None:
    """Elsewhere ``print`` is only the default of a parameter called
    ``sink``, and is never called; but for the log of fits, whose lines
    are printed where a program has not set up logging.
    """
    paths = [path for path in sources("xpnet") if path.parts[-2:] != ("training", "log.py")]
    rooms = {
        room_of(path) for path in paths for name in calls(path) if name.split(".")[-1] in PRINTERS
    }
    assert rooms == PRINTING_ROOMS
    for path in paths:
        if room_of(path) not in PRINTING_ROOMS:
            mentions = sum(name == "print" for name in names(path))
            assert mentions == defaults(path).count(("sink", "print")), path


def test_files_are_opened_in_their_rooms_only() -> None:
    paths = [
        path
        for path in sources("xpnet")
        if any(name.split(".")[-1] in OPENERS for name in calls(path))
    ]
    assert {room_of(path) for path in paths} == FILE_ROOMS


def defaults(path: Path) -> list[tuple[str, str]]:
    """Name and default of all parameters in a file that have one, as they are written there."""
    pairs = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            positional = [*node.args.posonlyargs, *node.args.args]
            with_default = positional[len(positional) - len(node.args.defaults) :]
            pairs += zip(with_default, node.args.defaults, strict=True)
            pairs += zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return [(name.arg, ast.unparse(default)) for name, default in pairs if default is not None]


# ---- names and records ---------------------------------------------------------------------


def test_no_class_name_is_defined_twice() -> None:
    defined: dict[str, list[str]] = {}
    for path in sources("xpnet") + sources("backends"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                defined.setdefault(node.name, []).append(shown(path))
    twice = {name: paths for name, paths in defined.items() if len(paths) > 1}
    assert twice.keys() == NAMES_WITHOUT_AND_WITH_DASK, twice


def test_no_record_is_a_bare_tuple() -> None:
    """A tuple with a name, or of four values or more, whose values are of several types, is a
    record.
    """
    complaints = [
        f"{shown(path)}: {name}"
        for path in sources("xpnet") + sources("backends")
        for name in tuple_records(path)
    ]
    assert complaints == []


def tuple_records(path: Path) -> Iterator[str]:
    """Names of aliases and functions of a file whose value is a record in a tuple."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Assign) and mixed_types(node.value) >= 2:
            yield ast.unparse(node.targets[0])
        elif isinstance(node, ast.AnnAssign) and node.value and mixed_types(node.value) >= 2:
            yield ast.unparse(node.target)
        elif isinstance(node, ast.FunctionDef) and node.returns and mixed_types(node.returns) >= 4:
            yield node.name


def mixed_types(annotation: ast.expr) -> int:
    """The number of values of ``tuple[A, B, ...]`` where their types differ, else 0."""
    if not (isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "tuple"):
        return 0
    types = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else []
    texts = [ast.unparse(type_) for type_ in types]
    return len(texts) if len(set(texts)) > 1 and "..." not in texts else 0


def estimator_classes(paths: list[Path]) -> set[str]:
    """Names of the classes of estimators with networks, and of their base classes."""
    bases = {
        node.name: {ast.unparse(base).partition("[")[0] for base in node.bases}
        for path in paths
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
    }
    classes = set(ROOTS_OF_ESTIMATORS)
    while more := {name for name, own in bases.items() if own & classes} - classes:
        classes |= more
    return classes


def functions(module: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions of a module with the names of their classes; "" for those of no class."""
    methods = {
        id(node): owner.name
        for owner in ast.walk(module)
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
    }
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef):
            yield methods.get(id(node), ""), node


def takes_one_of(function: ast.FunctionDef, classes: set[str]) -> bool:
    """Whether the type of a parameter names one of these classes."""
    arguments = function.args
    annotations = [
        argument.annotation
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        if argument.annotation is not None
    ]
    words = {word for each in annotations for word in re.findall(r"\w+", ast.unparse(each))}
    return not words.isdisjoint(classes)


def test_no_function_beside_an_estimators_methods_takes_the_estimator() -> None:
    """A fit takes settings, rows and targets, whose types say what each function needs."""
    paths = [path for name in ("learning", "estimators", "tabular") for path in files_of(name)]
    classes = estimator_classes(paths)
    assert {"MLPClassifier", "TabularRegressor"} <= classes
    found = {
        f"{shown(path)}: {'.'.join(filter(None, (owner, function.name)))}"
        for path in paths
        for owner, function in functions(tree(path))
        if owner not in classes and takes_one_of(function, classes)
    }
    assert found == FUNCTIONS_OF_FITTED_ESTIMATORS


# ---- tests and private names ----------------------------------------------------------------


def private_names(path: Path) -> Iterator[str]:
    """Names with a leading underscore that a file imports, takes from an object, or replaces."""
    for node in nodes(path, with_typing=True):
        named: list[str] = []
        if isinstance(node, ast.Attribute) and not is_self(node.value):
            named = [node.attr]
        elif isinstance(node, ast.ImportFrom):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "setattr":
            named = [str(arg.value).rpartition(".")[2] for arg in node.args[:2] if is_text(arg)]
        yield from (name for name in named if re.match("_[a-z]", name))


def is_self(node: ast.expr) -> bool:
    """Whether an expression is the object of the method that it stands in."""
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def is_text(node: ast.expr) -> TypeGuard[ast.Constant]:
    """Whether an expression is a text as it stands."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_tests_use_no_private_names() -> None:
    found = {
        f"{shown(path)}: {name}"
        for folder in WITHOUT_PRIVATE_NAMES
        for path in sources(f"tests/{folder}")
        for name in private_names(path)
        if name not in UNDERSCORED_BY_OTHERS
    }
    assert found == set()


def test_each_way_to_a_private_name_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "test_something.py"
    path.write_text(
        "from xpnet.a import _imported\n"
        "model._taken()\n"
        "patch.setattr(module, '_replaced', 0)\n"
        "patch.setattr('xpnet.a._named', 0)\n"
        "self._own, left_.out, __name__\n",
        encoding="utf-8",
    )
    assert sorted(private_names(path)) == ["_imported", "_named", "_replaced", "_taken"]


# ---- pages that name the rooms -------------------------------------------------------------


def test_the_page_on_architecture_names_the_rooms_from_the_top_down() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \|",
        (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    floors = [floor(row) for row in rows]
    assert sorted(rows) == sorted(ROOM_NAMES)
    assert floors == sorted(floors, reverse=True)


def test_the_page_on_architecture_names_the_packages_of_backends() -> None:
    packages = {path.relative_to(ROOT / "backends").parts[0] for path in sources("backends")}
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert [name for name in sorted(packages) if f"`{name}`" not in text] == []


def test_any_is_said_no_more_often_than_before() -> None:
    paths = [*sources("xpnet"), *sources("backends")]
    uses = sum(len(re.findall(r"\bAny\b", path.read_text(encoding="utf-8"))) for path in paths)
    assert uses <= MAX_USES_OF_ANY
