"""Commands show tables, facts and JSON on stdout by these functions."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click

_NUMBER = re.compile(r"[+-]?[0-9,]*\.?[0-9]+(e[+-]?[0-9]+)?")

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a terminal obeys instead of showing them (escape sequences, changes of the writing direction), and
bytes of file names that are not UTF-8, which Python keeps as surrogates and which no text can hold."""


def visible(text: str, *, keep: str = "") -> str:
    """Return the text with its control characters spelled out (``\\x1b`` for ESC), since files may come from anyone.

    keep : control characters that stay, such as the ends of lines
    """
    return _CONTROLS.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)


def working(what: str) -> AbstractContextManager[Any]:
    """Say on stderr what takes its time, while it does, and only to a terminal."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.text import Text

    return Console(stderr=True).status(Text(visible(what)))


def show_json(value: Any) -> None:
    """Print one JSON document on stdout; NaN and infinities, which JSON lacks, become null."""
    click.echo(to_json(value))


def to_json(value: Any) -> str:
    """Return the document as text."""
    text = json.dumps(_plain(value), indent=2, allow_nan=False, ensure_ascii=False)
    return _CONTROLS.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and value - value != 0 else value


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table on stdout; columns whose cells are all numbers stand to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    cells = [[visible(str(cell)) for cell in row] for row in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, name in enumerate(columns):
        numeric = bool(cells) and all(_NUMBER.fullmatch(row[place]) for row in cells)
        table.add_column(visible(name), justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    _show(table)


def show_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Print names and values on stdout, a line each."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(Text(visible(name), style="bold"), Text(visible(str(value))))
    _show(table)


def _show(table: Any) -> None:
    """Fit a table to a terminal's width; anywhere else lines are as long as they are, for programs that read them."""
    from rich.console import Console

    width = None if sys.stdout and sys.stdout.isatty() else 10_000
    console = Console(highlight=False, width=width)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n")
