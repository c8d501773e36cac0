"""Numbers and parts of timestamps against the same formulas for one number in plain Python, the
calendar of NumPy, and decision trees of scikit-learn.
"""

import math
from dataclasses import replace

import numpy
import pytest
from helpers.cases import each_case
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from xpnet.tabular.encodings import number as number_encoding
from xpnet.tabular.encodings import number_fit
from xpnet.tabular.encodings.encoding_target import Target, Task
from xpnet.tabular.encodings.number import NumberEncoding
from xpnet.tabular.encodings.number_fit import Scaling, fit_numbers
from xpnet.tabular.rows.division import RowLinks

NONE = numpy.empty(0)
PLAIN = NumberEncoding(0, "", 0.75, -2.0, 6.0, 0.5, 0.25, False, False, False, NONE)
ENCODINGS = [
    replace(PLAIN, clip=True, gaps=True),
    replace(PLAIN, edges=numpy.array([-1.0, 0.5, 4.0, 4.5])),
    replace(PLAIN, part="month", cycle=True, gaps=True),
    replace(PLAIN, part="day", cycle=True, clip=True, edges=numpy.array([0.0, 3.0, 31.0])),
    replace(PLAIN, scale=0.0, gaps=True),
    replace(PLAIN, part="weekday", cycle=True),
    replace(PLAIN, part="hour", cycle=True, fill=-7.0, low=-3e5, high=1e6),
]
CYCLES = {"month": (1, 12), "day": (1, 31), "weekday": (0, 7), "hour": (0, 24)}
"""First value and length of each cycle."""


def outputs_of(number: NumberEncoding, x: float) -> list[float]:
    """The outputs of one number, as the encodings' documentation defines them."""
    is_gap = math.isnan(x)
    x = number.fill if is_gap else x
    x = min(max(x, number.low), number.high) if abs(x) > 1e300 else x
    outputs = []
    if number.scale != 0:
        z = min(max((x - number.centre) * number.scale, -1e5), 1e5)
        outputs.append(z / math.sqrt(1 + (z / 3) ** 2) if number.clip else z)
    outputs += [float(is_gap)] * number.gaps
    if number.cycle:
        first, length = CYCLES[number.part]
        turn = 2 * math.pi * (x - first) / length
        outputs += [math.sin(turn), math.cos(turn)]
    edges = number.edges.tolist()
    for left, right in zip(edges[:-1], edges[1:], strict=True):
        outputs.append(min(max((x - left) / (right - left), 0.0), 1.0))
    return outputs


def test_the_outputs_of_each_number() -> None:
    scaled_limit = 4e5  # of the scale 0.25
    x = [-1e301, -1e300, -3e5, -2.0, -1.0, -0.5, 0.0, 0.5, 0.75, 1.0, 2.5, 3.0, 4.0, 4.2, 4.5]
    x += [6.0, 11.5, 31.0, scaled_limit - 1, scaled_limit + 3, 1e300, 1e301, math.inf, -math.inf]
    x += [math.nan]
    table = numpy.repeat(numpy.array(x)[:, None], len(ENCODINGS), axis=1)
    constants = number_encoding.NumberConstants.of(ENCODINGS)
    with numpy.errstate(over="ignore"):
        encoded = number_encoding.encode_numbers(constants, table, numpy)
    expected = [sum((outputs_of(number, value) for number in ENCODINGS), []) for value in x]
    received = numpy.concatenate(encoded.blocks, axis=1)[:, encoded.order]
    is_small = numpy.abs(table[:, 0]) < 1e6  # sines of larger numbers are of rounding alone
    columns = numpy.flatnonzero(numpy.repeat([one.cycle for one in ENCODINGS], widths(ENCODINGS)))
    received[numpy.ix_(~is_small, columns)] = 0
    expected_array = numpy.array(expected)
    expected_array[numpy.ix_(~is_small, columns)] = 0
    numpy.testing.assert_allclose(received, expected_array, rtol=1e-13, atol=1e-10)


def widths(numbers: list[NumberEncoding]) -> list[int]:
    """The number of outputs of each number, by its labels."""
    return [len(number.labels) for number in numbers]


def test_labels_name_the_outputs_in_their_order() -> None:
    whole = replace(
        PLAIN, part="day", gaps=True, cycle=True, edges=numpy.array([0.0, 3.0, 31.0, 40.0])
    )
    names = ["_day", "_day_missing", "_day_sin", "_day_cos", "_day_bin0", "_day_bin1", "_day_bin2"]
    assert whole.labels == names
    assert replace(PLAIN, scale=0.0, gaps=True).labels == ["_missing"]
    assert replace(PLAIN, scale=-0.5, edges=numpy.array([1.0])).labels == [""]


