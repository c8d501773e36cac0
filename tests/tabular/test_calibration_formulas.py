"""Margins, temperatures, thresholds and levels, each by its formula in plain loops."""

import math
from typing import Any

import numpy
import pytest
from scipy.special import softmax
from sklearn import metrics

import xpnet
from xpnet.tabular.ensemble.balance import Totals
from xpnet.tabular.ensemble.validation.calibration import (
    best_temperature,
    best_threshold,
    conformal_margin,
    independent_rows,
    tempered,
)


def test_the_shift_makes_the_predicted_sums_those_that_were_observed() -> None:
    first = Totals(numpy.array([3.0, 0.0, 2.0]), numpy.array([8.0, 1.0, 0.5]))
    second = Totals(numpy.array([2.0, 0.0, 4.0]), numpy.array([2.0, 3.0, 1.0]))
    both = first + second
    numpy.testing.assert_array_equal(both.observed, [5.0, 0.0, 6.0])
    numpy.testing.assert_array_equal(both.predicted, [10.0, 4.0, 1.5])
    numpy.testing.assert_allclose(both.shift, [math.log(0.5), 0.0, math.log(4.0)])
    nothing = Totals(numpy.zeros(2), numpy.array([0.0, 1.0])) + Totals(
        numpy.array([0.0, 1.0]), numpy.array([0.0, -1.0])
    )
    numpy.testing.assert_array_equal(nothing.shift, [0.0, 0.0])


def kish_rows(values: numpy.ndarray, groups: numpy.ndarray) -> float:
    """Return n / (1 + (m - 1) r), r from the analysis of variance of groups of unequal sizes."""
    members = [values[groups == group] for group in numpy.unique(groups)]
    n, k = len(values), len(members)
    within = sum(((own - own.mean()) ** 2).sum() for own in members) / (n - k)
    between = sum(len(own) * (own.mean() - values.mean()) ** 2 for own in members) / (k - 1)
    mean_square = sum(len(own) ** 2 for own in members) / n
    typical = (n - mean_square) / (k - 1)
    correlation = (between - within) / (between + (typical - 1) * within)
    return float(n / (1 + (mean_square - 1) * min(max(correlation, 0), 1)))


@pytest.mark.parametrize("seed", range(10))
def test_independent_rows_are_those_of_the_analysis_of_variance(seed: int) -> None:
    rng = numpy.random.default_rng(seed)
    groups = rng.choice([3, 5, 6, 9, 12], 40, p=[0.4, 0.3, 0.1, 0.1, 0.1])
    values = rng.normal(size=13)[groups] * rng.uniform(0, 1.5) + rng.normal(size=40)
    assert independent_rows(values, groups) == pytest.approx(kish_rows(values, groups), rel=1e-9)


