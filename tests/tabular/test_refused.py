"""What a tabular estimator refuses, in sentences that name the cause; and what must not be
refused.
"""

import datetime
import decimal
import warnings
from typing import Any

import numpy
import pandas
import pytest
from scipy.sparse import csr_array
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import xpnet
from xpnet import TabularClassifier, TabularRegressor
from xpnet.errors import InputError

SMALL: dict[str, Any] = {"members": 2, "networks": 2, "max_iter": 3, "random_state": 0}
RNG = numpy.random.default_rng(0)
LETTERS = RNG.choice(["a", "b", "c"], (60, 2))
Y = LETTERS[:, 0] == "a"
X = RNG.normal(size=(60, 2))


def test_an_encoder_may_return_sparse_rows() -> None:
    sparse = TabularClassifier(**SMALL, encoder=OneHotEncoder()).fit(LETTERS, Y)
    dense = TabularClassifier(**SMALL, encoder=OneHotEncoder(sparse_output=False)).fit(LETTERS, Y)
    numpy.testing.assert_array_equal(sparse.predict_proba(LETTERS), dense.predict_proba(LETTERS))


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        (lambda X: numpy.where(X > 1, numpy.nan, X), "FunctionTransformer returned NaN"),
        (lambda X: csr_array(numpy.where(X > 1, numpy.inf, X)), "FunctionTransformer returned NaN"),
        (lambda X: LETTERS[: len(X)], "FunctionTransformer returned other values"),
        (lambda X: X[:, 0], r"FunctionTransformer returned shape \(60,\)"),
    ],
)
def test_what_an_encoder_must_not_return_is_refused_in_its_name(
    returned: Any, sentence: str
) -> None:
    with pytest.raises(xpnet.InputError, match=rf"`encoder` .*{sentence}"):
        TabularClassifier(**SMALL, encoder=FunctionTransformer(returned)).fit(X, Y)


