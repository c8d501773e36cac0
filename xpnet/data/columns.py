"""Arrow columns as features: numbers, or text that stands for categories; and which columns can serve at all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy
import pyarrow
import pyarrow.compute
from pyarrow import types

from xpnet.data.labels import as_labels
from xpnet.data.table import BadCells, Columns, Request, Table, check_numbers, check_rows, raise_for
from xpnet.errors import DataFileError

NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$|^\s*[+-]?(?i:inf|infinity|nan)\s*$"
_GROUPED = r"^\s*[+-]?\d{1,3}([,'’ \x{a0}\x{202f}]\d{3})+(\.\d+)?\s*$"
_GROUPED_COMMA = r"^\s*[+-]?\d{1,3}([.'’ \x{a0}\x{202f}]\d{3})+(,\d+)?\s*$"
_COMMA = r"^\s*[+-]?\d*,\d+\s*$"
_WHOLE = r"^\s*[+-]?\d+\s*$"
_UNIT = r"[$€£¥%]|EUR|USD|GBP|CHF"
_TRUTH = r"^\s*(?i:true|false)\s*$"
DATE = (
    r"^\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}"
    r"|\d{1,2}(-|\.? )\p{L}{3,9}\.?[- ]\d{2,4}|\p{L}{3,9}\.? \d{1,2},? \d{4})([T ].*)?$"
    r"|^\s*\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?\s*$"
)
_RELEASE = 2**17  # rows after which memory that was let go of is given back

MANY = 20
"""Texts of which so many differ, and more than half of all, are identifiers, not categories."""


@dataclass
class Features:
    """Columns that are ready, and what was found on the way.

    columns : by name, numbers of the dtype asked for or text
    """

    columns: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    bad: list[BadCells] = field(default_factory=list)


def as_table(
    name: str, content: pyarrow.Table, columns: Columns, request: Request, rows: Sequence[int] | None = None
) -> Table:
    """A table from the columns of a file. Its content is let go of column by column.

    rows : the number of each row, where these are some of the file's

    Raises DataFileError for cells that cannot be used, with every column that has some, and where none is left for X.
    """
    check_rows(name, content.num_rows)
    content = _without_views(content)
    table = _beside(name, content, columns, request)
    found = _features(content, columns, request)
    del content
    raise_for(name, [replace(cells, row=cells.row if rows is None else int(rows[cells.row])) for cells in found.bad])
    features = _left(name, columns, found.left_out)
    X = _frame(found.columns, features, request)
    return replace(table, X=X, features=features, left_out=found.left_out, notes=[*table.notes, *found.notes])


def as_numbers(name: str, X: numpy.ndarray, rest: pyarrow.Table, columns: Columns, request: Request) -> Table:
    """A table from features that are all numbers: X (rows, features), NaN where a cell is empty.

    rest : the labels' column, and those that are carried along

    Raises DataFileError as :func:`as_table` does.
    """
    check_rows(name, len(X))
    table = _beside(name, _without_views(rest), columns, request)
    left_out = {} if columns.chosen else _numbers_left_out(X, columns.features)
    features = _left(name, columns, left_out)
    if left_out:
        X = X[:, [column not in left_out for column in columns.features]]
    check_numbers(name, X, features, missing=request.missing)
    return replace(table, X=X, features=features, left_out=left_out)


def _beside(name: str, content: pyarrow.Table, columns: Columns, request: Request) -> Table:
    """A table that has no features yet: the labels, the columns that are carried along, and a note."""
    ids = {column: _as_text(content.column(column)).to_pylist() for column in columns.ids}
    table = Table(name, None, [], ids=ids)
    if columns.target is None:
        return table
    target, told = _target(content.column(columns.target), columns.target, request)
    labels = as_labels(name, columns.target, target)
    notes = [f"{columns.target}: {told}"] if told else []
    return replace(table, labels=labels, target=columns.target, notes=notes)


def _left(name: str, columns: Columns, left_out: Mapping[str, str]) -> list[str]:
    """The features that are left; raises DataFileError where there is none."""
    features = [column for column in columns.features if column not in left_out]
    if not features:
        why = "; ".join(f"{column} {reason}" for column, reason in left_out.items())
        raise DataFileError(f"{name}: at least one column must serve as a feature; left out: {why}. Name some.")
    return features


def _without_views(content: pyarrow.Table) -> pyarrow.Table:
    """The table with text as most of Arrow's functions take it."""
    views = [place for place, field in enumerate(content.schema) if types.is_string_view(field.type)]
    for place in views:
        content = content.set_column(place, content.schema.names[place], content.column(place).cast("string"))
    return content


