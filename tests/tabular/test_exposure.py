"""Exposures and offsets of tabular regressors: rates, their intervals, and wrong values."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score

import xpnet

POWERS = {"poisson": 1.0, "tweedie": 1.5, "gamma": 2.0}
QUICK: dict[str, Any] = {"quality": 1, "max_iter": 30, "random_state": 0}


def visits(rows: int, loss: str = "poisson") -> tuple[Any, Any, Any]:
    """A table, targets, and days observed."""
    rng = np.random.default_rng(3)
    table = {"size": rng.normal(size=rows), "kind": rng.choice(["a", "b"], rows)}
    days = rng.uniform(0.2, 20.0, rows)
    mean = days * np.exp(2.5 + 0.4 * table["size"] + 0.6 * (table["kind"] == "a"))
    if loss == "poisson":
        return table, rng.poisson(mean).astype(float), days
    return table, mean * rng.gamma(3.0, 1 / 3, rows), days


@pytest.mark.parametrize("loss", sorted(POWERS))
def test_exposures_are_other_targets_and_weights(loss: str) -> None:
    table, y, days = visits(200, loss)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 200)
    model = xpnet.TabularRegressor(loss=loss, **QUICK)
    rates = model.fit(table, y, weight, exposure=days).predict(table)
    means = model.predict(table, exposure=days)
    _, spread = model.predict(table, return_std=True, offset=np.log(days))
    np.testing.assert_allclose(means, rates * days, rtol=1e-12)
    model.fit(table, y / days, weight * days ** (2 - POWERS[loss]))
    # Weights are float32 in training, and are the same numbers here.
    np.testing.assert_array_equal(model.predict(table), rates)
    np.testing.assert_allclose(model.predict(table, return_std=True)[1] * days, spread, rtol=1e-12)


@pytest.mark.parametrize("loss", sorted(POWERS))
def test_one_exposure_for_all_rows_changes_the_unit_alone(loss: str) -> None:
    table, y, _ = visits(200, loss)
    plain = xpnet.TabularRegressor(loss=loss, **QUICK).fit(table, y)
    eighths = np.full(200, 0.125)  # a power of 2 changes no digits
    model = xpnet.TabularRegressor(loss=loss, **QUICK).fit(table, y, exposure=eighths)
    for validation in (False, True):
        if validation:
            own = {"X_val": table, "y_val": y}
            plain.fit(table, y, **own)
            model.fit(table, y, exposure=eighths, exposure_val=eighths, **own)
        expected = plain.predict_interval(table, 0.8)
        np.testing.assert_allclose(
            model.predict_interval(table, 0.8, exposure=eighths), expected, rtol=1e-5
        )
        predicted = model.predict(table, exposure=eighths)
        by_predictions = model.predict_interval(table, 0.8, predictions=predicted, exposure=eighths)
        np.testing.assert_allclose(by_predictions, expected, rtol=1e-5)
        np.testing.assert_allclose(predicted, plain.predict(table), rtol=1e-5)


def test_intervals_of_short_and_long_exposures_hold_the_same_share() -> None:
    table, y, days = visits(3000)
    new = 1500
    parts = [
        {name: column[rows] for name, column in table.items()}
        for rows in (slice(new), slice(new, None))
    ]
    model = xpnet.TabularRegressor(loss="poisson", **QUICK)
    model.fit(parts[0], y[:new], exposure=days[:new])
    low, high = model.predict_interval(parts[1], 0.9, exposure=days[new:]).T
    holds = (low <= y[new:]) & (y[new:] <= high)
    # About 375 rows a quarter: 4 standard deviations of a share of 0.9 are 0.06.
    for quarter in np.array_split(np.argsort(days[new:]), 4):
        assert holds[quarter].mean() == pytest.approx(0.9, abs=0.07)


def test_a_file_predicts_with_exposures(tmp_path: Path) -> None:
    table, y, days = visits(200)
    model = xpnet.TabularRegressor(loss="poisson", **QUICK).fit(table, y, exposure=days)
    model.save(tmp_path / "rates.safetensors")
    opened: Any = xpnet.load(tmp_path / "rates.safetensors")
    for known in ({"exposure": days}, {"offset": days / 10}):
        np.testing.assert_array_equal(
            opened.predict_interval(table, 0.8, **known),
            model.predict_interval(table, 0.8, **known),
        )


def test_cross_validation_takes_its_rows_of_the_exposures() -> None:
    table, y, days = visits(150)
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    model = xpnet.TabularRegressor(loss="poisson", **QUICK)
    scores = cross_val_score(model, pandas.DataFrame(table), y / days, params={"exposure": days})
    assert len(scores) == 5 and np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("known", "fact"),
    [
        ({"exposure": np.r_[np.ones(199), 0.0]}, "got 0 in row 199"),
        ({"exposure": np.ones(3)}, r"200 rows; got shape \(3,\)"),
        ({"offset": np.r_[np.nan, np.zeros(199)]}, "`offset` .* got nan in row 0"),
        ({"exposure_val": np.ones(200)}, "exposure_val"),
    ],
)
def test_wrong_values_are_named(known: Any, fact: str) -> None:
    table, y, _ = visits(200)
    model = xpnet.TabularRegressor(loss="poisson", **QUICK)
    with pytest.raises(xpnet.InputError, match=fact):
        model.fit(table, y, **known)
    assert not model.__sklearn_is_fitted__()


def test_a_loss_without_logarithms_has_no_exposure() -> None:
    table, y, days = visits(200)
    with pytest.raises(xpnet.InputError, match="'poisson'.*'squared_error'"):
        xpnet.TabularRegressor(**QUICK).fit(table, y, exposure=days)


def rare_events(rows: int, seed: int) -> tuple[Any, Any, Any]:
    """A table of contracts, numbers of rare events, and years."""
    rng = np.random.default_rng(seed)
    table = {"size": rng.normal(size=rows), "kind": rng.choice(["a", "b"], rows)}
    years = rng.uniform(0.1, 1.0, rows)
    mean = 0.08 * years * np.exp(0.5 * table["size"] - 0.5 * (table["kind"] == "a"))
    return table, rng.poisson(mean).astype(float), years


@pytest.mark.parametrize(
    ("rows", "settings"),
    [
        (600, {"quality": 1}),
        (600, {"quality": 1, "refit": False}),
        (600, {"quality": 2, "max_iter": 20}),
        (600, {"quality": 1, "validation_fraction": 0, "max_iter": 20}),
        (11_000, {"quality": 1, "max_iter": 3}),
    ],
    ids=["refitted", "validated", "two networks", "without validation", "many rows"],
)
def test_predictions_of_the_training_rows_have_their_total(
    rows: int, settings: dict[str, Any]
) -> None:
    table, events, years = rare_events(rows, seed=0)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, rows)
    model = xpnet.TabularRegressor(loss="poisson", random_state=0, **settings)
    model.fit(table, events, weight, exposure=years)
    # Outputs and biases are float32, rounded to 6e-8, in sums of up to 11,000 rows.
    total = weight @ model.predict(table, exposure=years)
    assert total == pytest.approx(weight @ events, rel=1e-4)


@pytest.mark.parametrize("loss", ["gamma", "tweedie"])
def test_predicted_amounts_have_the_total_of_the_training_rows(loss: str) -> None:
    table, amounts, _ = visits(300, loss)
    targets = np.column_stack([amounts, amounts[::-1] * 3])
    model = xpnet.TabularRegressor(loss=loss, **QUICK).fit(table, targets)
    # No prediction is cut off at the range of these targets.
    np.testing.assert_allclose(model.predict(table).sum(axis=0), targets.sum(axis=0), rtol=1e-4)


def test_validation_rows_that_are_passed_have_no_part_in_the_total() -> None:
    table, events, years = rare_events(600, seed=0)
    model = xpnet.TabularRegressor(loss="poisson", **QUICK)
    own = {"X_val": table, "y_val": 3 * events, "exposure_val": years}
    model.fit(table, events, exposure=years, **own)
    assert model.predict(table, exposure=years).sum() == pytest.approx(events.sum(), rel=1e-4)


@pytest.mark.parametrize("encoded_numbers", [2**25, 100], ids=["in memory", "by blocks"])
def test_rows_of_a_large_table_have_their_total(
    monkeypatch: pytest.MonkeyPatch, encoded_numbers: int
) -> None:
    monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", 100)
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.SAMPLE_ROWS", 200)
    monkeypatch.setattr("xpnet.tabular.rows.large_tables.MAX_ENCODED", encoded_numbers)
    table, events, years = rare_events(900, seed=0)
    validation, own_events, own_years = rare_events(200, seed=1)
    model = xpnet.TabularRegressor(loss="poisson", **QUICK)
    own = {"X_val": validation, "y_val": own_events, "exposure_val": own_years}
    model.fit(table, events, exposure=years, **own)
    assert model.predict(table, exposure=years).sum() == pytest.approx(events.sum(), rel=1e-4)


def test_new_rows_have_the_total_of_the_observed_rate() -> None:
    ratios = []
    for seed in range(8):
        table, events, years = rare_events(1500, seed)
        new, _, new_years = rare_events(20_000, 100 + seed)
        model = xpnet.TabularRegressor(loss="poisson", quality=1, random_state=seed)
        model.fit(table, events, exposure=years)
        expected = events.sum() / years.sum() * new_years.sum()
        ratios.append(model.predict(new, exposure=new_years).sum() / expected)
    # Of networks that are not balanced ratios vary by 9 %.
    assert np.std(ratios) < 0.04
    assert np.mean(ratios) == pytest.approx(1, abs=0.03)


def test_validation_rows_are_measured_at_the_level_of_other_rows() -> None:
    losses, new_losses = [], []
    for seed in range(8):
        table, events, years = rare_events(1500, seed)
        new, new_events, new_years = rare_events(20_000, 100 + seed)
        model = xpnet.TabularRegressor(loss="poisson", quality=1, random_state=seed)
        model.fit(table, events, exposure=years)
        scale = model.target_[1, 0]
        rates, predicted = new_events / new_years / scale, model.predict(new) / scale
        deviances = xpnet.ops.poisson(
            np.log(predicted)[:, None], rates[:, None], sample_weight=new_years
        )[0]
        losses.append(model.validation_loss_)
        new_losses.append(float(deviances))
    difference = np.subtract(losses, new_losses)
    # The mean of eight differences has a standard error, of which three are allowed.
    assert abs(difference.mean()) < 3 * difference.std(ddof=1) / np.sqrt(8)


def observed(rows: int, loss: str, seed: int) -> tuple[Any, Any, Any, Any]:
    """A table, targets, exposures, and weights that say nothing of the variance."""
    rng = np.random.default_rng(seed)
    table = {"size": rng.normal(size=rows), "age": rng.normal(size=rows)}
    exposure = rng.uniform(0.1, 2.0, rows)
    rate = np.exp(3 + 0.5 * table["size"] + 0.3 * table["age"])
    events = rng.poisson(exposure * rate).astype(float)
    if loss == "gamma":
        events = exposure * rate * rng.gamma(2.0, 0.5, rows)
    return (
        table,
        events,
        exposure,
        rng.choice([1.0, 2.0, 3.0, 10.0], rows, p=[0.6, 0.2, 0.15, 0.05]),
    )


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
@pytest.mark.parametrize("refined", [False, True], ids=["fit", "refined"])
def test_weights_of_rows_do_not_change_what_intervals_hold(loss: str, refined: bool) -> None:
    shares = []
    for seed in range(16):
        table, y, exposure, weight = observed(1000, loss, seed)
        model = xpnet.TabularRegressor(loss=loss, quality=1, random_state=seed)
        model.fit(table, y, weight, exposure=exposure)
        if refined:
            table, y, exposure, weight = observed(1000, loss, 200 + seed)
            model.refine(table, y, weight, exposure=exposure)
        new, y_new, exposure_new, weight_new = observed(4000, loss, 100 + seed)
        ends = [model.predict_interval(new, share, exposure=exposure_new).T for share in (0.9, 0.5)]
        holds = [(low <= y_new) & (y_new <= high) for low, high in ends]
        shares.append([np.average(held, weights=weight_new) for held in holds])
    # The quantiles of 125 rows of such weights, as many as 60 equal ones, have standard errors of
    # 0.04 and 0.065; the mean of 16 fits has a quarter of that.
    np.testing.assert_allclose(np.mean(shares, axis=0), [0.9, 0.5], atol=0.04)


@pytest.fixture(params=["folds", "own", "time", "groups", "large", "large and own", "zeros"])
def division(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the validation rows of a fit are chosen."""
    if request.param.startswith("large"):
        monkeypatch.setattr("xpnet.data.table_size.LARGE_TABLE_BYTES", 100)
        monkeypatch.setattr("xpnet.tabular.rows.large_tables.SAMPLE_ROWS", 200)
    return str(request.param)


