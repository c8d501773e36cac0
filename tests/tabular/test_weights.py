"""Weights of rows: a row of weight 0 has no part in anything that a fit learns."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy
import pandas
import pytest
from sklearn.utils import estimator_checks

import xpnet
from xpnet import TabularClassifier, TabularRegressor

SMALL: dict[str, Any] = {"members": 2, "networks": 2, "max_iter": 3, "random_state": 0}
RNG = numpy.random.default_rng(0)
ROWS = 400
TABLE = pandas.DataFrame(
    {
        "x": RNG.normal(size=ROWS),
        "place": RNG.integers(0, 60, ROWS).astype(str),
        "few": RNG.choice(["a", "b"], ROWS),
    }
)
NUMBERS = TABLE["x"].to_numpy() + (TABLE["few"] == "a")
LABELS = numpy.where(NUMBERS > 0.5, "high", "low")
COUNTED = RNG.random(ROWS) < 0.7
SPOILED = TABLE.copy()
SPOILED.loc[~COUNTED, "x"] = numpy.where(numpy.arange((~COUNTED).sum()) % 2, 1e6, numpy.nan)
SPOILED.loc[~COUNTED, "few"] = "only here"
SPOILED.loc[~COUNTED, "place"] = "1"

CASES = [
    pytest.param(
        TabularClassifier, LABELS, numpy.where(COUNTED, LABELS, "rubbish"), {}, id="labels"
    ),
    pytest.param(
        TabularClassifier,
        LABELS,
        numpy.where(COUNTED, LABELS, "low"),
        {"class_weight": "balanced", "calibration": "temperature"},
        id="labels, balanced and calibrated",
    ),
    pytest.param(TabularRegressor, NUMBERS, numpy.where(COUNTED, NUMBERS, -1e9), {}, id="numbers"),
    pytest.param(
        TabularRegressor,
        numpy.exp(NUMBERS),
        numpy.where(COUNTED, numpy.exp(NUMBERS), -1.0),
        {"loss": "gamma"},
        id="amounts",
    ),
]


def everything(model: Any) -> list[Any]:
    """Return all that a model has learned, as text and arrays."""
    facts = [model.encoder_.left_out_, model.encoder_.get_feature_names_out().tolist()]
    facts += [vars(encoding) for encoding in model.encoder_.encodings_]
    if isinstance(model, TabularClassifier):
        return [*facts, model.classes_, model.temperature_, model.predict_proba(TABLE)]
    return [*facts, model.target_, model.residuals_, model.residual_weights_, model.predict(TABLE)]


@pytest.mark.parametrize("weight", [1.0, "drawn"])
@pytest.mark.parametrize(("kind", "y", "spoiled", "settings"), CASES)
def test_rows_of_weight_zero_are_as_rows_that_are_not_there(
    kind: Any, y: Any, spoiled: Any, settings: dict[str, Any], weight: Any
) -> None:
    """To the bit: bins, categories, mean targets, ranges, validation rows and calibration."""
    drawn = RNG.uniform(0.5, 2.0, ROWS) if weight == "drawn" else numpy.full(ROWS, weight)
    with_rows = kind(**SMALL, **settings).fit(
        SPOILED, spoiled, sample_weight=numpy.where(COUNTED, drawn, 0.0)
    )
    without = kind(**SMALL, **settings).fit(
        TABLE[COUNTED], y[COUNTED], sample_weight=None if weight == 1.0 else drawn[COUNTED]
    )
    numpy.testing.assert_equal(everything(with_rows), everything(without))


def test_validation_rows_of_weight_zero_are_as_rows_that_are_not_there() -> None:
    given = {"X_val": SPOILED, "y_val": numpy.where(COUNTED, NUMBERS, 1e9)}
    some = {"X_val": TABLE[COUNTED], "y_val": NUMBERS[COUNTED]}
    weight = COUNTED.astype(float)
    models = [
        TabularRegressor(**SMALL).fit(TABLE, NUMBERS, **given, sample_weight_val=weight),
        TabularRegressor(**SMALL).fit(TABLE, NUMBERS, **some),
    ]
    numpy.testing.assert_equal(*map(everything, models))


def test_classes_of_weight_zero_are_known_and_not_learned() -> None:
    labels = numpy.where(NUMBERS > 1.5, "top", LABELS)
    model = TabularClassifier(**SMALL, class_weight={"low": 0.0}).fit(TABLE, labels)
    assert model.classes_.tolist() == ["high", "low", "top"]
    assert model.predict_proba(TABLE)[:, [0, 2]].sum(axis=1).mean() > 0.6


def test_weights_of_classes_that_leave_one_class_are_refused() -> None:
    for model in (TabularClassifier(**SMALL), xpnet.MLPClassifier(max_iter=2)):
        X = TABLE if isinstance(model, TabularClassifier) else TABLE[["x"]]
        with pytest.raises(xpnet.InputError, match="`class_weight` must leave two .*'high' alone"):
            model.set_params(class_weight={"low": 0}).fit(X, LABELS)


@pytest.mark.parametrize("seed", range(3))
def test_weights_of_sixty_orders_of_magnitude_are_those_of_the_heavy_rows(seed: int) -> None:
    rng = numpy.random.default_rng(seed)
    X = pandas.DataFrame({"a": rng.normal(size=60), "c": rng.choice(["u", "v"], 60)})
    y = rng.normal(size=60)
    is_heavy = rng.random(60) < 0.5
    settings: dict[str, Any] = {"random_state": 0, "quality": 1, "max_iter": 2}
    losses = [
        TabularRegressor(**settings)
        .fit(X, y, numpy.where(is_heavy, heavy, 1 / heavy))
        .networks_[0]
        .history.loss
        for heavy in (1e10, 1e30)
    ]
    numpy.testing.assert_allclose(*losses, rtol=1e-6)  # 1e-20 and 1e-60 are both as good as 0


def test_an_encoder_of_the_users_own_sees_no_rows_of_weight_zero() -> None:
    from sklearn.preprocessing import StandardScaler

    X = numpy.where(COUNTED, TABLE["x"], 1e6)[:, None]
    for table in (X, pandas.DataFrame(X, columns=["x"]), X.tolist()):
        model = TabularRegressor(**SMALL, encoder=StandardScaler())
        model.fit(table, NUMBERS, sample_weight=COUNTED.astype(float))
        assert model.encoder_.mean_[0] == pytest.approx(X[COUNTED].mean())


class WeightsOfZeroAndOne(numpy.random.RandomState):
    """Draws the weights of scikit-learn's check from 0 and 1, in place of 0 to 4."""

    def randint(self, low: Any, high: Any = None, size: Any = None, dtype: Any = int) -> Any:
        return super().randint(low, 2 if (low, high) == (0, 5) else high, size, dtype)