def _target(column: Any, name: str, request: Request) -> tuple[Any, str]:
    """The labels' column, as numbers where its texts are numbers of a form of their own; and a note on that form."""
    if name in request.text or not _is_text_like(column.type):
        return column, ""
    encoded, texts = distinct(column)
    if all_match(texts, f"{NUMBER}|{_TRUTH}"):
        return column, ""
    numbers, note = _numbers_from(texts, request.dialect.decimal)
    return (column, "") if numbers is None else (looked_up(encoded, texts, numbers), note)


def _features(content: pyarrow.Table, columns: Columns, request: Request) -> Features:
    found = Features()
    for feature in columns.features:
        _add(found, feature, content.column(feature), columns, request)
    return found


def _add(found: Features, feature: str, column: Any, columns: Columns, request: Request) -> None:
    """Make one column a feature, or note why it is none."""
    dtype = request.dtype or "float64"
    due = "text" if feature in request.text else (request.kinds or {}).get(feature)
    as_it_is = due == "text" and not types.is_nested(column.type)
    ready = _Column(feature, column) if as_it_is else resolve(feature, column, dtype, request.dialect.decimal)
    reason = None if columns.chosen else _left_out(ready)
    if reason:
        found.left_out[feature] = reason
        return
    bad = _unusable(ready, due, request.missing)
    if bad:
        found.bad += bad
        return
    found.notes += [f"{feature}: {ready.note}"] if ready.note else []
    number = types.is_floating(ready.values.type)
    found.columns[feature] = ready.values if number else _as_text(ready.values)


@dataclass
class _Column:
    """A feature's column under examination.

    values : numbers of the dtype, or text, or something else that makes no feature
    nested : whether each cell holds several values, or bytes
    bad : the cells that are no numbers where the others are
    """

    name: str
    values: Any
    note: str = ""
    dates: bool = False
    nested: bool = False
    bad: BadCells | None = None


def resolve(name: str, column: Any, dtype: str, decimal: str | None) -> _Column:
    """What a column holds: numbers, whatever their form, or text, or dates.

    decimal : what stands before the fraction where the user said so
    """
    numeric = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    if any(is_kind(column.type) for is_kind in numeric):
        return _Column(name, column.cast(dtype, safe=False))
    if types.is_temporal(column.type):
        return _Column(name, column, dates=True)
    if types.is_dictionary(column.type) and not _is_text(column.type.value_type):
        return resolve(name, column.cast(column.type.value_type), dtype, decimal)
    if not _is_text(column.type) and not types.is_dictionary(column.type):
        return _Column(name, column, nested=True)
    return _from_text(name, column, dtype, decimal)


def _is_text(kind: Any) -> bool:
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _from_text(name: str, column: Any, dtype: str, decimal: str | None) -> _Column:
    """A column of text; numbers where all of it, or most, can be read as numbers."""
    encoded, texts = distinct(column)
    numbers, note = _numbers_from(texts, decimal)
    if numbers is not None:
        return _Column(name, looked_up(encoded, texts, numbers.cast(dtype)), note)
    if all_match(texts, DATE):
        return _Column(name, column, dates=True)
    readable = matches(texts, NUMBER)
    if 2 * _count(encoded, texts.filter(readable)) < len(column) - column.null_count:
        return _Column(name, column)
    bad = _first_bad(name, column, lambda values: matches(values, NUMBER))
    numbers = _plain(texts.filter(readable)).cast(dtype)
    return _Column(name, looked_up(encoded, texts.filter(readable), numbers), bad=bad)


def distinct(column: Any) -> tuple[Any, Any]:
    """The column with each text once in a dictionary, and these texts."""
    encoded = column if types.is_dictionary(column.type) else column.dictionary_encode()
    return encoded, pyarrow.compute.drop_null(pyarrow.compute.unique(_values(encoded)))


@dataclass(frozen=True)
class Form:
    """A form in which text is a number.

    pattern : that all cells match; decimal : the mark before their fraction, None where there is none
    marks : what is taken out; note : on that
    """

    name: str
    pattern: str
    decimal: str | None
    marks: str = ""
    note: str = ""

    def numbers(self, texts: Any) -> Any:
        """Texts of that form as float64."""
        if self.name == "truth":
            lowered = pyarrow.compute.utf8_lower(pyarrow.compute.utf8_trim_whitespace(texts))
            return pyarrow.compute.equal(lowered, "true").cast("float64")
        bare = pyarrow.compute.replace_substring_regex(texts, self.marks, "") if self.marks else texts
        return _plain(pyarrow.compute.replace_substring(bare, ",", ".") if self.decimal == "," else bare)