@pytest.mark.parametrize("refined", [False, True], ids=["fit", "refined"])
def test_residuals_have_the_exposures_and_weights_of_their_rows(
    division: str, refined: bool
) -> None:
    rng = np.random.default_rng(0)
    rows = 1200
    table = {"noise": rng.choice(["a", "b"], rows)}
    exposure = rng.choice([1.0, 16.0], rows)
    weight = rng.choice([1.0, 3.0], rows)
    # A rate is 10 or 100, as the weight of the row is 1 or 3: its residual tells its weight.
    y = exposure * np.where(weight == 3, 100.0, 10.0)
    known: dict[str, Any] = {"exposure": exposure}
    if "own" in division:
        own = {"X_val": table, "y_val": y, "sample_weight_val": weight, "exposure_val": exposure}
        known.update(own)
    elif division == "time":
        known["time"] = rng.permutation(rows)
    elif division == "groups":
        known["groups"] = rng.integers(0, 60, rows)
    elif division == "zeros":
        weight[rng.random(rows) < 0.2] = 0
        y[weight == 0] = 1000.0
    model = xpnet.TabularRegressor(loss="poisson", quality=1, random_state=0)
    model.fit(table, y, weight, **known)
    if refined:
        model.refine(table, y, weight, **known)
    residuals = model.residuals_[:, 0]
    weights = model.residual_weights_
    assert weights is not None and len(weights) == len(residuals) >= 100
    np.testing.assert_allclose(weights / weights.min(), np.where(residuals > 0, 3, 1), rtol=1e-5)
    rate = model.predict(table).mean()
    of_one = (np.where(residuals > 0, 100.0, 10.0) - rate) / np.sqrt(rate)
    # The roots of exposures are 1 and 4, and the rates of both kinds lie near their mean.
    roots = residuals / of_one
    assert 0.4 < np.mean(roots > 2) < 0.6
    np.testing.assert_allclose(roots, np.where(roots > 2, 4.0, 1.0), rtol=0.4)
