"""Options that commands share: types, configuration files, and checks of inputs and outputs."""

import csv
import os
import sys
import tomllib
from collections.abc import Callable, Sequence
from functools import partial, reduce
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

from xpnet.backend.precision import use_precision
from xpnet.backend.threads import get_threads, set_threads
from xpnet.data import DATASETS
from xpnet.data.readers.names import STDIN
from xpnet.dispatch import get_backend
from xpnet.errors import did_you_mean

if TYPE_CHECKING:  # click's classes take the type of their values since 8.2
    Choice = click.Choice[str]
    ParamType = click.ParamType[object]
else:
    Choice = click.Choice
    ParamType = click.ParamType

Decorator = Callable[[Any], Any]
"""Adds options to a command, or to a decorator of commands."""

PLOTS = (".png", ".svg", ".pdf")
"""Endings of the formats of plots."""

PATH = click.Path(path_type=Path)
"""The type of an argument that is a path."""


def option_name(name: str) -> str:
    """Return the option of the command under way that sets an argument, such as ``--lr``."""
    context = click.get_current_context(silent=True)
    for param in context.command.params if context else ():
        if param.name == name:
            return max(param.opts, key=len) if len(param.opts[0]) == 2 else param.opts[0]
    return f"--{name.replace('_', '-')}"


def is_set(name: str) -> bool:
    """Return whether the user has set an argument of the command under way."""
    source = click.get_current_context().get_parameter_source(name)
    return source not in (None, ParameterSource.DEFAULT)


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


def claim(
    ctx: click.Context,
    param: click.Parameter,
    value: Any,
    *,
    written: bool,
    inside: str = "*.parquet",
) -> Any:
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


class Listed(ParamType):
    """Values of one type, separated by commas; a configuration file has a list.

    A value that holds a comma stands in quotes.
    """

    name = "list"

    def __init__(self, kind: ParamType) -> None:
        self.kind: ParamType = kind

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[object, ...]:
        """Return the values; fail for one that is not of the type."""
        parts = (
            value
            if isinstance(value, list | tuple)
            else next(csv.reader([str(value)], skipinitialspace=True))
        )
        return tuple(self.kind.convert(part, param, ctx) for part in parts)


WORDS = Listed(click.STRING)


class MissingValues(ParamType):
    """Values that are gaps, by the column; those under "" are of all columns.

    They are separated by commas, and ``column=value|value`` names those of one column. A
    configuration file has a list of these, or a table of values by column.
    """

    name = "values"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, tuple[str, ...]]:
        """Return the values by column."""
        if isinstance(value, dict):
            return {
                str(column): tuple(map(str, own if isinstance(own, list) else [own]))
                for column, own in value.items()
            }
        by_column: dict[str, tuple[str, ...]] = {}
        for part in map(str, WORDS.convert(str(value), param, ctx) or ("",)):
            column, mark, own = part.partition("=")
            if not mark:
                column, own = "", part
            values = own.split("|") if column else [own]
            by_column[column] = (*by_column.get(column, ()), *values)
        return by_column


MISSING_VALUES = MissingValues()


def merged_missing_values(
    ctx: click.Context, param: click.Parameter, values: Sequence[dict[str, tuple[str, ...]]]
) -> dict[str, tuple[str, ...]] | None:
    """Return the values of all uses of the option together; None without any."""
    merged: dict[str, tuple[str, ...]] = {}
    for one in values:
        for column, own in one.items():
            merged[column] = (*merged.get(column, ()), *own)
    return merged or None


class OneOf(Choice):
    """One of several names; the error for another name suggests one of them."""

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the name; fail for any other."""
        if value not in self.choices:
            names = ", ".join(self.choices)
            hint = did_you_mean(value, self.choices)
            self.fail(f"must be one of {names}; got {value!r}. {hint}".rstrip(), param, ctx)
        return str(value)


class Number(click.FloatRange):
    """A number in a range. NaN is in no range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; fail outside the range."""
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value} is not a number.", param, ctx)
        return number


class Jobs(click.ParamType):
    """A number of jobs: positive, or negative to count from the number of cores."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number; fail for 0."""
        number = click.INT.convert(value, param, ctx)
        if not number:
            self.fail("must be at least 1, or -1 for one for each core; got 0.", param, ctx)
        return int(number)


LEVEL = Number(0, 1, min_open=True, max_open=True)


def threshold(value: object) -> float | str:
    """Return a probability, or the name of the score that a threshold maximises."""
    if value in ("f1", "balanced_accuracy"):
        return str(value)
    try:
        return float(LEVEL(value))
    except click.BadParameter as error:
        raise click.BadParameter(
            f"a threshold must be a number between 0 and 1, f1 or balanced_accuracy; got {value!r}."
        ) from error


def signs(value: object) -> dict[str, int]:
    """Return 1 or -1 by column: ``age=1,price=-1``, which a file has as a table."""
    pairs = (
        value.items()
        if isinstance(value, dict)
        else [str(part).rpartition("=")[::2] for part in WORDS.convert(value, None, None)]
    )
    signs_of_columns = {str(name).strip(): str(sign).strip() for name, sign in pairs}
    for name, sign in signs_of_columns.items():
        if not name or sign not in ("1", "+1", "-1"):
            raise click.BadParameter(
                f"columns must have 1, if predictions rise with them, or -1, such as age=1; "
                f"got {sign!r} for {name!r}."
            )
    return {name: int(sign) for name, sign in signs_of_columns.items()}


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
        rule = "class weights must be balanced, or label=weight separated by commas"
        raise click.BadParameter(f"{rule}; got {value!r}.") from error


def _usable(value: str) -> str:
    """Return the name of a backend; raise BackendError for one that cannot be used here."""
    get_backend(value)
    return value


