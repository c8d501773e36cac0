"""What the levels of a number have in common, pair by pair, and both sides of each limit."""

import math
from itertools import permutations
from typing import Any

import numpy
import pytest
from helpers.cases import each_case
from numpy.random import RandomState

from xpnet.tabular.encodings import level as level_encoding
from xpnet.tabular.encodings import value_effect
from xpnet.tabular.encodings.encoding_target import Target, Task
from xpnet.tabular.encodings.level import fit_levels
from xpnet.tabular.encodings.number import NumberEncoding
from xpnet.tabular.encodings.target_means import CodedValues, fit_means
from xpnet.tabular.encodings.value_effect import ComparedTargets, ValueEffect, effect_of_values
from xpnet.tabular.rows.division import RowLinks


def effect_by_pairs(
    x: numpy.ndarray, edges: numpy.ndarray, Y: numpy.ndarray, groups: numpy.ndarray
) -> ValueEffect:
    """The effect by a loop over all pairs of rows, as the documentation defines it."""
    rows = range(len(x))
    bins = [sum(value >= edge for edge in edges[1:-1]) for value in x]
    centred = Y - Y.mean(axis=0)
    means = {one: centred[[k for k in rows if bins[k] == one]].mean(axis=0) for one in bins}
    residuals = [centred[k] - means[bins[k]] for k in rows]
    pairs = [(a, b) for a, b in permutations(rows, 2) if x[a] == x[b] and groups[a] != groups[b]]
    covariance = sum(numpy.outer(one, one) for one in residuals) / len(x)
    variance = float(numpy.trace(covariance))
    products = sum(float(residuals[a] @ residuals[b]) for a, b in pairs)
    correlation = min(1.0, max(0.0, products / (len(pairs) * variance)))
    explained = 0.0
    for row in rows:
        level = [k for k in rows if x[k] == x[row]]
        others = sum(a in level for a, _ in pairs) / len(level)
        explained += correlation**2 * others / (1 + max(0.0, others - 1) * correlation) * variance
    chance = math.sqrt(2 * len(pairs) * float((covariance**2).sum()))
    return ValueEffect(products / chance, correlation, explained / float((centred**2).sum()))


@each_case("outputs", [1, 3])
@each_case("edges", [[], [0.0, 3.0, 6.0, 9.0]])
@each_case("has_groups", [False, True])
def test_the_effect_of_levels(outputs: int, edges: list[float], has_groups: bool) -> None:
    rng = numpy.random.default_rng(outputs)
    for strength in (0.0, 0.7, 3.0):
        x = rng.integers(0, 9, 40).astype(float)
        Y = rng.normal(size=(40, outputs)) + strength * numpy.sin(99 * x[:, None])
        groups = rng.integers(0, 6, 40) if has_groups else numpy.arange(40)
        received = effect_of_values(x, numpy.array(edges), ComparedTargets(Y, groups))
        expected = effect_by_pairs(x, numpy.array(edges), Y, groups)
        numpy.testing.assert_allclose(received, expected, rtol=1e-9, atol=1e-12)


def test_rows_without_partners_or_variance_have_no_effect() -> None:
    x, one_group = numpy.arange(6.0) % 3, numpy.zeros(6, int)
    y = numpy.arange(6.0)[:, None]
    for targets in (ComparedTargets(y, one_group), ComparedTargets(0 * y, numpy.arange(6))):
        assert effect_of_values(x, numpy.empty(0), targets) == (0.0, 0.0, 0.0)


X = numpy.repeat(numpy.arange(20.0), 3)
Y = numpy.random.default_rng(0).normal(size=60)
NUMBER = NumberEncoding(4, "", 0, 0, 19, 0, 1, False, False, False, numpy.empty(0))


def target_of(y: Any, task: Task | None = "regression") -> Target:
    """A target of rows without groups."""
    return Target(y, task, RowLinks(), RandomState(0))


