"""The code that pages show without running it when they are built; each build runs every other
example.
"""

import importlib
import re
import runpy
from pathlib import Path
from typing import Any

import pandas
import pytest
from helpers.public_rooms import ROOMS
from numpydoc.xref import make_xref
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import xpnet

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
ON_RANKS = ["user_guide/distributed", "how_to/train_on_ray", "how_to/train_on_spark"]
RUN = [
    "getting_started.md",
    "how_to/move_weights_to_pytorch.md",
    "how_to/search_settings.md",
    "how_to/use_with_other_tools.md",
    "tutorials/array_libraries.md",
]


def blocks(page: str) -> list[str]:
    """The Python code of a page that is not a notebook's cell."""
    return BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))


def names() -> dict[str, Any]:
    """What the blocks take for granted."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X[:300], y[:300], random_state=0)
    split = {"X_train": X_train, "X_test": X_test, "y_train": y_train, "y_test": y_test}
    layer = {"inputs": X[:5], "weight": X[:64, :3], "bias": X[0, :3], "d_out": X[:5, :3]}
    model = xpnet.FeedforwardNeuralNet(64, 32, 10, rng=0)
    table = {
        "frame": pandas.DataFrame({"ink": X[:80, 20], "half": y[:80] // 5}),
        "labels": y[:80] % 2,
    }
    classifier = xpnet.MLPClassifier((8,), max_iter=3, random_state=0).fit(X[:300], y[:300])
    models = {"model": model, "classifier": classifier}
    return {"xpnet": xpnet, "X": X[:300], "y": y[:300], **models, **split, **layer, **table}


@pytest.mark.parametrize(
    ("page", "number"),
    [
        pytest.param(page, k, marks=pytest.mark.gpu if "import cupy" in block else [])
        for page in RUN
        for k, block in enumerate(blocks(page))
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:::(mlflow|optuna|shap|skrub|sqlalchemy|pydantic|alembic)")
def test_a_block_runs(
    page: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = blocks(page)[number].replace('device="cuda"', 'device="cpu"')
    for module in re.findall(r"^import (\w+)", code, re.M):
        pytest.importorskip(module, reason=f"{module} is used on a page")
    monkeypatch.chdir(tmp_path)  # MLflow writes a database
    exec(code, names())


def test_every_page_with_such_code_is_run_here_or_elsewhere() -> None:
    """The pages on several processes are run by the tests of the ranks, recipes by
    tests/test_contributing.py.
    """
    shown = {
        page.relative_to(DOCS).as_posix()
        for page in DOCS.rglob("*.md")
        if blocks(page.relative_to(DOCS).as_posix())
    }
    run_elsewhere = {
        page
        for page in shown
        if page.startswith(("_build", "auto_gallery", "api/generated", "contributing/"))
    }
    assert shown - run_elsewhere - set(RUN) <= {f"{page}.md" for page in ON_RANKS}


@pytest.mark.parametrize(
    "room", [room for room in ROOMS if room != "xpnet.ops"]
)  # whose docstrings are its pages
def test_the_reference_lists_every_public_name(room: str) -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    module = importlib.import_module(room)
    names = [name for name in module.__all__ if callable(getattr(module, name))]
    assert [name for name in names if not re.search(rf"^   {name}$", pages, re.M)] == []


@pytest.mark.parametrize(
    ("words", "marked"),
    [
        ("str or Backend, optional", "str or :obj:`Backend <xpnet.backend.Backend>`, optional"),
        ("MLPClassifier", ":obj:`MLPClassifier <xpnet.MLPClassifier>`"),
        ("numpy.random.Generator or None", ":obj:`numpy.random.Generator` or None"),
        ("xpnet.backend.Operations", ":obj:`xpnet.backend.Operations`"),
        ("dict of str to JSON values", "dict of str to JSON values"),
    ],
)
def test_types_are_links_and_words_are_words(words: str, marked: str) -> None:
    settings = runpy.run_path(str(DOCS / "conf.py"))
    aliases = settings["numpydoc_xref_aliases"]
    assert make_xref(words, aliases, settings["numpydoc_xref_ignore"]) == marked


def test_a_page_shows_the_tables_of_a_suite_where_they_were_measured(tmp_path: Path) -> None:
    show_results = runpy.run_path(str(DOCS / "conf.py"))["show_results"]
    page = ["One.\n\n<!-- results: feel -->\n\nTwo."]
    show_results(None, "page", page, tmp_path)
    assert page == ["One.\n\n\n\nTwo."]
    (tmp_path / "feel").mkdir()
    tables = "### Feel\n\n| a |\n\n### Feel: besides\n\n| b |\n"
    report = f"# A\n\n## What\n\nText.\n\n{tables}\n## Left out\n"
    (tmp_path / "feel" / "report.md").write_text(report)
    page = ["One.\n\n<!-- results: feel -->\n\nTwo."]
    show_results(None, "page", page, tmp_path)
    assert page == ["One.\n\n### Feel\n\n| a |\n\n### Feel: besides\n\n| b |\n\nTwo."]


def test_what_examples_print_is_kept_until_the_sources_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XPNET_DOCS_CACHE", str(tmp_path / "kept"))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "conf.py").write_bytes((DOCS / "conf.py").read_bytes())
    (tmp_path / "xpnet").mkdir()

    def folder(source: str) -> Path:
        (tmp_path / "xpnet" / "one.py").write_text(source)
        return runpy.run_path(str(tmp_path / "docs" / "conf.py"))["examples_cache"]()

    first = folder("a = 1\n")
    assert first.parent == tmp_path / "kept"
    assert folder("a = 2\n") != first
    assert folder("a = 1\n") == first


def test_examples_of_inherited_methods_run_with_the_class_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = runpy.run_path(str(DOCS / "conf.py"))
    shown = (getattr(xpnet.LogisticRegression, name).__doc__ for name in ("save", "export_onnx"))
    assert all(settings["INHERITED_EXAMPLE"] in docstring for docstring in shown)
    monkeypatch.chdir(tmp_path)
    for name, example in settings["EXAMPLE_OF_CLASS"].items():
        model = eval(example)
        assert type(model).__name__ == name
        model.save("model")
        lines = [f">>> {settings['INHERITED_EXAMPLE']}.save('model')"]
        settings["use_own_class"](None, "method", f"xpnet.{name}.save", None, None, lines)
        assert lines == [f">>> {example}.save('model')"]


def test_the_first_page_of_the_reference_lists_what_the_others_list() -> None:
    """The first page of the reference repeats the lists of the other pages."""

    def listed(page: Path) -> set[str]:
        names = set()
        for block in re.split(r"^\.\. currentmodule:: ", page.read_text("utf-8"), flags=re.M)[1:]:
            module, _, text = block.partition("\n")
            names |= {f"{module}.{name}" for name in re.findall(r"^   (\w+)$", text, re.M)}
        return names

    first = DOCS / "api" / "index.md"
    others = [page for page in (DOCS / "api").glob("*.md") if page != first]
    assert listed(first) == set().union(*map(listed, others))
