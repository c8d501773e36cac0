"""Sphinx's settings for xpnet's documentation: `make docs` builds it, with warnings as errors."""

import hashlib
import os
import re
import sys
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from jinja2 import FileSystemBytecodeCache
from jinja2.sandbox import SandboxedEnvironment
from numpydoc import docscrape_sphinx
from numpydoc.xref import DEFAULT_LINKS
from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.parallel import make_chunks

# The kernels of the notebook pages log that they use TCP and that their end interrupts them: no
# reader needs that, and what a cell raises fails the build.
os.environ["JUPYTER_PATH"] = str(Path(__file__).parent / "_jupyter")
# numpydoc compiles its template for each docstring, which took a sixth of Sphinx's own time.
docscrape_sphinx.SandboxedEnvironment = partial(
    SandboxedEnvironment, bytecode_cache=FileSystemBytecodeCache()
)

# Types of other projects that docstrings name.
FOREIGN_TYPES = [
    "numpy.random.Generator",
    "numpy.random.RandomState",
    "sklearn.preprocessing.StandardScaler",
]


def documented_names() -> dict[str, str]:
    """Return the links of the types that docstrings name: those of the API's pages, and others."""
    links = {name: f":obj:`{name}`" for name in FOREIGN_TYPES}
    links |= {name.rpartition(".")[2]: name for name in FOREIGN_TYPES}
    for page in sorted((Path(__file__).parent / "api").glob("*.md")):
        for block in page.read_text("utf-8").split(".. currentmodule:: ")[1:]:
            module, _, names = block.partition("\n")
            for name in re.findall(r"^   ([A-Z]\w*)$", names, re.M):
                if name not in links or module == "xpnet":
                    links[name] = f"{module}.{name}"
                links[f"{module}.{name}"] = f":obj:`{module}.{name}`"
    return links


def examples_cache() -> Path:
    """Return the folder of what the pages' examples printed: one for the sources, the scripts that
    they show, and the versions that they ran with.

    XPNET_DOCS_CACHE names a folder outside of the repository, which a fresh clone finds again.
    """
    root = Path(__file__).parents[1]
    digest = hashlib.sha256(sys.version.encode())
    for folder in ("xpnet", "backends", "bench/xpnet_bench"):
        for file in sorted((root / folder).rglob("*.py")):
            digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    for package in ("numpy", "scipy", "scikit-learn", "numba", "pandas", "jax", "torch", "dask"):
        with suppress(PackageNotFoundError):
            digest.update(f"{package} {version_of(package)}".encode())
    kept = os.environ.get("XPNET_DOCS_CACHE")
    folder = Path(kept) if kept else root / "docs" / "_build" / "examples"
    return folder / digest.hexdigest()[:16]


def address_of(name: str) -> str:
    """Return an address of the project, as pyproject.toml names it."""
    addresses = [entry.partition(", ") for entry in metadata("xpnet").get_all("Project-URL") or []]
    return next(address for label, _, address in addresses if label == name)


project = "xpnet"
author = "The xpnet authors"
copyright = "The xpnet authors"  # noqa: A001 (the name Sphinx asks for)
version = release = version_of("xpnet")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "numpydoc",
    "myst_nb",
]
exclude_patterns = [
    "_build",
    "_jupyter",
    "gallery/README.rst",
    "auto_gallery/*.ipynb",
    "auto_gallery/*.py",
    "auto_gallery/*.md5",
]
root_doc = "index"
templates_path = ["_templates"]

# Pages. Notebooks are MyST text; every build runs them, and a cell that fails fails the build.
myst_enable_extensions = [
    "colon_fence",
    "deflist",
    "dollarmath",
    "amsmath",
    "attrs_inline",
    "attrs_block",
]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_cache_path = str(examples_cache())
nb_execution_timeout = 600  # seconds a cell; a machine may be busy
nb_execution_raise_on_error = True
nb_merge_streams = True

