"""``xpnet reproduce``: the notebook xpnet grew from, and whether the numbers are its own."""

import click

from xpnet.cli.notebook import equals_notebook, run_notebook
from xpnet.cli.options import computing
from xpnet.cli.output import show_json


@click.command()
@computing
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document in place of the notebook's lines.")
def reproduce(backend: str | None, as_json: bool) -> None:
    """Run the notebook xpnet grew from: three gradient checks and two trainings on scikit-learn's digits.

    Fails when one of the 24 printed numbers differs from the notebook's.
    """
    say = _silent if as_json else click.echo
    found = run_notebook(backend, say)
    found["equal"] = equals_notebook(found)
    if as_json:
        show_json(found)
    if not found["equal"]:
        raise click.ClickException("The numbers differ from the notebook's: see the lines above.")
    say("All 24 numbers are the notebook's.")


def _silent(line: str) -> None:
    """A sink for what the JSON document says."""
