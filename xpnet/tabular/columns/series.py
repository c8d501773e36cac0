"""One column, an array of NumPy, an Arrow array or a series of a library, as NumPy's values.

narwhals reads the series of pandas, polars and pyarrow. Codes of text, and the types that narwhals
does not know, are read by each library's own calls.
"""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import narwhals.stable.v2 as narwhals
import numpy

from xpnet.tabular.columns.objects import (
    are_large_integers,
    check_unicode,
    durations_of,
    is_gap_value,
    values_of_objects,
)
from xpnet.tabular.columns.records import (
    Numbers,
    OtherValues,
    Timestamps,
    Values,
    Words,
    codes_of_texts,
    text_of,
)

if TYPE_CHECKING:
    import pyarrow


def values_of(array: Any, name: object) -> Values:
    """Return the values of an array of NumPy or of a series of a library.

    Raises InputError for text that is not valid Unicode.
    """
    dtype = getattr(array, "dtype", None)
    if isinstance(dtype, numpy.dtype) and dtype.kind in "fiubO":  # of NumPy or of pandas
        return _of_numpy(array if isinstance(array, numpy.ndarray) else array.to_numpy(), name)
    if isinstance(array, numpy.ndarray):
        return _of_numpy(array, name)
    if str(dtype).startswith(("Sparse", "interval")):
        return _of_numpy(numpy.asarray(array), name)
    if str(dtype).startswith("period"):
        array = array.dt.to_timestamp()
    if hasattr(dtype, "pyarrow_dtype"):  # pandas' series of Arrow's types
        array = array.array.__arrow_array__()
    if type(array).__module__.startswith("pyarrow"):
        return _of_arrow(array, name)
    series = narwhals.from_native(array, series_only=True, pass_through=True)
    if isinstance(series, narwhals.Series):
        return _of_series(series, name)
    return _of_numpy(numpy.asarray(array), name)  # of a library that narwhals does not know


def _of_numpy(array: numpy.ndarray, name: object) -> Values:
    """Return the values of a NumPy array of one dimension; what a mask hides is a gap."""
    kind = array.dtype.kind
    is_masked = isinstance(array, numpy.ma.MaskedArray) and numpy.ma.is_masked(array)
    if kind in "fiub":
        if is_masked:
            return Numbers(numpy.ma.filled(array.astype(numpy.float64), numpy.nan))
        return Numbers(numpy.asarray(array))
    if kind in "mM":
        data = numpy.ma.getdata(array).astype(f"{kind}8[us]")
        microseconds = numpy.where(numpy.isnat(data), numpy.nan, data.astype(numpy.int64))
        microseconds[numpy.ma.getmaskarray(array)] = numpy.nan
        return durations_of(microseconds) if kind == "m" else Timestamps(microseconds, "naive")
    if kind == "S":
        return OtherValues(len(array), str(array.dtype))
    return values_of_objects(array.tolist(), name)


def _of_arrow(array: "pyarrow.Array | pyarrow.ChunkedArray", name: object) -> Values:
    """Return the values of an Arrow array."""
    pyarrow = sys.modules["pyarrow"]
    types = pyarrow.types
    type_ = array.type
    if str(type_) in ("float", "double"):  # without narwhals, which takes 0.1 ms for a column
        return Numbers(array.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False))
    if types.is_integer(type_) and not array.null_count:
        return Numbers(array.to_numpy())
    if types.is_dictionary(type_):
        return _words_of_dictionary(array, is_category=True)
    if types.is_null(type_):
        return Numbers(numpy.full(len(array), numpy.nan))
    if isinstance(type_, pyarrow.BaseExtensionType):
        return values_of_objects(array.to_pylist(), name)
    if str(type_) in ("string", "large_string", "string_view"):
        text = array.cast(pyarrow.large_string())
        return _words_of_dictionary(text.dictionary_encode(), is_category=False)
    if types.is_date64(type_):
        array = array.cast(pyarrow.date32())
    elif types.is_time(type_):
        array = array.cast(pyarrow.time64("us"), safe=False)
    if not isinstance(array, pyarrow.ChunkedArray):
        array = pyarrow.chunked_array([array])
    return _of_series(narwhals.from_native(array, series_only=True), name)