def test_independent_rows_of_special_groups() -> None:
    groups = numpy.array([0, 0, 1, 1, 1, 4])
    assert independent_rows(numpy.ones(6), groups) == 6
    # Values of a group are alike: the mean group of a row has (2^2 + 3^2 + 1) / 6 rows.
    assert independent_rows(groups * 1.0, groups) == pytest.approx(6 / (14 / 6))
    # Values differ within groups alone: no row says less.
    assert independent_rows(numpy.array([1.0, -1.0] * 4), numpy.arange(8) // 2) == 8
    assert independent_rows(numpy.array([1.0, 2.0, 4.0]), numpy.arange(3)) == pytest.approx(3)
    assert independent_rows(numpy.array([1.0, 2.0, 4.0]), numpy.zeros(3, int)) == pytest.approx(3)


def quantile_by_weight(scores: numpy.ndarray, share: float, weight: numpy.ndarray) -> float:
    """Return the smallest score up to which scores have a share of the weight."""
    order = numpy.argsort(scores)
    reached = 0.0
    for row in order:
        reached += weight[row] / weight.sum()
        if reached >= share - 1e-12:
            return float(scores[row])
    raise AssertionError(share)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_margins_are_weighted_quantiles_with_the_new_row(
    coverage: float, is_weighted: bool
) -> None:
    rng = numpy.random.default_rng(0)
    scores, weight = rng.normal(size=(41, 2)), rng.exponential(size=41)
    weight[:3] = 0
    counted = weight > 0 if is_weighted else numpy.full(41, True)
    given = weight if is_weighted else None
    shares = weight[counted] if is_weighted else numpy.ones(41)
    count = counted.sum()
    margins = conformal_margin(scores, coverage, given)
    wanted = [
        quantile_by_weight(column, (count + 1) * coverage / count, shares)
        for column in scores[counted].T
    ]
    numpy.testing.assert_array_equal(margins, wanted)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_margins_of_groups_count_the_independent_rows_that_exceed(
    coverage: float, is_weighted: bool
) -> None:
    """A row exceeds the plain quantile or not; that says how many rows the groups are."""
    rng = numpy.random.default_rng(1)
    groups = numpy.repeat(numpy.arange(30), 4)
    scores = rng.normal(size=(30, 3))[groups] + 0.7 * rng.normal(size=(120, 3))
    weight = rng.exponential(size=120) if is_weighted else numpy.ones(120)
    if is_weighted:
        weight[:9] = 0
    counted = weight > 0
    wanted = []
    for column in scores[counted].T:
        plain = quantile_by_weight(column, coverage, weight[counted])
        rows = kish_rows((column > plain) * 1.0, groups[counted])
        share = min(1.0, coverage + coverage / rows)
        wanted.append(quantile_by_weight(column, share, weight[counted]))
    margins = conformal_margin(scores, coverage, weight if is_weighted else None, groups)
    numpy.testing.assert_array_equal(margins, wanted)
    assert (margins > conformal_margin(scores, coverage, weight if is_weighted else None)).any()


@pytest.mark.parametrize(("coverage", "rows"), [(0.9, 9), (0.5, 1), (0.95, 19), (0.8, 4)])
def test_the_fewest_rows_of_an_interval(coverage: float, rows: int) -> None:
    """A new row is the largest of n + 1 with probability 1 / (n + 1), at most 1 - coverage."""
    scores = numpy.arange(float(rows))[:, None]
    assert conformal_margin(scores, coverage) == [rows - 1]
    assert conformal_margin(numpy.vstack([scores, [[7.5]]]), coverage) == [max(rows - 1, 7.5)]
    weight = numpy.ones(rows + 2)
    weight[:3] = 0
    more = numpy.arange(rows + 2.0)[:, None]
    for arguments in ((scores[1:],), (more, weight), (more, weight, numpy.arange(rows + 2))):
        with pytest.raises(xpnet.InputError, match=f" {rows} .*got {rows - 1}"):
            conformal_margin(arguments[0], coverage, *arguments[1:])


def thresholds_of(second: numpy.ndarray) -> list[float]:
    """Return the middles of neighbouring different probabilities, of which the first is 0."""
    values = sorted({0.0, *second.tolist()})
    return [(low + high) / 2 for low, high in zip(values, values[1:], strict=False)]


@pytest.mark.parametrize("score", ["f1", "balanced_accuracy"])
@pytest.mark.parametrize("seed", range(12))
def test_the_threshold_is_the_best_one_nearest_to_a_half(score: str, seed: int) -> None:
    rng = numpy.random.default_rng(seed)
    labels = rng.integers(0, 2, 15)
    labels[:2] = [0, 1]
    second = (rng.integers(0, 12, 15) / 12 + labels * rng.uniform(0, 0.5)).clip(0, 1).round(2)
    weight = None if seed % 2 else rng.integers(1, 4, 15) * 1.0
    compute: Any = {
        "f1": metrics.f1_score,
        "balanced_accuracy": metrics.balanced_accuracy_score,
    }[score]
    scored = [
        (compute(labels, second >= threshold, sample_weight=weight), threshold)
        for threshold in thresholds_of(second)
        if threshold < 1
    ]
    best = max(value for value, _ in scored)
    wanted = min((t for value, t in scored if value > best - 1e-9), key=lambda t: abs(t - 0.5))
    probabilities = numpy.column_stack([1 - second, second])
    assert best_threshold(probabilities, labels, weight, score) == pytest.approx(wanted)


def test_thresholds_of_one_class_and_of_certain_rows() -> None:
    second = numpy.array([0.1, 0.2, 0.9])
    probabilities = numpy.column_stack([1 - second, second])
    for label in (0, 1):
        assert best_threshold(probabilities, numpy.full(3, label), None, "f1") == 0.5
    labels = numpy.array([0, 0, 1])
    assert best_threshold(probabilities, labels, None, "f1") == pytest.approx(0.55)
    assert best_threshold(probabilities, 1 - labels, None, "f1") == pytest.approx(0.05)
    weightless = numpy.array([1.0, 1.0, 0.0])
    assert best_threshold(probabilities, labels, weightless, "balanced_accuracy") == 0.5
    tied = numpy.column_stack([[0.0, 0.5, 0.5], [1.0, 0.5, 0.5]])
    assert best_threshold(tied, numpy.array([1, 0, 1]), None, "balanced_accuracy") == 0.75


def most_probable_temperature(
    probabilities: numpy.ndarray, shares: numpy.ndarray, weight: numpy.ndarray
) -> float:
    """Return the best of many temperatures: the labels', and a normal prior of its logarithm."""
    logarithms = numpy.linspace(-1, 1.5, 2501)
    effective = weight.sum() ** 2 / (weight**2).sum()
    objectives = []
    for logarithm in logarithms:
        logits = numpy.log(probabilities) / math.exp(logarithm)
        losses = -(shares * numpy.log(softmax(logits, axis=1))).sum(axis=1)
        prior = (logarithm - 0.2) ** 2 / (2 * 0.2**2)
        objectives.append((weight * losses).sum() / weight.sum() * effective + prior)
    return math.exp(logarithms[int(numpy.argmin(objectives))])


@pytest.mark.parametrize("kind", ["labels", "weighted labels", "shares", "weighted shares"])
def test_the_temperature_is_the_most_probable_one(kind: str) -> None:
    rng = numpy.random.default_rng(3)
    probabilities = softmax(2 * rng.normal(size=(60, 3)), axis=1)
    labels = rng.integers(0, 3, 60)
    is_likely = rng.random(60) < 0.6
    labels[is_likely] = probabilities[is_likely].argmax(axis=1)
    shares = numpy.eye(3)[labels]
    weight = rng.exponential(size=60) if "weighted" in kind else numpy.ones(60)
    targets = labels
    if "shares" in kind:
        shares = 0.8 * shares + 0.2 * softmax(rng.normal(size=(60, 3)), axis=1)
        targets = shares
    given = weight if "weighted" in kind else None
    found = best_temperature(probabilities, targets, given)
    wanted = most_probable_temperature(probabilities, shares, weight)
    # The grid has a step of 0.001 of the logarithm, the search a tolerance of 1e-5.
    assert math.log(found) == pytest.approx(math.log(wanted), abs=0.001)
    assert abs(math.log(wanted) - 0.2) > 0.05


@pytest.mark.parametrize(("second", "limit"), [(0.52, math.exp(-3)), (0.001, math.exp(3))])
def test_temperatures_have_limits(second: float, limit: float) -> None:
    """All rows are right, or none, so that these many rows ask for more than the prior allows."""
    probabilities = numpy.tile([1 - second, second], (2000, 1))
    found = best_temperature(probabilities, numpy.ones(2000, numpy.int64))
    assert found == pytest.approx(limit, rel=0.001)


def test_a_label_without_probability_has_a_finite_loss() -> None:
    probabilities = numpy.array([[1.0, 0.0], [0.0, 1.0], [0.4, 0.6]])
    assert best_temperature(probabilities, numpy.array([1, 1, 1])) > 1
    for dtype in (numpy.float32, numpy.float64):
        found = tempered(probabilities.astype(dtype), 2.0)
        assert found.dtype == dtype
        halves = numpy.sqrt([0.4, 0.6]) / numpy.sqrt([0.4, 0.6]).sum()
        numpy.testing.assert_allclose(found[2], halves, rtol=1e-6)
        numpy.testing.assert_allclose(found[:2], [[1.0, 0.0], [0.0, 1.0]], atol=1e-15)
