"""What the audition of differences computes, by plain loops."""

from types import SimpleNamespace
from typing import Any

import numpy
import pytest

from xpnet.tabular.encodings.differences import audition, units
from xpnet.tabular.encodings.differences import found as of_tables
from xpnet.tabular.encodings.differences.audition import Audition, Candidate, ColumnValues
from xpnet.tabular.encodings.differences.units import Unit, alike_pairs, are_clock_numbers, in_unit

NUMBER = Unit(False, "", False, 0.0)
CLOCK = Unit(False, "", True, 1440.0)
RNG = numpy.random.default_rng(5)
X = RNG.normal(size=(3, 60))
X[1, ::7] = numpy.nan
X[2] = X[2].round(1)


def test_counts_and_quantiles_of_columns_with_gaps() -> None:
    values = ColumnValues(numpy.vstack([X, numpy.full(60, numpy.nan)]))
    numpy.testing.assert_array_equal(values.present, [60, 51, 60, 0])
    different = [len(set(x[~numpy.isnan(x)])) for x in X]
    numpy.testing.assert_array_equal(values.different_values(), [*different, 0])
    levels = numpy.array([0.0, 0.1, 0.33, 0.5, 1.0])
    expected = numpy.nanquantile(X, levels, axis=1).T
    numpy.testing.assert_allclose(values.quantiles(levels)[:3], expected, rtol=1e-12)
    assert numpy.isnan(values.quantiles(levels)[3]).all()
    alone = ColumnValues(numpy.array([[7.0, numpy.nan, numpy.nan]]))
    numpy.testing.assert_array_equal(alone.quantiles(levels), [[7.0] * 5])


def test_bins_between_quantiles() -> None:
    for x in X:
        bins = audition.bins_between_quantiles(x, 8)
        present = x[~numpy.isnan(x)]
        edges = sorted(set(numpy.quantile(present, numpy.arange(1, 8) / 8)))
        for number, bin_ in zip(x, bins, strict=True):
            if numpy.isnan(number):
                assert bin_ == len(edges) + 1
            else:
                assert bin_ == sum(number >= edge for edge in edges)
    values = ColumnValues(X)
    assert values.bins(1) is values.bins(1)
    numpy.testing.assert_array_equal(values.bins(1), audition.bins_between_quantiles(X[1], 32))


@pytest.mark.parametrize("columns", [[0, 2], [0, 1, 2]])
def test_bins_of_equal_widths(columns: list[int]) -> None:
    x = numpy.vstack([X[columns], numpy.full(60, 7.0)])
    bins = audition.bins_of_equal_width(x.copy())
    for numbers, of_number in zip(x, bins, strict=True):
        mean, spread = numpy.nanmean(numbers), numpy.nanstd(numbers)
        for number, bin_ in zip(numbers, of_number, strict=True):
            if numpy.isnan(number):
                assert bin_ == 16
            else:
                place = 8 + 4 * (number - mean) / spread if spread else 8.0
                assert bin_ == min(max(int(numpy.floor(place)), 0), 15)


def test_terms_of_piecewise_linear_functions() -> None:
    values = ColumnValues(X[:2])
    design = audition.linear_pieces(values, 3)
    assert design.shape == (1 + 3 + 3 + 1, 60)
    numpy.testing.assert_array_equal(design[0], 1.0)
    numpy.testing.assert_array_equal(design[7], numpy.isnan(X[1]))
    for column, rows in ((0, design[1:4]), (1, design[4:7])):
        edges = numpy.nanquantile(X[column], [0, 1 / 3, 2 / 3, 1])
        filled = numpy.where(numpy.isnan(X[column]), edges[0], X[column])
        for k in range(3):
            piece = (filled - edges[k]) / (edges[k + 1] - edges[k])
            numpy.testing.assert_allclose(rows[k], piece.clip(0, 1), atol=1e-12)
    constant = ColumnValues(numpy.full((1, 9), 3.0))
    assert audition.linear_pieces(constant, 4).shape == (1, 9)  # no bin has a width