def _words_of_dictionary(
    array: "pyarrow.DictionaryArray | pyarrow.ChunkedArray", *, is_category: bool
) -> Values:
    """Return the values of an Arrow array of coded values, which are text in most of them."""
    pyarrow = sys.modules["pyarrow"]
    if isinstance(array, pyarrow.ChunkedArray):
        array = array.unify_dictionaries().combine_chunks()
    if pyarrow.types.is_nested(array.type.value_type) or pyarrow.types.is_binary(
        array.type.value_type
    ):
        return OtherValues(len(array), str(array.type.value_type))
    codes = array.indices.cast(pyarrow.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return _words(codes, array.dictionary.to_pylist(), is_category=is_category)


def _of_series(series: Any, name: object) -> Values:
    """Return the values of a series of narwhals."""
    dtype = series.dtype
    if dtype.is_integer() and "128" not in str(dtype):
        if not series.null_count():
            return Numbers(series.to_numpy())
        return Numbers(series.fill_null(0).to_numpy(), series.is_null().to_numpy())
    if dtype.is_numeric() or dtype == narwhals.Boolean:
        floats = _floats(series)
        is_exact = dtype.is_decimal() or dtype.is_integer()
        if is_exact and are_large_integers(floats[~numpy.isnan(floats)]):
            return values_of_objects(series.to_list(), name)
        return Numbers(floats)
    if dtype == narwhals.Datetime:
        return _timestamps(series, dtype.time_zone)
    if dtype == narwhals.Date:
        return Timestamps(_floats(series.dt.timestamp("us")), "naive", unit="date")
    if dtype == narwhals.Duration:
        return durations_of(_floats(series.dt.total_microseconds()))
    if dtype in (narwhals.Categorical, narwhals.Enum):
        return _words_of_series(series, name, is_category=True)
    if dtype == narwhals.String:
        return _words_of_series(series, name, is_category=False)
    if dtype in (narwhals.Object, narwhals.Time, narwhals.Unknown):
        return values_of_objects(series.to_list(), name)
    return OtherValues(len(series), str(dtype))


def _floats(series: narwhals.Series) -> numpy.ndarray:
    """Return a series of numbers as (rows,) float64, NaN for gaps.

    Microseconds more than 285 years from 1970 are rounded, which pyarrow refuses otherwise.
    """
    floats: numpy.ndarray
    if series.implementation.is_pyarrow():
        floats = series.to_native().cast("float64", safe=False).to_numpy()
    else:
        floats = series.cast(narwhals.Float64).to_numpy()
    return floats


def _timestamps(series: narwhals.Series, zone: str | None) -> Timestamps:
    """Return a series of timestamps. zone : of the series, None for none"""
    microseconds = _floats(series.dt.timestamp("us"))
    if zone is None:
        return Timestamps(microseconds, "naive")
    if zone == "UTC":
        return Timestamps(microseconds, "utc")
    local = _floats(series.dt.replace_time_zone(None).dt.timestamp("us"))
    return Timestamps(microseconds, "utc", local)


def _words_of_series(series: narwhals.Series, name: object, *, is_category: bool) -> Words:
    """Return a series of text or categories, coded by the calls of its library."""
    native = series.to_native()
    if series.implementation.is_polars():
        text = series.cast(narwhals.String).to_native()
        categories = text.drop_nulls().unique(maintain_order=True)
        indices = numpy.arange(len(categories))
        codes = text.replace_strict(categories, indices, default=-1).to_numpy()
    elif is_category:
        codes = native.cat.codes.to_numpy()
        categories = native.cat.categories
    else:
        codes, categories = native.factorize()
    words = _words(codes.astype(numpy.int64), list(categories), is_category=is_category)
    check_unicode(words.texts, name)
    return words


def _words(codes: numpy.ndarray, categories: Iterable[object], *, is_category: bool) -> Words:
    """Return text of categories of any type. codes : (rows,) indices, -1 for gaps"""
    texts = [None if is_gap_value(value) else text_of(value) for value in categories]
    distinct = codes_of_texts(codes, texts)
    return Words(distinct.codes, distinct.texts, is_category)
