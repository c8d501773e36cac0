"""Commands share these options, their types, configuration files, and checks of files that they read and write."""

import csv
import os
import tomllib
from collections.abc import Callable
from functools import partial, reduce
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import click

from xpnet.backend.threads import get_threads, set_threads
from xpnet.data import DATASETS
from xpnet.dispatch import get_backend
from xpnet.errors import did_you_mean

Command = TypeVar("Command", bound=Callable[..., Any])

PLOTS = (".png", ".svg", ".pdf")


def claim(
    ctx: click.Context,
    param: click.Parameter,
    value: Any,
    *,
    written: bool,
    inside: str = "*.parquet",
) -> Any:
    """Note that a command reads or writes the file that an argument names, or those that match in the folder.

    Raises click.UsageError where an output would replace an input or another output.
    """
    no_file = {
        "data": value in DATASETS,
        "target": not str(value).endswith(".npy"),
    }  # most targets are columns
    if value is None or str(value) == "-" or no_file.get(str(param.name)):
        return value
    name, path = param.opts[0], Path(value)
    inside = "*" if path.suffix.lower() == ".zarr" and not written else inside
    claims: list[tuple[str, Path, bool, str]] = ctx.meta.setdefault("xpnet.files", [])
    for other, others, other_written, within in claims:
        if (written and _takes_in(others, within, path)) or (
            other_written and _takes_in(path, inside, others)
        ):
            raise click.UsageError(
                f"{other} and {name} both name {path}; an output must not replace an input or another output. "
                "Name another file."
            )
    claims.append((name, path, written, inside))
    return value


def _takes_in(named: Path, inside: str, path: Path) -> bool:
    """Return whether writing to the path would replace, or add to, a named file, or files that match in a folder."""
    place, folder = Path(os.path.realpath(path)), Path(os.path.realpath(named))
    if place == folder or (place.is_relative_to(folder) and place.match(inside)):
        return True
    files = (named, *named.rglob(inside)) if path.exists() else ()
    return any(file.exists() and file.samefile(path) for file in files)


reads = partial(claim, written=False)
"""Note that a command reads what an argument names."""

keeps_checkpoints = partial(claim, written=True, inside="checkpoint-*")
"""Note that a command reads and writes the checkpoints of a folder."""


def read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Make the options in a file the defaults of those that are not given.

    Raises click.UsageError for a file that is not TOML, and for options that the command does not have.
    """
    if path is None:
        return
    reads(ctx, param, path)
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise click.UsageError(f"{path} must be a TOML file with options: {error}.", ctx) from error
    options = {name.replace("-", "_"): value for name, value in found.items()}
    unknown = sorted(set(options) - {str(known.name) for known in ctx.command.params})
    if unknown:
        raise click.UsageError(
            f"{path}: no option {', '.join(unknown)}. The options are those of --help.", ctx
        )
    ctx.default_map = {**(ctx.default_map or {}), **options}


class Listed(click.ParamType):
    """Values of one type with commas between; one that holds a comma stands in quotes, and a file has a list."""

    name = "list"

    def __init__(self, kind: click.ParamType) -> None:
        self.kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Return the values; fail for one that is not of the type."""
        parts = (
            value
            if isinstance(value, list | tuple)
            else next(csv.reader([str(value)], skipinitialspace=True))
        )
        return tuple(self.kind.convert(part, param, ctx) for part in parts)


WORDS = Listed(click.STRING)


class OneOf(click.Choice):
    """One of some names; a name that is none of them gets a suggestion."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name; fail for any other."""
        if value not in self.choices:
            names = ", ".join(self.choices)
            hint = did_you_mean(value, self.choices)
            self.fail(f"it must be one of {names}; got {value!r}. {hint}".rstrip(), param, ctx)
        return str(value)


class Number(click.FloatRange):
    """A number in a range; NaN, which compares with nothing, is in none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; fail outside the range."""
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value} is not a number.", param, ctx)
        return number


LEVEL = Number(0, 1, min_open=True, max_open=True)


def weights(value: Any) -> Any:
    """Return ``"balanced"``, or weights by label: ``yes=3,no=1``, which a file has as a table."""
    if value == "balanced":
        return value
    pairs = (
        value.items()
        if isinstance(value, dict)
        else [part.rpartition("=")[::2] for part in WORDS(value)]
    )
    try:
        return {label.strip(): Number(0)(weight) for label, weight in pairs}
    except click.BadParameter as error:
        rule = "class weights are balanced, or label=weight with commas between"
        raise click.BadParameter(f"{rule}; received {value!r}.") from error


def _usable(value: str) -> str:
    """Return the name of a backend; raises BackendError, with reason and remedy, for one that is not usable."""
    get_backend(value)
    return value


