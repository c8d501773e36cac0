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
    samples = model.get_fitted_state().importances.samples
    kept = sum(sample.X.size for sample in samples)
    assert kept <= importance.MAX_KEPT_NUMBERS
    assert sum(len(sample.X) for sample in samples) * 300 <= importance.MAX_PREDICTIONS
    assert len(samples[0].X) >= importance.MIN_ROWS


@pytest.mark.parametrize(("limit", "rows"), [(None, 500), (1000.0, 500), (15.0, 375)])
def test_a_short_limit_of_time_measures_fewer_rows(limit: float | None, rows: int) -> None:
    """The limit leaves a few hundredths of itself to importances."""
    model = TabularRegressor(**QUICK | {"max_iter": 1}, time_limit=limit)
    model.fit(TABLE, NUMBERS, X_val=TABLE, y_val=NUMBERS)
    samples = model.get_fitted_state().importances.samples
    assert [len(sample.X) for sample in samples] == [rows, rows]
    assert model.feature_importances_.argmax() == 1


def test_pickles_have_the_values_and_no_rows(regressor: TabularRegressor) -> None:
    fitted = TabularRegressor(**QUICK).fit(TABLE, NUMBERS)
    copied = pickle.loads(pickle.dumps(fitted))
    assert not copied.get_fitted_state().importances.samples
    numpy.testing.assert_array_equal(copied.feature_importances_, regressor.feature_importances_)


def test_a_copy_measures_when_it_is_asked(regressor: TabularRegressor) -> None:
    copied = deepcopy(TabularRegressor(**QUICK).fit(TABLE, NUMBERS))
    assert copied.get_fitted_state().importances.computed is None
    numpy.testing.assert_array_equal(copied.feature_importances_, regressor.feature_importances_)


def test_a_file_has_the_values_that_were_asked_for(
    regressor: TabularRegressor, tmp_path: Any
) -> None:
    importances = regressor.feature_importances_
    regressor.save(tmp_path / "model.safetensors")
    opened = xpnet.load(tmp_path / "model.safetensors")
    numpy.testing.assert_array_equal(opened.feature_importances_, importances)
    opened.save(tmp_path / "again.safetensors")
    files = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("model", "again")]
    assert files[0] == files[1]


def test_saving_measures_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    model = TabularRegressor(**QUICK | {"max_iter": 2}).fit(TABLE, NUMBERS)

    def fail(*_: Any) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(importance.Sample, "rises", fail)
    model.save(tmp_path / "model.safetensors")
    opened = xpnet.load(tmp_path / "model.safetensors")
    numpy.testing.assert_array_equal(opened.predict(TABLE), model.predict(TABLE))
    with pytest.raises(AttributeError, match="must be asked for before a model is saved"):
        opened.feature_importances_  # noqa: B018  the attribute is a property


