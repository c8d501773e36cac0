"""Importances of columns: permutation of validation rows, computed when they are asked for."""

import pickle
from copy import deepcopy
from typing import Any

import numpy
import pandas
import pytest
from sklearn.feature_selection import SelectFromModel
from sklearn.preprocessing import StandardScaler

import xpnet
from xpnet import TabularClassifier, TabularRegressor
from xpnet.tabular import importance

RNG = numpy.random.default_rng(0)
ROWS = 1200
TABLE = pandas.DataFrame(
    {
        "noise": RNG.normal(size=ROWS),
        "strong": RNG.uniform(-1, 1, ROWS),
        "same": 1.0,
        "letter": RNG.choice(["a", "b"], ROWS),
    }
)
NUMBERS = (3 * TABLE["strong"] + numpy.where(TABLE["letter"] == "a", 1.0, 0.0)).to_numpy()
QUICK: dict[str, Any] = {
    "hidden_layer_sizes": (32,),
    "members": 2,
    "networks": 2,
    "max_iter": 40,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def regressor() -> TabularRegressor:
    return TabularRegressor(**QUICK).fit(TABLE, NUMBERS)


def test_shares_are_those_of_the_variance(regressor: TabularRegressor) -> None:
    """A shuffled column adds twice the variance of its part to the squared error."""
    variances = numpy.array([0.0, 9 / 3, 0.0, 1 / 4])
    importances = regressor.feature_importances_
    assert importances.shape == (4,)
    assert importances.sum() == pytest.approx(1.0)
    numpy.testing.assert_allclose(importances, variances / variances.sum(), atol=0.015)


def test_columns_of_classes_have_importances_too() -> None:
    model = TabularClassifier(**QUICK).fit(TABLE, NUMBERS > 0.5)
    importances = dict(zip(TABLE, model.feature_importances_, strict=True))
    assert importances["same"] == 0
    assert importances["noise"] < 0.02
    assert importances["strong"] > 4 * importances["letter"] > 0.2


def test_weights_of_rows_count() -> None:
    """In rows of large weight only the letter tells the target."""
    heavy = RNG.random(ROWS) < 0.5
    y = numpy.where(heavy, NUMBERS - 3 * TABLE["strong"], NUMBERS)
    table = TABLE.assign(strong=numpy.where(heavy, -TABLE["strong"], TABLE["strong"]))
    shares = []
    for weight in (numpy.where(heavy, 50.0, 1.0), numpy.where(heavy, 1.0, 50.0)):
        model = TabularRegressor(**QUICK).fit(table.assign(heavy=heavy), y, sample_weight=weight)
        shares.append(model.feature_importances_[3])
    assert shares[0] > 2 * shares[1]


def test_nothing_is_measured_in_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    rises = importance.Sample.rises

    def record(sample: Any, *args: Any) -> Any:
        measured.append(len(sample.X))
        return rises(sample, *args)

    monkeypatch.setattr(importance.Sample, "rises", record)
    model = TabularRegressor(**QUICK).fit(TABLE, NUMBERS)
    assert not measured
    first = model.feature_importances_
    assert measured == [150, 150]  # an eighth of the rows each
    first[:] = 0
    assert model.feature_importances_.sum() == pytest.approx(1.0)
    assert len(measured) == 2


def test_what_a_fit_keeps_and_measures_is_limited() -> None:
    X = RNG.normal(size=(1500, 300))
    model = TabularRegressor(**QUICK | {"max_iter": 1}).fit(X, X[:, 0])
    samples = model.get_fitted_state().importances._samples
    kept = sum(sample.X.size for sample in samples)
    assert kept <= importance.MAX_KEPT_NUMBERS
    assert sum(len(sample.X) for sample in samples) * 300 <= importance.MAX_PREDICTIONS
    assert len(samples[0].X) >= importance.MIN_ROWS


@pytest.mark.parametrize("copy", [deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_have_the_values_and_no_rows(regressor: TabularRegressor, copy: Any) -> None:
    fitted = TabularRegressor(**QUICK).fit(TABLE, NUMBERS)
    copied = copy(fitted)
    assert not copied.get_fitted_state().importances._samples
    numpy.testing.assert_array_equal(copied.feature_importances_, regressor.feature_importances_)


def test_a_file_has_the_values(regressor: TabularRegressor, tmp_path: Any) -> None:
    regressor.save(tmp_path / "model.safetensors")
    opened = xpnet.load(tmp_path / "model.safetensors")
    numpy.testing.assert_array_equal(opened.feature_importances_, regressor.feature_importances_)
    opened.save(tmp_path / "again.safetensors")
    files = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("model", "again")]
    assert files[0] == files[1]


def test_own_validation_rows_are_measured_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The noise tells the targets of these rows, and the network does not know it."""
    X_val = TABLE[:100].assign(letter="a", strong=0.0)
    model = TabularRegressor(**QUICK).fit(TABLE, NUMBERS, X_val=X_val, y_val=NUMBERS[:100])
    importances = model.feature_importances_
    assert importances[1] == importances[3] == 0  # All rows have one value.


def test_fits_without_validation_rows_or_with_an_own_encoder_have_none() -> None:
    numbers = TABLE[["noise", "strong"]]
    without = TabularRegressor(**QUICK | {"max_iter": 2}, validation_fraction=0.0)
    own = TabularRegressor(**QUICK | {"max_iter": 2}, encoder=StandardScaler())
    for model in (without, own):
        assert not hasattr(model, "feature_importances_")
        model.fit(numbers, NUMBERS)
        assert not hasattr(model, "feature_importances_")
        with pytest.raises(AttributeError, match="permutation_importance"):
            model.feature_importances_  # noqa: B018  the attribute is a property


def test_features_are_selected_by_them() -> None:
    selected = SelectFromModel(TabularRegressor(**QUICK), threshold=0.05).fit(TABLE, NUMBERS)
    assert selected.get_support().tolist() == [False, True, False, True]
