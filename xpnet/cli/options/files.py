"""Files and folders that options name; an output never replaces an input or another output."""

import os
import sys
import tomllib
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, TypeVar

import click

from xpnet.data import DATASETS
from xpnet.data.readers.names import STDIN
from xpnet.errors import did_you_mean

PATH = click.Path(path_type=Path)
"""The type of an argument that is a path."""

PLOTS = (".png", ".svg", ".pdf")
"""Endings of the formats of plots."""

_FILES_KEY = "xpnet.files"
"""Key of the files of a command among click's values."""


class Claim(NamedTuple):
    """A file or folder that an argument of a command names.

    name : of the argument; written : whether it is an output
    inside : pattern of the files of a folder that are meant
    """

    name: str
    path: Path
    written: bool
    inside: str


Named = TypeVar("Named", bound="str | Path | None")
"""The file or folder that an argument names; None for none."""


def claim(
    ctx: click.Context,
    param: click.Parameter,
    value: Named,
    *,
    written: bool,
    inside: str = "*.parquet",
) -> Named:
    """Note that a command reads or writes the file or folder that an argument names.

    Raises click.UsageError where an output would replace an input or another output.
    """
    names_no_file = {
        "data": value in DATASETS,
        "target": not str(value).endswith(".npy"),  # most targets are columns
    }
    if value is None or names_no_file.get(str(param.name)):
        return value
    path = Path(value)
    inside = "*" if path.suffix.lower() == ".zarr" and not written else inside
    claims: list[Claim] = ctx.meta.setdefault(_FILES_KEY, [])
    own = Claim(param.opts[0], path, written, inside)
    for other in claims:
        if (written and _replaces(path, other)) or (other.written and _replaces(other.path, own)):
            output = own if written else other
            raise click.UsageError(
                f"{other.name} and {own.name} both name {output.path}; an output must not replace "
                "an input or another output. Name another file."
            )
    claims.append(own)
    return value


def _replaces(output: Path, claim: Claim) -> bool:
    """Return whether writing an output would replace, or add to, a file that is claimed."""
    if str(claim.path) == STDIN:
        return not claim.written and _is_stdin(output)
    target = Path(os.path.realpath(output))
    folder = Path(os.path.realpath(claim.path))
    if target == folder or (target.is_relative_to(folder) and target.match(claim.inside)):
        return True
    files = (claim.path, *claim.path.rglob(claim.inside)) if output.exists() else ()
    return any(file.exists() and file.samefile(output) for file in files)


def _is_stdin(path: Path) -> bool:
    """Return whether standard input is read from the file at a path."""
    try:
        return os.path.samestat(os.fstat(sys.stdin.fileno()), path.stat())
    except (OSError, ValueError, AttributeError):  # no such file, or no file behind standard input
        return False


reads: Callable[..., object] = partial(claim, written=False)
"""Note that a command reads the file that an argument names."""

keeps_checkpoints: Callable[..., object] = partial(claim, written=True, inside="checkpoint-*")
"""Note that a command reads and writes the checkpoints of a folder."""


def output_path(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Return the path, if it can be written and is no other file of this command."""
    if path is None:
        return None
    folder = path.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise click.UsageError(
            f"The folder {folder} must exist and be writable to write {path.name}. Create it, or "
            "choose another."
        )
    if path.exists() and not path.is_file():
        raise click.BadParameter(
            f"an output must be a file; {path} is a folder or a device.", ctx, param
        )
    return claim(ctx, param, path, written=True)


def plot_path(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Return the path, if it can be written, ends as a plot does, and matplotlib is installed."""
    path = output_path(ctx, param, path)
    if path is not None and path.suffix.lower() not in PLOTS:
        raise click.BadParameter(
            f"a plot must end in {', '.join(PLOTS)}; got {path.name}.", ctx, param
        )
    if path is not None and find_spec("matplotlib") is None:
        raise click.UsageError(
            "Plots are drawn by matplotlib, which is not installed. pip install 'xpnet[plot]'."
        )
    return path


def read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Make the options in a file the defaults of those of the command line.

    Raises click.UsageError for a file that is not TOML, and for options that the command does not
    have.
    """
    if path is None:
        return
    reads(ctx, param, path)
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise click.UsageError(f"{path} must be a TOML file with options: {error}.", ctx) from error
    written_names = {
        name.lstrip("-").replace("-", "_"): str(option.name)
        for option in ctx.command.params
        for name in option.opts
    }
    options = {name.replace("-", "_"): value for name, value in entries.items()}
    options = {written_names.get(name, name): value for name, value in options.items()}
    multiple = {option.name for option in ctx.command.params if getattr(option, "multiple", False)}
    options |= {
        name: [value]
        for name, value in options.items()
        if name in multiple and not isinstance(value, list)
    }
    names = {str(option.name) for option in ctx.command.params}
    unknown = sorted(set(options) - names)
    if unknown:
        hint = did_you_mean(unknown[0], names) or "The options are those of --help."
        raise click.UsageError(f"{path}: no option {', '.join(unknown)}. {hint}", ctx)
    ctx.default_map = {**(ctx.default_map or {}), **options}
