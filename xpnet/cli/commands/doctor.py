"""``xpnet backends``, ``warmup`` and ``doctor``: what can be used here, what computes, and why."""

import os
import platform
import sys
import warnings
from importlib.metadata import distributions
from pathlib import Path
from typing import TypedDict

import click

from xpnet import __version__, get_threads
from xpnet.backend.group import allgather
from xpnet.backend.threads import cores
from xpnet.cli.options import computing, json_option
from xpnet.cli.options.files import PATH, reads
from xpnet.cli.output import echo, show_facts, show_json, show_table, visible
from xpnet.dispatch import available_backends, choose, get_backend
from xpnet.distributed import use_group
from xpnet.errors import BackendError

PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "numba",
    "llvmlite",
    "array-api-compat",
    "safetensors",
    "pyarrow",
    "cupy-cuda12x",
    "cupy-cuda13x",
)
"""Packages whose versions `xpnet doctor` shows."""


class BackendFacts(TypedDict):
    """The facts of an installed backend.

    usable : whether it can compute here
    reason : why it cannot, or cannot be described; None if it can
    """

    name: str
    usable: bool
    facts: dict[str, str]
    reason: str | None


class MachineFacts(TypedDict):
    """The facts of this machine: its backends, BLAS libraries and packages."""

    machine: dict[str, str]
    backends: list[BackendFacts]
    blas: list[dict[str, object]]
    packages: dict[str, str]


@click.command()
@json_option
def backends(as_json: bool) -> None:
    """List the installed backends: their versions, and if one cannot be used here, the reason."""
    examined = _examined()
    if as_json:
        show_json(examined)
    else:
        show_facts(_facts(examined))


def _examined() -> list[BackendFacts]:
    """Return the facts of each installed backend, or the reason why it cannot be used here."""
    return [_examine(name) for name in available_backends()]


def _examine(name: str) -> BackendFacts:
    """Return the facts of a backend. One that does not describe itself is usable nevertheless."""
    facts: dict[str, str] = {}
    try:
        backend = get_backend(name)
    except BackendError as error:
        return {"name": name, "usable": False, "facts": facts, "reason": str(error)}
    try:
        facts = backend.describe()
        reason = None
    except Exception as error:  # another package's mistake must not end this command
        reason = f"describe() must return facts by name; it raised {type(error).__name__}: {error}"
    return {"name": name, "usable": True, "facts": facts, "reason": reason}


def _facts(examined: list[BackendFacts], shown: str = "") -> list[tuple[str, str]]:
    """Return a fact to show for each backend; a reason that ``shown`` contains is not repeated."""
    return [(f"backend {backend['name']}", _fact(backend, shown)) for backend in examined]


def _fact(backend: BackendFacts, shown: str) -> str:
    """Return the versions of a backend, or the reason why it cannot be used."""
    if backend["reason"]:
        return "cannot be used, see arrays" if backend["reason"] in shown else backend["reason"]
    return ", ".join(f"{name} {fact}" for name, fact in backend["facts"].items())


@click.command()
@click.argument("model", type=PATH, callback=reads, required=False)
@computing
def warmup(model: Path | None, backend: str | None) -> None:
    """Compile what a backend would otherwise compile at its first use, and keep it on disk.

    With MODEL, a model file, this is what its predictions need, which takes seconds; otherwise it
    is all of the backend, trainings included.
    """
    chosen = choose(backend=backend).backend
    if model is not None:
        from xpnet import load
        from xpnet.cli.table_model import TableModel

        TableModel(load(model, backend=backend)).warm_up()
        echo(f"{chosen.name} is warm for the predictions of {visible(model.name)}.")
        return
    if hasattr(chosen, "warmup"):  # others compile nothing
        chosen.warmup()
    echo(f"{chosen.name} is warm.")


@click.command()
@json_option
@click.option(
    "--distributed",
    "group",
    metavar="NAME",
    help="Show where each process of this group runs instead; NAME is mpi or torch.",
)
def doctor(as_json: bool, group: str | None) -> None:
    """Show what computes on which arrays and why, threads, BLAS libraries and versions."""
    if group is not None:
        _show_ranks(group, as_json)
        return
    facts: MachineFacts = {
        "machine": _machine_facts(),
        "backends": _examined(),
        "blas": _blas_libraries(),
        "packages": {
            package.name: package.version for package in distributions() if package.name in PACKAGES
        },
    }
    if as_json:
        show_json(facts)
        return
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    blas = "{internal_api} {version}, {num_threads} threads, {filepath}"
    show_facts(
        [
            *facts["machine"].items(),
            *_facts(facts["backends"], shown=facts["machine"]["arrays"]),
            *(("BLAS", blas.format_map(library)) for library in facts["blas"]),
            ("packages", packages),
        ]
    )


def _machine_facts() -> dict[str, str]:
    """Return the facts of this machine, and the backend that computes, with the reason."""
    from xpnet import FeedforwardNeuralNet

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the reason is one of the facts
        try:  # what would train a small network
            why = FeedforwardNeuralNet(64, 32, 10, dtype="float32").why_
        except BackendError as error:
            why = str(error)
    return {
        "xpnet": f"{__version__}, Python {platform.python_version()}, {sys.prefix}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "threads": f"{get_threads()} (by the affinity and the quota of this process)",
        "arrays": f"NumPy, lists, frames: {why}",
        "others": "their own library computes, with the kernels of a backend of its name; "
        "XPNET_BACKEND overrides this",
    }


def _blas_libraries() -> list[dict[str, object]]:
    """Return the facts of the BLAS libraries of NumPy and SciPy, from threadpoolctl."""
    import scipy.linalg.cython_blas  # noqa: F401  loads SciPy's library, so that it is listed
    from threadpoolctl import threadpool_info

    return [library for library in threadpool_info() if library["user_api"] == "blas"]


def _show_ranks(name: str, as_json: bool) -> None:
    """Show on rank 0 where each rank of a group runs."""
    with use_group(name, timeout=60.0) as group:  # seconds that a process waits for the others
        bound = sorted(cores())
        count = os.cpu_count() or 1
        own = {
            "rank": group.rank,
            "host": platform.node(),
            "cores": count,
            "threads": get_threads(),
            "binding": f"bound to {len(bound)} cores: {bound}"
            if len(bound) < count
            else "not bound",
            "library": group.why,
        }
        ranks = allgather(group, own)
        if group.rank:
            return
    if as_json:
        show_json({"ranks": ranks})
    else:
        show_table(tuple(own), [tuple(rank.values()) for rank in ranks])