def test_sums_and_means_of_bins() -> None:
    Y = RNG.normal(size=(7, 2))
    bins = numpy.array([0, 2, 2, 0, 4, 2, 4])
    sums = audition.sums_of_bins(Y, bins, 6)
    means = audition.means_of_bins(Y, bins)
    assert sums.shape == (6, 2) and means.shape == (5, 2)
    for k in range(5):
        own = Y[bins == k]
        numpy.testing.assert_allclose(sums[k], own.sum(axis=0), atol=1e-12)
        expected = own.mean(axis=0) if len(own) else numpy.zeros(2)
        numpy.testing.assert_allclose(means[k], expected, atol=1e-12)


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize(("rows", "terms", "free"), [(200, 0, 136), (200, 9, 127), (60, 9, 1)])
def test_what_bins_explain_beyond_chance(targets: int, rows: int, terms: int, free: int) -> None:
    """free : the number of rows beside the terms and the bins of two columns, at least 1"""
    residuals = RNG.normal(size=(rows, targets))
    bins = RNG.integers(0, 5, size=(4, rows))
    bins[3] = 2  # a single bin explains nothing
    effects = Audition(ColumnValues(X), residuals, terms).effects_of(residuals, bins)
    covariance = residuals.T @ residuals / free
    trace, norm = numpy.trace(covariance), numpy.sqrt((covariance**2).sum())
    for k in range(4):
        explained = sum(
            (residuals[bins[k] == b].sum(axis=0) ** 2).sum() / (bins[k] == b).sum()
            for b in {*bins[k].tolist()}
        )
        free_bins = max(len({*bins[k].tolist()}) - 1, 1)
        excess = explained - free_bins * trace
        assert effects.deviations[k] == pytest.approx(excess / (numpy.sqrt(2 * free_bins) * norm))
        assert effects.explained[k] == pytest.approx(excess / (trace * rows))


def test_residuals_of_zero_have_no_effect() -> None:
    zeros = numpy.zeros((50, 1))
    effects = Audition(ColumnValues(X), zeros, 0).effects_of(zeros, numpy.zeros((2, 50), int))
    numpy.testing.assert_array_equal(effects.deviations, [0, 0])
    numpy.testing.assert_array_equal(effects.explained, [0, 0])


