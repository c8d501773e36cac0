"""``xpnet backends``, ``warmup`` and ``doctor``: what is usable here, what would run for which arrays, and why."""

import os
import platform
import sys
from importlib.metadata import distributions
from typing import Any

import click

from xpnet import __version__, get_threads
from xpnet.backend.group import allgather
from xpnet.backend.threads import cores
from xpnet.cli.options import computing
from xpnet.cli.output import show_facts, show_table, to_json
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


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def backends(as_json: bool) -> None:
    """List the installed backends: usable here or not, their versions, and the reason when not."""
    found = _examined()
    if as_json:
        click.echo(to_json(found))
    else:
        show_facts(_facts(found))


def _examined() -> list[dict[str, Any]]:
    """Return the facts of each installed backend that is usable here, else the reason why it is not."""
    return [_examine(name) for name in available_backends()]


def _examine(name: str) -> dict[str, Any]:
    """Return the facts of a backend. One that does not describe itself is usable nevertheless."""
    facts: dict[str, str] = {}
    try:
        backend = get_backend(name)
    except BackendError as error:
        return {"name": name, "usable": False, "facts": facts, "reason": str(error)}
    try:
        facts = backend.describe()
        reason = None
    except Exception as error:  # a package of somebody else's must not end this command
        reason = f"describe() must return facts by name; it raised {type(error).__name__}: {error}"
    return {"name": name, "usable": True, "facts": facts, "reason": reason}


def _facts(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return a fact to show for each backend."""
    return [
        (
            f"backend {b['name']}",
            b["reason"] or ", ".join(f"{n} {v}" for n, v in b["facts"].items()),
        )
        for b in found
    ]


@click.command()
@computing
def warmup(backend: str | None) -> None:
    """Compile ahead what a backend would compile at first use, where it can keep it."""
    found = choose(backend=backend).backend
    if hasattr(found, "warmup"):  # others compile nothing
        found.warmup()
    click.echo(f"{found.name} is warm.")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--distributed", "group", metavar="NAME", help="Say where each of its processes runs, instead."
)
def doctor(as_json: bool, group: str | None) -> None:
    """Say on one screen what would run for which arrays and why, with threads, BLAS libraries and versions."""
    if group is not None:
        _show_ranks(group, as_json)
        return
    import scipy.linalg.cython_blas  # noqa: F401  loads SciPy's library, so that it can be seen
    from threadpoolctl import threadpool_info

    from xpnet import FeedforwardNeuralNet

    try:  # on what would a small network be trained, and why?
        why = FeedforwardNeuralNet(64, 32, 10).why_
    except BackendError as error:
        why = str(error)
    others = "their own library, with kernels where a backend below is of that name, unless XPNET_BACKEND names one"
    found: dict[str, Any] = {
        "machine": {
            "xpnet": f"{__version__}, Python {platform.python_version()}, {sys.prefix}",
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "threads": f"{get_threads()} (what affinity and quota of this process allow)",
            "arrays": f"NumPy, lists, frames: {why}",
            "others": others,
        },
        "backends": _examined(),
        "blas": [library for library in threadpool_info() if library["user_api"] == "blas"],
        "packages": {
            found.name: found.version for found in distributions() if found.name in PACKAGES
        },
    }
    if as_json:
        click.echo(to_json(found))
        return
    blas = map(
        "{internal_api} {version}, {num_threads} threads, {filepath}".format_map, found["blas"]
    )
    packages = ", ".join(f"{name} {number}" for name, number in found["packages"].items())
    facts = [
        *found["machine"].items(),
        *_facts(found["backends"]),
        *(("BLAS", library) for library in blas),
    ]
    show_facts([*facts, ("packages", packages)])


def _show_ranks(name: str, as_json: bool) -> None:
    """Show on rank 0 where each rank of a group runs."""
    with use_group(name, timeout=60.0) as group:  # seconds that a process waits for the others
        bound, count = sorted(cores()), os.cpu_count() or 1
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
        click.echo(to_json({"ranks": ranks}))
    else:
        show_table(tuple(own), [tuple(rank.values()) for rank in ranks])
