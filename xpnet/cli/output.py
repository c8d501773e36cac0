"""Commands show tables and facts on stdout by these functions, and write JSON."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from shutil import get_terminal_size
from typing import Any

import click

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a terminal obeys instead of showing them (escape sequences, changes of the writing direction), and
bytes of file names that are not UTF-8, which Python keeps as surrogates and which no text can hold."""


def visible(text: str, *, keep: str = "") -> str:
    """Return the text with its control characters spelled out (``\\x1b`` for ESC), since files may come from anyone.

    keep : control characters that stay, such as the ends of lines
    """
    return _CONTROLS.sub(
        lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text
    )


def working(what: str) -> AbstractContextManager[Any]:
    """Say on stderr what takes its time, while it does, and only to a terminal."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.text import Text

    return Console(stderr=True).status(Text(visible(what)))


def to_json(value: Any) -> str:
    """Return the document as text; NaN and infinities, which JSON lacks, become null."""
    known = json.dumps(value, default=lambda one: one.item() if hasattr(one, "item") else str(one))
    finite = json.loads(known, parse_constant=lambda _: None)
    text = json.dumps(finite, indent=2, ensure_ascii=False)
    return _CONTROLS.sub(
        lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text
    )


def show_table(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a table on stdout; all columns but the first stand to the right, as numbers do. None is shown as a dash."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    Console(highlight=False, width=_width()).print(table, "")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.4f}" if isinstance(value, float) else visible(str(value))


def few(names: Sequence[Any], most: int = 8) -> str:
    """Return names with commas between; of many the first."""
    rest = f", ... ({len(names)})" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + rest


def show_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Print names and values on stdout, a line each."""
    formatter = click.HelpFormatter(width=_width())
    formatter.write_dl([(visible(name), visible(str(value))) for name, value in facts])
    click.echo(formatter.getvalue())


def _width() -> int:
    """Return how long lines may be: a terminal's width; anywhere else as long as they are, for programs that read."""
    return get_terminal_size().columns if sys.stdout and sys.stdout.isatty() else 10_000