def test_an_audition_begins_with_what_single_columns_do_not_explain() -> None:
    x = RNG.normal(size=(2, 400))
    Y = numpy.column_stack([x[0] * x[1], RNG.normal(size=400)])
    begun = Audition.begun(ColumnValues(x), Y)
    count = (400 // 8) // 2  # bins of each column, at most 16
    design = audition.linear_pieces(ColumnValues(x), min(count, 16)).T
    assert begun.terms == design.shape[1] == 33
    penalty = 1e-8 * 400 * numpy.eye(design.shape[1])
    weights = numpy.linalg.solve(design.T @ design + penalty, design.T @ Y)
    numpy.testing.assert_allclose(begun.residuals, Y - design @ weights, atol=1e-7)
    numpy.testing.assert_allclose(begun.residuals.mean(axis=0), 0, atol=1e-12)
    few = Audition.begun(ColumnValues(x[:, :24]), Y[:24])
    assert few.terms == 3  # one piece of each column, and the constant


def test_what_a_difference_explains_is_removed() -> None:
    x, residuals = RNG.normal(size=300), RNG.normal(size=(300, 2))
    before = Audition(ColumnValues(X), residuals, 5)
    after = before.without(x)
    assert after.terms == 5 + 16
    bins = audition.bins_between_quantiles(x, 16)
    for k in range(16):
        own = bins == k
        expected = residuals[own] - residuals[own].mean(axis=0)
        numpy.testing.assert_allclose(after.residuals[own], expected, atol=1e-12)


def test_the_functions_of_both_columns_are_fitted_by_turns() -> None:
    x = RNG.normal(size=(2, 500))
    x[1] += x[0]
    residuals = RNG.normal(size=(500, 1)) + x[0][:, None]
    values = ColumnValues(x)
    found = Audition(values, residuals, 0).residuals_beyond(Candidate(0, 1, 0.0))
    first, second = values.bins(0), values.bins(1)
    of_first, of_second = numpy.zeros(33), numpy.zeros(33)
    for _ in range(3):
        for k in range(33):
            own = first == k
            of_first[k] = (residuals[own, 0] - of_second[second[own]]).mean() if own.any() else 0
        for k in range(33):
            own = second == k
            of_second[k] = (residuals[own, 0] - of_first[first[own]]).mean() if own.any() else 0
    expected = residuals[:, 0] - of_first[first] - of_second[second]
    numpy.testing.assert_allclose(found[:, 0], expected, atol=1e-10)


def test_differences_of_some_rows_and_of_units_that_begin_again() -> None:
    x = numpy.array([[10.0, 1430.0, 700.0, 0.0], [1430.0, 10.0, 0.0, 720.0]])
    values = ColumnValues(x)
    pairs = [Candidate(0, 1, 0.0), Candidate(0, 1, 1440.0), Candidate(1, 0, 0.0)]
    numpy.testing.assert_array_equal(
        values.differences(pairs),
        [[-1420, 1420, 700, -720], [20, -20, 700, -720], [1420, -1420, -700, 720]],
    )
    numpy.testing.assert_array_equal(values.differences(pairs[1:2], 2), [[20, 700]])
    whole = values.equal_bins(pairs[:2], 1)
    numpy.testing.assert_array_equal(
        whole, audition.bins_of_equal_width(values.differences(pairs[:2]))
    )
    numpy.testing.assert_array_equal(values.equal_bins(pairs[::-1][1:], 1), whole[::-1])
    numpy.testing.assert_array_equal(
        values.equal_bins(pairs[:1], 2),
        audition.bins_of_equal_width(values.differences(pairs[:1], 2)),
    )


def with_rule(rule: Any, rows: int = 600) -> tuple[Audition, list[Candidate]]:
    """An audition of three columns whose target follows a rule, and all pairs of columns."""
    rng = numpy.random.default_rng(1)
    x = rng.normal(size=(3, rows))
    y = rule(x) + 0.1 * rng.normal(size=rows)
    pairs = [Candidate(0, 1, 0.0), Candidate(0, 2, 0.0), Candidate(1, 2, 0.0)]
    return Audition.begun(ColumnValues(x), y[:, None]), pairs


def test_the_difference_that_explains_most_is_the_best() -> None:
    begun, pairs = with_rule(lambda x: numpy.sign(x[0] - x[2]))
    for found in (begun.screened(pairs), begun.screened(pairs[::-1])):
        best = begun.best(found)
        assert best is not None
        assert best.candidate == Candidate(0, 2, 0.0)
        numpy.testing.assert_array_equal(best.x, begun.values.x[0] - begun.values.x[2])
        assert 0.3 < best.explained < 1.0
    assert begun.best([]) is None
    assert Candidate(0, 2, 0.0) in begun.screened_once(pairs)


@pytest.mark.parametrize(
    "rule", [lambda x: x[0] * x[2], lambda x: numpy.sign(x[0] + x[2]), lambda x: 0 * x[0]]
)
def test_products_sums_and_noise_have_no_best_difference(rule: Any) -> None:
    begun, pairs = with_rule(rule)
    assert begun.best(begun.screened(pairs)) is None


def columns_of(*ranges: tuple[float, float], rows: int = 100) -> ColumnValues:
    """Columns of different numbers from one value to another."""
    return ColumnValues(numpy.array([numpy.linspace(*limits, rows) for limits in ranges]))


def test_pairs_of_similar_ranges_the_most_similar_first() -> None:
    values = columns_of((0, 1), (0, 1.2), (0.1, 1.1), (5, 6))
    pairs = alike_pairs(values, [NUMBER] * 4)
    low = [0.1 * a + 0.9 * b for b, a in ((0, 1), (0, 1.2), (0.1, 1.1))]
    high = [0.9 * a + 0.1 * b for b, a in ((0, 1), (0, 1.2), (0.1, 1.1))]

    def overlap(i: int, j: int) -> float:
        common = min(high[i], high[j]) - max(low[i], low[j])
        return common / (max(high[i], high[j]) - min(low[i], low[j]))

    expected = sorted([(0, 1), (0, 2), (1, 2)], key=lambda pair: -overlap(*pair))
    assert [(one.first, one.second) for one in pairs] == expected
    assert {one.period for one in pairs} == {0.0}


@pytest.mark.parametrize(("shift", "count"), [(0.26, 1), (0.27, 0)])
def test_half_of_two_ranges_must_be_common(shift: float, count: int) -> None:
    """Central ranges of 0.8 have (0.8 - shift) / (0.8 + shift) in common: a half for 0.2667."""
    values = columns_of((0, 1), (shift, 1 + shift))
    assert len(alike_pairs(values, [NUMBER] * 2)) == count


def test_few_rows_few_values_and_other_units_make_no_pairs(monkeypatch: Any) -> None:
    assert len(alike_pairs(columns_of((0, 1), (0, 1), rows=100), [NUMBER] * 2)) == 1
    assert not alike_pairs(columns_of((0, 1), (0, 1), rows=99), [NUMBER] * 2)
    for different, count in ((4, 0), (5, 1)):
        x = numpy.tile(numpy.arange(120) % different, (2, 1)).astype(float)
        assert len(alike_pairs(ColumnValues(x), [NUMBER] * 2)) == count
    values = columns_of((0, 1), (0, 1), (0, 1), (0, 1))
    pairs = alike_pairs(values, [NUMBER, CLOCK, NUMBER, CLOCK])
    assert pairs == [Candidate(0, 2, 0.0), Candidate(1, 3, 1440.0)]
    monkeypatch.setattr(units, "MAX_PAIRS", 1)
    assert alike_pairs(values, [NUMBER, CLOCK, NUMBER, CLOCK]) == [Candidate(0, 2, 0.0)]


HOURLY = [100.0 * hour + minute for hour in range(10) for minute in (0, 30)]


@pytest.mark.parametrize(
    ("numbers", "are_clock"),
    [
        (HOURLY, True),
        (HOURLY[:-1], False),  # 19 different numbers
        ([*HOURLY, 2400.0], True),
        ([*HOURLY, 2401.0], False),
        ([*HOURLY, 59.0], True),
        ([*HOURLY, 60.0], False),
        ([*HOURLY, numpy.nan], True),
        ([*HOURLY, -1.0], False),
        ([*HOURLY, 0.5], False),
        ([100.0 * hour + minute for hour in range(2) for minute in range(30)], False),
        ([100.0 * hour + minute for hour in range(3) for minute in range(7)], True),
        ([100.0 * hour for hour in range(24)], False),
    ],
)
def test_clock_times_as_numbers(numbers: list[float], are_clock: bool) -> None:
    assert are_clock_numbers(numpy.array(numbers)) is are_clock


@pytest.mark.parametrize(
    ("part", "is_time_of_day", "x", "unit"),
    [
        ("", False, [1.0, 2.0], NUMBER),
        ("", False, HOURLY, CLOCK),
        ("trend", False, HOURLY, Unit(True, "UTC", False, 0.0)),
        ("trend", True, [1.0, 2.0], Unit(True, "UTC", False, 86400.0)),
    ],
)
def test_the_unit_of_a_column(part: str, is_time_of_day: bool, x: list[float], unit: Unit) -> None:
    encoding: Any = SimpleNamespace(part=part)
    column = units.NumberColumn(encoding, numpy.array(x), is_time_of_day, "UTC")
    assert units.unit_of(column) == unit


def test_columns_in_their_units() -> None:
    x = numpy.array([1730.0, numpy.inf, numpy.nan, 5.0])
    numpy.testing.assert_array_equal(in_unit(x, NUMBER), [1730, numpy.nan, numpy.nan, 5])
    numpy.testing.assert_array_equal(in_unit(x, CLOCK), [1050, numpy.nan, numpy.nan, 5])


class GivenEffects(Audition):
    """An audition in which effects are given by the differences' first rows."""

    def _effect(self, residuals: numpy.ndarray, x: numpy.ndarray) -> Any:
        return audition._Effect(float(x[0]), float(x[1]))


@pytest.mark.parametrize(
    ("difference", "of_sum", "passes"),
    [
        ((9.0, 0.02), (0.0, 0.0), True),
        ((8.9, 0.5), (0.0, 0.0), False),
        ((90.0, 0.0195), (0.0, 0.0), False),
        ((20.0, 0.5), (11.0, 0.1), True),
        ((20.0, 0.5), (11.1, 0.1), False),  # by fewer than nine deviations more than the sum
        ((90.0, 0.5), (11.0, 0.25), True),
        ((90.0, 0.5), (11.0, 0.26), False),  # by less than twice as much as the sum
    ],
)
def test_what_a_difference_must_explain(
    difference: tuple[float, float], of_sum: tuple[float, float], passes: bool
) -> None:
    both = numpy.array([difference, of_sum])
    x = numpy.zeros((2, 60))
    x[:, :2] = (both[0] + both[1]) / 2, (both[1] - both[0]) / 2
    begun = GivenEffects(ColumnValues(x), numpy.zeros((60, 1)), 0)
    passed = begun.passed(Candidate(0, 1, 0.0))
    assert (passed is not None) == passes
    if passed is not None:
        assert passed.explained == pytest.approx(difference[1])


class GivenPassed(Audition):
    """An audition in which each candidate explains the share that its period says."""

    examined: list[int]

    def passed(self, candidate: Candidate) -> Any:
        self.examined.append(candidate.first)
        return audition._Best(candidate, numpy.zeros(1), candidate.period)


@pytest.mark.parametrize(
    ("screened", "examined", "best"),
    [
        ([(0, 3.0, 0.4, 0.1), (1, 2.9, 0.9, 0.9)], [0], 0),  # the second is too near to chance
        ([(0, 9.0, 0.4, 0.4), (1, 9.0, 0.2, 0.5)], [0, 1], 1),
        ([(0, 9.0, 0.4, 0.4), (1, 9.0, 0.19, 0.5)], [0], 0),  # less than half of the best
        ([(0, 9.0, 0.3, 0.4), (1, 9.0, 0.4, 0.4)], [1, 0], 1),
    ],
)
def test_candidates_are_examined_from_the_most_promising_on(
    screened: list[tuple[int, float, float, float]], examined: list[int], best: int
) -> None:
    """screened : number of a candidate, deviations, share by equal bins, share by quantiles."""
    begun = GivenPassed(ColumnValues(X), numpy.zeros((60, 1)), 0)
    object.__setattr__(begun, "examined", [])
    found = begun.best(
        [
            audition._Screened(Candidate(number, 9, share), deviations, explained)
            for number, deviations, explained, share in screened
        ]
    )
    assert begun.examined == examined
    assert found is not None and found.candidate.first == best


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_pairs_are_screened_some_at_a_time(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    begun, pairs = with_rule(lambda x: numpy.sign(x[0] - x[2]))
    whole = begun.screened(pairs)
    effects = begun.effects_of(begun.residuals, begun.values.equal_bins(pairs, 1))
    expected = [
        pair
        for pair, deviations in zip(pairs, effects.deviations, strict=True)
        if deviations >= 0.5
    ]
    assert [one.candidate for one in whole] == expected
    monkeypatch.setattr(audition, "MAX_NUMBERS_AT_ONCE", at_once * 600)
    assert begun.screened(pairs) == whole


@pytest.mark.parametrize(
    ("rows", "targets", "step"), [(100, 1, 1), (4095, 1, 1), (4096, 1, 2), (6144, 1, 3)]
)
def test_many_rows_are_screened_by_some_of_them(rows: int, targets: int, step: int) -> None:
    rng = numpy.random.default_rng(0)
    steps = []

    class Noting(Audition):
        def screened(self, candidates: Any, step: int = 1) -> Any:
            steps.append(step)
            return []

    residuals = rng.normal(size=(rows, targets))
    Noting(ColumnValues(numpy.zeros((1, rows))), residuals, 0).screened_once([])
    assert steps == [step]


def columns_to_compare(x: numpy.ndarray) -> Any:
    """Columns of numbers, encoded under their own numbers."""
    encodings: list[Any] = [SimpleNamespace(part="", column=k) for k in range(len(x))]
    return [
        units.NumberColumn(encoding, own, False, "")
        for encoding, own in zip(encodings, x, strict=True)
    ]


@pytest.mark.parametrize("maximum", [2, 4, 16])
def test_the_most_frequent_of_many_classes_are_compared(
    monkeypatch: pytest.MonkeyPatch, maximum: int
) -> None:
    """A difference decides between the classes 2 and 3, each of which has fewer rows than 0 and
    1.
    """
    monkeypatch.setattr(of_tables, "MAX_CLASSES", maximum)
    rng = numpy.random.default_rng(0)
    x = rng.normal(size=(2, 2000))
    y = rng.choice([0, 1, 2], 2000, p=[0.3, 0.3, 0.4])
    y[y == 2] += x[0, y == 2] > x[1, y == 2]
    differences = of_tables.find_differences(columns_to_compare(x), y, "classification")
    assert len(differences) == (maximum > 2)


def test_a_table_gets_a_maximum_number_of_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = numpy.random.default_rng(0)
    x = rng.normal(size=(4, 1200))
    y = numpy.sign(x[0] - x[1]) + 0.7 * numpy.sign(x[2] - x[3])
    columns = columns_to_compare(x)
    differences = of_tables.find_differences(columns, y, "regression")
    pairs = [(one.first.column, one.difference.minus) for one in differences]
    assert pairs == [(0, 1), (2, 3)]
    monkeypatch.setattr(of_tables, "MAX_DIFFERENCES", 1)
    (first,) = of_tables.find_differences(columns, y, "regression")
    assert (first.first.column, first.difference.minus) == (0, 1)
    assert first.explained == differences[0].explained
