"""Classes in rising order: cumulative logits, compared with statsmodels and with each other."""

from typing import Any

import numpy
import pandas
import polars
import pytest
from sklearn import metrics

import xpnet

NAMES = ["low", "middle", "high", "top"]
RNG = numpy.random.default_rng(0)
X = RNG.normal(size=(500, 3))
RANKS = numpy.digitize(X @ [1.0, -2.0, 0.5] + RNG.logistic(size=500), [-1.5, 0, 2])
Y = numpy.array(NAMES)[RANKS]
LINEAR: dict[str, Any] = {
    "hidden_layer_sizes": (),
    "solver": "lbfgs",
    "alpha": 0.0,
    "tol": 1e-9,
    "max_iter": 1000,
}
SMALL: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 30, "random_state": 0}
QUIET = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")


def test_without_hidden_layers_it_is_the_ordered_model_of_statsmodels() -> None:
    ordinal = pytest.importorskip("statsmodels.miscmodels.ordinal_model")
    endog = pandas.Series(pandas.Categorical(Y, categories=NAMES, ordered=True))
    theirs = ordinal.OrderedModel(endog, X, distr="logit")
    fitted = theirs.fit(method="bfgs", disp=0, gtol=1e-9)
    model = xpnet.MLPClassifier(**LINEAR, ordered=NAMES).fit(X, Y)
    # Both minimise the same loss; it is flat at the minimum, so parameters have fewer digits.
    numpy.testing.assert_allclose(model.coef_[0], fitted.params[:3], atol=1e-4)
    thresholds = theirs.transform_threshold_params(fitted.params.to_numpy())[1:-1]
    numpy.testing.assert_allclose(-model.intercept_, thresholds, atol=1e-4)
    probabilities = theirs.predict(fitted.params, exog=X)
    numpy.testing.assert_allclose(model.predict_proba(X), probabilities, atol=1e-4)


@QUIET
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("members", [1, 2])
def test_probabilities_fall_apart_at_thresholds_that_rise(
    members: int, early_stopping: bool
) -> None:
    model = xpnet.MLPClassifier(
        **SMALL, members=members, early_stopping=early_stopping, ordered=NAMES
    )
    probabilities = model.fit(X, Y).predict_proba(X)
    assert model.classes_.tolist() == NAMES
    numpy.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    assert (probabilities > 0).all()
    if members == 1:  # the logits of all rows differ by the same thresholds
        not_below = 1 - probabilities.cumsum(axis=1)[:, :-1]
        gaps = numpy.diff(numpy.log(not_below / (1 - not_below)), axis=1)
        assert (gaps < 0).all()
        numpy.testing.assert_allclose(gaps, gaps[:1].repeat(len(gaps), axis=0), rtol=1e-6)


@QUIET
def test_the_median_class_or_the_most_probable_one_is_predicted() -> None:
    model = xpnet.MLPClassifier(**SMALL, ordered=NAMES).fit(X, Y)
    sums = model.predict_proba(X).cumsum(axis=1)
    medians = [next(k for k in range(4) if row[k] >= 0.5) for row in sums]
    numpy.testing.assert_array_equal(model.predict(X), numpy.array(NAMES)[medians])
    error = metrics.mean_absolute_error(RANKS, medians)
    model.set_params(ordered_prediction="mode")
    most_probable = model.predict_proba(X).argmax(axis=1)
    numpy.testing.assert_array_equal(model.predict(X), numpy.array(NAMES)[most_probable])
    assert (most_probable != medians).any()
    assert error <= metrics.mean_absolute_error(RANKS, most_probable)


@QUIET
@pytest.mark.parametrize(
    "y",
    [
        pandas.Series(pandas.Categorical(Y, categories=[*NAMES, "never"], ordered=True)),
        polars.Series(Y.tolist(), dtype=polars.Enum([*NAMES, "never"])),
    ],
    ids=["pandas", "polars"],
)
def test_ordered_categoricals_bring_their_order(y: Any) -> None:
    named = xpnet.MLPClassifier(**SMALL, ordered=NAMES).fit(X, Y)
    model = xpnet.MLPClassifier(**SMALL).fit(X, y)
    assert model.classes_.tolist() == NAMES
    numpy.testing.assert_array_equal(model.predict_proba(X), named.predict_proba(X))
    unordered = xpnet.MLPClassifier(**SMALL, ordered=False).fit(X, y)
    assert unordered.classes_.tolist() == sorted(NAMES)
    assert unordered.out_activation_ == "softmax"


