"""Differences of alike columns: found where they decide, never in noise, the same everywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pandas
import pytest
from helpers.cases import each_case
from sklearn.metrics import log_loss

import xpnet
from xpnet.tabular.encodings.differences.units import are_clock_numbers

FLIPPED = 0.05
"""Share of the labels of the made-up tables that are wrong."""
BEST_LOSS = -(FLIPPED * numpy.log(FLIPPED) + (1 - FLIPPED) * numpy.log(1 - FLIPPED))
"""The log loss of predictions by the rule of a made-up table."""


class Table(NamedTuple):
    """A table with two classes."""

    X: pandas.DataFrame
    y: numpy.ndarray


def with_wrong_labels(y: numpy.ndarray, rng: numpy.random.Generator) -> numpy.ndarray:
    """Labels of which a share is wrong."""
    return (y ^ (rng.random(len(y)) < FLIPPED)).astype(int)


def prices(rows: int, seed: int) -> Table:
    """Opening and closing prices, where the class is which of them is higher."""
    rng = numpy.random.default_rng(seed)
    opening = numpy.exp(rng.normal(3, 1, rows))
    closing = opening * numpy.exp(0.03 * rng.normal(size=rows))
    X = pandas.DataFrame({"open": opening, "close": closing, "volume": rng.normal(size=rows)})
    return Table(X, with_wrong_labels(closing > opening, rng))


def clock_number(minutes: numpy.ndarray) -> numpy.ndarray:
    """Minutes since midnight as a number such as 1730."""
    return minutes // 60 * 100 + minutes % 60


def departures(rows: int, seed: int) -> Table:
    """Planned and actual times as numbers, where the class is a delay of 15 minutes or more."""
    rng = numpy.random.default_rng(seed)
    planned = rng.integers(0, 1440, rows)
    delay = rng.integers(-10, 60, rows)
    actual = (planned + delay) % 1440
    X = {"planned": clock_number(planned), "actual": clock_number(actual)}
    X["aircraft"] = rng.normal(size=rows)
    return Table(pandas.DataFrame(X), with_wrong_labels(delay >= 15, rng))


def deliveries(rows: int, seed: int) -> Table:
    """Dates of orders and deliveries, where the class is more than ten days between them."""
    rng = numpy.random.default_rng(seed)
    days = rng.integers(0, 30, rows)
    ordered = pandas.Timestamp("2020-01-01") + pandas.to_timedelta(rng.integers(0, 900, rows), "D")
    X = {"ordered": ordered, "delivered": ordered + pandas.to_timedelta(days, "D")}
    X["weight"] = rng.normal(size=rows)
    return Table(pandas.DataFrame(X), with_wrong_labels(days > 10, rng))


MADE_UP: list[Callable[[int, int], Table]] = [prices, departures, deliveries]
NAMES = {
    prices: "open - close",
    departures: "planned - actual",
    deliveries: "ordered - delivered",
}


def quick(**settings: Any) -> xpnet.TabularClassifier:
    """A classifier that is fitted fast."""
    return xpnet.TabularClassifier(quality=1, random_state=0, **settings)


@pytest.mark.parametrize("made_up", MADE_UP, ids=lambda made_up: made_up.__name__)
def test_a_rule_of_the_difference_is_learned_nearly_whole(
    made_up: Callable[[int, int], Table],
) -> None:
    model = quick().fit(*made_up(3000, 0))
    test = made_up(3000, 1)
    loss = log_loss(test.y, model.predict_proba(test.X))
    # Without differences it is 0.27 to 0.49; three standard errors of the best loss are 0.035.
    assert loss < BEST_LOSS + 0.045
    assert list(model.encoder_.added_) == [NAMES[made_up]]
    assert NAMES[made_up] in model.why_


@pytest.mark.parametrize("made_up", MADE_UP, ids=lambda made_up: made_up.__name__)
def test_a_file_predicts_the_same(tmp_path: Path, made_up: Callable[[int, int], Table]) -> None:
    table = made_up(600, 0)
    model = quick(max_iter=3).fit(*table)
    model.save(tmp_path / "model.safetensors")
    opened = xpnet.load(tmp_path / "model.safetensors")
    numpy.testing.assert_array_equal(opened.predict_proba(table.X), model.predict_proba(table.X))
    assert opened.encoder_.added_ == model.encoder_.added_ != {}


def noise(seed: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Columns in one unit, alike and in part correlated, and a target of noise."""
    rng = numpy.random.default_rng(seed)
    rows, columns = int(rng.choice([120, 300, 1000, 3000])), int(rng.choice([2, 4, 8, 16]))
    X = rng.normal(size=(rows, columns))
    if seed % 4 == 1:
        X = numpy.exp(X)
    elif seed % 4 == 2:
        X = X.cumsum(axis=1)
    elif seed % 4 == 3:
        X = X + 100 + 20 * rng.normal(size=(rows, 1))
    y = [
        rng.normal(size=rows),
        numpy.exp(2 * rng.normal(size=rows)),  # heavy tails
        rng.integers(0, 2, rows).astype(str),
        rng.integers(0, 7, rows).astype(str),
        3 * X[:, 0] + X[:, 1] ** 2 + rng.normal(size=rows),  # nothing beyond single columns
    ]
    return X, y[seed % 5]


