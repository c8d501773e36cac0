"""Tables of many columns: encoded together they have the outputs that each column has alone."""

import numpy
import pandas
import polars
import pyarrow
import pytest
from sklearn.metrics import log_loss

import xpnet
from xpnet.tabular.encodings.column_fit import MAX_BINNED_NUMBERS
from xpnet.tabular.encodings.number import NUMBERS_AT_ONCE
from xpnet.tabular.ensemble.refit import refit_epochs
from xpnet.training import History

ROWS, COLUMNS = 40, NUMBERS_AT_ONCE + 3
NUMBERS = numpy.random.default_rng(0).normal(size=(ROWS, COLUMNS))
NUMBERS[3, ::7] = numpy.nan
FRAME = pandas.DataFrame(NUMBERS, columns=[f"c{k}" for k in range(COLUMNS)])


def encoded(table: object) -> numpy.ndarray:
    return xpnet.TableEncoder(bins=None).fit_transform(table)


@pytest.mark.parametrize("convert", [pyarrow.Table.from_pandas, polars.from_pandas, dict])
def test_columns_of_a_wide_table_are_encoded_as_they_are_alone(convert: object) -> None:
    alone = [encoded(FRAME[[name]]) for name in FRAME]
    numpy.testing.assert_array_equal(encoded(FRAME), numpy.hstack(alone))
    numpy.testing.assert_array_equal(encoded(convert(FRAME)), numpy.hstack(alone))  # type: ignore[operator]


def test_rows_of_a_wide_table_are_encoded_as_they_are_alone() -> None:
    encoder = xpnet.TableEncoder(bins=None).fit(FRAME)
    alone = [encoder.transform(FRAME[row : row + 1]) for row in range(ROWS)]
    numpy.testing.assert_array_equal(encoder.transform(FRAME), numpy.vstack(alone))


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8", "float64"])
def test_a_frame_of_one_dtype_is_read_like_one_of_several(dtype: str) -> None:
    """The columns of a frame of one dtype are taken together, those of another one by one."""
    frame = pandas.DataFrame(numpy.arange(36).reshape(12, 3) % 7, columns=["a", "b", "c"])
    frame = frame.astype(dtype)
    mixed = frame.assign(word=["x", "y"] * 6)
    numbers = encoded(frame)
    numpy.testing.assert_array_equal(encoded(mixed)[:, : numbers.shape[1]], numbers)


@pytest.mark.parametrize("columns", [MAX_BINNED_NUMBERS, MAX_BINNED_NUMBERS + 1])
def test_a_table_of_very_many_numbers_has_no_bins(columns: int) -> None:
    X = numpy.random.default_rng(0).normal(size=(200, columns))
    encoder = xpnet.TableEncoder(bins="auto").fit(X)
    has_bins = {encoding.bins > 0 for encoding in encoder.encodings_}
    assert has_bins == {columns == MAX_BINNED_NUMBERS}


def test_columns_that_say_nothing_are_not_learned_by_heart() -> None:
    """A network could know all 400 rows by heart, as more epochs on all of them let it do.

    With these its log loss on new rows was 1.4, without them 0.79; the constant has 0.69.
    """
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(2400, 2000)).astype(numpy.float32)
    y = rng.integers(0, 2, 2400)
    model = xpnet.TabularClassifier(quality=1, random_state=0).fit(X[:400], y[:400])
    assert log_loss(y[400:], model.predict_proba(X[400:])) < 0.9


def test_epochs_on_all_rows_end_where_rows_are_known_by_heart() -> None:
    history = History(loss=[0.6, 0.2, 0.1], validation_loss=[0.7, 0.6, 0.65])
    assert refit_epochs(2, 0.5, history, 2) == 0
    history.loss[1] = 0.5
    assert refit_epochs(2, 0.5, history, 2) == 2