# The API's pages, from its docstrings.
# A name in single backticks is a link where it has a page.
default_role = "py:obj"
autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = True
# Python's own types are named without a link, which every parameter would have.
numpydoc_xref_aliases = {name: name for name in DEFAULT_LINKS} | documented_names()
numpydoc_xref_ignore = "all"  # words without an alias are words

# A name that has no page is a warning, and so an error, but for these.
nitpicky = True
nitpick_ignore_regex = [
    # Single backticks around a parameter, an attribute or a command.
    (r"py:obj", r"[^.]+"),
    # Methods and attributes: the page of a class lists inherited ones without a page of their own.
    (r"py:obj", r"(\w+\.)*[A-Z]\w*\.[a-z]\w*"),
    # Operations, dictionaries and modules, which pages describe in their text.
    (r"py:(obj|mod)", r"xpnet\.(ops\.\w+|[A-Z_]+|optimizers|training)"),
]

# `make links` asks every address of the pages, once a week. The project has no public host yet.
linkcheck_ignore = [
    r"https?://[\w.-]*\.example(/.*)?",
    r"https?://(localhost|127\.0\.0\.1)(:\d+)?(/.*)?",
]
linkcheck_anchors = False  # pages that a script fills have none
linkcheck_retries = 3
linkcheck_timeout = 30

# What the button at a block of shell text copies has no prompt.
copybutton_prompt_text = "$ "

# The gallery: scripts that draw, run at every build.
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": r"/plot_",
    "thumbnail_size": (640, 448),
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 3600,
    "show_signature": False,
    "write_computation_times": False,
    "parallel": True,
}

html_theme = "pydata_sphinx_theme"
html_title = f"xpnet {version}"
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["xpnet.css"]
html_search_scorer = str(Path(__file__).parent / "_static" / "scorer.js")
html_show_sourcelink = False
# Pages without pages below them need no column that lists such.
html_sidebars = {
    page: [] for page in ("index", "getting_started", "benchmarks", "changelog", "faq")
}
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    # Wide tables and charts have the width of the page.
    "secondary_sidebar_items": {"**": ["page-toc"], "benchmarks": []},
    "icon_links": [
        {"name": "Source", "url": address_of("Source"), "icon": "fa-solid fa-code-branch"},
    ],
}
# Where sites of several versions stand side by side, every page lists them; .ci/publish_site.py
# writes that list.
if address := os.environ.get("XPNET_DOCS_ADDRESS"):
    html_theme_options |= {
        "switcher": {"json_url": f"{address}/versions.json", "version_match": version},
        "check_switcher": False,
        "navbar_start": ["navbar-logo", "version-switcher"],
        "show_version_warning_banner": True,
    }

# Names of other projects are links to their pages. The inventories lie in the repository, so that a
# build needs no network, and a name that is in none of them fails the build.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", "_inventories/python.inv"),
    "numpy": ("https://numpy.org/doc/stable", "_inventories/numpy.inv"),
    "scipy": ("https://docs.scipy.org/doc/scipy", "_inventories/scipy.inv"),
    "sklearn": ("https://scikit-learn.org/stable", "_inventories/sklearn.inv"),
}


RESULTS = Path(__file__).parents[1] / "bench" / "results"
"""Folders with the reports of `xpnet bench`, as they were measured for this version."""


def show_results(app: Any, page: str, content: list[str], results: Path = RESULTS) -> None:
    """Replace ``<!-- results: NAME -->`` by the tables of that suite, if they were measured."""

    def tables(match: re.Match[str]) -> str:
        report = results / match[1] / "report.md"
        text = report.read_text("utf-8") if report.is_file() else ""
        found = re.search(rf"^### {match[1].capitalize()}$.*?(?=^## |\Z)", text, re.M | re.S)
        return found[0].strip() if found else ""

    content[0] = re.sub(r"<!-- results: (\w+) -->", tables, content[0])


