"""Frames of pandas, of polars and of Arrow give the same numbers, each without the other
libraries.
"""

import datetime
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import pandas
import polars
import pyarrow
import pytest

from xpnet import TableEncoder
from xpnet.errors import InputError

ABSENT = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in set(sys.argv[1].split(",")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""

TABLE = """
import datetime, sys, warnings
from decimal import Decimal
import numpy, xpnet

library, file = sys.argv[2:]
rng = numpy.random.default_rng(0)
rows = 120
day = datetime.datetime(2023, 1, 1, 10)
index = rng.integers(0, 4, rows)
columns = {
    "town": [["Rome", "Oslo", "", None][k] for k in index],
    "size": [["S", "M", "L", None][k] for k in rng.integers(0, 4, rows)],
    "when": [day + datetime.timedelta(hours=float(h)) for h in rng.integers(0, 9000, rows)],
    "written": [
        f"{d}/{m}/2023" for d, m in zip(rng.integers(1, 29, rows), rng.integers(1, 13, rows))
    ],
    "born": [(day + datetime.timedelta(days=int(d))).date() for d in rng.integers(0, 900, rows)],
    "open": [bool(k) for k in rng.integers(0, 2, rows)],
    "price": [Decimal(int(k)) / 100 for k in rng.integers(0, 9999, rows)],
    "x": [float(k) for k in rng.normal(size=rows)],
    "count": [int(k) for k in rng.integers(0, 50, rows)],
}
for name in columns:
    columns[name] = [None if k == 7 else value for k, value in enumerate(columns[name])]
y = numpy.where(index > 1, "yes", "no")
if library == "pandas":
    import pandas
    table = pandas.DataFrame(columns)
    table["size"] = table["size"].astype("category")
else:
    import polars
    table = polars.DataFrame(columns, schema_overrides={"size": polars.Enum(["S", "M", "L", "XL"])})
"""

TRAIN = """
settings = dict(hidden_layer_sizes=(8,), max_iter=4, networks=1, random_state=0)
warnings.simplefilter("ignore")
model = xpnet.TabularClassifier(**settings).fit(table, y)
assert model.encoder_.left_out_ == {}
expected = model.predict_proba(table)
model.save(file)
numpy.testing.assert_array_equal(xpnet.load(file).predict_proba(table), expected)
numpy.save(file + ".npy", expected)
assert "pyarrow" not in sys.modules
"""

PREDICT = """
numpy.testing.assert_array_equal(xpnet.load(file).predict_proba(table), numpy.load(file + ".npy"))
"""


def run(program: str, absent: str, library: str, file: Path) -> None:
    """Run a program that does not find some packages."""
    code = ABSENT + TABLE + program
    command = [sys.executable, "-c", code, absent, library, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "library", ["pandas", pytest.param("polars", marks=pytest.mark.exhaustive)]
)
def test_a_frame_needs_no_other_library(library: str, tmp_path: Path) -> None:
    other = {"pandas": "polars", "polars": "pandas"}
    file = tmp_path / "model.safetensors"
    run(TRAIN, f"pyarrow,{other[library]}", library, file)
    run(PREDICT, f"pyarrow,{library}", other[library], file)
    run(PREDICT, "none", library, file)


def test_columns_of_any_kind_are_the_same_in_all_libraries() -> None:
    moments = [datetime.datetime(2024, 1, k + 1, k, 30, 1, 5) for k in range(20)]
    columns: dict[str, list[Any]] = {
        "moment": moments,
        "day": [moment.date() for moment in moments],
        "time": [moment.time() for moment in moments],
        "span": [moment - moments[3] for moment in moments],
        "zoned": [moment.astimezone(datetime.UTC) for moment in moments],
        "price": [Decimal(k) / 7 for k in range(20)],
        "truth": [k % 3 == 0 for k in range(20)],
        "whole": [k * k for k in range(20)],
        "account": [2**60 + k % 3 for k in range(20)],
        "word": ["ab"[k % 2] for k in range(20)],
    }
    columns["price"] = [price.quantize(Decimal("0.001")) for price in columns["price"]]
    columns = {name: [*values[:5], None, *values[6:]] for name, values in columns.items()}
    columns["account"][5] = 2**60 + 5  # pandas makes floats of whole numbers with gaps
    arrow = pyarrow.table(columns)
    tables = [
        columns,
        pandas.DataFrame(columns),
        pandas.DataFrame(columns).convert_dtypes(),
        arrow.to_pandas(types_mapper=pandas.ArrowDtype),
        polars.DataFrame(columns),
        arrow,
        {name: numpy.array(values, object) for name, values in columns.items()},
    ]
    encoder = TableEncoder().fit(arrow)
    expected = encoder.transform(arrow)
    assert encoder.left_out_ == {}
    for table in tables:
        numpy.testing.assert_array_equal(encoder.transform(table), expected)
        numpy.testing.assert_array_equal(TableEncoder().fit_transform(table), expected)


class Tagged(pyarrow.ExtensionType):
    """A type of Arrow that its user has made, of whole numbers."""

    def __init__(self) -> None:
        super().__init__(pyarrow.int64(), "xpnet.tests.tagged")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: bytes) -> "Tagged":
        return cls()


