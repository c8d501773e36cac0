"""Losses of regressors: the optimum that scikit-learn's linear models find, quantiles, files."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics
from sklearn.linear_model import GammaRegressor, QuantileRegressor, TweedieRegressor
from sklearn.metrics import d2_pinball_score
from sklearn.model_selection import cross_val_score

import xpnet
from xpnet.backend.spec import NUMERIC_LOSSES
from xpnet.learning.losses import NumericLoss
from xpnet.models import Network

LEVELS = [0.1, 0.5, 0.9]
QUICK: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0}


def amounts(rows: int = 400) -> tuple[Any, Any]:
    """Positive numbers, whose logarithm is linear in X."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 2))
    return X, rng.gamma(2.0, np.exp(X @ [0.5, -0.3]) / 2)


@pytest.mark.parametrize("loss", sorted(NUMERIC_LOSSES))
def test_compiled_training_is_the_references(loss: str) -> None:
    X, y = amounts()
    for settings in (
        {"quantile": LEVELS},
        {"quantile": 0.3, "delta": 0.5, "power": 1.2, "members": 2},
    ):
        model = xpnet.MLPRegressor(loss=loss, **settings, **QUICK)
        numba, plain = (
            model.__sklearn_clone__().set_params(backend=name).fit(X, y)
            for name in ("numba", "numpy")
        )
        assert numba.loss_ == pytest.approx(plain.loss_, rel=1e-12)
        np.testing.assert_allclose(numba.predict(X), plain.predict(X), rtol=1e-9)


@pytest.mark.parametrize(
    ("loss", "theirs"),
    [
        ("gamma", GammaRegressor(alpha=0)),
        ("tweedie", TweedieRegressor(power=1.5, alpha=0, link="log")),
    ],
)
def test_a_linear_model_of_a_deviance_is_scikit_learns(loss: str, theirs: Any) -> None:
    X, y = amounts()
    theirs.set_params(tol=1e-8, max_iter=1000).fit(X, y)
    ours = xpnet.MLPRegressor(
        loss=loss, hidden_layer_sizes=(), solver="lbfgs", alpha=0, tol=1e-9, max_iter=1000
    )
    np.testing.assert_allclose(ours.fit(X, y).predict(X), theirs.predict(X), rtol=1e-4)


def test_a_linear_quantile_is_nearly_scikit_learns() -> None:
    X, y = amounts()
    theirs = QuantileRegressor(quantile=0.8, alpha=0).fit(X, y)
    settings: dict[str, Any] = {
        "hidden_layer_sizes": (),
        "alpha": 0,
        "learning_rate_init": 0.01,
        "max_iter": 400,
    }
    ours = xpnet.MLPRegressor(
        loss="quantile", quantile=0.8, n_iter_no_change=np.inf, random_state=0, **settings
    )
    with pytest.warns(UserWarning, match="Maximum iterations"):
        ours.fit(X, y)
    found, wanted = (d2_pinball_score(y, model.predict(X), alpha=0.8) for model in (ours, theirs))
    assert found > wanted - 0.002


def test_several_quantiles_do_not_cross() -> None:
    X, y = amounts(2000)
    levels = [0.05, 0.1, 0.45, 0.5, 0.55, 0.9]
    model = xpnet.MLPRegressor(
        loss="quantile", quantile=levels, max_iter=60, tol=0, random_state=0
    ).fit(X, y)
    found = model.predict(X)
    assert found.shape == (2000, 6)
    assert (np.diff(found, axis=1) >= 0).all()
    np.testing.assert_allclose((y[:, None] <= found).mean(axis=0), levels, atol=0.03)
    scores = [
        d2_pinball_score(y, column, alpha=level)
        for column, level in zip(found.T, levels, strict=True)
    ]
    assert model.score(X, y) == pytest.approx(np.mean(scores))


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("members", [1, 3])
def test_crossing_quantiles_are_predicted_in_rising_order(
    members: int,
) -> None:
    rng = np.random.default_rng(0)
    X, X_val, y = rng.normal(size=(60, 3)), rng.normal(size=(40, 3)), rng.normal(size=60)
    options: dict[str, Any] = {
        "members": members,
        "max_iter": 1,
        "random_state": 0,
        "activation": "tanh",
    }
    model = xpnet.MLPRegressor(loss="quantile", quantile=LEVELS, early_stopping=True, **options)
    model.fit(X, y, X_val=X_val, y_val=y[:40])
    state = model.get_fitted_state()
    network = Network(state.spec, state.values, 0.1, backend=None, dtype=state.spec.dtype)
    raw = network.predict(X)
    assert (np.diff(raw) < 0).any(axis=1).sum() > 10
    np.testing.assert_array_equal(model.predict(X), np.sort(raw))
    assert (np.diff(model.predict_members(X)) >= 0).all()
    assert model.validation_scores_[-1] == pytest.approx(model.score(X_val, y[:40]), rel=1e-12)
    for output in (0, 1, -1):
        for feature in range(3):
            step = np.eye(3)[feature] * 1e-7
            slope = (model.predict(X + step) - model.predict(X - step))[:, output] / 2e-7
            np.testing.assert_allclose(
                model.input_gradient(X, output)[:, feature], slope, rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"loss": "quantile", "quantile": [0.5, 0.1]}, "levels that rise"),
        ({"loss": "quantile", "quantile": 1.0}, "quantile"),
        ({"loss": "tweedie", "power": 2.0}, "power"),
        ({"loss": "huber", "delta": 0.0}, "delta"),
        ({"loss": "gamma"}, "greater than 0 with loss='gamma'; got 0.0"),
        ({"loss": "pinball"}, "'loss' parameter"),
    ],
)
def test_targets_outside_the_range_of_a_loss_are_refused(
    settings: dict[str, Any], sentence: str
) -> None:
    X, y = amounts()
    with pytest.raises(xpnet.InputError, match=sentence):
        xpnet.MLPRegressor(**QUICK, **settings).fit(X, y * (y > 0.2))


