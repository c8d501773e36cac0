"""``xpnet export``: a model file as an ONNX file, for other runtimes."""

from pathlib import Path

import click

from xpnet.cli.files import reads
from xpnet.cli.options import output_path


@click.command()
@click.argument("model", type=click.Path(path_type=Path), callback=reads)
@click.argument("output", type=click.Path(path_type=Path), callback=output_path)
def export(model: Path, output: Path) -> None:
    """Write MODEL as the ONNX file OUTPUT, from the columns of a table to labels or numbers.

    A table of numbers is one input, X (rows, features); with text, dates or columns that are left out, each column that
    is used is an input (rows, 1) by its name: text, numbers, or seconds since 1970. Empty text and NaN are gaps.
    """
    import xpnet
    from xpnet.modelfile import export_model

    export_model(xpnet.load(model, backend="numpy"), output)
    click.echo(f"Written: {output}")