@QUIET
def test_numbers_may_be_ordered_and_files_keep_the_order(tmp_path: Any) -> None:
    order = [30, 10, 20, 0]
    y = numpy.array(order)[RANKS]
    model = xpnet.MLPClassifier(**SMALL, ordered=order, ordered_prediction="mode").fit(X, y)
    model.save(tmp_path / "model.safetensors")
    opened = xpnet.load(tmp_path / "model.safetensors")
    assert opened.classes_.tolist() == order and opened.ordered == order
    numpy.testing.assert_array_equal(opened.predict(X), model.predict(X))
    numpy.testing.assert_array_equal(opened.predict_proba(X), model.predict_proba(X))
    assert opened.score(X, y) == pytest.approx(metrics.accuracy_score(y, model.predict(X)))


def test_epochs_and_partial_fit_go_on_with_the_order() -> None:
    model = xpnet.MLPClassifier(hidden_layer_sizes=(8,), random_state=0, ordered=NAMES)
    for _ in range(30):
        model.partial_fit(X[:250], Y[:250])
    before = metrics.log_loss(RANKS, model.predict_proba(X), labels=range(4))
    for _ in range(30):
        model.partial_fit(X, Y)
    assert model.classes_.tolist() == NAMES
    assert metrics.log_loss(RANKS, model.predict_proba(X), labels=range(4)) < before


def test_the_first_thresholds_are_the_frequencies() -> None:
    model = xpnet.MLPClassifier(
        hidden_layer_sizes=(), learning_rate_init=1e-12, max_iter=1, ordered=NAMES
    )
    with pytest.warns(UserWarning, match="converge"):
        model.fit(numpy.zeros((500, 1)), Y)
    frequencies = (numpy.bincount(RANKS) + 1) / 504
    numpy.testing.assert_allclose(model.predict_proba(numpy.zeros((1, 1)))[0], frequencies)


def test_the_input_gradient_is_that_of_the_probability() -> None:
    model = xpnet.MLPClassifier(
        (6,), activation="tanh", max_iter=200, solver="lbfgs", ordered=NAMES
    )
    model.fit(X, Y)
    step = 1e-6
    for output in range(4):
        gradient = model.input_gradient(X[:20], output)
        for k in range(3):
            above, below = (X[:20] + sign * step * numpy.eye(3)[k] for sign in (1, -1))
            difference = model.predict_proba(above) - model.predict_proba(below)
            # Central differences of float64 have about 1e-10.
            numpy.testing.assert_allclose(
                gradient[:, k], difference[:, output] / (2 * step), atol=1e-8
            )


@pytest.mark.parametrize(
    ("ordered", "said"),
    [
        (["low", "middle", "high"], "'top' is missing"),
        (["low", "high", "low"], "'low' twice"),
        (["low"], "two classes or more"),
        (True, "got True"),
    ],
)
def test_an_order_that_cannot_be_used_is_refused(ordered: Any, said: str) -> None:
    model = xpnet.MLPClassifier(**SMALL, ordered=ordered)
    with pytest.raises(xpnet.errors.InputError, match="`ordered` must") as error:
        model.fit(X, Y)
    assert said in str(error.value)
    with pytest.raises(AttributeError):
        _ = model.classes_


def test_several_targets_have_no_order() -> None:
    with pytest.raises(xpnet.errors.InputError, match="one label"):
        xpnet.MLPClassifier(**SMALL, ordered=[0, 1]).fit(X, RANKS[:, None] > [0, 1])


@QUIET
def test_fewer_classes_than_an_order_needs_or_a_fit_had_are_refused() -> None:
    model = xpnet.MLPClassifier(**SMALL, ordered=NAMES, warm_start=True)
    with pytest.raises(xpnet.InputError, match="two classes or more; got \\['low'\\]"):
        model.fit(X, numpy.full(500, "low"))
    model.fit(X, Y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="the same classes"):
        model.fit(X, numpy.where(Y == "top", "high", Y))
    numpy.testing.assert_array_equal(model.predict_proba(X), before)