@pytest.mark.parametrize(
    "settings",
    [
        {"members": 1},
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": (9, 7), "activation": ("gelu", "tanh"), "dtype": "float64"},
        {"loss": "quantile", "quantile": [0.1, 0.9]},
    ],
)
def test_a_column_is_worth_what_whole_predictions_lose_without_it(
    settings: dict[str, Any],
) -> None:
    """The loss of each shuffled table is that of the network on all inputs."""
    model = TabularRegressor(**QUICK | {"max_iter": 3} | settings).fit(TABLE, NUMBERS)
    fitted = model.get_fitted_state()
    columns = fitted.importances.inputs_of_columns
    rng = numpy.random.default_rng(0)
    rises, variances = numpy.zeros(4), numpy.zeros(4)
    for sample in fitted.importances.samples:
        step = sample.network.step_for(sample.X)

        def losses(X: numpy.ndarray, step: Any = step, Y: Any = sample.Y) -> numpy.ndarray:
            return numpy.array([step.loss(X[k : k + 1], Y[k : k + 1]) for k in range(len(X))])

        times = 400 // len(sample.X)
        of_rows = numpy.zeros((4, len(sample.X)))
        for _ in range(times):
            for k, inputs in enumerate(columns):
                if len(inputs):
                    X = sample.X.copy()
                    X[:, inputs] = sample.X[rng.permutation(len(X))][:, inputs]
                    of_rows[k] += (losses(X) - losses(sample.X)) / times
        rises += of_rows.mean(axis=1)
        variances += of_rows.var(axis=1) / len(sample.X)
    errors = numpy.sort(numpy.sqrt(variances[variances > 0]))
    certain = numpy.maximum(rises - errors[(len(errors) - 1) // 2], 0)
    shares = certain / certain.sum()
    numpy.testing.assert_allclose(model.feature_importances_, shares, atol=2e-6)  # float32


def test_many_columns_multiply_each_input_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work grows with the number of columns, and not with its square."""
    X = RNG.normal(size=(400, 600))
    settings = {"hidden_layer_sizes": (), "max_iter": 1, "networks": 1, "random_state": 0}
    model = TabularRegressor(**settings, encoder=xpnet.TableEncoder(bins=None)).fit(X, X[:, 0])
    multiplied = []
    forward = xpnet.Affine.forward

    def count(layer: Any, inputs: Any, *others: Any) -> Any:
        multiplied.append(inputs.size)
        return forward(layer, inputs, *others)

    monkeypatch.setattr(xpnet.Affine, "forward", count)
    assert len(model.feature_importances_) == 600
    assert sum(multiplied) == 2 * 50 * 600  # an eighth of the rows, for the table and each column


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


@pytest.mark.parametrize(
    ("kind", "maximum"), [(TabularClassifier, 0.04), (TabularRegressor, 0.025)]
)
def test_numbers_of_noise_have_hardly_any_importance(kind: Any, maximum: float) -> None:
    """37 validation rows, and seven such numbers beside one that explains half of the variance.

    The mean of all rises that are positive by chance is 0.056 of labels and 0.033 of numbers.
    """
    importances = []
    for seed in range(24):
        rng = numpy.random.default_rng([seed, 300])
        X = rng.normal(size=(300, 8))
        y = X[:, 0] + rng.normal(size=300)
        model = kind(quality=1, random_state=seed)
        model.fit(X, y if kind is TabularRegressor else y > 0)
        importances.append(model.feature_importances_[1:].sum())
    assert numpy.mean(importances) < maximum


def test_standard_errors_are_the_spread_over_other_validation_rows() -> None:
    """Ten fits differ in their validation rows alone, 100 each, and train equally long."""
    rng = numpy.random.default_rng(1)
    X = rng.normal(size=(1600, 3))
    y = X @ [1.0, 0.7, 0.0] + rng.normal(size=1600)
    settings = QUICK | {"networks": 1, "max_iter": 3, "refit": False}
    shares, errors = [], []
    for rows in range(600, 1600, 100):
        own = slice(rows, rows + 100)
        model = TabularRegressor(**settings).fit(X[:600], y[:600], X_val=X[own], y_val=y[own])
        shares.append(model.feature_importances_)
        errors.append(model.feature_importances_std_)
    spread = numpy.std(shares, axis=0, ddof=1)[:2]
    mean = numpy.mean(errors, axis=0)[:2]
    # A spread of ten values has a relative error of a quarter. Shares of two columns whose sum is 1
    # move together, and so by less than each alone.
    assert (spread < 2 * mean).all()
    assert (spread > mean / 3).all()


def test_a_file_has_the_standard_errors_too(regressor: TabularRegressor, tmp_path: Any) -> None:
    errors = regressor.feature_importances_std_
    assert errors[2] == 0  # of the column of one value
    assert (errors[[0, 1, 3]] > 0).all()
    regressor.save(tmp_path / "model.safetensors")
    opened = xpnet.load(tmp_path / "model.safetensors")
    numpy.testing.assert_array_equal(opened.feature_importances_std_, errors)
    copied = pickle.loads(pickle.dumps(regressor))
    numpy.testing.assert_array_equal(copied.feature_importances_std_, errors)


@pytest.mark.parametrize("name", ["feature_importances_", "feature_importances_std_"])
def test_importances_before_a_fit_are_named_as_they_were_asked_for(name: str) -> None:
    with pytest.raises(AttributeError, match=f"no {name} before it is fitted"):
        getattr(TabularRegressor(), name)


def test_few_validation_rows_are_said() -> None:
    few = TabularRegressor(**QUICK | {"networks": 1, "max_iter": 2})
    (note,) = few.fit(TABLE[:100], NUMBERS[:100]).notes_
    assert "12 validation rows" in note or "13 validation rows" in note
    assert "importances" in note
    assert few.fit(TABLE, NUMBERS).notes_ == []
    assert few.fit(TABLE[:100], NUMBERS[:100], X_val=TABLE, y_val=NUMBERS).notes_ == []
