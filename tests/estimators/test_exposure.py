"""Exposures and offsets of regressors, against statsmodels' GLM and by the identity that they are
weights.
"""

import importlib.util
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import mean_tweedie_deviance

import xpnet

LINEAR: dict[str, Any] = {
    "hidden_layer_sizes": (),
    "solver": "lbfgs",
    "alpha": 0,
    "tol": 1e-12,
    "max_iter": 5000,
    "random_state": 0,
}
DEEP: dict[str, Any] = {"hidden_layer_sizes": (6,), "max_iter": 5, "random_state": 0}
POWERS = {"poisson": 1.0, "tweedie": 1.3, "gamma": 2.0}


def claims(loss: str) -> tuple[Any, Any, Any]:
    """Rows, targets and years insured, whose rate is log-linear in the first two columns."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 3))
    years = rng.uniform(0.1, 4.0, 600)
    mean = np.exp(0.3 * X[:, 0] - 0.5 * X[:, 1] + 0.2) * years
    if loss == "poisson":
        return X, rng.poisson(mean).astype(float), years
    amounts = mean * rng.gamma(2.0, 0.5, 600)
    return X, amounts * (rng.random(600) < 0.6) if loss == "tweedie" else amounts, years


def glm(loss: str, X: Any, y: Any, years: Any) -> Any:
    """Return the coefficients of statsmodels' GLM, the intercept first."""
    import statsmodels.api as sm

    log = sm.families.links.Log()
    families = {
        "poisson": sm.families.Poisson(),
        "gamma": sm.families.Gamma(log),
        "tweedie": sm.families.Tweedie(log, var_power=POWERS["tweedie"]),
    }
    model = sm.GLM(y, sm.add_constant(X), family=families[loss], exposure=years)
    return model.fit(tol=1e-14, maxiter=300).params


# What glm(loss, *claims(loss)) returned with statsmodels 0.15.0.
GLM = {
    "poisson": [0.184387183293, 0.311268840698, -0.539456923044, 0.00333190468035],
    "gamma": [0.191814400108, 0.265664607088, -0.514766420954, -0.0284682567691],
    "tweedie": [-0.281062668344, 0.201218066331, -0.538494871395, -0.00843839755394],
}


@pytest.mark.parametrize("loss", sorted(POWERS))
def test_a_linear_model_is_statsmodels_glm(loss: str) -> None:
    X, y, years = claims(loss)
    expected = GLM[loss]
    if importlib.util.find_spec("statsmodels"):
        np.testing.assert_allclose(glm(loss, X, y, years), expected, rtol=1e-7)
    for known in ({"exposure": years}, {"offset": np.log(years)}):
        model = xpnet.MLPRegressor(loss, power=POWERS["tweedie"], **LINEAR).fit(X, y, **known)
        found = [*model.intercepts_[0], *model.coefs_[0][:, 0]]
        # L-BFGS ends where a loss of about 1 no longer falls by 1e-12: coefficients to its root.
        np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("loss", sorted(POWERS))
def test_exposures_are_other_targets_and_weights(loss: str) -> None:
    X, y, years = claims(loss)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, len(y))
    model = xpnet.MLPRegressor(loss, power=POWERS["tweedie"], **DEEP)
    by_exposure = model.fit(X, y, weight, exposure=years).predict(X)
    as_weights = weight * years ** (2 - POWERS[loss])
    by_weight = model.fit(X, y / years, as_weights).predict(X)
    np.testing.assert_allclose(by_exposure, by_weight, rtol=1e-12)
    predicted = model.predict(X, exposure=years)
    np.testing.assert_allclose(predicted, by_weight * years, rtol=1e-12)
    offset = model.predict(X, exposure=years, offset=np.full(len(y), 0.5))
    np.testing.assert_allclose(offset, by_weight * years * np.exp(0.5), rtol=1e-12)


def test_exposure_and_offset_multiply() -> None:
    X, y, years = claims("poisson")
    both = xpnet.MLPRegressor("poisson", **DEEP).fit(X, y, exposure=years**2, offset=-np.log(years))
    one = xpnet.MLPRegressor("poisson", **DEEP).fit(X, y, exposure=years)
    np.testing.assert_allclose(both.predict(X), one.predict(X), rtol=1e-12)


def test_validation_rows_have_exposures_of_their_own() -> None:
    X, y, years = claims("poisson")
    model = xpnet.MLPRegressor("poisson", **DEEP)
    model.fit(X, y, exposure=years, X_val=X[:50], y_val=y[:50], exposure_val=years[:50])
    rates = xpnet.MLPRegressor("poisson", **DEEP)
    rates.fit(
        *(X, y / years, years),
        X_val=X[:50],
        y_val=y[:50] / years[:50],
        sample_weight_val=years[:50],
    )
    np.testing.assert_allclose(
        model.validation_loss_curve_, rates.validation_loss_curve_, rtol=1e-12
    )
    with pytest.raises(xpnet.InputError, match="exposure_val"):
        model.fit(X, y, exposure=years, X_val=X, y_val=y)
    with pytest.raises(xpnet.InputError, match="offset_val"):
        model.fit(X, y, X_val=X, y_val=y, offset_val=years)