def has_levels(monkeypatch: pytest.MonkeyPatch, x: numpy.ndarray = X, **effect: float) -> bool:
    """Whether levels are fitted where their effect has these numbers."""
    measured = ValueEffect(1e3, 0.5, 0.9)._replace(**effect)
    monkeypatch.setattr(level_encoding, "effect_of_values", lambda *_: measured)
    monkeypatch.setattr(level_encoding, "predict_better_than_bins", lambda *_: True)
    return fit_levels(x, NUMBER, target_of(numpy.resize(Y, len(x)))) is not None


def test_the_limits_of_the_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    deviations, explained = level_encoding.MIN_DEVIATIONS, level_encoding.MIN_EXPLAINED
    assert has_levels(monkeypatch, deviations=deviations)
    assert has_levels(monkeypatch, explained=explained)
    assert not has_levels(monkeypatch, deviations=math.nextafter(deviations, 0))
    assert not has_levels(monkeypatch, explained=math.nextafter(explained, 0))


def test_the_limits_of_levels_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(level_encoding, "MIN_LEVELS", 20)
    monkeypatch.setattr(level_encoding, "MAX_LEVELS", 20)
    monkeypatch.setattr(level_encoding, "MIN_ROWS_PER_LEVEL", 3.0)
    assert has_levels(monkeypatch)
    monkeypatch.setattr(level_encoding, "MIN_ROWS_PER_LEVEL", 3.01)
    assert not has_levels(monkeypatch)
    monkeypatch.setattr(level_encoding, "MIN_ROWS_PER_LEVEL", 1.0)
    assert not has_levels(monkeypatch, X % 19)
    assert not has_levels(monkeypatch, numpy.arange(60.0) % 21)
    gaps = numpy.append(X, [math.nan, math.inf, -math.inf])
    assert has_levels(monkeypatch, gaps)
    monkeypatch.setattr(level_encoding, "MIN_ROWS_PER_LEVEL", 3.0)
    assert not has_levels(monkeypatch, gaps[1:])


def test_the_limit_of_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = ValueEffect(1e3, 0.5, 0.9)
    monkeypatch.setattr(level_encoding, "effect_of_values", lambda *_: measured)
    monkeypatch.setattr(level_encoding, "predict_better_than_bins", lambda *_: True)
    classes = target_of(numpy.arange(60) % 4, "classification")
    for numbers, target in ((60, target_of(Y)), (180, classes)):
        monkeypatch.setattr(value_effect, "MAX_TARGET_NUMBERS", numbers)
        assert fit_levels(X, NUMBER, target) is not None
        monkeypatch.setattr(value_effect, "MAX_TARGET_NUMBERS", numbers - 1)
        assert fit_levels(X, NUMBER, target) is None


@each_case(
    ("correlation", "prior_rows"),
    [(0.5, 1.0), (0.25, 3.0), (0.99, 0.2), (0.001, 30.0), (0.0, 30.0)],
)
def test_the_rows_that_are_added_to_a_level(
    correlation: float, prior_rows: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = ValueEffect(1e3, correlation, 0.9)
    monkeypatch.setattr(level_encoding, "effect_of_values", lambda *_: measured)
    monkeypatch.setattr(level_encoding, "predict_better_than_bins", lambda *_: True)
    levels = fit_levels(X, NUMBER, target_of(Y))
    assert levels is not None
    indices = numpy.repeat(numpy.arange(20), 3)
    expected = fit_means(CodedValues(indices, 20), target_of(Y), prior_rows)
    rows = numpy.arange(60)
    of_values = expected.of_values(rows)
    numpy.testing.assert_allclose(levels.encoding.details[:, 1:], of_values, rtol=1e-6)
    of_rows = expected.of_training_rows(rows)
    numpy.testing.assert_allclose(levels.means.of_training_rows(rows), of_rows, rtol=1e-6)
    assert levels.encoding.column == 4
    assert levels.encoding.levels.tolist() == list(range(20))
    assert levels.encoding.labels == ["_level_frequency", "_level_target"]


def test_no_rows_have_nothing_in_common() -> None:
    no_targets = ComparedTargets(numpy.empty((0, 1)), numpy.empty(0, int))
    effect = effect_of_values(numpy.empty(0), numpy.empty(0), no_targets)
    assert effect == ValueEffect(0.0, 0.0, 0.0)