def test_parts_of_timestamps_are_those_of_the_calendar() -> None:
    # Every seventh day and second of March of 0 is near; 400 years have 146,097 days.
    days = numpy.arange("-0402-01-01", "2403-01-01", dtype="datetime64[D]")[::3]
    milliseconds = numpy.arange(len(days)) * 7_919_077 % 86_400_000
    milliseconds[:10] = [0, 1, 86_399_999, 3_600_000, 3_599_999, 0, 0, 43_200_000, 1, 0]
    seconds = days.astype(numpy.int64) * 86_400 + milliseconds / 1000
    parts = number_encoding.parts_of_timestamps(seconds)
    months = days.astype("datetime64[M]")
    numpy.testing.assert_array_equal(parts["trend"], seconds)
    numpy.testing.assert_array_equal(parts["year"], days.astype("datetime64[Y]").astype(int) + 1970)
    numpy.testing.assert_array_equal(parts["month"], months.astype(int) % 12 + 1)
    numpy.testing.assert_array_equal(parts["day"], (days - months).astype(int) + 1)
    for weekday, name in enumerate(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]):
        is_weekday = numpy.is_busday(days, weekmask=name)
        numpy.testing.assert_array_equal(parts["weekday"] == weekday, is_weekday)
    # Seconds since 1970 have steps of up to 1e-5 s in these years.
    numpy.testing.assert_allclose(parts["hour"], milliseconds / 3_600_000, rtol=0, atol=1e-8)


def test_parts_of_gaps_and_infinities_are_gaps() -> None:
    parts = number_encoding.parts_of_timestamps(numpy.array([math.nan, math.inf, -math.inf]))
    names = ("year", "month", "day", "weekday", "hour")
    assert all(numpy.isnan(parts[name]).all() for name in names)  # type: ignore[call-overload]


def fitted(x: numpy.ndarray, scaling: Scaling) -> NumberEncoding:
    """The encoding of a column of numbers."""
    (number,) = fit_numbers(x, scaling, 3, "number")
    return number


STANDARD = Scaling(robust=False, max_bins=0, max_fine_bins=0, target=None)
ROBUST = replace(STANDARD, robust=True)


def test_the_record_of_a_number() -> None:
    x = numpy.array([7.0, math.nan, -3.0, 0.5, math.inf, 20.0, 2.0, 1e301])
    finite = numpy.array([-3.0, 0.5, 2.0, 7.0, 20.0])
    standard = fitted(x, STANDARD)
    assert (standard.column, standard.part, standard.gaps, standard.clip) == (3, "", True, False)
    assert (standard.fill, standard.low, standard.high) == (2.0, -3.0, 20.0)
    assert (standard.centre, standard.scale) == (finite.mean(), 1 / finite.std())
    robust = fitted(x[[0, 2, 3, 5, 6]], ROBUST)
    assert (robust.centre, robust.scale) == (2.0, 1 / 6.5)
    assert (robust.clip, robust.gaps, robust.cycle, len(robust.edges)) == (True, False, False, 0)


def test_the_fill_is_the_lower_median() -> None:
    assert fitted(numpy.array([1.0, 2.0, 5.0, 9.0]), STANDARD).fill == 2.0


def test_the_robust_scale_is_half_the_range_where_the_quartiles_are_equal() -> None:
    number = fitted(numpy.array([-6.0] + [1.0] * 20 + [4.0]), ROBUST)
    assert (number.centre, number.scale) == (1.0, 1 / 5.0)


@each_case("scaling", [STANDARD, replace(ROBUST, max_bins=8)])
def test_two_values_have_their_middle_and_half_their_distance(scaling: Scaling) -> None:
    number = fitted(numpy.array([3.0, 3.0, 3.0, 7.0]), scaling)
    assert (number.centre, number.scale, number.clip, len(number.edges)) == (5.0, 0.5, False, 0)


def test_a_number_without_two_values_has_gaps_alone_or_no_output() -> None:
    with_gaps = fitted(numpy.array([4.0, 4.0, math.nan]), ROBUST)
    assert (with_gaps.scale, with_gaps.gaps, with_gaps.labels) == (0.0, True, ["_missing"])
    for x in ([4.0, 4.0], [math.nan, math.inf]):
        assert fit_numbers(numpy.array(x), ROBUST, 0, "number") == []


