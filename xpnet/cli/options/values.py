"""Types of the values of options: lists, names, numbers in ranges, values by column."""

import csv
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from xpnet.errors import InputError, did_you_mean

if TYPE_CHECKING:  # click's classes take the type of their values since 8.2
    Choice = click.Choice[str]
    ParamType = click.ParamType[object]
else:
    Choice = click.Choice
    ParamType = click.ParamType


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


def one_mark(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the mark, which may be named tab; fail for anything but one character."""
    mark = {"tab": "\t", "\\t": "\t"}.get(value or "", value)
    if mark is not None and (len(mark.encode()) != 1 or mark in '\r\n"'):
        raise click.BadParameter(
            f"a mark must be one ASCII character, or tab; got {value!r}.", ctx, param
        )
    return mark


def date_format(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return a format of dates; fail for one that ``datetime.strptime`` does not take."""
    if value is None:
        return None
    from xpnet.data.cells.dates import check_date_format

    try:
        check_date_format(value, "--date-format")
    except InputError as error:
        raise click.BadParameter(str(error), ctx, param) from error
    return value
