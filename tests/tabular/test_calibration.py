"""What validation rows give: intervals of predictions, and the temperature of
probabilities.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
from scipy.special import softmax
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import xpnet
from xpnet import TabularClassifier, TabularRegressor
from xpnet.tabular.ensemble.validation.calibration import (
    best_temperature,
    conformal_margin,
    independent_rows,
    tempered,
)

QUICK: dict[str, Any] = {
    "hidden_layer_sizes": (16,),
    "members": 2,
    "networks": 2,
    "random_state": 0,
    "max_iter": 40,
}
LEVELS = [0.05, 0.5, 0.95]


def noisy(rows: int, seed: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Numbers whose noise grows with the second column."""
    rng = numpy.random.default_rng(seed)
    X = rng.uniform(0, 1, (rows, 2))
    return X, numpy.sin(4 * X[:, 0]) + X[:, 1] * rng.normal(size=rows)


def share_within(interval: numpy.ndarray, y: numpy.ndarray) -> float:
    return float(((interval[..., 0] <= y) & (y <= interval[..., 1])).mean())


def test_the_margin_is_the_smallest_that_holds_the_coverage() -> None:
    scores = numpy.random.default_rng(0).permutation(numpy.arange(99.0))[:, None]
    assert conformal_margin(scores, 0.9) == [89.0]  # the 90th of 99, since (99 + 1) 0.9 = 90
    with pytest.raises(xpnet.InputError, match="must have 9 validation rows or more; got 8"):
        conformal_margin(scores[:8], 0.9)


@pytest.mark.parametrize("coverage", [0.5, 0.9])
@pytest.mark.parametrize(
    "settings", [{}, {"loss": "absolute_error"}, {"loss": "quantile", "quantile": LEVELS}], ids=str
)
def test_intervals_hold_their_share_of_new_targets(
    settings: dict[str, Any], coverage: float
) -> None:
    regressor = TabularRegressor(**QUICK, **settings).fit(*noisy(2400, 0))
    X, y = noisy(4000, 1)
    # Of 600 validation rows the share has a standard deviation of 0.02 and less, the network has
    # seen none of them.
    assert share_within(regressor.predict_interval(X, coverage), y) == pytest.approx(
        coverage, abs=0.05
    )


def test_targets_that_stand_at_an_end_of_an_interval_are_within() -> None:
    # Zero of every second target, and predicted so: float32 has it at 2.6e-8, as the networks see
    # it.
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(1500, 5))
    y = rng.poisson(numpy.exp(X[:, 0])) * 1.0
    regressor = TabularRegressor(loss="quantile", quantile=LEVELS, max_iter=15, random_state=0).fit(
        X[:400], y[:400]
    )
    assert share_within(regressor.predict_interval(X[400:], 0.9), y[400:]) > 0.85


def test_intervals_of_quantiles_follow_the_noise() -> None:
    X, y = noisy(2400, 0)
    regressor = TabularRegressor(**QUICK, loss="quantile", quantile=LEVELS).fit(X, y)
    low, high = regressor.predict_interval([[0.5, 0.05], [0.5, 0.95]]).T
    assert (high - low)[1] > 3 * (high - low)[0]


@pytest.mark.parametrize("loss", ["poisson", "gamma", "tweedie"])
def test_intervals_of_deviances_grow_with_the_prediction_and_are_not_negative(loss: str) -> None:
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(2000, 1))
    mean = numpy.exp(1 + X[:, 0])
    y = rng.poisson(mean) if loss == "poisson" else rng.gamma(2.0, mean / 2)
    regressor = TabularRegressor(**QUICK, loss=loss).fit(X[:1000], y[:1000])
    interval = regressor.predict_interval(X[1000:], 0.9)
    assert share_within(interval, y[1000:]) == pytest.approx(0.9, abs=0.05)
    assert interval.min() >= 0
    widths = interval[:, 1] - interval[:, 0]
    assert numpy.corrcoef(widths, mean[1000:])[0, 1] > 0.8


