"""Tables of many columns: encoded together they have the outputs that each column has alone."""

from pathlib import Path
from typing import Any

import numpy
import pandas
import polars
import pyarrow
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

import xpnet
from xpnet.tabular.columns.frames import table_of
from xpnet.tabular.columns.records import Numbers, Table
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


def test_a_column_is_read_once_where_rows_are_encoded_in_several_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five bins of 500 columns are encoded some 200 rows at a time, and 1,000 rows read at once."""
    X = numpy.random.default_rng(0).normal(size=(1000, 500))
    X[::9, ::11] = numpy.nan
    encoder = xpnet.TableEncoder(bins=5).fit(X)
    matrix = encoder.transform(X)
    parts = [encoder.transform(X[row : row + 125]) for row in range(0, len(X), 125)]
    reads: list[int] = []
    read = Table.numbers
    monkeypatch.setattr(Table, "numbers", lambda self, k: (reads.append(k), read(self, k))[1])
    columns = {f"c{k}": X[:, k] for k in range(500)}
    encoder.feature_names_in_ = numpy.array(list(columns), object)
    together = encoder.transform(columns)
    assert sorted(reads) == list(range(500))
    numpy.testing.assert_array_equal(together, numpy.vstack(parts))
    numpy.testing.assert_array_equal(together, matrix)


@pytest.mark.parametrize("dtype", ["float32", "int16", "uint8", "float64", ">f8", "bool"])
@pytest.mark.parametrize("codes", [None, 1])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_matrix_of_numbers_is_encoded_like_its_columns(
    dtype: str, codes: int | None, order: Any
) -> None:
    """Columns of a matrix are read together, but for those with codes for gaps and categories."""
    X = numpy.random.default_rng(0).integers(0, 9, size=(60, 6)).astype(dtype, order=order)
    names = [f"c{k}" for k in range(6)]
    settings: dict[str, Any] = {"bins": 4, "categorical_features": ["c2"], "min_frequency": 1}
    encoder = xpnet.TableEncoder(missing_values=codes and {"c1": codes, "c4": codes}, **settings)
    encoder.fit({name: X[:, k] for k, name in enumerate(names)})
    frame = pandas.DataFrame(X.astype(numpy.dtype(dtype).newbyteorder("=")), columns=names)
    columns = [X[:, k].copy() for k in range(6)]
    alone = encoder.transform(dict(zip(names, columns, strict=True)))
    numpy.testing.assert_array_equal(encoder.transform(frame), alone)
    numpy.testing.assert_array_equal(encoder.transform(frame[names[::-1]]), alone)
    numpy.testing.assert_array_equal(
        encoder.transform(frame.assign(more=1)[["more", *names]]), alone
    )
    with pytest.warns(UserWarning, match="valid feature names"):
        numpy.testing.assert_array_equal(encoder.transform(X), alone)
    with pytest.warns(UserWarning, match="valid feature names"):
        numpy.testing.assert_array_equal(encoder.transform(X[7:8]), alone[7:8])


def test_columns_of_a_matrix_are_not_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = xpnet.TableEncoder(bins=5).fit(FRAME)
    expected = encoder.transform(FRAME)
    monkeypatch.setattr(Table, "numbers", None)
    monkeypatch.setattr(Table, "values", None)
    numpy.testing.assert_array_equal(encoder.transform(FRAME), expected)
    numpy.testing.assert_array_equal(encoder.transform(FRAME.iloc[5:6]), expected[5:6])


def test_rows_of_a_matrix_are_taken_together() -> None:
    table = table_of(NUMBERS).with_values({2: Numbers(numpy.arange(float(ROWS)))})
    taken = table.take(slice(5, 9))
    assert not taken.is_matrix and table_of(NUMBERS).take(slice(5, 9)).is_matrix
    assert taken.rows == 4 and len(list(taken.columns)) == COLUMNS
    numpy.testing.assert_array_equal(taken.numbers(2), [5.0, 6.0, 7.0, 8.0])
    assert taken.numbers_together(range(2, 5)) is None
    numpy.testing.assert_array_equal(taken.numbers_together(range(3, 6)), NUMBERS[5:9, 3:6])
    numpy.testing.assert_array_equal(taken.numbers_together([9, 4]), NUMBERS[5:9, [9, 4]])
    of_indices = table.take(numpy.array([3, 1]))
    numpy.testing.assert_array_equal(of_indices.numbers(7), NUMBERS[[3, 1], 7])


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


def wide_rows(weights: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Draw rows of two classes whose logits have these weights."""
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(4400, len(weights))).astype(numpy.float32)
    return X, (rng.random(len(X)) < 1 / (1 + numpy.exp(-X @ weights))).astype(int)


def loss_of_new_rows(X: numpy.ndarray, y: numpy.ndarray) -> tuple[float, xpnet.TabularClassifier]:
    model = xpnet.TabularClassifier(quality=1, random_state=0).fit(X[:400], y[:400])
    return log_loss(y[400:], model.predict_proba(X[400:])), model


