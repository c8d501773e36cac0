"""The records of columns by themselves: rows and columns that are taken, kinds that are refused."""

import datetime
from collections.abc import Sequence

import numpy
import pyarrow
import pytest

from xpnet import TableEncoder
from xpnet.data.frames import Frame
from xpnet.errors import InputError
from xpnet.tabular.columns.frames import table_of
from xpnet.tabular.columns.records import MatrixColumns, Timestamps, Words, codes_of_texts
from xpnet.tabular.columns.series import values_of
from xpnet.tabular.rows.file_table import FileTable

MATRIX = numpy.arange(12.0).reshape(4, 3)
DAYS = ["2024-01-01", "2024-02-03", "2024-03-05", "2024-04-07"]


def dates() -> pyarrow.Array:
    return pyarrow.array([datetime.date.fromisoformat(day) for day in DAYS])


def test_columns_are_taken_one_by_one_or_as_a_slice() -> None:
    columns = MatrixColumns(MATRIX)
    for taken, indices in ((columns[1:], [1, 2]), (columns[::-2], [2, 0]), (columns[5:], [])):
        assert len(taken) == len(indices)
        for column, index in zip(taken, indices, strict=True):
            numpy.testing.assert_array_equal(column.values.floats(), MATRIX[:, index])
    assert columns[1:][0] is columns[1]


def test_some_rows_of_columns_of_different_kinds() -> None:
    table = table_of(pyarrow.table({"x": MATRIX[:, 0], "day": dates()})).take(numpy.array([3, 1]))
    numpy.testing.assert_array_equal(table.numbers(0), MATRIX[[3, 1], 0])
    seconds = [datetime.datetime.fromisoformat(DAYS[k] + "T00:00Z").timestamp() for k in (3, 1)]
    numpy.testing.assert_array_equal(table.timestamps(1), seconds)


@pytest.mark.parametrize(
    ("method", "column", "said"),
    [
        ("numbers", "day", "'day'.*numbers.*date"),
        ("timestamps", "x", "'x'.*dates.*float64"),
        ("categories", "lists", "'lists'.*text or numbers.*List"),
    ],
)
def test_a_column_of_another_kind_is_named(method: str, column: str, said: str) -> None:
    cells = {"x": MATRIX[:, 0], "day": dates(), "lists": pyarrow.array([[1], [2], [3], [4]])}
    table = table_of(pyarrow.table(cells))
    with pytest.raises(InputError, match=said):
        getattr(table, method)(list(cells).index(column))


def test_columns_of_gaps_are_numbers_and_dates() -> None:
    table = table_of(pyarrow.table({"none": pyarrow.nulls(4)}))
    assert numpy.isnan(table.numbers(0)).all() and len(table.numbers(0)) == 4
    assert numpy.isnan(table.timestamps(0)).all()


def test_dates_in_a_format_are_text_or_whole_numbers() -> None:
    encoder = TableEncoder(date_format={"when": "%Y%m%d"})
    texts = [day.replace("-", "") for day in DAYS]
    numbers = encoder.fit_transform({"when": numpy.array(texts).astype(int)})
    numpy.testing.assert_array_equal(encoder.fit_transform({"when": texts}), numbers)


def test_timestamps_are_read_on_the_clock_of_the_training() -> None:
    utc, local = numpy.array([0.0, 3.6e9]), numpy.array([7.2e9, 10.8e9])
    zoned = Timestamps(utc, "utc", local=local)
    assert zoned.on_clock("utc") is zoned
    assert zoned.on_clock("naive") is None
    own = zoned.on_clock("")
    assert own is not None
    numpy.testing.assert_array_equal(own.microseconds, local)
    plain = Timestamps(utc, "naive")
    assert plain.on_clock("") is plain


def test_texts_that_are_equal_have_one_code() -> None:
    codes = numpy.array([0, 1, 2, 3, -1, 1])
    plain = codes_of_texts(codes, ["p", "q", "r", "s"])
    assert (plain.codes.tolist(), plain.texts) == ([0, 1, 2, 3, -1, 1], ["p", "q", "r", "s"])
    merged = codes_of_texts(codes, ["0.0", "1.0", None, "0.0"])
    assert (merged.codes.tolist(), merged.texts) == ([0, 1, -1, 0, -1, 1], ["0.0", "1.0"])


def test_objects_with_and_without_a_time_zone_are_text() -> None:
    plain = datetime.datetime(2024, 1, 1, 12)
    aware = plain.replace(tzinfo=datetime.UTC)
    one_kind = values_of(numpy.array([aware, None], object), "when")
    assert isinstance(one_kind, Timestamps) and one_kind.clock == "utc"
    mixed = values_of(numpy.array([plain, aware, plain], object), "when")
    assert isinstance(mixed, Words)
    assert mixed.texts == ["2024-01-01 12:00:00", "2024-01-01 12:00:00+00:00"]
    assert mixed.codes.tolist() == [0, 1, 0]


@pytest.mark.parametrize("is_chunked", [False, True])
def test_arrow_s_arrays_are_read_whole_or_in_chunks(is_chunked: bool) -> None:
    def array_of(array: pyarrow.Array) -> pyarrow.Array | pyarrow.ChunkedArray:
        return pyarrow.chunked_array([array[:1], array[1:]]) if is_chunked else array

    coded = pyarrow.array(["q", None, "p", "q"]).dictionary_encode()
    words = values_of(array_of(coded), "word")
    assert isinstance(words, Words)
    assert [words.texts[k] if k >= 0 else None for k in words.codes] == ["q", None, "p", "q"]
    days = values_of(array_of(dates()), "day")
    assert isinstance(days, Timestamps)
    assert (days.microseconds / 86400e6).tolist() == [19723, 19756, 19787, 19820]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 9])
def test_rows_of_a_file_are_read_a_few_at_a_time(size: int) -> None:
    whole = pyarrow.table({"x": numpy.arange(12.0)})
    starts = numpy.array([0, 5, 5, 12])

    def stored(block: int, names: Sequence[str]) -> list[pyarrow.RecordBatch]:
        part = whole.slice(starts[block], starts[block + 1] - starts[block])
        return part.select(names).to_batches(3)

    frame = Frame("d.csv", whole.schema, starts, stored, first_row=2)
    rows = FileTable(frame, ["x"], numpy.arange(12) % 2 == 0, {})
    tables = list(rows.chunks(numpy.arange(6), size))
    assert [len(table.numbers(0)) for table in tables[:-1]] == [size] * ((6 - 1) // size)
    numbers = numpy.concatenate([table.numbers(0) for table in tables])
    numpy.testing.assert_array_equal(numbers, [0, 2, 4, 6, 8, 10])
    places = [table.row_numbers for table in tables]
    numpy.testing.assert_array_equal(numpy.concatenate(places), numbers + 2)
    numpy.testing.assert_array_equal(rows.take(numpy.array([1, 4])).numbers(0), [2, 8])
