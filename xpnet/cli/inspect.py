"""``xpnet inspect``: what a model file holds. ``xpnet export``: the same model for other runtimes."""

from pathlib import Path

import click

from xpnet.cli.options import output_path, reads
from xpnet.cli.output import few, show_facts, show_table, to_json


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
def inspect(model: Path, as_json: bool) -> None:
    """Show what MODEL is, without loading it: layers, parameters, classes, columns, versions."""
    from xpnet.modelfile import describe

    found = describe(model)
    if as_json:
        click.echo(to_json(found))
        return
    facts = {
        name: value
        for name, value in found.items()
        if name not in ("network", "settings", "tensors")
    }
    show_facts(
        (name, few(value) if isinstance(value, list) else value)
        for name, value in facts.items()
        if value
    )
    tensors = found["tensors"].items()
    show_table(
        ("tensor", "dtype", "shape"),
        [(n, t["dtype"], " x ".join(map(str, t["shape"]))) for n, t in tensors],
    )


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
