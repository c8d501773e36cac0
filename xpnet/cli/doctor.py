"""``xpnet backends``, ``warmup`` and ``doctor``: what is usable here, what would run for which arrays, and why."""

import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import click

from xpnet import __version__, get_threads
from xpnet.cli.distributed import GroupName, describe_ranks
from xpnet.cli.options import chosen, computing
from xpnet.cli.output import show_facts, show_json, show_table
from xpnet.dispatch import available_backends, choose, get_backend
from xpnet.errors import BackendError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def backends(as_json: bool) -> None:
    """List the installed backends: usable here or not, their versions, and the reason when not."""
    found = [examine(name) for name in available_backends()]
    if as_json:
        show_json(found)
        return
    rows = [(b["name"], "yes" if b["usable"] else "no", describe(b)) for b in found]
    show_table(("backend", "usable", "versions, or the reason"), rows)


def examine(name: str) -> dict[str, Any]:
    """Return the facts of an installed backend where it is usable here, else the reason why it is not."""
    try:
        return {"name": name, "usable": True, "facts": get_backend(name).describe(), "reason": None}
    except BackendError as error:
        return {"name": name, "usable": False, "facts": {}, "reason": str(error)}


def describe(backend: dict[str, Any]) -> str:
    """Return the facts in one line, or the reason."""
    return backend["reason"] or ", ".join(f"{name} {value}" for name, value in backend["facts"].items())


@click.command()
@computing
def warmup(backend: str | None) -> None:
    """Compile ahead what a backend would compile at first use, where it can keep it."""
    choice = chosen(backend)
    started = time.perf_counter()
    compile_ahead = getattr(choice.backend, "warmup", None)
    if compile_ahead is None:
        click.echo(f"{choice.backend.name} compiles nothing.")
        return
    compile_ahead()
    click.echo(f"{choice.backend.name} is warm: {time.perf_counter() - started:.1f} s.")


PACKAGES = ("numpy", "scipy", "scikit-learn", "numba", "llvmlite", "array-api-compat", "safetensors")
PATIENCE = 60.0
"""Seconds that a process waits for the others when ranks are examined."""
OTHER_LIBRARIES = ("torch", "jax", "array_api_strict", "dask", "ndonnx")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--distributed", "group", type=GroupName(), help="Say where each of its processes runs, instead.")
def doctor(as_json: bool, group: str | None) -> None:
    """Say on one screen what would run for which arrays and why, with threads, BLAS libraries and versions."""
    if group is not None:
        _show_ranks(describe_ranks(group, PATIENCE), as_json)
        return
    found: dict[str, Any] = {
        "machine": _machine(),
        "backends": [examine(name) for name in available_backends()],
        "arrays": _arrays(),
        "training": _training(),
        "blas": _blas(),
        "packages": _packages(),
    }
    if as_json:
        show_json(found)
        return
    show_facts(found["machine"].items())
    show_table(("backend", "usable", "facts, or the reason"), _backend_rows(found["backends"]))
    show_table(("arrays", "run on", "because"), [(a["arrays"], a["backend"], a["reason"]) for a in found["arrays"]])
    show_facts([("training", found["training"])])
    show_table(
        ("BLAS", "version", "threads", "of"), [(b["name"], b["version"], b["threads"], b["of"]) for b in found["blas"]]
    )
    show_facts([("packages", ", ".join(f"{name} {number}" for name, number in found["packages"].items()))])


def _show_ranks(ranks: list[dict[str, Any]] | None, as_json: bool) -> None:
    if ranks is None:  # rank 0 shows them
        return
    if as_json:
        show_json({"ranks": ranks})
    else:
        show_table(tuple(ranks[0]), [tuple(rank.values()) for rank in ranks])


def _machine() -> dict[str, Any]:
    cores = os.cpu_count()
    return {
        "xpnet": f"{__version__}, Python {platform.python_version()}, {sys.prefix}",
        "machine": f"{platform.system()} {platform.machine()}, {cores} cores",
        "threads": f"{get_threads()} (what affinity and quota of this process allow)",
    }


def _backend_rows(backends: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(b["name"], "yes" if b["usable"] else "no", describe(b)) for b in backends]


def _arrays() -> list[dict[str, str]]:
    """Say for each kind of array which backend would compute, and why."""
    import numpy

    host = _decision("NumPy, lists, frames", numpy.zeros(1))
    if host["reason"].startswith("named by"):  # the environment's word counts for all arrays
        return [{**host, "arrays": "all"}]
    kinds = [host]
    if "cupy" in available_backends():
        usable = examine("cupy")["usable"]
        reason = "the arrays are CuPy's" if usable else "cupy is not usable here, see above"
        kinds.append({"arrays": "CuPy", "backend": "cupy" if usable else "none", "reason": reason})
    installed = [name for name in OTHER_LIBRARIES if find_spec(name) is not None]
    others = ", ".join(installed) or "other array-API libraries"
    reason = "their own library and device, with the reference operations"
    return [*kinds, {"arrays": others, "backend": "their own", "reason": reason}]


def _decision(arrays: str, example: Any) -> dict[str, str]:
    try:
        choice = choose(example)
    except BackendError as error:
        return {"arrays": arrays, "backend": "none", "reason": str(error)}
    return {"arrays": arrays, "backend": choice.backend.name, "reason": choice.reason}


def _training() -> str:
    """Say which step would train a small network on host data."""
    from xpnet import FeedforwardNeuralNet

    try:
        return FeedforwardNeuralNet(64, 32, 10, optimizer="adam").why_
    except BackendError as error:
        return str(error)


def _blas() -> list[dict[str, Any]]:
    """The BLAS libraries that NumPy and SciPy bring, each with its own threads."""
    import scipy.linalg.cython_blas  # noqa: F401  loads SciPy's library, so that it can be seen
    from threadpoolctl import threadpool_info

    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return [
        {
            "name": f"{library['internal_api']} ({library.get('architecture', 'unknown')})",
            "version": library["version"],
            "threads": library["num_threads"],
            "of": os.path.basename(os.path.dirname(library["filepath"])),
        }
        for library in found
    ]


def _packages() -> dict[str, str]:
    return {name: number for name in (*PACKAGES, "cupy-cuda12x", "cupy-cuda13x") if (number := _version(name))}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
