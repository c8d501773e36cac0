"""A linear tabular model shows its coefficients, in the unit of the target, of named inputs."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

import xpnet

LINEAR: dict[str, Any] = {
    "hidden_layer_sizes": (),
    "networks": 1,
    "weight_decay": 0.0,
    "random_state": 0,
    "dropout": 0.0,
}
rng = np.random.default_rng(0)
TABLE = {"size": rng.normal(size=600), "colour": rng.choice(["blue", "red"], 600)}
LOGIT = 2 * TABLE["size"] + (TABLE["colour"] == "red") - 0.5


def encoder() -> Any:
    return xpnet.TableEncoder(scaling="standard", bins=None)


def outputs_by_coefficients(model: Any) -> Any:
    """What the coefficients say of the encoded rows."""
    encoded = model.encoder_.transform(TABLE).astype(np.float64)
    assert model.coef_.shape[-1] == len(model.encoder_.get_feature_names_out())
    return encoded @ model.coef_.T + model.intercept_


@pytest.mark.parametrize("networks", [1, 2])
def test_numbers_follow_from_coefficients(networks: int) -> None:
    y = 100 + 10 * LOGIT + rng.normal(size=600)
    settings = LINEAR | {"networks": networks}
    model = xpnet.TabularRegressor(encoder=encoder(), **settings).fit(TABLE, y)
    low, high = model.target_[2:, 0]
    expected = np.clip(outputs_by_coefficients(model), low, high)
    np.testing.assert_allclose(model.predict(TABLE), expected, rtol=1e-5)
    least_squares = LinearRegression().fit(model.encoder_.transform(TABLE), y)
    names = model.encoder_.get_feature_names_out().tolist()
    size = names.index("size")
    assert model.coef_[size] == pytest.approx(least_squares.coef_[size], rel=0.02)
    assert isinstance(model.intercept_, float)


def test_counts_follow_from_coefficients_of_the_logarithm() -> None:
    y = rng.poisson(np.exp(0.4 * LOGIT + 1))
    model = xpnet.TabularRegressor(loss="poisson", encoder=encoder(), **LINEAR).fit(TABLE, y)
    low, high = model.target_[2:, 0]
    expected = np.clip(np.exp(outputs_by_coefficients(model)), low, high)
    np.testing.assert_allclose(model.predict(TABLE), expected, rtol=1e-5)


@pytest.mark.parametrize("calibration", [None, "temperature"])
def test_odds_of_two_classes_follow_from_coefficients(calibration: str | None) -> None:
    y = np.where(rng.random(600) < 1 / (1 + np.exp(-LOGIT)), "yes", "no")
    model = xpnet.TabularClassifier(encoder=encoder(), calibration=calibration, **LINEAR)
    probabilities = model.fit(TABLE, y).predict_proba(TABLE)
    assert model.coef_.shape[0] == len(model.intercept_) == 1
    logit = np.log(probabilities[:, 1] / probabilities[:, 0])
    np.testing.assert_allclose(outputs_by_coefficients(model)[:, 0], logit, atol=1e-4)
    theirs = LogisticRegression(C=1e6).fit(model.encoder_.transform(TABLE), y)
    size = model.encoder_.get_feature_names_out().tolist().index("size")
    if calibration is None:
        assert model.coef_[0, size] == pytest.approx(theirs.coef_[0, size], rel=0.15)


def test_three_classes_have_a_row_of_coefficients_each() -> None:
    y = np.digitize(LOGIT, [-1, 1])
    model = xpnet.TabularClassifier(encoder=encoder(), max_iter=30, **LINEAR).fit(TABLE, y)
    logits = outputs_by_coefficients(model)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(TABLE), expected, atol=1e-5)


def test_a_mean_of_probabilities_and_a_network_with_hidden_layers_have_none() -> None:
    y = LOGIT > 0
    two = xpnet.TabularClassifier(**LINEAR | {"networks": 2, "max_iter": 1}).fit(TABLE, y)
    with pytest.raises(AttributeError, match="networks=1"):
        _ = two.coef_
    hidden = xpnet.TabularClassifier(quality=1, max_iter=1, random_state=0).fit(TABLE, y)
    with pytest.raises(AttributeError, match=r"hidden_layer_sizes=\(\)"):
        _ = hidden.intercept_
    assert not hasattr(xpnet.TabularClassifier(), "coef_")
