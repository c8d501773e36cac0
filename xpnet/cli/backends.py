"""``xpnet backends``: which are installed and usable. ``xpnet warmup``: compile ahead what a backend compiles."""

import time
from typing import Any

import click

from xpnet.cli.options import chosen, computing
from xpnet.cli.output import show_json, show_table
from xpnet.dispatch import available_backends, get_backend
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
    """What is known of an installed backend: its facts where it is usable here, else the reason."""
    try:
        return {"name": name, "usable": True, "facts": get_backend(name).describe(), "reason": None}
    except BackendError as error:
        return {"name": name, "usable": False, "facts": {}, "reason": str(error)}


def describe(backend: dict[str, Any]) -> str:
    """The facts in one line, or the reason."""
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
