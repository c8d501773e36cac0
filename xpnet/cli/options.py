"""Options that several commands share."""

import csv
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from xpnet.backend.threads import get_threads, set_threads
from xpnet.cli.files import writes
from xpnet.dispatch import Choice, available_backends, choose, get_backend

Command = TypeVar("Command", bound=Callable[..., Any])


class BackendName(click.ParamType):
    """The name of a backend that is usable here; anything else ends the command before its work begins."""

    name = "backend"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name; raises BackendError with the list, or with the reason and the remedy."""
        get_backend(value)
        return value

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """The names, for the help page."""
        return f"[{'|'.join(available_backends())}]"


def computing(command: Command) -> Command:
    """Give a command ``--backend`` and ``--threads``; the first arrives as an argument, the second is set at once."""
    group = "The machine"
    backend = option("--backend", group=group, type=BackendName(), help="Compute with this backend. [default: numba]")
    threads = option(
        "--threads",
        group=group,
        type=click.IntRange(min=1),
        expose_value=False,
        callback=_use_threads,
        help="Use at most so many threads. [default: as many as this process may use]",
    )
    return backend(threads(command))


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
    """A command whose help page shows its options in groups. Each option knows its group; those without come last."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group, in the order in which the groups first come."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(param, "group", "Other options"), []).append(record)
        groups["Other options"] = groups.pop("Other options", [])
        for name, records in groups.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)


class GroupedOption(click.Option):
    """An option in a group of the help page."""

    def __init__(self, *args: Any, group: str = "Other options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


def option(*names: str, group: str, **settings: Any) -> Callable[[Command], Command]:
    """An option in a group of the help page."""
    return click.option(*names, cls=GroupedOption, group=group, **settings)


def reading(command: Command) -> Command:
    """Give a command the options that say which columns are read, and how a text file is written."""
    group = "Reading the data"
    options = (
        option("--features", group=group, callback=_by_commas, help="Use these columns alone, with commas between."),
        option("--drop", group=group, multiple=True, metavar="COLUMN", help="Leave this column out."),
        option("--text", group=group, multiple=True, metavar="COLUMN", help="Read this column as text, numbers too."),
        option(
            "--id",
            "ids",
            group=group,
            multiple=True,
            metavar="COLUMN",
            help="Keep this column out of the features; predict writes it beside the predictions.",
        ),
        option(
            "--no-header",
            "header",
            group=group,
            is_flag=True,
            flag_value=False,
            default=True,
            help="Read the first line as values; columns are called x0, x1, ...",
        ),
        option(
            "--separator",
            group=group,
            callback=_one_mark,
            help="Part values at this mark. [default: comma, semicolon, tab or bar, as in the first line]",
        ),
        option(
            "--decimal",
            group=group,
            type=click.Choice([".", ","]),
            metavar="MARK",
            help="Expect this mark before decimals, a point or a comma. [default: recognised where it is certain]",
        ),
        option(
            "--thousands",
            group=group,
            callback=_one_mark,
            metavar="MARK",
            help="Expect this mark between thousands. [default: recognised where it is certain]",
        ),
        option(
            "--encoding", group=group, help="Decode text by this encoding. [default: utf-8, or its byte order mark]"
        ),
    )
    for one in reversed(options):
        command = one(command)
    return command


def dialect_of(options: Mapping[str, Any]) -> Any:
    """How a text file is written, as the options say."""
    from xpnet.data.text import Dialect

    return Dialect(*(options[name] for name in ("separator", "decimal", "thousands", "encoding", "header")))


def _by_commas(ctx: click.Context, param: click.Parameter, value: Any) -> tuple[str, ...]:
    """Names with commas between; a name with a comma in it stands in quotes."""
    if not value:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else tuple(n.strip() for n in next(csv.reader([value])))


def _one_mark(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    mark = {"tab": "\t", "\\t": "\t"}.get(value or "", value)
    if mark is not None and (len(mark.encode()) != 1 or mark in '\r\n"'):
        raise click.BadParameter(f"a mark is one character of ASCII, or tab; received {value!r}.", ctx, param)
    return mark


Check = Callable[[click.Context, click.Parameter, Path | None], Path | None]


def output_option(
    *names: str, help: str, check: Check | None = None, group: str = "Writing"
) -> Callable[[Command], Command]:
    """An option that names a file to write. Its folder is looked at before any work is done.

    check : what else must hold for the path
    """

    def callback(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
        path = output_path(ctx, param, path)
        return path if check is None else check(ctx, param, path)

    return option(*names, group=group, type=click.Path(path_type=Path), callback=callback, help=help)


def output_path(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """The path, if a file can be written there that is no other file of this command."""
    if path is not None:
        check_folder(path.parent, f"to write {path.name} there")
        if path.exists() and not path.is_file():
            raise click.BadParameter(f"{path} is a folder or a device; name a file.", ctx, param)
    return writes(ctx, param, path)


def check_folder(folder: Path, purpose: str) -> None:
    """Raise click.UsageError unless the folder is there and can be written in."""
    if not folder.is_dir():
        raise click.UsageError(f"The folder {folder} must exist {purpose}; it does not. Create it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise click.UsageError(f"The folder {folder} must be writable {purpose}; it is not. Choose another.")


def chosen(backend: str | None) -> Choice:
    """The backend for host data, and why: the option's, else what the dispatcher says."""
    return choose(backend=backend)
