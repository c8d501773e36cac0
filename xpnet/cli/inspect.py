"""``xpnet inspect``: what a model file holds. ``xpnet export``: a model for other runtimes."""

from pathlib import Path
from typing import Any

import click

from xpnet.cli.options import PATH, json_option, output_path, reads
from xpnet.cli.output import few, show_facts, show_table, to_json

EXPORT_SUFFIXES = (".onnx", ".c")
"""Endings of the formats of `xpnet export`, in lower case."""

NOT_SHOWN = ("network", "settings", "tensors", "left_out", "extra")
"""Entries of `describe` that are no facts of one line each."""


@click.command()
@click.argument("model", type=PATH)
@json_option
def inspect(model: Path, as_json: bool) -> None:
    """Show what MODEL holds, without loading it: layers, parameters, classes, columns, versions."""
    from xpnet.modelfile import describe

    description = describe(model)
    if as_json:
        click.echo(to_json(description))
        return
    facts = {name: value for name, value in description.items() if name not in NOT_SHOWN}
    facts |= _extra_facts(description)
    show_facts((name, _shown(value)) for name, value in facts.items() if value)
    show_table(
        ("tensor", "dtype", "shape"),
        [
            (name, tensor["dtype"], " x ".join(map(str, tensor["shape"])))
            for name, tensor in description["tensors"].items()
        ],
    )


def _extra_facts(description: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that are not used, and what was saved with the model, each as a fact."""
    left_out, extra = description["left_out"], description["extra"]
    if isinstance(left_out, dict):  # a file of unknown origin may hold anything
        left_out = [f"{name}: {reason}" for name, reason in left_out.items()]
    saved = {str(name): value for name, value in extra.items()} if isinstance(extra, dict) else {}
    return {"left out": left_out, **saved}


def _shown(value: Any) -> Any:
    """Return a value as a fact shows it."""
    if isinstance(value, list):
        return few(value)
    return f"{value:,}" if isinstance(value, int) else value


def _export_path(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Return the path, if it can be written and its ending names a format."""
    path = output_path(ctx, param, path)
    if path is not None and path.suffix.lower() not in EXPORT_SUFFIXES:
        raise click.BadParameter(
            f"it must end in .onnx or .c, which names the format; got {path.name}.", ctx, param
        )
    return path


@click.command()
@click.argument("model", type=PATH, callback=reads)
@click.argument("output", type=PATH, callback=_export_path)
def export(model: Path, output: Path) -> None:
    """Write MODEL for other runtimes: as ONNX if OUTPUT ends in .onnx, as C if it ends in .c.

    The C file is C99 without dependencies; its function xpnet_predict takes one row.

    Input of the ONNX file: a table of numbers is one input, X (rows, features). A table with text,
    dates or columns that are not used has one input (rows, 1) for each used column, by its name:
    text, numbers, or seconds since 1970. Empty text and NaN are missing values.
    """
    import xpnet
    from xpnet.modelfile import export_model

    export_model(xpnet.load(model, backend="numpy"), output)
    click.echo(f"Written: {output}")
