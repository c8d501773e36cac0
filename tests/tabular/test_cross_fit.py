"""Intervals for new groups, where there are few groups: networks of their own predict each fold."""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
from sklearn.preprocessing import FunctionTransformer

from xpnet import TabularClassifier, TabularRegressor
from xpnet.tabular.ensemble.validation import cross_fit
from xpnet.tabular.ensemble.validation.cross_fit import CrossFit

SMALL: dict[str, Any] = {"networks": 2, "members": 2, "max_iter": 3, "random_state": 0}
GROUPS = numpy.arange(240) // 8
RNG = numpy.random.default_rng(0)
X = numpy.column_stack([RNG.normal(size=240), GROUPS])
Y = X[:, 0] + RNG.normal(size=30)[GROUPS]
DIVISIONS = 16
GROUPS_OF_A_DIVISION = 20


@pytest.fixture
def training_rows(monkeypatch: pytest.MonkeyPatch) -> list[numpy.ndarray]:
    """Record the inputs that the network of each fold is trained on."""
    recorded = []
    trained_network = CrossFit.trained_network

    def record(cross_fit: Any, number: int, recipe: Any, rows: Any, epochs: int) -> Any:
        recorded.append(rows.X.copy())
        return trained_network(cross_fit, number, recipe, rows, epochs)

    monkeypatch.setattr(CrossFit, "trained_network", record)
    return recorded


def with_levels(rng: numpy.random.Generator, groups: int, rows: int) -> Any:
    """Return a table, targets and groups: levels that differ, and columns that only name groups."""
    numbers = numpy.repeat(numpy.arange(groups), rows)
    names = rng.normal(size=(groups, 6))[numbers]
    x = rng.normal(size=len(numbers))
    y = x + 2 * rng.normal(size=groups)[numbers] + 0.3 * rng.normal(size=len(numbers))
    return numpy.column_stack([x, names]), y, numbers


def coverages() -> list[float]:
    """Return the share of rows of new groups within intervals of 90 %, for each division."""
    shares = []
    for seed in range(DIVISIONS):
        rng = numpy.random.default_rng(seed)
        table, y, groups = with_levels(rng, GROUPS_OF_A_DIVISION, 15)
        new_table, new_y, _ = with_levels(rng, 200, 5)
        settings = {**SMALL, "max_iter": 30, "random_state": seed}
        regressor = TabularRegressor(hidden_layer_sizes=(16,), **settings)
        low, high = regressor.fit(table, y, groups=groups).predict_interval(new_table, 0.9).T
        shares.append(((low <= new_y) & (new_y <= high)).mean())
    return shares


def test_the_rows_of_each_group_are_predicted_once_by_networks_of_other_groups(
    training_rows: list[numpy.ndarray],
) -> None:
    regressor = TabularRegressor(**SMALL, encoder=FunctionTransformer()).fit(X, Y, groups=GROUPS)
    groups_of_networks = [set(rows[:, 1].tolist()) for rows in training_rows]
    assert len(groups_of_networks) == round(1 / regressor.validation_fraction)
    assert all(len(groups) < 30 for groups in groups_of_networks)
    left_out = [set(range(30)) - groups for groups in groups_of_networks]
    assert set.union(*left_out) == set(range(30))
    assert sum(map(len, left_out)) == 30
    assert len(regressor.residuals_) == len(X)
    state = regressor.get_fitted_state()
    numpy.testing.assert_array_equal(numpy.bincount(state.residual_groups), numpy.full(30, 8))


def test_inputs_of_groups_that_are_left_out_are_as_those_of_new_groups(
    training_rows: list[numpy.ndarray],
) -> None:
    """A column that names the groups is no help: each network predicts groups that are new."""
    table = {"x": X[:, 0], "group": GROUPS.astype(str)}
    far = Y + 100 * (GROUPS == 7)
    regressor = TabularRegressor(**SMALL).fit(table, far, groups=GROUPS)
    residuals = regressor.residuals_[:, 0]
    is_far = regressor.get_fitted_state().residual_groups == 7
    assert residuals[is_far].min() > 80
    assert training_rows


def test_predictions_are_those_of_a_fit_without_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = []
    for enabled in (True, False):
        if not enabled:
            monkeypatch.setattr("xpnet.tabular.fit.needs_cross_fit", lambda *_: False)
        regressor = TabularRegressor(**SMALL).fit(X, Y, groups=GROUPS)
        predictions.append(regressor.predict(X))
    numpy.testing.assert_array_equal(*predictions)


def test_rows_keep_their_weights_and_a_fit_is_repeatable() -> None:
    weight = RNG.uniform(1, 2, len(X))
    fits = [TabularRegressor(**SMALL).fit(X, Y, weight, groups=GROUPS) for _ in range(2)]
    numpy.testing.assert_array_equal(fits[0].residuals_, fits[1].residuals_)
    received = fits[0].residual_weights_
    assert received is not None
    numpy.testing.assert_allclose(numpy.sort(received), numpy.sort(weight), rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "y", "links"),
    [
        (TabularRegressor, Y, {}),
        (TabularRegressor, Y, {"time": GROUPS}),
        (TabularRegressor, Y, {"groups": numpy.arange(240)}),  # more than MAX_GROUPS
        (TabularClassifier, Y > 0, {"groups": GROUPS}),
    ],
)
def test_other_fits_train_no_networks_for_intervals(
    training_rows: list[numpy.ndarray], kind: Any, y: Any, links: dict[str, Any]
) -> None:
    kind(**SMALL).fit(X, y, **links)
    assert not training_rows


def test_without_time_for_all_folds_the_validation_rows_of_the_fit_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = TabularRegressor(**SMALL, time_limit=1000).fit(X, Y, groups=GROUPS)
    seconds = itertools.count(step=1e9)
    clock = SimpleNamespace(monotonic=lambda: next(seconds))
    monkeypatch.setattr(cross_fit, "time", clock)
    validated = TabularRegressor(**SMALL, time_limit=1000).fit(X, Y, groups=GROUPS)
    assert len(whole.residuals_) == len(X)
    assert len(validated.residuals_) < len(X) / 2


def test_ctrl_c_keeps_what_the_networks_of_a_first_fit_have_learned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    regressor = TabularRegressor(**SMALL)
    whole = TabularRegressor(**SMALL).fit(X, Y, groups=GROUPS)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CrossFit, "trained_network", interrupt)
    with pytest.raises(KeyboardInterrupt):
        regressor.fit(X, Y, groups=GROUPS)
    numpy.testing.assert_array_equal(regressor.predict(X), whole.predict(X))
    assert 0 < len(regressor.residuals_) < len(X) / 2
    record = whole.get_fitted_state()
    with pytest.raises(KeyboardInterrupt):
        whole.fit(X, Y, groups=GROUPS)
    assert whole.get_fitted_state() is record


@pytest.mark.slow
def test_intervals_hold_their_share_of_new_groups_where_there_are_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The share of a division has a standard deviation of 0.07, that of 16 divisions of 0.018."""
    assert numpy.mean(coverages()) == pytest.approx(0.9, abs=0.04)
    monkeypatch.setattr("xpnet.tabular.fit.needs_cross_fit", lambda *_: False)
    assert numpy.mean(coverages()) < 0.87  # by the networks of the fit