def test_intervals_of_several_targets_and_with_rows_of_the_users_own() -> None:
    X, y = load_diabetes(return_X_y=True)
    both = numpy.column_stack([y, -2 * y])
    one_epoch = QUICK | {"max_iter": 1}  # of which no rows choose
    regressor = TabularRegressor(**one_epoch).fit(
        X[:300], both[:300], X_val=X[300:], y_val=both[300:]
    )
    assert regressor.residuals_.shape == (142, 2)
    numpy.testing.assert_allclose(
        regressor.residuals_, both[300:] - regressor.predict(X[300:]), atol=1e-3
    )
    interval = regressor.predict_interval(X, 0.8)
    assert interval.shape == (442, 2, 2)
    assert share_within(interval[300:], both[300:]) == pytest.approx(0.8, abs=0.01)


def test_without_rows_set_apart_there_is_no_interval() -> None:
    X, y = noisy(100, 0)
    regressor = TabularRegressor(**QUICK, validation_fraction=0).fit(X, y)
    with pytest.raises(xpnet.InputError, match="got 0. Raise validation_fraction"):
        regressor.predict_interval(X)
    with pytest.raises(xpnet.InputError, match="between 0 and 1; got 90"):
        regressor.predict_interval(X, 90)


def test_the_temperature_of_probabilities_is_found() -> None:
    rng = numpy.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3)) * 2
    labels = numpy.array([rng.choice(3, p=p) for p in softmax(logits, axis=1)])
    too_sure = softmax(3 * logits, axis=1)
    assert best_temperature(too_sure, labels) == pytest.approx(3.0, rel=0.05)
    numpy.testing.assert_allclose(tempered(too_sure, 3.0), softmax(logits, axis=1), rtol=1e-6)
    assert best_temperature(softmax(logits, axis=1), labels) == pytest.approx(1.0, rel=0.05)


def test_few_labels_of_noise_choose_no_extreme_temperature() -> None:
    """The most likely temperature of 25 such labels is at its limit in most cases."""
    temperatures = []
    for seed in range(100):
        rng = numpy.random.default_rng(seed)
        probabilities = softmax(0.1 * rng.normal(size=(25, 2)), axis=1)
        temperatures.append(best_temperature(probabilities, rng.integers(0, 2, 25)))
    # Two standard deviations of the prior, exp(0.2 +- 0.4), hold them all.
    assert 0.82 < min(temperatures) < 1.22 < max(temperatures) < 1.82


def loss_above_best_temperature(probabilities: numpy.ndarray, labels: numpy.ndarray) -> float:
    """Return how much larger the log loss is than with the temperature that suits these rows."""
    return log_loss(labels, probabilities) - min(
        log_loss(labels, tempered(probabilities, temperature))
        for temperature in numpy.exp(numpy.linspace(-1, 3, 81))
    )


@pytest.mark.slow
def test_temperatures_of_few_rows_suit_new_rows() -> None:
    """Networks of 150 rows ask for a temperature of 1.3 on new rows."""
    excess = []
    for seed in range(25):
        rng = numpy.random.default_rng(seed)
        X, letters = rng.normal(size=(2150, 6)), rng.integers(0, 5, (2150, 2))
        logits = X[:, 0] - X[:, 1] / 2 + 1.5 * (letters[:, 0] == 1) - (letters[:, 1] == 2) - 1
        labels = rng.random(2150) < 1 / (1 + numpy.exp(-logits))
        X = numpy.column_stack([X, letters])
        model = TabularClassifier(quality=1, calibration="temperature", random_state=seed)
        model.fit(X[:150], labels[:150])
        tempered_ones = model.predict_proba(X[150:])
        probabilities = tempered(tempered_ones, 1 / model.temperature_)
        excess.append(
            [loss_above_best_temperature(p, labels[150:]) for p in (tempered_ones, probabilities)]
        )
    with_temperature, without = numpy.mean(excess, axis=0)
    assert with_temperature < 0.8 * without


