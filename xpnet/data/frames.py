"""Frames: the rows of a data file as named columns of Arrow's, at once or block by block; labels; forms of numbers."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy
import pyarrow
from pyarrow import compute, dataset, parquet, types

from xpnet.data.files import reading
from xpnet.data.sources import ArraySource
from xpnet.errors import DataFileError

ROWS = 2**14
"""The most rows of a batch."""

TEXT = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
"""The type of text that is to stay text, even where it spells numbers or dates."""

_BYTES_DECODED, _BYTES_BUFFERED = 2**22, 2**16
"""Bytes of a Parquet file's rows that are decoded at a time, and bytes that are read at a time of each column."""

_UNIT = r"[$€£¥%]|EUR|USD|GBP|CHF"
_THOUSANDS = {".": r",'’ \x{a0}\x{202f}", ",": r".'’ \x{a0}\x{202f}"}
"""Marks that may stand between thousands, by the mark that stands before decimals."""

MOSTLY, STRAYS = 0.9, 3
"""A column in which so large a share of the cells are numbers, and at most so many different others, holds numbers."""


@dataclass
class Frame:
    """The rows of a data file.

    name : of the file, for messages; schema : of the columns
    starts : (blocks + 1,) the first row of each block, and the number of rows
    stored : a function that yields some columns of a block as they are stored, in that order, some thousand rows at a
        time; it raises DataFileError for a file that cannot be read any more
    default_target : the column of labels, where it is known
    notes : what was done to read the file that its owner should know
    converters : functions that make of a column, as it is stored, an array of the type that it has in the schema
    """

    name: str
    schema: pyarrow.Schema
    starts: numpy.ndarray
    stored: Callable[[int, Sequence[str]], Iterable[pyarrow.RecordBatch]]
    default_target: str | None = None
    notes: list[str] = field(default_factory=list)
    converters: dict[str, Callable[[Any], Any]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Return the names of the columns."""
        return list(self.schema.names)

    def read(
        self,
        columns: Sequence[str],
        text: Iterable[str] = (),
        target: str | None = None,
        *,
        gaps: bool = True,
    ) -> "Frame":
        """Return a frame of some columns at least, in which those in ``text`` are text."""
        found = replace(self, notes=[*self.notes], converters={**self.converters})
        found.take_as_text(text)
        return found

    def convert(self, name: str, kind: Any, converter: Callable[[Any], Any]) -> None:
        """Have a column read as another type. converter : makes an array of that type of one as it is stored"""
        self.converters[name] = converter
        self.schema = self.schema.set(self.schema.get_field_index(name), pyarrow.field(name, kind))

    def take_as_text(self, columns: Iterable[str]) -> None:
        """Have columns read as text, whatever they hold."""
        for name in columns:
            if not types.is_dictionary(self.schema.field(name).type):
                self.convert(name, TEXT, _as_text)

    def batches(self, block: int, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
        """Yield some columns of a block, in that order, some thousand rows at a time."""
        for batch in self.stored(block, columns):
            for name in self.converters.keys() & set(columns):
                place = batch.schema.get_field_index(name)
                batch = batch.set_column(place, name, self.converters[name](batch.column(place)))
            yield batch

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return int(self.starts[-1])

    @property
    def blocks(self) -> int:
        """Return the number of blocks."""
        return len(self.starts) - 1

    def all_batches(self, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
        """Yield some columns of all rows, some thousand rows at a time."""
        for block in range(self.blocks):
            yield from self.batches(block, columns)


def _as_text(cells: Any) -> Any:
    """Return cells of any type as text; of lists, records and bytes it is what Python writes."""
    try:
        text = cells.cast(pyarrow.string())
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        text = pyarrow.array(
            [None if cell is None else str(cell) for cell in cells.to_pylist()], pyarrow.string()
        )
    return text.dictionary_encode()


def array_frame(
    name: str, X: Any, labels: numpy.ndarray | None, target: str, names: Sequence[str] | None = None
) -> Frame:
    """Return the frame of a matrix and the labels beside it.

    X : (rows, features), an array or what is sliced as one; labels : (rows,), or None; target : their column's name
    names : of the matrix's columns; by default x0, x1, ...

    Raises ValueError unless X is a matrix of numbers, with a label for each row.
    """
    source = ArraySource(X)
    if labels is not None and labels.shape != X.shape[:1]:
        raise ValueError(
            f"{target} holds one label for each row of X, {X.shape[:1]}; received shape {labels.shape}"
        )
    places = {
        column: place for place, column in enumerate(names or [f"x{k}" for k in range(X.shape[1])])
    }
    beside = {} if labels is None else {target: _as_arrow(labels)}

    def stored(block: int, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
        start, end = map(int, source.starts[block : block + 2])
        with reading(name, "Write it again"):
            rows: Any = source.read(block) if places.keys() & set(columns) else None
        cells = [
            _as_arrow(rows[:, places[column]])
            if column in places
            else beside[column].slice(start, end - start)
            for column in columns
        ]
        yield from pyarrow.Table.from_arrays(cells, names=list(columns)).to_batches(ROWS)

    kinds = dict.fromkeys(places, _as_arrow(numpy.empty(0, source.dtype)).type)
    schema = pyarrow.schema({**kinds, **{column: cells.type for column, cells in beside.items()}})
    return Frame(name, schema, source.starts, stored, None if labels is None else target)


def _as_arrow(values: numpy.ndarray) -> pyarrow.Array:
    """Return an array of Arrow's, which takes numbers in this machine's order of bytes, and not in half precision."""
    if values.dtype.kind in "SOT":  # text: HDF5 stores it as bytes, Zarr as objects
        return pyarrow.array(values.tolist(), pyarrow.string())
    return pyarrow.array(
        values.astype("float32" if values.dtype == "float16" else values.dtype.newbyteorder("="))
    )


def parquet_frame(path: str | Path, name: str) -> Frame:
    """Return the frame of a folder of Parquet files, or of one file, whose groups of rows are its blocks.

    Names of folders such as ``year=2024`` are columns. A file without a column that others have has gaps there.

    Raises DataFileError where a file is no whole Parquet file, or columns of one name hold different things.
    """
    with reading(name, "Write it again, as whole Parquet files that agree on their columns"):
        found = dataset.dataset(str(path), format="parquet", partitioning="hive")
        files = list(found.get_fragments())
        groups = [group for file in files for group in file.split_by_row_group()]
        told = {key: found.schema.field(key).type for file in files for key in _keys(file)}
        schemas = [*(_plain_schema(file.physical_schema) for file in files), pyarrow.schema(told)]
        schema = pyarrow.unify_schemas(schemas, promote_options="permissive")
        starts = numpy.cumsum([0, *(group.row_groups[0].num_rows for group in groups)])
    return Frame(
        name, schema, starts, lambda block, columns: _rows_of_group(groups[block], schema, columns)
    )


def _rows_of_group(
    group: Any, schema: pyarrow.Schema, columns: Sequence[str]
) -> Iterator[pyarrow.RecordBatch]:
    """Yield some columns of a group of rows, in the types that all files share."""
    rows = min(max(_BYTES_DECODED // (8 * max(1, len(columns))), 2**10), ROWS)
    stored = [name for name in columns if name in group.physical_schema.names]
    keys, kinds = _keys(group), [schema.field(name).type for name in columns]
    # Each thread takes room, and one column gives them nothing to share.
    wanted = {
        "row_groups": [group.row_groups[0].id],
        "columns": stored,
        "use_threads": len(stored) > 1,
    }
    how: dict[str, Any] = {
        "metadata": group.metadata,
        "pre_buffer": False,
        "buffer_size": _BYTES_BUFFERED,
    }
    left = group.row_groups[0].num_rows
    with reading(group.path, "Write it again"), parquet.ParquetFile(group.path, **how) as file:
        for batch in file.iter_batches(rows, **wanted):
            cells = [
                batch.column(name).cast(kind, safe=False)
                if name in stored
                else pyarrow.repeat(pyarrow.scalar(keys.get(name), type=kind), batch.num_rows)
                for name, kind in zip(columns, kinds, strict=True)
            ]
            left -= batch.num_rows
            yield pyarrow.RecordBatch.from_arrays(cells, names=list(columns))
        if left:
            raise ValueError("a group has another number of rows than it says")


def _keys(fragment: Any) -> dict[str, Any]:
    """Return what the folder of a file tells of its rows (year=2024)."""
    return dataset.get_partition_keys(fragment.partition_expression)


def _plain_schema(schema: Any) -> Any:
    """Return the columns that are data, without an index of pandas', each with the type of its values."""
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    kinds = {column.name: column.type for column in schema if column.name not in index}
    return pyarrow.schema(
        {key: kind.value_type if types.is_dictionary(kind) else kind for key, kind in kinds.items()}
    )


def pick_columns(
    opened: Any,
    target: str | None,
    features: Sequence[str],
    drop: Sequence[str],
    text: Sequence[str],
    labelled: bool,
) -> tuple[list[str], str | None]:
    """Return the names of the columns that a model takes, and of the labels where they are asked for.

    labelled : whether a target is needed; text : columns that are named for another reason, and must be there

    Raises DataFileError for columns that are missing, for a target that is not named, and where no feature is left.
    """
    file, own, listed = opened.name, opened.default_target, _listed(opened.names)
    if labelled and target is None and own is None:
        raise DataFileError(
            f"{file}: --target names the column that holds the labels, one of {listed}."
        )
    target = (target or own) if labelled else None
    named = dict.fromkeys([target or "", *features, *drop, *text])
    missing = [name for name in named if name not in ("", *opened.names)]
    if missing:
        lowered = {name.lower(): name for name in opened.names}
        close = get_close_matches(missing[0].lower(), lowered, 1)
        meant = (
            f"Did you mean {lowered[close[0]]!r}?"
            if close
            else "Where the first line is no names: --no-header."
        )
        raise DataFileError(
            f"{file}: there is no column {_listed(missing)}; the columns are {listed}. {meant}"
        )
    chosen = list(dict.fromkeys(features)) or [
        name for name in opened.names if name not in {target, own, *drop}
    ]
    if not chosen:
        raise DataFileError(
            f"{file}: at least one column beside the target is needed; received {listed}."
        )
    if target in chosen:
        raise DataFileError(
            f"{file}: {target!r} is the target, and no feature can be. Name another."
        )
    return chosen, target


def _listed(names: Sequence[str], most: int = 12) -> str:
    """Return names as ``'a', 'b', 'c'``, cut after so many."""
    shown = ", ".join(repr(name[:60]) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def read_labels(
    frame: Frame, target: str, decimal: str | None = None
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the labels of a frame, and which rows have one.

    Labels are integers where all are whole numbers, floats where all are numbers, else text.

    decimal : the mark before decimals in text, where the user named one
    returns (labelled,) int64, float64 or str, and (rows,) bool

    Raises DataFileError for labels of another kind, and where no row has one.
    """
    kind = frame.schema.field(target).type
    column = pyarrow.chunked_array([batch.column(0) for batch in frame.all_batches([target])], kind)
    if types.is_floating(kind) or types.is_decimal(kind) or types.is_integer(kind):
        numbers = (
            column.to_numpy()
            if not column.null_count
            else column.cast("float64", safe=False).to_numpy()
        )
        labels, there = _from_numbers(numbers)
    elif (
        types.is_boolean(kind) or types.is_dictionary(kind) or types.is_null(kind) or is_text(kind)
    ):
        labels, there = _from_texts(column, decimal, frame.name, target)
    else:
        raise DataFileError(
            f"{frame.name}: labels are numbers or text; column {target!r} holds {kind}. Convert it."
        )
    del column
    pyarrow.default_memory_pool().release_unused()
    if not len(labels):
        raise DataFileError(
            f"{frame.name}: rows need labels; none of {frame.rows} has one in column {target!r}."
        )
    return labels, there


def is_text(kind: Any) -> bool:
    """Return whether a type is one of Arrow's for text."""
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _from_numbers(numbers: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    if numpy.can_cast(numbers.dtype, numpy.int64):
        return numbers.astype(numpy.int64), numpy.ones(len(numbers), bool)
    numbers = numbers.astype(numpy.float64)
    there = numpy.isfinite(numbers)
    labels = numbers if there.all() else numbers[there]
    whole = (labels == numpy.floor(labels)).all() and (numpy.abs(labels) < 2**53).all()
    return (labels.astype(numpy.int64) if whole else labels), there


def _from_texts(
    column: Any, decimal: str | None, name: str, target: str
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return labels from texts, each of which is looked at once."""
    encoded = column if types.is_dictionary(column.type) else column.dictionary_encode()
    encoded = encoded.unify_dictionaries().combine_chunks()
    texts = [
        "" if text is None else str(text).strip()
        for text in [*encoded.dictionary.to_pylist(), None]
    ]
    if any(text.endswith("\0") for text in texts):  # NumPy's texts end before their last zero bytes
        raise DataFileError(
            f"{name}: labels must not end in a zero byte; some in column {target!r} do. Remove it."
        )
    codes = encoded.indices.fill_null(len(texts) - 1).to_numpy(zero_copy_only=False)
    there = numpy.asarray([bool(text) for text in texts])[codes]
    coded = any(
        re.match(r"[+-]?(0[0-9]|[0-9]{16})", text) for text in texts
    )  # 007, and numbers of accounts
    known = pyarrow.array(list(filter(None, texts)), pyarrow.string())
    form = None if coded else number_format_of([known], decimal, None, strictly=True)
    if form is None:
        return numpy.asarray(texts)[codes[there]], there
    numbers = form.numbers(pyarrow.array(texts)).to_numpy(zero_copy_only=False)
    return _from_numbers(numbers[codes[there]])[0], there


def class_indices(name: str, labels: numpy.ndarray, classes: Sequence[Any]) -> numpy.ndarray:
    """Return the place of each label among classes; compared as text, so that 1 from one file is "1" from another.

    name : of the file; labels : (rows,); returns (rows,) of the smallest unsigned integers that hold them

    Raises DataFileError for a label that is no class.
    """
    texts = pyarrow.array(labels).cast(pyarrow.string())
    found = compute.index_in(texts, pyarrow.array([str(label) for label in classes]))
    if found.null_count:
        unknown = labels[found.is_null().index(True).as_py()].item()
        raise DataFileError(
            f"{name}: labels must be classes the model knows, {', '.join(map(repr, list(classes)[:12]))}; received "
            f"{unknown!r} in {found.null_count} rows. Leave these out."
        )
    return found.to_numpy().astype(numpy.min_scalar_type(len(classes)))


@dataclass(frozen=True)
class NumberFormat:
    """A form of numbers.

    decimal : the mark before decimals; thousands : the marks that may stand between thousands
    note : how a column in this form was read, for the user; empty where its numbers are plain
    """

    decimal: str
    thousands: str
    note: str = ""

    def plain(self, texts: Any) -> Any:
        """Return numbers of this form without units and marks, and with a decimal point; other texts are gaps."""
        whole = rf"\d{{1,3}}(?:[{self.thousands}]\d{{3}})+" if self.thousands else r"\d+"
        digits = (
            rf"(?:(?:{whole}|\d+)(?:[{self.decimal}]\d*)?|[{self.decimal}]\d+)(?:[eE][+-]?\d+)?"
        )
        pattern = rf"^\s*[+-]?\s*(?:{_UNIT})?\s*[+-]?{digits}\s*(?:{_UNIT})?\s*$"
        known = compute.if_else(compute.match_substring_regex(texts, pattern), texts, None)
        bare = compute.replace_substring_regex(known, rf"{_UNIT}|\s|[{self.thousands}]", "")
        return compute.replace_substring(bare, self.decimal, ".")

    def numbers(self, column: Any) -> Any:
        """Return the cells of a column as float64; those that are no numbers are gaps."""
        encoded = column.cast(
            pyarrow.string()
        ).dictionary_encode()  # a batch may use few words of its dictionary
        return compute.take(self.plain(encoded.dictionary).cast(pyarrow.float64()), encoded.indices)

    def of(self, column: Any, *, strictly: bool) -> "NumberFormat | None":
        """Return this form with a note on a column that has it; None for a column that has not."""
        texts, counts = compute.value_counts(column.drop_null()).flatten()
        texts = texts.cast(
            pyarrow.string()
        )  # those that differ, of which most columns have fewer than rows
        plain = self.plain(texts)
        good, strays = texts.filter(plain.is_valid()), texts.filter(plain.is_null())
        rows, others = (
            compute.sum(some, min_count=0).as_py()
            for some in (counts, counts.filter(plain.is_null()))
        )
        units = (
            compute.struct_field(compute.extract_regex(good, rf"(?P<unit>{_UNIT})"), 0)
            .drop_null()
            .unique()
        )
        few = not strictly and len(strays) <= STRAYS and rows - others >= MOSTLY * rows
        if not len(good) or len(units) > 1 or (others and not few):
            return None
        notes, changed = [], texts.filter(compute.not_equal(texts, plain))[:100].to_pylist()
        if changed:
            example = max(changed, key=len)
            notes.append(f"{example!r} is read as {self.numbers(pyarrow.array([example]))[0]}")
        if others:
            words = ", ".join(map(repr, sorted(strays.to_pylist())))
            notes.append(
                f"{others} cells hold {words} among numbers, and are gaps; --text takes all as text"
            )
        return replace(self, note=", ".join(notes))


def number_format_of(
    parts: Iterable[Any], decimal: str | None, thousands: str | None, *, strictly: bool = False
) -> NumberFormat | None:
    """Return the form in which the texts of a column are numbers, with a note; None where they are not.

    parts : arrays of Arrow's; decimal, thousands : the marks where the user named them
    strictly : whether every cell must be a number
    """
    marks = [decimal] if decimal else [".", ","]
    forms = [
        NumberFormat(mark, _THOUSANDS[mark] if thousands is None else re.escape(thousands))
        for mark in marks
    ]

    def form_of(column: Any) -> NumberFormat | None:
        return next(filter(None, (form.of(column, strictly=strictly) for form in forms)), None)

    parts = iter(parts)
    first = next((part for part in parts if part.null_count < len(part)), None)
    if (
        first is None or form_of(first) is None
    ):  # most columns of words are told by their first rows
        return None
    return form_of(pyarrow.chunked_array([first, *parts]).unify_dictionaries())
