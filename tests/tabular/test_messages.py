"""Mistakes in Python are answered as on the command line: what was received, where, what to do."""

import warnings
from typing import Any

import numpy
import pandas
import pytest
from sklearn.base import clone

import xpnet
from xpnet import MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor

RNG = numpy.random.default_rng(0)
ROWS = 60
X = pandas.DataFrame({"a": RNG.normal(size=ROWS)})
NUMBERS = X["a"].to_numpy() + RNG.normal(size=ROWS)
LABELS = numpy.where(NUMBERS > 0, "p", "q")
DATES = numpy.datetime64("2024-01-01") + numpy.arange(ROWS)
CLASSIFIERS = [TabularClassifier(quality=1, max_iter=2), MLPClassifier(max_iter=2)]
REGRESSORS = [TabularRegressor(quality=1, max_iter=2), MLPRegressor(max_iter=2)]


def missing(gap: object) -> numpy.ndarray:
    """Labels of which the fourth and the sixth are missing."""
    labels = LABELS.astype(object)
    labels[[3, 5]] = gap
    return labels


@pytest.mark.parametrize("gap", [numpy.nan, None, pandas.NA])
@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_missing_labels_are_counted(classifier: Any, gap: object) -> None:
    for labels in (missing(gap), pandas.Series(missing(gap)), missing(gap).tolist()):
        with pytest.raises(xpnet.InputError, match="2 of 60 rows have none, the first .* row 3"):
            classifier.fit(X, labels)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_labels_that_are_nan_are_counted(classifier: Any) -> None:
    labels = numpy.where(numpy.arange(ROWS) < 3, numpy.nan, NUMBERS > 0)
    with pytest.raises(xpnet.InputError, match="3 of 60 rows have none, the first of them row 0"):
        classifier.fit(X, labels)


@pytest.mark.parametrize("regressor", REGRESSORS)
@pytest.mark.parametrize("value", [numpy.nan, numpy.inf, -numpy.inf])
def test_targets_that_are_not_finite_are_counted(regressor: Any, value: float) -> None:
    y = NUMBERS.copy()
    y[[7, 9]] = value
    found = "NaN" if numpy.isnan(value) else "infinity"
    with pytest.raises(xpnet.InputError, match=f"{found}.*2 of 60 rows .* first of them row 7"):
        regressor.fit(X, y)


@pytest.mark.parametrize("regressor", REGRESSORS)
def test_text_for_a_regressor_leads_to_the_classifier(regressor: Any) -> None:
    name = type(regressor).__name__
    other = name.replace("Regressor", "Classifier")
    for y in (LABELS, LABELS.astype(object), pandas.Series(LABELS)):
        with pytest.raises(xpnet.InputError, match=f"for {name}; got text such as '[pq]'.*{other}"):
            regressor.fit(X, y)


@pytest.mark.parametrize("regressor", REGRESSORS)
@pytest.mark.parametrize("y", [pandas.Series(DATES), DATES - DATES[0]], ids=["dates", "durations"])
def test_dates_and_durations_are_no_targets(regressor: Any, y: Any) -> None:
    with pytest.raises(xpnet.InputError, match=r"got (datetime64|timedelta64)\[.*Convert it"):
        regressor.fit(X, y)


@pytest.mark.parametrize("estimator", [*CLASSIFIERS, *REGRESSORS])
def test_a_frame_that_is_not_computed_is_refused(estimator: Any) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    with pytest.raises(xpnet.InputError, match="got a LazyFrame, .* its collect"):
        estimator.fit(polars.from_pandas(X).lazy(), NUMBERS)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_a_weight_of_an_unknown_class_names_it(classifier: Any) -> None:
    weighted = clone(classifier).set_params(class_weight={"p": 2.0, "r": 3.0})
    with pytest.raises(
        xpnet.InputError, match="labels of y, such as 'p'; got 'r', which no row has"
    ):
        weighted.fit(X, LABELS)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("regressor", REGRESSORS)
def test_numbers_of_other_types_are_targets(regressor: Any) -> None:
    """Decimal numbers, and objects that are numbers, as before."""
    predicted = [
        clone(regressor).set_params(random_state=0).fit(X, y).predict(X)
        for y in (NUMBERS, NUMBERS.astype(object), NUMBERS.tolist())
    ]
    numpy.testing.assert_array_equal(predicted[1:], predicted[:1] * 2)


@pytest.mark.parametrize("estimator", [*CLASSIFIERS, *REGRESSORS])
def test_the_name_of_a_column_is_no_target(estimator: Any) -> None:
    with pytest.raises(xpnet.InputError, match=r"got the text 'a'. Pass the column, .*X\['a'\]"):
        estimator.fit(X, "a")


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_infinite_numbers_of_a_table_count_as_the_largest(tmp_path: Any) -> None:
    finite = X.assign(a=X["a"].clip(upper=X["a"].nlargest(2).iloc[-1]))
    infinite = finite.assign(a=finite["a"].where(X["a"] < X["a"].max(), numpy.inf))
    models = [
        TabularClassifier(quality=1, max_iter=3, random_state=0).fit(table, LABELS)
        for table in (finite, infinite)
    ]
    numpy.testing.assert_array_equal(
        models[1].predict_proba(infinite), models[1].predict_proba(finite)
    )


