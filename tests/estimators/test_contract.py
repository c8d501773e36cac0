"""What other programs ask of an estimator before they use it, and what is refused in a sentence."""

import inspect
from typing import Any

import pytest

import xpnet

KINDS = [xpnet.MLPClassifier, xpnet.MLPRegressor]


@pytest.mark.parametrize("kind", KINDS)
def test_missing_attributes_raise_attribute_error_before_fit(kind: Any) -> None:
    """Tab completion, notebooks and getmembers read them all: a missing one raises AttributeError,
    nothing else.
    """
    estimator = kind(solver="lbfgs")
    missing = {name for name in dir(estimator) if not hasattr(estimator, name)}
    fitted = {
        name for name in dir(kind) if name.endswith("_")
    }  # scikit-learn leaves them out of dir from 1.9 on
    assert missing <= {"partial_fit", "_fitted"} | fitted
    assert dict(inspect.getmembers(estimator))["max_iter"] == 200


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("settings", "given", "sentence"),
    [
        ({}, {"X_val": 1}, "y_val"),
        ({}, {"y_val": 1}, "X_val"),
        ({}, {"sample_weight_val": 1}, "X_val"),
        ({"solver": "lbfgs"}, {"X_val": 1, "y_val": 1}, "lbfgs"),
    ],
    ids=["no y_val", "no X_val", "weights alone", "L-BFGS"],
)
def test_validation_rows_need_targets_and_a_solver_with_epochs(
    data: Any, kind: Any, settings: Any, given: Any, sentence: str
) -> None:
    rows = {"X_val": data.X[:9], "y_val": data.binary[:9], "sample_weight_val": data.weight[:9]}
    estimator = kind(hidden_layer_sizes=3, max_iter=2, **settings)
    with pytest.raises(xpnet.InputError, match=sentence):
        estimator.fit(data.X, data.binary, **{name: rows[name] for name in given})


@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "lbfgs", "max_grad_norm": 1.0},
        {"solver": "lbfgs", "weight_decay": 0.5},
        {"weight_decay": 0.5},
    ],
    ids=str,
)
def test_settings_without_effect_are_warned_of(data: Any, settings: Any) -> None:
    name = list(settings)[-1]
    with pytest.warns(UserWarning, match=f"`{name}` .* solver"):
        xpnet.MLPRegressor(hidden_layer_sizes=3, max_iter=2, **settings).fit(data.X, data.numbers)