def test_several_quantiles_are_of_one_target() -> None:
    X, y = amounts()
    both = np.column_stack([y, 2 * y])
    with pytest.raises(xpnet.InputError, match="one target for several quantiles; got 2"):
        xpnet.MLPRegressor(loss="quantile", quantile=LEVELS, **QUICK).fit(X, both)
    assert xpnet.MLPRegressor(loss="quantile", **QUICK).fit(X, both).predict(X).shape == both.shape


@pytest.mark.parametrize("kind", [xpnet.MLPRegressor, xpnet.TabularRegressor])
@pytest.mark.parametrize("loss", sorted(NUMERIC_LOSSES))
def test_files_of_every_kind_predict_the_same(tmp_path: Path, loss: str, kind: Any) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    X, y = amounts(100)
    model = kind(
        loss=loss, quantile=LEVELS, hidden_layer_sizes=(8,), max_iter=3, random_state=0
    ).fit(X, y)
    model.save(tmp_path / "model")
    found = xpnet.load(tmp_path / "model")
    np.testing.assert_array_equal(found.predict(X), model.predict(X), strict=True)
    assert found.get_params()["quantile"] == LEVELS
    model.export_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    columns = {
        i.name: X if i.name == "X" else X[:, [k]] for k, i in enumerate(session.get_inputs())
    }
    wanted = model.predict(X)
    np.testing.assert_allclose(
        session.run(None, columns)[0].reshape(wanted.shape), wanted, rtol=2e-5, atol=1e-6
    )


def test_d2_and_deviances_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y, outputs, weight = rng.gamma(2, size=(3, 50, 1))
    for name, numbers, power in [
        ("poisson", (), 1),
        ("gamma", (), 2),
        ("tweedie", (1.3,), 1.3),
    ]:
        loss = NumericLoss(name, numbers)
        theirs = {"y_true": y[:, 0], "y_pred": outputs[:, 0], "sample_weight": weight[:, 0]}
        measured = (y, outputs, weight[:, 0])
        assert loss.d2(*measured) == pytest.approx(
            metrics.d2_tweedie_score(**theirs, power=power), rel=1e-12
        )
        assert loss.mean_deviance(*measured) == pytest.approx(
            metrics.mean_tweedie_deviance(**theirs, power=power), rel=1e-12
        )
    levels = NumericLoss("quantile", tuple(LEVELS))
    columns = outputs * [0.5, 1.0, 2.0]
    assert levels.mean_deviance(y, columns) == pytest.approx(
        np.mean(
            [
                metrics.mean_pinball_loss(y[:, 0], columns[:, k], alpha=level)
                for k, level in enumerate(LEVELS)
            ]
        )
    )
    # exp(o) of a mean near 0 rounds to 0, whose deviance is not defined.
    assert np.isfinite(NumericLoss("poisson").d2(y, np.zeros((50, 1), np.float32)))


@pytest.mark.parametrize("kind", [xpnet.MLPRegressor, xpnet.TabularRegressor])
def test_score_measures_d2_where_it_is_asked_to(kind: Any) -> None:
    X, y = amounts(200)
    weight = np.random.default_rng(1).random(200)
    for loss, d2 in {
        "gamma": partial(metrics.d2_tweedie_score, power=2),
        "absolute_error": metrics.d2_absolute_error_score,
        "squared_error": metrics.r2_score,
        "quantile": partial(d2_pinball_score, alpha=0.5),
    }.items():
        model = kind(loss=loss, **QUICK).fit(X, y)
        predicted = model.predict(X)
        assert model.score(X, y, weight, scoring="d2") == pytest.approx(
            d2(y, predicted, sample_weight=weight), rel=1e-9
        )
        assert model.score(X, y, scoring="r2") == pytest.approx(
            metrics.r2_score(y, predicted), rel=1e-9
        )
        default = "d2" if loss == "quantile" else "r2"
        assert model.score(X, y) == model.score(X, y, scoring=default)
    scores = cross_val_score(model, X, y, cv=2, scoring=partial(kind.score, scoring="d2"))
    assert scores.shape == (2,) and np.isfinite(scores).all()
    with pytest.raises(ValueError, match="Did you mean 'd2'"):
        model.score(X, y, scoring="d_2")
    with pytest.raises(ValueError, match="huber"):
        kind(loss="huber", **QUICK).fit(X, y).score(X, y, scoring="d2")