def test_classes_of_one_row_are_reported() -> None:
    labels = LABELS.astype(object)
    labels[0] = "lonely"
    model = TabularClassifier(quality=1, max_iter=2, random_state=0)
    with pytest.warns(UserWarning, match="`y` has classes of one row: 'lonely'") as caught:
        model.fit(X, labels)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="`y` has classes")
        model.fit(X, LABELS)


@pytest.mark.wrong_types
def test_the_optimizers_and_generators_of_pytorch_are_refused() -> None:
    torch = pytest.importorskip("torch")
    for optimizer in (torch.optim.Adam, torch.optim.Adam(torch.nn.Linear(1, 1).parameters())):
        with pytest.raises(xpnet.InputError, match=r"`optimizer` must be .* xpnet.Adam\(\)"):
            xpnet.FeedforwardNeuralNet(1, 4, 2, optimizer=optimizer)
    with pytest.raises(xpnet.InputError, match="`rng` must be a seed .* Pass a seed"):
        xpnet.FeedforwardNeuralNet(1, 4, 2, rng=torch.Generator())


def test_a_loss_that_is_not_there_is_answered_with_those_that_are() -> None:
    for regressor in (TabularRegressor(loss="cox"), MLPRegressor(loss="cox")):
        with pytest.raises(xpnet.InputError, match="'poisson'.*'tweedie'.*Got 'cox'"):
            regressor.fit(X, NUMBERS)


def test_a_classifier_has_no_intervals() -> None:
    model = TabularClassifier(quality=1, max_iter=2).fit(X, LABELS)
    assert not hasattr(model, "predict_interval")
    with pytest.raises(AttributeError, match="is for numbers.*TabularRegressor"):
        model.predict_interval(X, 0.9)


def test_loss_curves_are_the_means_of_the_networks(tmp_path: Any) -> None:
    model = TabularRegressor(networks=2, members=2, max_iter=30, n_iter_no_change=3, random_state=0)
    assert not hasattr(model, "loss_curve_")
    model.fit(X, NUMBERS)
    for curve, name in (
        (model.loss_curve_, "loss"),
        (model.validation_loss_curve_, "validation_loss"),
    ):
        losses = [pandas.Series(getattr(network.history, name)) for network in model.networks_]
        # Epochs that a network has not made are gaps, which a mean leaves out.
        wanted = pandas.concat(losses, axis=1).mean(axis=1)
        numpy.testing.assert_allclose(curve, wanted, rtol=1e-12)
    assert len(model.loss_curve_) == model.n_iter_
    display = pytest.importorskip("matplotlib") and xpnet.LossCurveDisplay.from_estimator(model)
    numpy.testing.assert_array_equal(display.loss_curve, model.loss_curve_)
    model.save(tmp_path / "m.safetensors")
    opened = xpnet.load(tmp_path / "m.safetensors")
    with pytest.raises(AttributeError, match="known after fit alone"):
        opened.loss_curve_  # noqa: B018  the attribute is a property


@pytest.mark.parametrize("estimator", [CLASSIFIERS[0], REGRESSORS[0]])
def test_messages_about_columns_name_the_estimator(estimator: Any) -> None:
    name = type(estimator).__name__
    model = clone(estimator).fit(X.to_numpy(), NUMBERS > 0)
    with pytest.raises(xpnet.InputError, match=f"X has 2 features, but {name} is expecting 1 feat"):
        model.predict(numpy.zeros((4, 2)))
    with pytest.warns(UserWarning, match=f"but {name} was fitted without feature names"):
        model.predict(X)
    model.fit(X, NUMBERS > 0)
    with pytest.warns(UserWarning, match=f"valid feature names, but {name} was fitted with feat"):
        model.predict(X.to_numpy())


def test_warnings_name_the_line_of_the_user() -> None:
    """They come from functions at several depths below ``fit`` and ``predict``."""
    coded = numpy.where(numpy.arange(ROWS) % 4 == 0, -999, NUMBERS)
    table = {"code": coded, "day": ["02/03/2023", "05/01/2023", "01/02/2022"] * (ROWS // 3)}
    model = TabularRegressor(quality=1, max_iter=2)
    with pytest.warns(UserWarning) as caught:
        model.fit(pandas.DataFrame(table), NUMBERS, time=pandas.Series(table["day"]))
        model.predict(pandas.DataFrame(table).to_numpy(object))
    messages = " ".join(str(warning.message) for warning in caught)
    for part in ("'code' holds -999", "'day' holds dates", "`time` holds dates", "valid feature"):
        assert part in messages
    assert {warning.filename for warning in caught} == {__file__}