def with_categories(rows: int, seed: int, *, new: bool) -> tuple[pandas.DataFrame, numpy.ndarray]:
    """Rows of a number, a letter, and a town of few rows each, of which the letters matter most.

    new : whether they are other rows of the same letters and towns
    """
    rng = numpy.random.default_rng([seed, new])
    towns, letters = rng.integers(0, 120, rows), rng.integers(0, 4, rows)
    of_town = numpy.random.default_rng([seed, 2]).normal(size=120)
    x = rng.normal(size=rows)
    y = x / 2 + letters + of_town[towns] / 2 + rng.normal(size=rows)
    names = numpy.array(["a", "b", "c", "d"])[letters], numpy.char.add("town ", towns.astype(str))
    return pandas.DataFrame({"x": x, "letter": names[0], "town": names[1]}), y


@pytest.mark.parametrize("settings", [{}, {"loss": "quantile", "quantile": LEVELS}], ids=str)
def test_intervals_of_rows_with_categories_hold_their_share(settings: dict[str, Any]) -> None:
    """Each fit has 76 validation rows, so that the mean of 16 shares has an error of 0.01."""
    shares = []
    for seed in range(16):
        model = TabularRegressor(random_state=seed, **settings)
        model.fit(*with_categories(300, seed, new=False))
        X, y = with_categories(4000, seed, new=True)
        shares.append(share_within(model.predict_interval(X, 0.9), y))
    assert numpy.mean(shares) == pytest.approx(0.9, abs=0.03)


def test_temperatures_of_rows_with_categories_suit_new_rows() -> None:
    """Whether the probabilities of rows of known letters and towns are as certain as they may be.

    Mean targets that knew the labels of validation rows would make the temperature too small.
    """
    losses, logarithms = [], []
    for seed in range(16):
        X, y = with_categories(300, seed, new=False)
        X_new, y_new = with_categories(2000, seed, new=True)
        model = TabularClassifier(quality=1, calibration="temperature", random_state=seed)
        tempered_ones = model.fit(X, y > 2).predict_proba(X_new)
        plain = tempered(tempered_ones, 1 / model.temperature_)
        losses.append([log_loss(y_new > 2, p) for p in (tempered_ones, plain)])
        best = best_temperature(plain, (y_new > 2).astype(int))
        logarithms.append(numpy.log([model.temperature_, best]))
    with_temperature, without = numpy.mean(losses, axis=0)
    assert with_temperature < 1.005 * without
    chosen, suitable = numpy.mean(logarithms, axis=0)
    assert chosen == pytest.approx(suitable, abs=0.15)


@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
def test_temperatures_of_few_rows_make_no_table_worse(load: Callable[..., Any]) -> None:
    """Without a prior, the log loss of both is twice as large with a temperature as without."""
    X, y = load(return_X_y=True)
    losses = {}
    for calibration in (None, "temperature"):
        of_divisions = []
        for seed in range(8):
            parts = train_test_split(X, y, train_size=100, random_state=seed, stratify=y)
            model = TabularClassifier(quality=1, calibration=calibration, random_state=seed)
            probabilities = model.fit(parts[0], parts[2]).predict_proba(parts[1])
            of_divisions.append(log_loss(parts[3], probabilities))
        losses[calibration] = numpy.mean(of_divisions)
    assert losses["temperature"] < 1.1 * losses[None]


