"""The columns of a table that a user names in a parameter."""

from collections.abc import Iterable, Sequence

import numpy

from xpnet.errors import InputError, did_you_mean
from xpnet.tabular.columns.records import ColumnKind, Table, enumerated


def categorical_columns(features: object, table: Table) -> set[int]:
    """Return the indices of the columns that a user calls categories.

    features : names, positions, a mask of all columns, or text for none

    Raises InputError for columns that the table does not have.
    """
    if isinstance(features, str):
        return set()
    values = numpy.asarray(features).tolist()
    count = len(table.columns)
    rule = "`categorical_features` must be names, positions or a mask of the columns of X"
    if values and all(isinstance(value, bool) for value in values):
        if len(values) != count:
            raise InputError(
                f"{rule}; got a mask of {len(values)} columns for {count}. Correct it."
            )
        return {index for index, value in enumerate(values) if value}
    names = list(table.labels or table.names) if table.named or table.labels else []
    positions = [names.index(value) if value in names else value for value in values]
    unknown = [value for value in positions if not isinstance(value, int) or not 0 <= value < count]
    if unknown:
        hint = did_you_mean(unknown[0], names)
        raise InputError(f"{rule}; got {enumerated(map(repr, unknown))}. {hint}".rstrip())
    return set(positions)


def plain_columns(
    features: Iterable[str | int], table: Table, kinds: Sequence[ColumnKind]
) -> frozenset[int]:
    """Return the indices of columns of numbers that a user names.

    features : names or positions; kinds : of the columns

    Raises InputError for a column that is missing, or holds no numbers.
    """
    plain = set()
    for name in features:
        index = table.names.index(name) if isinstance(name, str) and name in table.names else -1
        if not isinstance(name, str) and name < len(kinds):
            index = int(name)
        if index < 0:
            raise InputError(
                f"Monotonic columns must be columns of X; got {name!r}. "
                f"{did_you_mean(name, table.names) or 'Correct it.'}"
            )
        if kinds[index].kind != "number":
            raise InputError(
                f"Monotonic columns must hold numbers; got {table.names[index]!r}, which holds "
                f"{kinds[index].kind} values of {kinds[index].type_name}. Leave it out, or "
                "convert it to numbers."
            )
        plain.add(index)
    return frozenset(plain)
