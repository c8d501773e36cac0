"""Options that commands share.

``values``  types of the values of options
``files``   files and folders that options name
``checks``  which options of ``train`` contradict each other or have no effect
"""

from collections.abc import Callable
from functools import partial, reduce
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from xpnet.backend.precision import use_precision
from xpnet.backend.threads import get_threads, set_threads
from xpnet.cli.options.files import PATH, output_path, plot_path, read_config, reads
from xpnet.cli.options.values import WORDS, OneOf, one_mark
from xpnet.dispatch import get_backend

Decorator = Callable[[Any], Any]
"""Adds options to a command, or to a decorator of commands."""


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

without_notes_option: Decorator = writing_option(
    "-q", "--quiet", is_flag=True, help="Print no notes on stderr; errors are still printed."
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
        "--skip-rows",
        type=click.IntRange(min=0),
        default=0,
        metavar="NUMBER",
        help="Lines above the header of a text file, such as a title, which are not read.",
    ),
    reading_option(
        "--separator",
        callback=one_mark,
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
        callback=one_mark,
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
            type=WORDS,
            metavar="COLUMN",
            help="Column with a number that is added to the logarithm of what is predicted, of two "
            "classes of the odds of the second; of more classes one column for each. "
            f"[default: {default}]",
        ),
    )


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