PLAIN = Form("plain", NUMBER, ".")
TRUTH = Form("truth", _TRUTH, None)
_THOUSANDS = Form(
    "thousands", f"{NUMBER}|{_GROUPED}", ".", r"[,'’ \x{a0}\x{202f}]", "marks between thousands are taken out"
)
_COMMAS = Form(
    "comma", f"{_WHOLE}|{_COMMA}|{_GROUPED_COMMA}", ",", r"[.'’ \x{a0}\x{202f}]", "a comma stands before the decimals"
)


def forms(decimal: str | None) -> list[Form]:
    """The forms that numbers may have, the first choice first. decimal : where the user said so"""
    told = [replace(_COMMAS, note="")] if decimal == "," else [_COMMAS]
    return [TRUTH, *([PLAIN, _THOUSANDS] if decimal in (None, ".") else []), *(told if decimal in (None, ",") else [])]


@dataclass
class Seen:
    """What the texts of a column have in common, learned from some of them after the other.

    form : in which all are numbers, as they are; bare : without units; units : that were there
    dates : whether all are dates; some : whether there were any
    """

    form: list[Form]
    bare: list[Form]
    units: set[str] = field(default_factory=set)
    dates: bool = True
    some: bool = False

    @classmethod
    def nothing(cls, decimal: str | None) -> "Seen":
        """Before the first."""
        return cls(forms(decimal), forms(decimal))

    def add(self, texts: Any) -> None:
        """See more texts, none of them missing."""
        if not len(texts):
            return
        self.some = True
        self.form = [form for form in self.form if all_match(texts, form.pattern)]
        self.dates = self.dates and all_match(texts, DATE)
        if self.bare and len(self.units) < 2:
            found = pyarrow.compute.extract_regex(texts, rf"(?P<unit>{_UNIT})").drop_null().field(0)
            self.units |= set(found.unique().to_pylist())
            self.bare = [form for form in self.bare if all_match(without_unit(texts), form.pattern)]

    @property
    def numbers(self) -> tuple[Callable[[Any], Any] | None, str]:
        """What makes numbers of such texts, None where they are none; and a note on their form."""
        if not self.some:
            return None, ""
        if self.form:
            return self.form[0].numbers, self.form[0].note
        if not self.bare or len(self.units) != 1:
            return None, ""
        bare, taken = self.bare[0], f"{next(iter(self.units))} is taken out"
        return lambda texts: bare.numbers(without_unit(texts)), f"{taken}, {bare.note}" if bare.note else taken


def without_unit(texts: Any) -> Any:
    """Texts without the sign of a unit before or behind a number."""
    return pyarrow.compute.replace_substring_regex(texts, rf"^\s*([+-]?)\s*({_UNIT})|({_UNIT})\s*$", r"\1")


def _numbers_from(texts: Any, decimal: str | None) -> tuple[Any, str]:
    """Texts as float64, if each is a number in one and the same form, or has the same unit; and a note on that form."""
    seen = Seen.nothing(decimal)
    seen.add(texts)
    read, note = seen.numbers
    return (None, "") if read is None else (read(texts), note)


def _plain(texts: Any) -> Any:
    return pyarrow.compute.utf8_trim_whitespace(texts).cast("float64")


def matches(texts: Any, pattern: str) -> Any:
    return pyarrow.compute.fill_null(pyarrow.compute.match_substring_regex(texts, pattern), True)


def all_match(texts: Any, pattern: str) -> bool:
    return bool(len(texts)) and bool(pyarrow.compute.all(matches(texts, pattern)).as_py())


def _values(encoded: Any) -> Any:
    return _as_text(encoded)


def looked_up(encoded: Any, texts: Any, numbers: Any) -> Any:
    """The number that belongs to each cell's text; NaN for others and for empty cells."""
    places = pyarrow.compute.index_in(_values(encoded), value_set=texts)
    return pyarrow.compute.take(numbers, places)


def _count(encoded: Any, texts: Any) -> int:
    """How many cells hold one of these texts."""
    return int(pyarrow.compute.sum(pyarrow.compute.is_in(_values(encoded), value_set=texts)).as_py() or 0)


def _first_bad(name: str, column: Any, good: Callable[[Any], Any]) -> BadCells | None:
    wrong = pyarrow.compute.invert(good(_values(column) if _is_text_like(column.type) else column))
    row = pyarrow.compute.index(wrong, True).as_py()
    count = int(pyarrow.compute.sum(wrong).as_py() or 0)
    return None if row < 0 else BadCells(name, row, str(column[row].as_py()), count)


def _is_text_like(kind: Any) -> bool:
    return _is_text(kind) or types.is_dictionary(kind)


def _as_text(column: Any) -> Any:
    return column if types.is_string(column.type) else column.cast("string")