def test_calibrated_probabilities_are_better_and_kept_in_files(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(3000, 2))
    y = numpy.where(rng.random(3000) < 1 / (1 + numpy.exp(-2 * X[:, 0])), "yes", "no")
    # Weights far too large for so noisy labels: a network that is too sure.
    sure = {**QUICK, "dropout": 0.0, "n_iter_no_change": 40, "label_smoothing": 0.5}
    plain = TabularClassifier(**sure).fit(X[:2000], y[:2000])
    calibrated = TabularClassifier(**sure, calibration="temperature").fit(X[:2000], y[:2000])
    assert plain.temperature_ == 1.0 != calibrated.temperature_
    found = calibrated.predict_proba(X[2000:])
    assert log_loss(y[2000:], found) < log_loss(y[2000:], plain.predict_proba(X[2000:])) - 0.01
    numpy.testing.assert_array_equal(calibrated.predict(X), plain.predict(X))
    calibrated.save(tmp_path / "model")
    numpy.testing.assert_array_equal(xpnet.load(tmp_path / "model").predict_proba(X[2000:]), found)
    calibrated.export_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    numpy.testing.assert_allclose(
        session.run(["probabilities"], {"X": X[2000:]})[0], found, atol=1e-5
    )


def test_intervals_come_back_from_files(tmp_path: Path) -> None:
    X, y = noisy(400, 0)
    regressor = TabularRegressor(**QUICK).fit(X, y)
    regressor.save(tmp_path / "model")
    found = xpnet.load(tmp_path / "model").predict_interval(X)
    numpy.testing.assert_array_equal(found, regressor.predict_interval(X))


def test_the_margin_and_the_temperature_follow_the_weights() -> None:
    rng = numpy.random.default_rng(0)
    scores, often = rng.normal(size=(50, 2)), rng.integers(0, 30, 50)
    repeated = conformal_margin(numpy.repeat(scores, often, axis=0), 0.8)
    # A new row counts as one row of the mean weight, of 50, not as one of the repeated rows: one
    # place at most.
    weighted = conformal_margin(scores, 0.8, often.astype(float))
    for column in range(2):
        places = numpy.argsort(numpy.argsort(scores[often > 0, column]))
        found = [
            places[scores[often > 0, column] == margin[column]][0]
            for margin in (repeated, weighted)
        ]
        assert abs(found[0] - found[1]) <= 1
    numpy.testing.assert_array_equal(
        conformal_margin(scores, 0.8, numpy.full(50, 3.0)),
        conformal_margin(scores, 0.8),
    )
    # Repeated rows are more rows, beside which the prior counts less: many rows, and 1 %.
    often = rng.integers(1, 5, 20_000)
    logits = rng.normal(size=(20_000, 3))
    labels = (logits + rng.gumbel(size=logits.shape) / often[:, None]).argmax(axis=1)
    probabilities = softmax(logits, axis=1)
    wanted = best_temperature(
        numpy.repeat(probabilities, often, axis=0), numpy.repeat(labels, often)
    )
    assert best_temperature(probabilities, labels, often.astype(float)) == pytest.approx(
        wanted, rel=0.01
    )
    assert best_temperature(probabilities, labels) != pytest.approx(wanted, rel=0.05)


def test_intervals_hold_their_share_of_the_weight(tmp_path: Path) -> None:
    X, y = noisy(2400, 0)
    loud = X[:, 1] > 0.5  # half of the rows, nearly all of the weight, and the wider half
    regressor = TabularRegressor(**QUICK).fit(X, y, sample_weight=numpy.where(loud, 1.0, 0.01))
    X, y = noisy(4000, 1)
    found = regressor.predict_interval(X, 0.8)
    assert share_within(found[X[:, 1] > 0.5], y[X[:, 1] > 0.5]) == pytest.approx(0.8, abs=0.06)
    regressor.save(tmp_path / "model")
    numpy.testing.assert_array_equal(xpnet.load(tmp_path / "model").predict_interval(X, 0.8), found)


def test_the_levels_of_each_member_rise() -> None:
    X, y = noisy(300, 0)
    regressor = TabularRegressor(**{**QUICK, "max_iter": 1}, loss="quantile", quantile=LEVELS).fit(
        X, y
    )
    assert (numpy.diff(regressor.predict_members(X), axis=2) >= 0).all()
    assert (numpy.diff(regressor.predict(X), axis=1) >= 0).all()