@each_case(("rows", "kept"), [(9, 9), (10, 10), (11, 6), (20, 10), (21, 7)])
def test_quantiles_are_of_a_limited_number_of_rows(
    rows: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(number_fit, "MAX_QUANTILE_ROWS", 10)
    x = numpy.arange(float(rows))
    number = fitted(x, STANDARD)
    sample = x[:: math.ceil(rows / 10)]
    assert len(sample) == kept
    assert number.centre == sample.mean()
    assert (number.low, number.high) == (0.0, rows - 1.0)


@each_case(("values", "edges"), [(3, 3), (9, 9), (10, 9), (500, 9)])
def test_edges_are_all_values_or_quantiles(values: int, edges: int) -> None:
    x = numpy.random.default_rng(0).exponential(size=values)
    number = fitted(x, replace(ROBUST, max_bins=8))
    expected = numpy.sort(x) if values <= 9 else numpy.quantile(x, numpy.linspace(0, 1, 9))
    assert len(expected) == edges
    numpy.testing.assert_allclose(number.edges, expected, rtol=1e-15)


def test_a_number_has_bins_from_two_on() -> None:
    x = numpy.random.default_rng(0).exponential(size=50)
    assert [len(fitted(x, replace(ROBUST, max_bins=bins)).edges) for bins in (1, 2)] == [0, 3]


def test_parts_that_vary_are_encoded_and_gaps_are_of_the_trend_alone() -> None:
    hours = numpy.append(numpy.arange(200.0) * 5 * 3600, math.nan)
    numbers = fit_numbers(hours, ROBUST, 2, "timestamp")
    assert [number.part for number in numbers] == ["trend", "month", "day", "weekday", "hour"]
    assert [number.gaps for number in numbers] == [True, False, False, False, False]
    # January and February alone are two values, which have no cycle.
    assert [number.cycle for number in numbers] == [False, False, True, True, True]


def tree_edges(
    x: numpy.ndarray, y: numpy.ndarray, task: Task, bins: int, fine_bins: int
) -> numpy.ndarray:
    """The edges by the documented rules, with trees of scikit-learn on standardized numbers."""
    z = (x - x.mean()) / x.std()
    classifies = task == "classification"
    decrease = 1e-4 * (1 if classifies else float(numpy.var(y)))

    def tree(leaves: int, rows: int, minimum: float) -> DecisionTreeClassifier:
        kind = DecisionTreeClassifier if classifies else DecisionTreeRegressor
        settings = {"min_samples_leaf": rows, "min_impurity_decrease": minimum, "random_state": 0}
        return kind(max_leaf_nodes=leaves, **settings).fit(z[:, None], y)

    def remaining(one: DecisionTreeClassifier) -> float:
        leaves = one.apply(z[:, None])
        return float(one.tree_.impurity[leaves].mean())

    chosen = tree(bins, max(8, min(64, len(x) // 40)), decrease)
    if bins < fine_bins and chosen.get_n_leaves() == bins:
        impurity = chosen.tree_.impurity[0]
        fine = tree(fine_bins, 8, max(decrease, 20 * impurity / len(x)))
        if remaining(chosen) - remaining(fine) > 0.01 * impurity:
            chosen = fine
    thresholds = chosen.tree_.threshold[chosen.tree_.feature >= 0]
    cuts = thresholds * x.std() + x.mean()
    if len(cuts) < 4:
        more = min(8, bins - len(cuts))
        cuts = numpy.append(cuts, numpy.quantile(x, numpy.linspace(0, 1, more + 1)))
    return numpy.unique([x.min(), *cuts.clip(x.min(), x.max()), x.max()])


@each_case("task", ["regression", "classification"])
@each_case("rows", [60, 390, 1014, 3000])
def test_edges_of_trees(rows: int, task: Task) -> None:
    rng = numpy.random.default_rng(rows)
    x = rng.normal(size=rows)
    targets = [
        rng.normal(size=rows),
        numpy.sin(3 * x) + 0.3 * rng.normal(size=rows),
        (40 * x).astype(int) % 2 + 0.2 * rng.normal(size=rows),
        (15 * x).astype(int) % 2 + 0.7 * rng.normal(size=rows),
        numpy.exp(5 * x),
        numpy.digitize(x, [-1.0, 0.0, 1.0]),
        numpy.digitize(x, [-1.0, -0.3, 0.3, 1.0]),
    ]
    for target in targets:
        y = target if task == "regression" else (target > numpy.median(target)).astype(int)
        for bins, fine_bins in ((4, 0), (9, 60), (9, 9), (20, 0)):
            links = Target(y, task, RowLinks(), numpy.random.RandomState(0))
            number = fitted(x, Scaling(False, bins, fine_bins, links))
            expected = tree_edges(x, y, task, bins, fine_bins)
            numpy.testing.assert_allclose(number.edges, expected, rtol=1e-9, atol=1e-12)


def test_two_values_have_no_edges_of_trees() -> None:
    x = numpy.repeat([2.0, 5.0], 40)
    target = Target(x, "regression", RowLinks(), numpy.random.RandomState(0))
    assert len(fitted(x, Scaling(False, 8, 0, target)).edges) == 0


def test_one_bin_of_a_tree_is_none() -> None:
    x = numpy.linspace(0, 1, 40)
    target = Target(x, "regression", RowLinks(), numpy.random.RandomState(0))
    assert len(fitted(x, Scaling(False, 1, 0, target)).edges) == 0