def test_partial_fit_takes_exposures() -> None:
    X, y, years = claims("poisson")
    by_exposure = xpnet.MLPRegressor("poisson", **DEEP).partial_fit(X, y, exposure=years)
    by_weight = xpnet.MLPRegressor("poisson", **DEEP).partial_fit(X, y / years, years)
    np.testing.assert_allclose(by_exposure.predict(X), by_weight.predict(X), rtol=1e-12)


def test_scores_are_of_predictions_with_exposures() -> None:
    from sklearn.metrics import r2_score

    X, y, years = claims("poisson")
    model = xpnet.MLPRegressor("poisson", **DEEP).fit(X, y, exposure=years)
    expected = r2_score(y, model.predict(X) * years)
    assert model.score(X, y, exposure=years) == pytest.approx(expected, rel=1e-12)


def test_arrays_of_another_library_keep_it() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    X, y, years = map(torch.tensor, claims("poisson"))
    model = xpnet.MLPRegressor("poisson", **DEEP).fit(X, y, exposure=years)
    predicted = model.predict(X, exposure=years)
    assert isinstance(predicted, torch.Tensor)
    torch.testing.assert_close(predicted, model.predict(X) * years)


@pytest.mark.parametrize(
    ("known", "facts"),
    [
        ({"exposure": [1.0, 0.0, 2.0]}, ["exposure", "got 0 in row 1"]),
        ({"exposure": [1.0, 2.0, np.inf]}, ["exposure", "inf in row 2"]),
        ({"exposure": [1.0, 2.0]}, ["exposure", "3 rows", r"\(2,\)"]),
        ({"exposure": ["a", "b", "c"]}, ["exposure", "'a'"]),
        ({"offset": [0.0, np.nan, 0.0]}, ["offset", "nan in row 1"]),
        ({"offset": [0.0, 0.0, 900.0]}, ["offset", "900 in row 2"]),
    ],
)
def test_wrong_values_are_named(known: Any, facts: list[str]) -> None:
    model = xpnet.MLPRegressor("poisson", **DEEP)
    for fact in facts:
        with pytest.raises(xpnet.InputError, match=fact):
            model.fit(np.eye(3), [1, 2, 3], **known)
    assert not hasattr(model, "coefs_")


def test_a_loss_without_logarithms_has_no_exposure() -> None:
    model = xpnet.MLPRegressor(**DEEP)
    with pytest.raises(xpnet.InputError, match="'poisson'.*'squared_error'"):
        model.fit(np.eye(3), [1, 2, 3], exposure=[1, 2, 3])
    model.fit(np.eye(3), [1, 2, 3])
    with pytest.raises(xpnet.InputError, match="offset.*'squared_error'"):
        model.predict(np.eye(3), offset=[1, 2, 3])


def test_d2_compares_with_the_constant_rate() -> None:
    """It is 0 for the constant rate, and one minus the ratio of scikit-learn's deviances."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    years = rng.uniform(0.1, 9, 300)
    weight = rng.uniform(0.5, 2, 300)
    for loss, power in (("poisson", 1.0), ("tweedie", 1.5), ("gamma", 2.0)):
        y = rng.poisson(years * np.exp(X[:, 0])) + (0.1 if loss == "gamma" else 0.0)
        for model in (
            xpnet.MLPRegressor(loss=loss, max_iter=5, random_state=0),
            xpnet.TabularRegressor(loss=loss, quality=1, max_iter=5, random_state=0),
        ):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.fit(X, y, exposure=years)
            mean = model.predict(X, exposure=years)
            by_exposure = weight * years ** (2 - power)
            rate = np.average(y / years, weights=by_exposure)
            deviances = [
                mean_tweedie_deviance(y, of, power=power, sample_weight=weight)
                for of in (mean, rate * years)
            ]
            found = model.score(X, y, weight, scoring="d2", exposure=years)
            assert found == pytest.approx(1 - deviances[0] / deviances[1], abs=1e-6)


def test_a_column_of_exposures_or_offsets_is_one_number_for_each_row() -> None:
    X, y, years = claims("poisson")
    flat, column = (
        xpnet.MLPRegressor("poisson", **LINEAR).fit(X, y, exposure=known)
        for known in (years, years[:, None])
    )
    np.testing.assert_array_equal(column.coefs_[0], flat.coefs_[0])
    np.testing.assert_array_equal(
        flat.predict(X, offset=np.log(years)[:, None]), flat.predict(X, offset=np.log(years))
    )
    with pytest.raises(xpnet.InputError, match=r"exposure.*600 rows; got shape \(600, 2\)"):
        flat.fit(X, y, exposure=np.stack([years, years], axis=1))