def test_an_encoder_that_returns_nan_for_new_rows_is_refused_in_its_name() -> None:
    encoder = FunctionTransformer(lambda X: numpy.log(X), validate=False)
    model = TabularRegressor(**SMALL, encoder=encoder).fit(numpy.exp(X), X[:, 0])
    with warnings.catch_warnings(), pytest.raises(xpnet.InputError, match="FunctionTransformer"):
        warnings.simplefilter("ignore")
        model.predict(-numpy.exp(X))


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (numpy.array(["2024-01-01", "2024-01-02"], "datetime64[D]"), "datetime64"),
        (numpy.array([1, 2], "timedelta64[s]"), "timedelta64"),
        (numpy.array([1, 2], "float16"), "float16"),
        (numpy.array([b"a", b"b"]), "bytes"),
        (numpy.array([datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)], object), "date"),
        (numpy.array([decimal.Decimal(1), decimal.Decimal(2)], object), "Decimal"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_labels_that_a_file_does_not_hold_are_refused(labels: Any, dtype: str) -> None:
    with pytest.raises((xpnet.InputError, ValueError), match=dtype):
        TabularClassifier(**SMALL).fit(X, labels[Y.astype(int)])


@pytest.mark.parametrize(
    "labels",
    [
        numpy.array([1.0, 2.0], "float32"),
        numpy.array([0, 2**64 - 1], "uint64"),
        numpy.array(["a", "b"], object),
        numpy.array(["a", "b"]),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_labels_that_fit_can_be_saved(labels: Any, tmp_path: Any) -> None:
    model = TabularClassifier(**SMALL).fit(X, labels[Y.astype(int)])
    model.save(tmp_path / "model")
    loaded = xpnet.load(tmp_path / "model")
    assert loaded.classes_.dtype == model.classes_.dtype
    assert loaded.predict(X).tolist() == model.predict(X).tolist()


@pytest.mark.wrong_types
@pytest.mark.parametrize("predictions", [numpy.zeros(7), numpy.zeros((60, 2)), 3.0])
def test_intervals_of_predictions_of_other_rows_are_refused(predictions: Any) -> None:
    model = TabularRegressor(**SMALL).fit(X, X[:, 0])
    with pytest.raises(xpnet.InputError, match=r"`predictions`.*\(60, 1\)"):
        model.predict_interval(X, 0.5, predictions=predictions)
    expected = model.predict_interval(X, 0.5)
    for table in (X, pandas.DataFrame(X), {"a": X[:, 0], "b": X[:, 1]}):
        found = model.predict_interval(table, 0.5, predictions=model.predict(X))
        numpy.testing.assert_array_equal(found, expected)


def test_intervals_of_an_encoder_of_ones_own_take_its_rows() -> None:
    model = TabularRegressor(**SMALL, encoder=StandardScaler()).fit(X, X[:, 0])
    found = model.predict_interval(X, 0.5, predictions=model.predict(X))
    numpy.testing.assert_array_equal(found, model.predict_interval(X, 0.5))


@pytest.mark.parametrize(
    "settings", [{}, {"loss": "quantile", "quantile": [0.05, 0.5, 0.95]}], ids=str
)
def test_intervals_of_targets_that_are_not_negative_begin_at_zero(settings: dict[str, Any]) -> None:
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(600, 2))
    price = rng.exponential(numpy.exp(X[:, 0]))
    found = TabularRegressor(**SMALL, **settings).fit(X, price).predict_interval(X, 0.98)
    moved = TabularRegressor(**SMALL, **settings).fit(X, price - 100).predict_interval(X, 0.98)
    assert found[:, 0].min() == 0.0 and moved[:, 0].min() < -100
    share = ((found[:, 0] <= price) & (price <= found[:, 1])).mean()
    assert share == pytest.approx(0.98, abs=0.02)


def test_the_targets_of_validation_rows_have_the_columns_of_the_others() -> None:
    with pytest.raises(xpnet.InputError, match=r"`y_val`.*\(60, 2\)"):
        TabularRegressor(**SMALL).fit(X, X[:, 0], X_val=X, y_val=X)


def test_gradients_with_respect_to_columns_of_a_table_are_refused() -> None:
    model = TabularClassifier(**SMALL).fit(X, Y)
    with pytest.raises(xpnet.InputError, match="got a TabularClassifier"):
        xpnet.expected_gradients(model, X, X)


@pytest.mark.filterwarnings("error")
def test_columns_that_say_the_same_give_no_warning_of_a_solver() -> None:
    """Ridge warns of matrices that are nearly singular."""
    first = numpy.random.default_rng(0).normal(size=4000)
    same = first[:, None] * numpy.linspace(1, 2, 40)
    fitted = TabularRegressor(networks=1, max_iter=1, random_state=0).fit(same, first)
    assert fitted.score(same, first) > 0.9


@pytest.mark.parametrize(
    "table",
    [
        pandas.DataFrame(index=range(60)),
        pandas.DataFrame(),
        {},
        pandas.DataFrame().convert_dtypes(),
    ],
)
def test_a_table_without_columns_is_refused_for_that(table: Any) -> None:
    with pytest.raises(xpnet.InputError, match="A table must have a column or more; got none"):
        TabularClassifier(**SMALL).fit(table, Y)


@pytest.mark.parametrize("estimator", [TabularClassifier, TabularRegressor])
def test_no_jobs_are_refused_by_name(estimator: type) -> None:
    with pytest.raises(xpnet.InputError, match="'n_jobs' parameter of .* Got 0 instead"):
        estimator(**SMALL, n_jobs=0).fit(X, Y)


THREE = numpy.digitize(X[:, 0], [-0.5, 0.5])
SHARES = numpy.eye(3)[THREE] * 0.7 + 0.1


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"threshold": 0.5}, "`threshold` must go with two classes; got 3"),
        ({"encoder": StandardScaler(), "monotonic_cst": [1, 0]}, "`monotonic_cst`.*StandardScaler"),
        ({"encoder": StandardScaler(), "date_format": "%Y"}, "`date_format`.*StandardScaler"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(
    settings: dict[str, Any], fact: str
) -> None:
    with pytest.raises(InputError, match=fact):
        TabularClassifier(**SMALL, **settings).fit(X, SHARES, classes=[0, 1, 2])


@pytest.mark.parametrize("class_weight", ["balanced", {0: 2.0, 2: 0.5}])
def test_weights_of_classes_count_the_share_of_each_class(class_weight: Any) -> None:
    sums = SHARES.sum(axis=0)
    of_classes = sums.sum() / (3 * sums) if class_weight == "balanced" else [2.0, 1.0, 0.5]
    by_class = TabularClassifier(**SMALL, class_weight=class_weight)
    by_row = TabularClassifier(**SMALL)
    numpy.testing.assert_allclose(
        by_class.fit(X, SHARES, classes=[0, 1, 2]).predict_proba(X),
        by_row.fit(X, SHARES, SHARES @ of_classes, classes=[0, 1, 2]).predict_proba(X),
        rtol=1e-6,  # both weigh by the same numbers, added in another order
    )


def test_a_list_of_dicts_is_a_table_whose_missing_values_are_gaps() -> None:
    table = {"x": X[:, 0], "k": LETTERS[:, 0]}
    model = TabularClassifier(**SMALL).fit(table, Y)
    records = [{"k": "b", "x": 0.25}, {"x": -1.5}, {"k": "a", "further": 3}]
    columns = {"x": [0.25, -1.5, None], "k": ["b", None, "a"]}
    expected = model.predict_proba(columns)
    numpy.testing.assert_array_equal(model.predict_proba(records), expected)
    alone = [model.predict_proba([record])[0] for record in records[:1]]
    numpy.testing.assert_array_equal(alone, expected[:1])
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    of_records = TabularClassifier(**SMALL).fit(rows, Y)
    numpy.testing.assert_array_equal(of_records.predict_proba(columns), expected)


def test_a_dict_of_single_values_asks_for_lists() -> None:
    model = TabularRegressor(**SMALL).fit({"x": X[:, 0]}, X[:, 1])
    with pytest.raises(xpnet.InputError, match=r"lists of values.*0\.1.*'x'"):
        model.predict({"x": 0.1})


@pytest.mark.parametrize("kind", [pandas.DataFrame, dict, lambda table: table["x"][:, None]])
def test_a_table_of_no_rows_is_refused_in_one_sentence(kind: Any) -> None:
    model = TabularRegressor(**SMALL).fit(kind({"x": X[:, 0]}), X[:, 1])
    with pytest.raises(xpnet.InputError, match=r"a row or more; got none, of 1 columns"):
        model.predict(kind({"x": X[:0, 0]}))


@pytest.mark.parametrize("texts", [("True", "False"), ("true", "false"), ("TRUE", "FALSE")])
def test_a_column_of_truth_values_takes_their_text(texts: tuple[str, str]) -> None:
    booleans = numpy.arange(60) % 3 == 0
    model = TabularClassifier(**SMALL).fit({"x": X[:, 0], "b": booleans}, booleans)
    expected = model.predict_proba({"x": [0.0, 0.0], "b": [True, False]})
    found = model.predict_proba({"x": [0.0, 0.0], "b": list(texts)})
    numpy.testing.assert_array_equal(found, expected)
    with pytest.raises(xpnet.InputError, match="'b' must hold .*True and False; got 'yes'"):
        model.predict({"x": [0.0], "b": ["yes"]})
    assert model.encoder_.count_unknowns({"x": [0.0], "b": [2]})["b"]["outside"] == 1


def test_infinite_numbers_are_the_ends_of_the_range_and_are_counted() -> None:
    x = X[:, 0]
    model = TabularRegressor(**SMALL).fit({"x": x}, X[:, 1])
    infinite = {"x": [numpy.inf, -numpy.inf]}
    expected = model.predict({"x": [x.max(), x.min()]})
    numpy.testing.assert_array_equal(model.predict(infinite), expected)
    assert model.encoder_.count_unknowns(infinite)["x"] == {"unknown": 0, "gaps": 0, "outside": 2}


@pytest.mark.parametrize("loss", ["poisson", "tweedie"])
def test_targets_of_zeros_have_no_positive_mean(loss: str) -> None:
    with pytest.raises(InputError, match=f"a number above 0 for loss='{loss}'; got zeros only"):
        TabularRegressor(loss=loss, **SMALL).fit(X, numpy.zeros(60))


def test_a_refinement_has_as_many_targets_as_the_fit() -> None:
    model = TabularRegressor(**SMALL).fit(X, X)
    before = model.predict(X)
    with pytest.raises(InputError, match=r"`y`.* the y of the fit; got shape \(60,\)"):
        model.refine(X, X[:, 0])
    numpy.testing.assert_array_equal(model.predict(X), before)


def test_names_of_columns_can_be_set_and_removed() -> None:
    model = TabularRegressor(**SMALL).fit({"a": X[:, 0], "b": X[:, 1]}, X[:, 0])
    predicted = model.predict({"a": X[:, 0], "b": X[:, 1]})
    model.feature_names_in_ = ["p", "q"]
    assert model.feature_names_in_.tolist() == ["p", "q"]
    found = model.predict({"q": X[:, 1], "p": X[:, 0]})
    numpy.testing.assert_array_equal(found, predicted)
    model.feature_names_in_ = None
    assert not hasattr(model, "feature_names_in_")
    numpy.testing.assert_array_equal(model.predict(X), predicted)
    model.feature_names_in_ = None  # there are none to remove
    assert not hasattr(model, "feature_names_in_")