def test_columns_that_say_nothing_are_not_learned_by_heart() -> None:
    """The constant has a log loss of 0.693; networks that were not left out had 0.79 or more."""
    loss, _ = loss_of_new_rows(*wide_rows(numpy.zeros(2000)))
    assert loss < 0.73


def test_few_rows_of_many_weak_columns_are_predicted_as_by_a_logistic_regression() -> None:
    """The penalty of scikit-learn's model is chosen by cross-validation of the same rows."""
    weights = numpy.random.default_rng(1).normal(size=2000) * 2 / numpy.sqrt(2000)
    X, y = wide_rows(weights)
    loss, model = loss_of_new_rows(X, y)
    scaler = StandardScaler().fit(X[:400])
    strengths = {"C": numpy.logspace(-4, 0, 5)}
    reference = GridSearchCV(LogisticRegression(), strengths, scoring="neg_log_loss")
    reference.fit(scaler.transform(X[:400]), y[:400])
    other = log_loss(y[400:], reference.predict_proba(scaler.transform(X[400:])))
    assert loss < other + 0.01  # the loss of another division of the rows differs by as much
    assert loss < 0.69
    assert model.networks_[0].spec.widths == (2000, 2)


def test_ordered_classes_of_many_weak_columns_are_predicted_in_their_order() -> None:
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(2200, 400)).astype(numpy.float32)
    score = X @ rng.normal(size=400) * 5 / numpy.sqrt(400)
    y = numpy.digitize(score + rng.logistic(size=2200), [-2, 2])
    model = xpnet.TabularClassifier(ordered=[0, 1, 2], quality=1, random_state=0)
    probabilities = model.fit(X[:200], y[:200]).predict_proba(X[200:])
    shares = numpy.bincount(y[:200]) / 200
    constant = log_loss(y[200:], numpy.tile(shares, (2000, 1)))
    assert log_loss(y[200:], probabilities) < constant - 0.03
    mean_rank = probabilities @ numpy.arange(3)
    assert numpy.corrcoef(mean_rank, score[200:])[0, 1] > 0.4
    numpy.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_a_linear_model_alone_is_saved_and_opened(tmp_path: Path) -> None:
    X, y = wide_rows(numpy.zeros(500))
    model = xpnet.TabularClassifier(quality=1, random_state=0).fit(X[:100], y[:100])
    model.save(tmp_path / "wide.safetensors")
    opened = xpnet.load(tmp_path / "wide.safetensors")
    numpy.testing.assert_array_equal(opened.predict_proba(X[100:]), model.predict_proba(X[100:]))


def test_epochs_on_all_rows_end_where_rows_are_known_by_heart() -> None:
    history = History(loss=[0.6, 0.2, 0.1], validation_loss=[0.7, 0.6, 0.65])
    assert refit_epochs(2, 0.5, history, 2) == 0
    history.loss[1] = 0.5
    assert refit_epochs(2, 0.5, history, 2) == 2


def worse_than_a_constant(**settings: Any) -> tuple[xpnet.TabularClassifier, Any, Any]:
    """Fit two networks that make one epoch with large steps; return new rows, too."""
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(2300, 20))
    y = (rng.random(2300) < 1 / (1 + numpy.exp(-0.6 * X[:, 0]))).astype(int)
    model = xpnet.TabularClassifier(
        networks=2, members=1, max_iter=1, refit=False, random_state=0, **settings
    )
    return model.fit(X[:300], y[:300]), X[300:], y[300:]


def test_a_network_worse_than_a_constant_is_left_out() -> None:
    model, X, _ = worse_than_a_constant(hidden_layer_sizes=(32,), learning_rate_init=0.1)
    (network,) = model.networks_
    assert model.notes_[0].startswith("1 of 2 networks")
    encoded = model.encoder_.transform(X[:5]).astype(numpy.float32)
    logits = numpy.log(network.predict(encoded)) / model.temperature_
    shares = numpy.exp(logits) / numpy.exp(logits).sum(axis=1, keepdims=True)
    numpy.testing.assert_allclose(model.predict_proba(X[:5]), shares, atol=1e-5)


def test_where_all_networks_are_worse_a_constant_is_predicted() -> None:
    """With so little time networks have no linear baseline."""
    model, X, y = worse_than_a_constant(learning_rate_init=1.0, time_limit=1e-3)
    assert "predict a constant" in model.why_
    assert "networks predicted validation rows worse" in model.notes_[0]
    probabilities = model.predict_proba(X)
    assert numpy.ptp(probabilities, axis=0).max() == 0
    assert (
        log_loss(y, probabilities) < 0.70
    )  # that of the frequencies of the training rows is 0.695


def test_networks_of_chosen_layers_are_kept_and_it_is_said_that_they_are_worse() -> None:
    model, X, _ = worse_than_a_constant(hidden_layer_sizes=(32,), learning_rate_init=1.0)
    assert model.notes_[0].startswith("2 of 2 networks")
    assert numpy.ptp(model.predict_proba(X), axis=0).max() > 0.1