NUMBERS = numpy.array([0.0, 0.0, 1.5, 0.0] * 3)
DAYS = [datetime.date(2024, 1, 1) + datetime.timedelta(days=3 * k) for k in range(12)]
TIMES = [datetime.time(k, 30) for k in range(12)]
WORDS = ["a", "b", "a", "c"] * 3
INTERVALS = pandas.arrays.IntervalArray.from_arrays(NUMBERS, NUMBERS + 1)


@pytest.mark.parametrize(
    ("column", "plain"),
    [
        (pandas.array(NUMBERS), NUMBERS),
        (pandas.Series(pandas.arrays.SparseArray(NUMBERS)), NUMBERS),
        (
            pandas.Series(pandas.period_range("2024-01", periods=12, freq="M")),
            pandas.Series(pandas.date_range("2024-01-01", periods=12, freq="MS")),
        ),
        (pandas.Series(INTERVALS), [str(interval) for interval in INTERVALS]),
        (pyarrow.nulls(12), numpy.full(12, numpy.nan)),
        (pyarrow.array(DAYS, pyarrow.date64()), DAYS),
        (pyarrow.array(TIMES, pyarrow.time32("s")), TIMES),
        (pyarrow.array(WORDS).dictionary_encode(), WORDS),
        (
            pyarrow.ExtensionArray.from_storage(Tagged(), pyarrow.array(range(12))),
            numpy.arange(12),
        ),
    ],
    ids=lambda column: str(getattr(column, "dtype", getattr(column, "type", ""))) or "list",
)
def test_columns_of_rarer_types_are_encoded_as_plain_ones(column: Any, plain: Any) -> None:
    other = numpy.linspace(0, 1, 12)
    numpy.testing.assert_array_equal(
        TableEncoder().fit_transform({"x": column, "other": other}),
        TableEncoder().fit_transform({"x": plain, "other": other}),
    )


def test_bytes_are_left_out() -> None:
    table = {"x": numpy.array(WORDS, "S1"), "other": numpy.linspace(0, 1, 12)}
    assert list(TableEncoder().fit(table).left_out_) == ["x"]


@pytest.mark.parametrize(
    ("column", "fact"),
    [
        ([1, 2], r"\[2, 12\]"),
        (numpy.ones((12, 2)), r"\(12, 2\)"),
        (NUMBERS + 1j, "[Cc]omplex"),
    ],
)
def test_columns_that_are_none_are_refused(column: Any, fact: str) -> None:
    with pytest.raises(InputError, match=fact):
        TableEncoder().fit({"x": column, "other": numpy.linspace(0, 1, 12)})


def test_numbers_that_name_two_columns_each_are_read_by_position() -> None:
    rows = numpy.column_stack([NUMBERS, numpy.arange(12.0)])
    numpy.testing.assert_array_equal(
        TableEncoder().fit_transform(pandas.DataFrame(rows, columns=[3, 3])),
        TableEncoder().fit_transform(rows),
    )


class Streamed:
    """A table that offers nothing but Arrow's interface, as those of small libraries do."""

    def __init__(self, table: pyarrow.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


def test_a_table_of_arrow_s_interface_is_read_by_a_library_that_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = pyarrow.table({"word": ["a", "b"] * 20, "x": [1.0, 2.0, 3.0, None] * 10})
    expected = TableEncoder().fit_transform(table)
    streamed = Streamed(table)
    numpy.testing.assert_array_equal(TableEncoder().fit_transform(streamed), expected)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    numpy.testing.assert_array_equal(TableEncoder().fit_transform(streamed), expected)
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ValueError, match=r"Streamed.*pip install 'xpnet\[tables\]'"):
        TableEncoder().fit(streamed)


def test_a_column_that_no_model_reads_is_not_read() -> None:
    encoder = TableEncoder().fit({"x": numpy.arange(30.0)})
    unreadable = numpy.array(["\ud800"] * 30, object)
    numpy.testing.assert_array_equal(
        encoder.transform({"x": numpy.arange(30.0), "other": unreadable}),
        encoder.transform({"x": numpy.arange(30.0)}),
    )