# What the examples of inherited methods are made with, on the page of each class.
INHERITED_EXAMPLE = "xpnet.LogisticRegression(4, 3)"
FITTED_TABLE = "(quality=1).fit({'size': [1.5, 2.5] * 20}, [0, 1] * 20)"
EXAMPLE_OF_CLASS = {
    "FeedforwardNeuralNet": "xpnet.FeedforwardNeuralNet(4, 8, 3)",
    "MLPClassifier": "xpnet.MLPClassifier(max_iter=900).fit([[0.0], [1.0]], [0, 1])",
    "MLPRegressor": "xpnet.MLPRegressor(max_iter=900).fit([[0.0], [1.0]], [0.0, 1.0])",
    "TabularClassifier": f"xpnet.TabularClassifier{FITTED_TABLE}",
    "TabularRegressor": f"xpnet.TabularRegressor{FITTED_TABLE}",
}


def use_own_class(
    app: Any, what: str, name: str, member: Any, options: Any, lines: list[str]
) -> None:
    """Write the examples of an inherited method with the class whose page shows it."""
    path = name.split(".")
    example = EXAMPLE_OF_CLASS.get(path[-2]) if what == "method" and len(path) == 3 else None
    if example is not None:
        lines[:] = [line.replace(INHERITED_EXAMPLE, example) for line in lines]


@cache
def public_classes() -> list[type]:
    """Return the classes that have pages."""
    objects = [
        getattr(import_module(path.rpartition(".")[0]), name)
        for name, path in documented_names().items()
        if path.startswith("xpnet.")
    ]
    return [one for one in objects if isinstance(one, type)]


@cache
def source_of_methods(app: Any, module: str) -> tuple[str, dict[str, Any]] | None:
    """Return the source of a module, and the lines of its methods by the names that pages have.

    A page names a method by its own class, and the source by the base class that defines it.
    """
    try:
        analyzer = ModuleAnalyzer.for_module(module)
        analyzer.find_tags()
    except PycodeError:
        return None
    lines = dict(analyzer.tags)
    for one in public_classes():
        for base in one.__mro__[1:]:
            own = f"{base.__qualname__}."
            if base.__module__ == module:
                for name in analyzer.tags:
                    if name.startswith(own):
                        inherited = f"{one.__qualname__}.{name.removeprefix(own)}"
                        lines.setdefault(inherited, analyzer.tags[name])
    return analyzer.code, lines


def divide_notebooks(app: Any, env: Any, docnames: list[str]) -> None:
    """Order the pages so that each process begins with an equal part of the notebooks.

    A process takes one chunk of the pages after another. Notebooks take longest, and would be in
    the last chunks, which one process may have to read alone.
    """
    from jupyter_cache import get_cache  # the tests read this file without what runs notebooks

    notebooks = [
        page for page in docnames if "{code-cell}" in env.doc2path(page).read_text("utf-8")
    ]
    other_pages = [page for page in docnames if page not in notebooks]
    size = len(make_chunks(docnames, app.parallel)[0]) if docnames else 0
    ordered: list[str] = []
    for part in range(app.parallel):
        own_notebooks = notebooks[part :: app.parallel]
        own_count = max(size - len(own_notebooks), 0)
        ordered += own_notebooks + other_pages[:own_count]
        del other_pages[:own_count]
    docnames[:] = ordered + other_pages
    # The tables of the cache are created here, since two processes may not create them at once.
    get_cache(env.mystnb_config.execution_cache_path).list_cache_records()


def setup(app: Any) -> None:
    """Connect what this file adds to Sphinx."""
    app.connect("source-read", show_results)
    app.connect("env-before-read-docs", divide_notebooks)
    app.connect("viewcode-find-source", source_of_methods)
    app.connect("autodoc-process-docstring", use_own_class, priority=100)  # before numpydoc
    # It only copies files at the end, and does not declare that pages can be read in parallel.
    app.extensions["sphinx-mathjax-offline"].parallel_read_safe = True
