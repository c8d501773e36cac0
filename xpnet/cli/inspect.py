"""``xpnet inspect``: what a model file holds. ``xpnet export``: the same model for other runtimes."""

from pathlib import Path
from typing import Any

import click

from xpnet.cli.options import output_path, reads
from xpnet.cli.output import show_facts, show_json, show_table
from xpnet.errors import ModelFileError


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
def inspect(model: Path, as_json: bool) -> None:
    """Show what MODEL is, without loading it: layers, parameters, classes, scaling, versions."""
    from xpnet.modelfile import describe

    found = describe(model)
    if as_json:
        show_json(found)
        return
    try:
        facts = _facts(found)
    except (TypeError, AttributeError) as error:
        raise ModelFileError(f"{model} describes no model: {error}.") from error
    show_facts(facts)
    tensors = found["tensors"].items()
    show_table(("tensor", "dtype", "shape"), [(n, t["dtype"], " x ".join(map(str, t["shape"]))) for n, t in tensors])


def _facts(found: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return what the file says of its model, and as far as it is known of the data."""
    widths, activations = "-".join(map(str, found["widths"])), dict.fromkeys(found["activations"])
    facts = [
        ("model", found["kind"]),
        ("layers", ", ".join([widths, *activations])),
        ("parameters", f"{found['parameters']:,} {found['dtype']}, {found['bytes']:,} bytes"),
        ("loss", found["loss"]),
        ("update", found["network"]["rule"]["name"]),
        ("classes", _shown(found["classes"])),
        ("features", _shown(found["features"])),
        ("target", found["extra"].get("target")),
        ("left out", _shown(list(found["settings"].get("encoder", {}).get("left_out", ())))),
        ("written by", f"xpnet {found['writer']}, format {found['format']}"),
    ]
    return [(name, value) for name, value in facts if value]


def _shown(names: list[Any] | None, most: int = 8) -> str:
    names = names or []
    rest = f", ... ({len(names)})" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + rest


@click.command()
@click.argument("model", type=click.Path(path_type=Path), callback=reads)
@click.argument("output", type=click.Path(path_type=Path), callback=output_path)
def export(model: Path, output: Path) -> None:
    """Write MODEL as the ONNX file OUTPUT, from the columns of a table to labels or numbers; or as C, if it ends in .c.

    C is one file of C99 without dependencies, with a function xpnet_predict for one row.

    A table of numbers is one input, X (rows, features); with text, dates or columns that are left out, each column that
    is used is an input (rows, 1) by its name: text, numbers, or seconds since 1970. Empty text and NaN are gaps.
    """
    import xpnet
    from xpnet.modelfile import export_model

    export_model(xpnet.load(model, backend="numpy"), output)
    click.echo(f"Written: {output}")