@pytest.mark.parametrize("kind", [TabularClassifier, TabularRegressor])
def test_the_half_of_scikit_learns_check_for_weight_zero(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows stay in their order, by which validation rows and batches are drawn."""
    proxy, random = ModuleType("numpy"), ModuleType("random")
    vars(proxy).update(vars(numpy))
    vars(random).update(vars(numpy.random), RandomState=WeightsOfZeroAndOne)
    proxy.random = random  # type: ignore[attr-defined]
    monkeypatch.setattr(estimator_checks, "np", proxy)
    monkeypatch.setattr(estimator_checks, "shuffle", lambda *arrays, random_state: arrays)
    check: Callable[[str, Any], None] = (
        estimator_checks.check_sample_weight_equivalence_on_dense_data
    )
    check(kind.__name__, kind(members=2, networks=2, max_iter=20))


@pytest.mark.parametrize("weight", [1e-300, 1e300])
@pytest.mark.parametrize("name", ["sample_weight", "sample_weight_val"])
def test_weights_that_float32_does_not_hold_are_refused(weight: float, name: str) -> None:
    weights = numpy.ones(ROWS)
    weights[7] = weight
    given = {"X_val": TABLE, "y_val": NUMBERS} if name == "sample_weight_val" else {}
    with pytest.raises(xpnet.InputError, match=rf"`{name}`.*float32.*1e[-+]300"):
        TabularRegressor(**SMALL).fit(TABLE, NUMBERS, **{name: weights}, **given)
    TabularRegressor(**SMALL, dtype="float64").fit(TABLE, NUMBERS, **{name: weights}, **given)


def test_weights_of_rows_and_classes_that_underflow_together_are_refused() -> None:
    model = TabularClassifier(**SMALL, class_weight={"low": 1e-30})
    with pytest.raises(xpnet.InputError, match="sample_weight"):
        model.fit(TABLE, LABELS, sample_weight=numpy.full(ROWS, 1e-20))


@pytest.mark.parametrize("name", ["sample_weight", "sample_weight_val"])
def test_weights_below_zero_are_refused(name: str) -> None:
    weights = numpy.ones(ROWS)
    weights[7] = -2.5
    given = {"X_val": TABLE, "y_val": NUMBERS} if name == "sample_weight_val" else {}
    with pytest.raises(xpnet.InputError, match=rf"`{name}`.*negative.*-2.5"):
        TabularRegressor(**SMALL).fit(TABLE, NUMBERS, **{name: weights}, **given)
