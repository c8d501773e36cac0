"""Commands show tables and facts on stdout by these functions, and write JSON."""

import ast
import io
import json
import logging
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from shutil import get_terminal_size
from typing import TextIO

import click

from xpnet.distributed import current_ranks
from xpnet.training.log import LOGGER

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters of a terminal, and surrogates.

A terminal obeys the first (escape sequences, changes of the writing direction). Surrogates are
bytes of file names that are not UTF-8, which no text can hold.
"""


def visible(text: str, *, keep: str = "") -> str:
    """Return the text with control characters spelled out (``\\x1b`` for ESC).

    Text in files of unknown origin may hold any. keep : those that stay, such as line ends
    """
    return _CONTROLS.sub(
        lambda match: match[0] if match[0] in keep else ascii(match[0])[1:-1], text
    )


def use_escapes() -> None:
    """Have standard output and standard error escape what their encoding lacks.

    Python would raise an error, and end a command within its output: cp1252, which Windows uses for
    files and pipes, lacks most letters.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not with pythonw, nor where it was replaced
            stream.reconfigure(errors="backslashreplace")


def encodable(text: str, stream: TextIO | None) -> str:
    """Return the text with characters escaped that the encoding of a stream lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def echo(text: str, *, err: bool = False, end: str = "\n") -> None:
    """Print text on stdout, or on stderr, whatever their encoding.

    click would write UTF-8 to a stream of ASCII.
    """
    stream = sys.stderr if err else sys.stdout
    click.echo(encodable(text, stream) + end, err=err, nl=False)


def show_notes(notes: Iterable[str]) -> None:
    """Print notes on stderr, a line each."""
    for note in notes:
        echo(visible(f"Note: {note}"), err=True)


class LoggedLines(logging.Handler):
    """Prints what the library logs on stderr, a line for each message."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message; those on the progress of a fit on the first of several ranks alone."""
        text = visible(record.getMessage())
        if record.name != LOGGER.name:
            text = f"{record.name}: {text}"
        elif current_ranks().rank:
            return
        if sys.stderr is not None:  # pythonw has none
            with suppress(OSError, ValueError):  # a closed pipe or file
                echo(as_options(text), err=True)


@contextmanager
def logging_to_stderr() -> Iterator[None]:
    """Print what the library logs on stderr, while a command runs."""
    logger = logging.getLogger("xpnet")
    lines = LoggedLines()
    level = logger.level
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(lines)


def as_options(note: str) -> str:
    """Return a note of the encoder in the words of the command line."""
    note = re.sub(r"missing_values=\{(.*): \[?([^]}]*)\]?\}", _as_missing_option, note)
    note = note.replace("missing_values=", "--missing ").replace("missing_values", "--missing")
    note = note.replace("categorical_features", "--text")
    note = note.replace("date_format=", "--date-format ")
    note = note.replace("text_features='on'", "--text-features on")
    note = note.replace("with a decimal comma", "with --decimal ,")
    note = note.replace("with a decimal point", "with --decimal .")
    return note.replace("date_format", "--date-format")


def _as_missing_option(match: re.Match[str]) -> str:
    """Return ``missing_values={column: values}`` as an option."""
    option = f"{ast.literal_eval(match[1])}={match[2].replace(', ', '|')}"
    return f"--missing {shlex.quote(option)}"


def working(what: str) -> AbstractContextManager[object]:
    """Show on the terminal of stderr what a command is doing; elsewhere show nothing."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.text import Text

    return Console(stderr=True).status(Text(visible(what)))


def to_json(value: object, *, ensure_ascii: bool = False) -> str:
    """Return the document as text; NaN and infinities, which JSON lacks, become null.

    ensure_ascii : whether other characters are escaped as JSON has it
    """
    exact = json.dumps(value, default=lambda one: one.item() if hasattr(one, "item") else str(one))
    finite = json.loads(exact, parse_constant=lambda _: None)
    text = json.dumps(finite, indent=2, ensure_ascii=ensure_ascii)
    return _CONTROLS.sub(
        lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text
    )


def show_json(value: object) -> None:
    """Print the document on stdout, in JSON's own escapes where its encoding lacks a character."""
    text = to_json(value)
    is_encodable = text == encodable(text, sys.stdout)
    echo(text if is_encodable else to_json(value, ensure_ascii=True))


def show_table(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table on stdout. All columns but the first are right-aligned; None is a dash."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, name in enumerate(columns):
        table.add_column(Text(_cell(name)), justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    Console(highlight=False, width=_width()).print(table, "")


def _cell(value: object) -> str:
    """Return the text of one value of a table: numbers with four decimals, ``-`` for None."""
    if value is None:
        return "-"
    text = f"{value:,.4f}" if isinstance(value, float) else visible(str(value))
    return encodable(text, sys.stdout)


def few(names: Sequence[object], maximum: int = 8) -> str:
    """Return names with commas between; of many the first, and how many there are."""
    more = f", ... ({len(names)})" if len(names) > maximum else ""
    return ", ".join(map(str, names[:maximum])) + more


def importance_text(column: str, importance: float, std: float) -> str:
    """Return the importance of a column with its standard error in words."""
    return f"{column} {importance:.3f} ± {std:.3f}"


def show_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values on stdout, a line each."""
    formatter = click.HelpFormatter(width=_width())
    formatter.write_dl([(visible(name), visible(str(value))) for name, value in facts])
    echo(formatter.getvalue())


def _width() -> int:
    """Return the maximum width of a line: that of a terminal; elsewhere lines are not cut."""
    return get_terminal_size().columns if sys.stdout and sys.stdout.isatty() else 10_000