def _use_threads(ctx: click.Context, param: click.Parameter, value: int | None) -> None:
    """Hold xpnet and the BLAS libraries of NumPy and SciPy to so many threads until the command ends."""
    if value is None:
        return
    import scipy.linalg.cython_blas  # noqa: F401  a library that is not loaded yet would not be limited
    from threadpoolctl import threadpool_limits

    set_threads(value)
    ctx.call_on_close(lambda: set_threads(None))
    ctx.with_resource(threadpool_limits(get_threads(), user_api="blas"))


class Grouped(click.Command):
    """A command whose help page shows its options in groups, which they know; --help, which has none, is last."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group, in the order in which the groups first come."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                groups.setdefault(getattr(param, "group", "Other options"), []).append(record)
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)


def options_of(group: str) -> Callable[..., Callable[[Command], Command]]:
    """Return what ``click.option`` is, for options in a group of the help page."""
    return partial(click.option, cls=type("GroupedOption", (click.Option,), {"group": group}))


reading_option = options_of("Reading the data")
writing_option = options_of("Writing")
machine_option = options_of("The machine")


def _one_mark(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the mark, which may be named tab; fail for anything but one character."""
    mark = {"tab": "\t", "\\t": "\t"}.get(value or "", value)
    if mark is not None and (len(mark.encode()) != 1 or mark in '\r\n"'):
        raise click.BadParameter(
            f"a mark is one character of ASCII, or tab; received {value!r}.", ctx, param
        )
    return mark


def together(*given: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Make one decorator of several options, which stand in this order on the help page."""
    return lambda command: reduce(lambda made, one: one(made), reversed(given), command)


computing = together(
    machine_option(
        "--backend",
        type=_usable,
        metavar="NAME",
        help="Compute with this one of `xpnet backends`. [default: numba]",
    ),
    machine_option(
        "--threads",
        type=click.IntRange(min=1),
        expose_value=False,
        callback=_use_threads,
        help="Use at most so many threads. [default: as many as this process may use]",
    ),
)
"""Give a command ``--backend`` and ``--threads``; the first arrives as an argument, the second is set at once."""

_MARKS = "[default: recognised where it is certain]"
reading = together(
    reading_option(
        "--features", type=WORDS, default=(), help="Use these columns alone, with commas between."
    ),
    reading_option("--drop", multiple=True, metavar="COLUMN", help="Leave this column out."),
    reading_option(
        "--text", multiple=True, metavar="COLUMN", help="Read this column as text, numbers too."
    ),
    reading_option(
        "--id",
        "ids",
        multiple=True,
        metavar="COLUMN",
        help="Keep this column out of the features; predict writes it beside the predictions.",
    ),
    reading_option(
        "--no-header",
        is_flag=True,
        help="Read the first line as values; columns are called x0, x1, ...",
    ),
    reading_option(
        "--separator",
        callback=_one_mark,
        help="Part values at this mark. [default: comma, semicolon, tab or bar, as in the first line]",
    ),
    reading_option(
        "--decimal",
        type=click.Choice([".", ","]),
        metavar="MARK",
        help=f"Expect this mark before decimals, a point or a comma. {_MARKS}",
    ),
    reading_option(
        "--thousands",
        callback=_one_mark,
        metavar="MARK",
        help=f"Expect this mark between thousands. {_MARKS}",
    ),
    reading_option(
        "--encoding", help="Decode text by this encoding. [default: utf-8, or its byte order mark]"
    ),
)
"""Give a command the options that say which columns are read, and how a text file is written."""


def output_path(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Return the path, if a file can be written there that is no other file of this command."""
    if path is None:
        return None
    folder = path.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise click.UsageError(
            f"The folder {folder} must exist to write {path.name} there, and be writable. Create it, or choose another."
        )
    if path.exists() and not path.is_file():
        raise click.BadParameter(f"{path} is a folder or a device; name a file.", ctx, param)
    return claim(ctx, param, path, written=True)


def plot_path(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Return the path, if a file can be written there, it ends as a plot does, and matplotlib is there to draw it."""
    path = output_path(ctx, param, path)
    if path is not None and path.suffix.lower() not in PLOTS:
        raise click.BadParameter(
            f"a plot ends in {', '.join(PLOTS)}; received {path.name}.", ctx, param
        )
    if path is not None and find_spec("matplotlib") is None:
        raise click.UsageError(
            "Plots are drawn by matplotlib, which is not installed. pip install 'xpnet[plot]'."
        )
    return path


output_option = partial(writing_option, type=click.Path(path_type=Path), callback=output_path)
"""Make an option that names a file to write. Its folder is looked at before any work is done."""

plot_option = partial(output_option, "--plot", callback=plot_path)
"""Make the option that names a file for a plot."""