def test_rows_of_groups_count_as_fewer_independent_rows() -> None:
    rng = numpy.random.default_rng(0)
    groups = numpy.repeat(numpy.arange(200), 10)
    noise = rng.normal(size=2000)
    level = rng.normal(size=200)[groups]
    assert independent_rows(level, groups) == pytest.approx(200)
    assert independent_rows(noise, groups) == pytest.approx(2000, rel=0.15)
    # A correlation of 1/2: 2000 / (1 + 9 / 2) rows.
    assert independent_rows(level + noise, groups) == pytest.approx(2000 / 5.5, rel=0.15)
    means = [numpy.mean(rng.normal(size=200)[groups] + rng.normal(size=2000)) for _ in range(2000)]
    assert 2 / numpy.var(means) == pytest.approx(2000 / 5.5, rel=0.1)


@pytest.mark.parametrize("count", [15, 40])
def test_margins_hold_their_share_of_new_groups(count: int) -> None:
    """Of groups whose rows are nearly alike, which says nothing more than one row of each."""
    rng = numpy.random.default_rng(0)
    groups = numpy.repeat(numpy.arange(count), 20)
    covered = []
    for _ in range(2000):
        scores = numpy.abs(rng.normal(size=count)[groups] + 0.1 * rng.normal(size=len(groups)))
        margin = conformal_margin(scores[:, None], 0.9, groups=groups)[0]
        new = rng.normal() + 0.1 * rng.normal(size=20)
        plain = conformal_margin(scores[:, None], 0.9)[0]
        covered.append([(numpy.abs(new) <= margin).mean(), (numpy.abs(new) <= plain).mean()])
    with_groups, without = numpy.mean(covered, axis=0)
    # The margin is that of a whole group: of 15 groups the one that holds 15/16.
    assert 0.88 < with_groups < 0.9 + 1 / count
    # Rows taken for independent give a smaller margin.
    assert without < with_groups - 0.01, (without, with_groups)


def test_groups_of_independent_rows_have_the_margins_of_rows() -> None:
    rng = numpy.random.default_rng(0)
    scores, groups = rng.exponential(size=(3000, 1)), numpy.repeat(numpy.arange(300), 10)
    with_groups = conformal_margin(scores, 0.9, groups=groups)
    numpy.testing.assert_allclose(with_groups, conformal_margin(scores, 0.9), rtol=0.01)


def test_a_file_has_the_groups_of_residuals(tmp_path: Path) -> None:
    X, y = noisy(400, 0)
    groups = numpy.arange(400) // 20
    y = y + 3 * numpy.random.default_rng(1).normal(size=20)[groups]
    regressor = TabularRegressor(**QUICK).fit(X, y, groups=groups)
    regressor.save(tmp_path / "model.safetensors")
    opened = xpnet.load(tmp_path / "model.safetensors")
    intervals = [model.predict_interval(X, 0.8) for model in (regressor, opened)]
    numpy.testing.assert_array_equal(*intervals)
    without = TabularRegressor(**QUICK).fit(X, y)
    assert without.get_fitted_state().residual_groups is None
    assert len(regressor.get_fitted_state().residual_groups) == len(regressor.residuals_)


@pytest.mark.slow
def test_intervals_of_quantiles_hold_their_share_where_a_network_fits_well() -> None:
    """Of a target with little noise, whose quantiles in training rows lie close together."""
    covered = []
    for seed in range(40):
        rng = numpy.random.default_rng(seed)
        X = rng.normal(size=(2300, 5))
        y = numpy.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.2 * rng.normal(size=2300)
        regressor = TabularRegressor(loss="quantile", quantile=LEVELS, quality=1, random_state=seed)
        regressor.fit(X[:300], y[:300])
        covered.append(share_within(regressor.predict_interval(X[300:], 0.9), y[300:]))
    # The margin of 37 or 38 validation rows holds up to 1/38 more; their number leaves a standard
    # error of 0.008.
    assert 0.88 < numpy.mean(covered) < 0.9 + 1 / 38 + 0.02