def _use_threads(ctx: click.Context, param: click.Parameter, value: int | None) -> None:
    """Limit the threads of xpnet and of the BLAS libraries until the command ends."""
    if value is None:
        return
    import scipy.linalg.cython_blas  # noqa: F401  a library is limited only if it is loaded
    from threadpoolctl import threadpool_limits

    set_threads(value)
    ctx.call_on_close(lambda: set_threads(None))
    ctx.with_resource(threadpool_limits(get_threads(), user_api="blas"))


def _use_precision(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Set the precision of products until the command ends."""
    if value is not None:
        ctx.with_resource(use_precision(value))


class Grouped(click.Command):
    """A command whose help page shows its options in groups; those without a group are last."""

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


def options_of(group: str) -> Callable[..., Decorator]:
    """Return a ``click.option`` whose options are in a group of the help page."""
    return partial(click.option, cls=type("GroupedOption", (click.Option,), {"group": group}))


reading_option: Callable[..., Decorator] = options_of("Reading the data")
writing_option: Callable[..., Decorator] = options_of("Writing")
json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
machine_option: Callable[..., Decorator] = options_of("The machine")


def _one_mark(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the mark, which may be named tab; fail for anything but one character."""
    mark = {"tab": "\t", "\\t": "\t"}.get(value or "", value)
    if mark is not None and (len(mark.encode()) != 1 or mark in '\r\n"'):
        raise click.BadParameter(
            f"a mark must be one ASCII character, or tab; got {value!r}.", ctx, param
        )
    return mark


def together(*decorators: Decorator) -> Decorator:
    """Make one decorator of several options, which stand in this order on the help page."""
    return lambda command: reduce(
        lambda decorated, decorator: decorator(decorated), reversed(decorators), command
    )


computing: Decorator = together(
    machine_option(
        "--backend",
        type=_usable,
        metavar="NAME",
        help="Backend that computes, one of those that `xpnet backends` lists. [default: numba]",
    ),
    machine_option(
        "--threads",
        type=click.IntRange(min=1),
        expose_value=False,
        callback=_use_threads,
        help="Maximum number of threads. [default: as many as this process may use]",
    ),
    machine_option(
        "--precision",
        expose_value=False,
        is_eager=True,  # a backend reads it when it is first asked for
        callback=_use_precision,
        metavar="NAME",
        help="Precision of products of float32: fp32, bf16 with rounded factors, which is faster "
        "on some processors, or auto for bf16 on those; on NVIDIA GPUs also tf32. [default: auto "
        "in trainings for classes, else fp32]",
    ),
)
"""Adds ``--backend``, an argument of the command, and ``--threads`` and ``--precision``, which are
set at once.
"""

quiet_option: Decorator = writing_option(
    "-q", "--quiet", is_flag=True, help="Print no progress on stderr; errors are still printed."
)

verbose_option: Decorator = writing_option(
    "-v", "--verbose", is_flag=True, help="Print a line on stderr for each epoch."
)

model_argument: Decorator = click.argument("model", type=PATH, callback=reads)
data_argument: Decorator = click.argument("data", callback=reads)

_DETECTED = "[default: recognised where it is certain]"
reading: Decorator = together(
    reading_option(
        "--features",
        type=WORDS,
        default=(),
        help="Columns to use, separated by commas. [default: all, or those of MODEL]",
    ),
    reading_option("--drop", multiple=True, metavar="COLUMN", help="Column to leave out."),
    reading_option(
        "--text",
        multiple=True,
        metavar="COLUMN",
        help="Column to read as text, even if it holds numbers.",
    ),
    reading_option(
        "--id",
        "ids",
        multiple=True,
        metavar="COLUMN",
        help="Column that identifies rows: no feature; predict writes it before the predictions.",
    ),
    reading_option(
        "--no-header",
        is_flag=True,
        help="The first line holds values; columns are called x0, x1, ...",
    ),
    reading_option(
        "--separator",
        callback=_one_mark,
        help="Character between values. [default: the comma, semicolon, tab or bar of the file]",
    ),
    reading_option(
        "--decimal",
        type=OneOf([".", ","]),
        metavar="MARK",
        help=f"Decimal mark, a point or a comma. {_DETECTED}",
    ),
    reading_option(
        "--thousands",
        callback=_one_mark,
        metavar="MARK",
        help=f"Mark between thousands. {_DETECTED}",
    ),
    reading_option(
        "--unreadable",
        type=OneOf(["error", "gap"]),
        help="A value that does not have the form of its column in training, such as a date in "
        "another form, is an error, or a gap that is counted. [default: error, or that of MODEL]",
    ),
    reading_option(
        "--encoding", help="Encoding of text. [default: utf-8, or what its byte order mark says]"
    ),
)
"""Adds the options that say which columns are read, and how a text file is written."""


def rate_options(default: str) -> Decorator:
    """Return a decorator that adds the columns of exposures and offsets. default : for the help"""
    return together(
        reading_option(
            "--exposure",
            metavar="COLUMN",
            help="Column with the exposure of each row, by which the rate that is predicted is "
            f"multiplied. [default: {default}]",
        ),
        reading_option(
            "--offset",
            metavar="COLUMN",
            help="Column with a number that is added to the logarithm of what is predicted. "
            f"[default: {default}]",
        ),
    )


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


output_option: Callable[..., Decorator] = partial(writing_option, type=PATH, callback=output_path)
"""Adds an option that names a file to write; its folder is checked before any work is done."""

plot_option: Callable[..., Decorator] = partial(output_option, "--plot", callback=plot_path)
"""Adds the option that names a file for a plot."""

config_option: Decorator = writing_option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=read_config,
    is_eager=True,
    expose_value=False,
    help="Read options from this TOML file; options of the command line take precedence.",
)
"""Adds the option that names a file with other options."""
