"""Commands share these options, their types, configuration files, and checks of files that they write."""

import csv
import io
import json
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from xpnet.backend.threads import get_threads, set_threads
from xpnet.dispatch import Choice, available_backends, choose, get_backend

_CLAIMS = "xpnet.files"
CHECKPOINTS = "checkpoint-*"


class Claim(NamedTuple):
    """A file that an argument names, or a folder of which the files that match the pattern are meant."""

    argument: str
    path: Path
    written: bool
    pattern: str

    def takes_in(self, path: Path) -> bool:
        """Return whether writing to the path would replace, or add to, what this argument names."""
        if _is_same(self.path, path):
            return True
        if not self.path.is_dir():
            return False
        place = Path(os.path.realpath(path))
        added = place.is_relative_to(os.path.realpath(self.path)) and place.match(self.pattern)
        return added or (path.exists() and any(_is_same(file, path) for file in self.path.rglob(self.pattern)))


def reads(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Note that a command reads the file, or the folder of Parquet files or Zarr arrays, that an argument names.

    Raises click.UsageError where an output would replace it.
    """
    if value is not None and str(value) != "-":
        path = Path(value)
        pattern = "*" if path.suffix.lower() == ".zarr" else "*.parquet"
        _claim(ctx, Claim(_name_of(param), path, written=False, pattern=pattern))
    return value


def reads_labels(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Note the file of labels, where the target is one and not the name of a column."""
    return reads(ctx, param, value) if value is not None and value.endswith(".npy") else value


def keeps_checkpoints(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Note that a command reads and writes the checkpoints of a folder."""
    if value is not None:
        _claim(ctx, Claim(_name_of(param), value, written=True, pattern=CHECKPOINTS))
    return value


def writes(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Note that a command writes the file that an argument names.

    Raises click.UsageError where that file is an input or another output.
    """
    if value is not None:
        _claim(ctx, Claim(_name_of(param), value, written=True, pattern=""))
    return value


def _claim(ctx: click.Context, claim: Claim) -> None:
    claims: list[Claim] = ctx.meta.setdefault(_CLAIMS, [])
    for other in claims:
        if _collide(claim, other):
            raise click.UsageError(
                f"{other.argument} and {claim.argument} both name {claim.path}; an output must not replace an input or "
                "another output. Name another file.",
                ctx,
            )
    claims.append(claim)


def _collide(first: Claim, second: Claim) -> bool:
    pairs = ((first, second), (second, first))
    return any(one.written and not _is_data_set(other) and other.takes_in(one.path) for one, other in pairs)


def _is_data_set(claim: Claim) -> bool:
    """Return whether the argument names a data set of scikit-learn's, even if there is a file of that name."""
    from xpnet.data import DATASETS

    return claim.argument == "DATA" and str(claim.path) in DATASETS


def _is_same(first: Path, second: Path) -> bool:
    """Return whether two paths lead to one file, by links or otherwise."""
    try:
        return os.path.samefile(first, second)
    except OSError:  # one of them is not there yet
        return os.path.normcase(os.path.realpath(first)) == os.path.normcase(os.path.realpath(second))


def _name_of(param: click.Parameter) -> str:
    """``-o`` or ``DATA``, as the help page has it."""
    return param.opts[0] if isinstance(param, click.Option) else param.human_readable_name


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
            "a TOML file holds Unicode alone, and a file's name is not UTF-8. Rename the file, or leave "
            "--save-config out."
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


MODELS = ("tabular", "mlp", "linear")


class Sizes(click.ParamType):
    """Sizes of the hidden layers: integers with commas between them, or nothing for no hidden layer."""

    name = "sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the sizes; fail for anything but positive integers."""
        if isinstance(value, tuple):
            return value
        parts = [str(part) for part in value] if isinstance(value, list) else str(value).split(",")
        try:
            sizes = tuple(int(part) for part in parts) if any(part.strip() for part in parts) else ()
        except ValueError:
            sizes = (0,)
        if min(sizes, default=1) < 1:
            self.fail(f"layer sizes are positive integers such as 100,50; received {value!r}.", param, ctx)
        return sizes


class Levels(click.ParamType):
    """Levels of quantiles: numbers that rise between 0 and 1, with commas between them."""

    name = "levels"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Return the levels; fail for others."""
        parts = value if isinstance(value, list | tuple) else str(value).split(",")
        try:
            levels = tuple(float(part) for part in parts)
        except ValueError:
            levels = ()
        if not levels or not all(low < high for low, high in pairwise((0.0, *levels, 1.0))):
            self.fail(f"levels rise between 0 and 1, such as 0.1,0.5,0.9; received {value!r}.", param, ctx)
        return levels


class Number(click.FloatRange):
    """A number in a range; NaN, which compares with nothing, is in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; fail outside the range."""
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value} is not a number.", param, ctx)
        return number


class ClassWeight(click.ParamType):
    """``balanced``, or weights by label: ``yes=3,no=1``."""

    name = "weights"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """``"balanced"`` or a dict from label to weight; fails for anything else."""
        if value == "balanced" or isinstance(value, dict):
            return value
        try:
            pairs = [part.rsplit("=", 1) for part in str(value).split(",")]
            weights = {label.strip(): float(weight) for label, weight in pairs}
        except ValueError:
            weights = {}
        if not weights or not all(weight >= 0 for weight in weights.values()):
            self.fail(
                f"class weights are balanced, or label=weight with commas between; received {value!r}.", param, ctx
            )
        return weights


@dataclass(frozen=True)
class Settings:
    """Holds the options of ``xpnet train`` for one training."""

    data: str
    target: str | None
    task: str | None
    features: tuple[str, ...]
    drop: tuple[str, ...]
    ids: tuple[str, ...]
    text: tuple[str, ...]
    separator: str | None
    decimal: str | None
    thousands: str | None
    encoding: str | None
    header: bool
    model: str
    hidden: tuple[int, ...] | None
    members: int | None
    activation: str
    dropout: float | None
    loss: str | None
    quantile: tuple[float, ...] | None
    class_weight: Any
    epochs: int
    batch_size: int | None
    optimizer: str
    lr: float | None
    weight_decay: float | None
    patience: int
    validation_size: float
    time_limit: float | None
    jobs: int
    seed: int
    dtype: str
    test_size: float
    output: Path | None
    metrics_json: Path | None
    plot: Path | None
    save_config: Path | None
    checkpoint_dir: Path | None
    resume: bool
    backend: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


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
    """Make an option in a group of the help page."""

    def __init__(self, *args: Any, group: str = "Other options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


def option(*names: str, group: str, **settings: Any) -> Callable[[Command], Command]:
    """Make an option in a group of the help page."""
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
    """Return the dialect of a text file that the options ask for."""
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
