"""Options in a TOML file: ``--config run.toml`` repeats what ``--save-config run.toml`` wrote down."""

import csv
import io
import json
import tomllib
from pathlib import Path
from typing import Any

import click

from xpnet.cli.files import reads

_ELSEWHERE = ("config", "save_config", "resume", "threads")


def read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Make the options in a file the defaults of those that are not given.

    Raises click.UsageError for a file that cannot be read, and for options that the command does not have.
    """
    if path is None:
        return
    reads(ctx, param, path)
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise click.UsageError(f"{path} must be a TOML file with options: {reason}.", ctx) from error
    known = {str(p.name): p for p in ctx.command.params if p.name not in _ELSEWHERE}
    options = {name.replace("-", "_"): value for name, value in found.items()}
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise click.UsageError(f"{path}: no option {', '.join(unknown)}. The options are those of --help.", ctx)
    given = {name: _as_typed(known[name], value) for name, value in options.items()}
    ctx.default_map = {**(ctx.default_map or {}), **given}


def _as_typed(option: click.Parameter, value: Any) -> Any:
    """A list for an option that is given once, as it would be typed: with commas between."""
    if not isinstance(value, list) or getattr(option, "multiple", False):
        return value
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(value)
    return line.getvalue()


def check_toml(options: dict[str, Any]) -> None:
    """Raise click.UsageError for options that no TOML file can hold."""
    text = to_toml(options)
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise click.UsageError(
            "a TOML file holds Unicode alone, and a file's name is not UTF-8. Rename the file, or leave --save-config out."
        )


def to_toml(options: dict[str, Any]) -> str:
    """Options as TOML, those without a value left out."""
    kept = {name: value for name, value in options.items() if value not in (None, (), []) and name not in _ELSEWHERE}
    return "".join(f"{name.replace('_', '-')} = {_value(value)}\n" for name, value in kept.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_text(str(key))} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str | Path):
        return _text(str(value))
    return json.dumps(value)


def _text(text: str) -> str:
    """A basic string, which TOML escapes as JSON does, and one character more."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