def _left_out(column: _Column) -> str:
    """Why a column that nobody named makes no feature; nothing where it does."""
    if column.dates:
        return "holds dates or times"
    values = column.values
    if column.nested:
        return f"holds {values.type}"
    if types.is_floating(values.type):
        return _number_left_out(values.to_numpy())
    if len(values) < 3:
        return ""
    return "is empty" if values.null_count == len(values) else _text_left_out(values)


def _numbers_left_out(X: numpy.ndarray, features: Sequence[str]) -> dict[str, str]:
    """Why columns make no features. Few may be such, by their ends, and are looked at."""
    if len(X) < 3:
        return {}
    first, last = X[0], X[-1]
    with numpy.errstate(invalid="ignore"):
        some = (first == last) | (last - first == len(X) - 1) | numpy.isnan(first)
    reasons = {features[place]: _number_left_out(X[:, place]) for place in numpy.flatnonzero(some).tolist()}
    return {feature: reason for feature, reason in reasons.items() if reason}


def _number_left_out(values: numpy.ndarray) -> str:
    """Why a column of numbers makes no feature; nothing where it does. values : (rows,), NaN where a cell is empty"""
    if len(values) < 3:
        return ""
    first, steps = values[0], len(values) - 1
    if numpy.isnan(first):
        return "is empty" if numpy.isnan(values).all() else ""
    if first == values[-1]:
        return f"always holds {first:g}" if (values == first).all() else ""
    counts = values[1] - first == 1 and values[-1] - first == steps and (numpy.diff(values) == 1).all()
    return "counts the rows" if counts else ""


def _text_left_out(values: Any) -> str:
    if not _is_text_like(values.type):
        return ""
    different = pyarrow.compute.count_distinct(_as_text(values)).as_py()
    if different == 1 and not values.null_count:
        return f"always holds {values[0].as_py()!r}"
    if different > MANY and 2 * different > len(values) - values.null_count:
        return f"holds {different} different texts in {len(values)} rows"
    return ""


def _unusable(column: _Column, due: str | None, missing: str) -> list[BadCells]:
    """Cells of a feature that cannot be used."""
    if column.dates:
        raise DataFileError(
            f"Column {column.name!r} holds dates or times. Derive numbers from them (year, month), and use those."
        )
    if column.nested:
        raise DataFileError(
            f"Column {column.name!r} holds {column.values.type}; a feature holds one number or text a row."
        )
    if column.bad is not None:
        return [column.bad]
    values = column.values
    if due == "number" and not types.is_floating(values.type):
        bad = _first_bad(column.name, values, lambda texts: matches(texts, NUMBER))
        return [] if bad is None else [bad]
    if values.null_count and missing == "error":
        empty = pyarrow.compute.index(values.is_null(), True).as_py()
        return [BadCells(column.name, empty, None, values.null_count)]
    return _not_finite(column.name, values, missing) if types.is_floating(values.type) else []


def _not_finite(name: str, values: Any, missing: str) -> list[BadCells]:
    """Infinities, and NaN where gaps are refused."""
    # The sum is finite where every term is, unless it overflows: then each is looked at.
    total = pyarrow.compute.sum(values).as_py()
    if total is None or abs(total) < float("inf"):
        return []
    finite = pyarrow.compute.is_finite(values)
    if missing == "keep":
        finite = pyarrow.compute.or_(finite, pyarrow.compute.is_nan(values))
    wrong = pyarrow.compute.fill_null(pyarrow.compute.invert(finite), False)
    row = pyarrow.compute.index(wrong, True).as_py()
    if row < 0:
        return []
    return [BadCells(name, row, values[row].as_py(), int(pyarrow.compute.sum(wrong).as_py()))]


def _frame(columns: dict[str, Any], features: Sequence[str], request: Request) -> Any:
    """X: a matrix where every column holds numbers, else a table."""
    if all(types.is_floating(columns[feature].type) for feature in features):
        return _matrix(columns, features, request.dtype or "float64")
    return pyarrow.table({feature: columns[feature] for feature in features})


def _matrix(columns: dict[str, Any], features: Sequence[str], dtype: str) -> numpy.ndarray:
    """(rows, features), filled a few blocks of rows at a time, each of which is let go of once it is copied."""
    rows = len(columns[features[0]])
    X = numpy.empty((rows, len(features)), dtype)
    parts = pyarrow.table({feature: columns.pop(feature) for feature in features}).to_batches()
    parts.reverse()
    start = 0
    while parts:
        part = parts.pop()
        end = start + len(part)
        for place, column in enumerate(part.columns):
            X[start:end, place] = column.to_numpy(zero_copy_only=False)
        del part, column
        if start // _RELEASE != end // _RELEASE:
            pyarrow.default_memory_pool().release_unused()
        start = end
    return X
