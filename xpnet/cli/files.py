"""The files that a command reads and writes: no output takes the place of an input, or of another output."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

_CLAIMS = "xpnet.files"
CHECKPOINTS = "checkpoint-*"


class Claim(NamedTuple):
    """A file that an argument names, or a folder of which the files that match the pattern are meant."""

    argument: str
    path: Path
    written: bool
    pattern: str

    def takes_in(self, path: Path) -> bool:
        """Whether writing to the path would replace, or add to, what this argument names."""
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
    """Whether the argument names a data set of scikit-learn's, whatever file of that name may lie there."""
    from xpnet.data import DATASETS

    return claim.argument == "DATA" and str(claim.path) in DATASETS


def _is_same(first: Path, second: Path) -> bool:
    """Whether two paths lead to one file, by links or otherwise."""
    try:
        return os.path.samefile(first, second)
    except OSError:  # one of them is not there yet
        return os.path.normcase(os.path.realpath(first)) == os.path.normcase(os.path.realpath(second))


def _name_of(param: click.Parameter) -> str:
    """``-o`` or ``DATA``, as the help page has it."""
    return param.opts[0] if isinstance(param, click.Option) else param.human_readable_name