def tables_of_noise_with_differences(seeds: range) -> int:
    """How many tables of noise get a difference."""
    encoders = (xpnet.TableEncoder(random_state=0).fit(*noise(seed)) for seed in seeds)
    return sum(bool(encoder.added_) for encoder in encoders)


def test_noise_has_no_difference() -> None:
    assert tables_of_noise_with_differences(range(100)) == 0


@pytest.mark.exhaustive
def test_at_most_one_in_a_hundred_tables_of_noise_has_a_difference() -> None:
    assert tables_of_noise_with_differences(range(1000)) <= 10


def test_products_and_functions_of_one_column_are_no_differences() -> None:
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(3000, 6))
    for y in (X[:, 0] * X[:, 1], numpy.sin(3 * X[:, 0]), numpy.sign(X[:, 0] + X[:, 1] - 1)):
        encoder = xpnet.TableEncoder().fit(X, y + 0.1 * rng.normal(size=3000))
        assert encoder.added_ == {}


def test_products_on_few_rows_are_no_differences() -> None:
    for seed in range(40):
        rng = numpy.random.default_rng(seed)
        X = rng.normal(size=(240, 2))
        y = X[:, 0] * X[:, 1] + rng.normal(size=240) / 5
        assert xpnet.TableEncoder().fit(X, y).added_ == {}


def test_rows_of_one_group_count_once() -> None:
    rng = numpy.random.default_rng(0)
    groups = numpy.repeat(numpy.arange(150), 20)
    X = rng.normal(size=(150, 2))[groups]
    y = rng.normal(size=150)[groups]
    encoder = xpnet.TableEncoder(random_state=0)
    encoder.fit_transform(X, y, groups=groups)
    assert encoder.added_ == {}


def test_columns_in_other_units_have_no_difference() -> None:
    table = prices(2000, 0)
    X = table.X.assign(close=1000 * table.X["close"])
    assert xpnet.TableEncoder().fit(X, table.y.astype(str)).added_ == {}


def test_the_difference_and_its_gaps_are_encoded() -> None:
    table = prices(2000, 0)
    X = table.X.assign(close=table.X["close"].where(numpy.arange(2000) % 7 > 0))
    encoder = xpnet.TableEncoder(scaling="standard").fit(X, table.y.astype(str))
    names = encoder.get_feature_names_out().tolist()
    encoded = encoder.transform(X)[:, names.index("open - close")]
    difference = X["open"] - X["close"]
    filled = difference.fillna(difference.quantile(0.5, interpolation="lower"))
    present = difference.dropna()
    expected = (filled - present.mean()) / present.std(ddof=0)
    numpy.testing.assert_allclose(encoded, expected, rtol=1e-5, atol=1e-6)  # float32
    assert not any(name.startswith("open - close_missing") for name in names)


def test_times_are_subtracted_the_shorter_way_around_midnight() -> None:
    table = departures(2000, 0)
    encoder = xpnet.TableEncoder(scaling="standard").fit(table.X, table.y.astype(str))
    place = encoder.get_feature_names_out().tolist().index("planned - actual")
    X = {"planned": [2355, 10, 1200], "actual": [10, 2355, 1130], "aircraft": [0.0, 0.0, 0.0]}
    encoded = encoder.transform(X)[:, place]
    steps = encoded - encoder.transform({**X, "actual": X["planned"]})[:, place]
    numpy.testing.assert_allclose(steps / steps[2], [-0.5, 0.5, 1.0], rtol=1e-5)  # -15, 15, 30


@each_case(
    "case",
    [
        ("planned", clock_number(numpy.arange(0, 1440, 7)), True),
        ("ages", numpy.arange(18.0, 60.0), False),
        ("counts", numpy.arange(0.0, 300.0), False),
        ("halves", clock_number(numpy.arange(0, 1440, 7)) + 0.5, False),
        ("negative", -clock_number(numpy.arange(0, 1440, 7)), False),
        ("after midnight", clock_number(numpy.arange(0, 1600, 7)), False),
        ("hundreds", numpy.arange(0.0, 2400.0, 100.0), False),
    ],
)
def test_which_numbers_are_clock_times(case: tuple[str, numpy.ndarray, bool]) -> None:
    _, x, expected = case
    assert are_clock_numbers(x.astype(float)) is expected
