"""Groups and times: which rows are on which side of each division that a fit makes."""

import weakref
from typing import Any

import numpy
import pandas
import pytest
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import GroupKFold, cross_validate
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import xpnet
from xpnet import TabularClassifier, TabularRegressor
from xpnet.tabular import base
from xpnet.tabular.encodings import category as category_encoding
from xpnet.tabular.ensemble import ensemble, network_training

SMALL: dict[str, Any] = {"members": 2, "networks": 3, "max_iter": 3, "random_state": 0}
RNG = numpy.random.default_rng(0)
ROWS = 400
GROUPS = RNG.integers(0, 30, ROWS)
DAYS = RNG.integers(0, 50, ROWS)
X = numpy.column_stack([RNG.normal(size=ROWS), GROUPS, DAYS, numpy.arange(ROWS)])
NUMBERS = X[:, 0] + GROUPS / 10
LABELS = numpy.where(NUMBERS > 1.5, "high", "low")
WEIGHTS = RNG.uniform(1, 2, ROWS)
CASES = [(TabularClassifier, LABELS), (TabularRegressor, NUMBERS)]


@pytest.fixture
def divisions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[numpy.ndarray, numpy.ndarray]]:
    """Record the inputs of the training rows and of the validation rows of each network."""
    recorded = []
    train_network = ensemble.train_network

    def record(training: Any, recipe: Any, rows: Any, validation: Any, **settings: Any) -> None:
        recorded.append((rows.X.copy(), validation.X.copy()))
        train_network(training, recipe, rows, validation, **settings)

    monkeypatch.setattr(ensemble, "train_network", record)
    return recorded


@pytest.fixture
def calibrated(monkeypatch: pytest.MonkeyPatch) -> list[numpy.ndarray]:
    """Record the targets of the rows that intervals and temperatures are computed from."""
    recorded = []
    predict = base.predict_validation_rows

    def record(*args: Any) -> Any:
        rows = predict(*args)
        recorded.append(rows.Y)
        return rows

    monkeypatch.setattr(base, "predict_validation_rows", record)
    return recorded


@pytest.fixture
def parts_of_encoder(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record the parts of the rows between which means of targets are taken."""
    recorded = []
    fit_means = category_encoding.fit_means

    def record(*arguments: Any) -> Any:
        means = fit_means(*arguments)
        recorded.append((means.parts, means.target.links.time is not None))
        return means

    monkeypatch.setattr(category_encoding, "fit_means", record)
    return recorded


def as_it_is() -> Any:
    """Return an encoder after which inputs still say of which row they are."""
    return FunctionTransformer()


@pytest.mark.parametrize(("kind", "y"), CASES)
@pytest.mark.parametrize("names", ["numbers", "text"])
def test_no_group_is_on_both_sides(divisions: Any, kind: Any, y: Any, names: str) -> None:
    groups = GROUPS if names == "numbers" else numpy.char.add("patient ", GROUPS.astype(str))
    kind(**SMALL, encoder=as_it_is()).fit(X, y, groups=groups)
    assert len(divisions) == 3
    for training, validation in divisions:
        assert len(training) + len(validation) == ROWS
        assert len(validation) > ROWS / 20
        assert not set(training[:, 1]) & set(validation[:, 1])
    validated = [set(validation[:, 1]) for _, validation in divisions]
    assert not validated[0] & validated[1]


@pytest.mark.parametrize("groups", [None, numpy.arange(ROWS)], ids=["rows", "groups"])
def test_the_only_network_validates_with_as_many_rare_events_as_others_would(
    divisions: Any, groups: numpy.ndarray | None
) -> None:
    """The first of eight stratified folds has 3 of 29 events, fewer than an eighth of them."""
    y = numpy.isin(numpy.arange(ROWS), RNG.permutation(ROWS)[:29])
    settings = SMALL | {"networks": 1, "members": 1, "max_iter": 1, "validation_fraction": 1 / 8}
    for seed in range(40):
        settings["random_state"] = seed
        TabularClassifier(**settings, encoder=as_it_is()).fit(X, y, groups=groups)
    events = [y[validation[:, 3].astype(int)].sum() for _, validation in divisions]
    assert len(events) == 40
    assert set(events) == {3, 4}
    # Four standard errors of the mean of 40 numbers that are 3 or 4.
    assert numpy.mean(events) == pytest.approx(29 / 8, abs=0.31)


def test_groups_are_divided_without_groups_of_weight_zero(divisions: Any) -> None:
    weight = numpy.where(GROUPS < 20, 0.0, 1.0)
    TabularRegressor(**SMALL, encoder=as_it_is()).fit(X, NUMBERS, weight, groups=GROUPS)
    for training, validation in divisions:
        assert set(training[:, 1]) | set(validation[:, 1]) == set(range(20, 30))
        assert not set(training[:, 1]) & set(validation[:, 1])


@pytest.mark.parametrize(("kind", "y"), CASES)
def test_groups_of_which_one_has_most_rows_leave_rows_on_both_sides(
    divisions: Any, kind: Any, y: Any
) -> None:
    groups = numpy.where(GROUPS < 25, 0, GROUPS)
    kind(**SMALL, encoder=as_it_is()).fit(X, y, groups=groups)
    for training, validation in divisions:
        assert len(training)
        assert len(validation)


@pytest.mark.parametrize(("kind", "y"), CASES)
def test_no_validation_row_is_earlier_than_a_training_row(
    divisions: Any, calibrated: Any, kind: Any, y: Any
) -> None:
    kind(**SMALL, encoder=as_it_is()).fit(X, y, time=DAYS)
    assert len(divisions) == 3
    for training, validation in divisions:
        assert training[:, 2].max() < validation[:, 2].min()
        assert len(training) + len(validation) == ROWS
        assert len(validation) == pytest.approx(ROWS / 8, abs=ROWS / 50)
        numpy.testing.assert_equal(validation, divisions[0][1])
    assert len(calibrated[0]) == 3 * len(divisions[0][1])


def test_the_last_epochs_are_made_on_the_latest_rows_too(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = []
    refit = network_training.refit

    def record(network: Any, rows: Any, **options: Any) -> None:
        recorded.append((rows.X, rows.weight))
        refit(network, rows, **options)

    monkeypatch.setattr(network_training, "refit", record)
    weight = RNG.uniform(1, 2, ROWS)
    TabularRegressor(**SMALL, encoder=as_it_is()).fit(X, NUMBERS, weight, time=DAYS)
    assert len(recorded) == 3
    for inputs, weights in recorded:
        order = inputs[:, 3].astype(int)
        assert sorted(order) == list(range(ROWS))
        numpy.testing.assert_allclose(weights, weight[order], rtol=1e-6)


def test_equal_intervals_whether_one_network_or_several_predict_the_latest_rows() -> None:
    """Several predictions of a row are not several rows."""
    record = TabularRegressor(**SMALL).fit(X, NUMBERS, time=DAYS).get_fitted_state()
    assert len(set(record.residual_groups)) == len(record.residuals) / 3


def test_dates_are_times_as_text_as_numpy_has_them_and_as_a_column(divisions: Any) -> None:
    dates = numpy.datetime64("2024-01-25") + DAYS
    table = pandas.DataFrame({"x": X[:, 0], "day": DAYS, "date": dates})
    forms = [DAYS, dates, dates.astype(str), pandas.Series(dates), dates.tolist(), "date", "day"]
    predictions = []
    for time in forms:
        model = TabularRegressor(**SMALL).fit(table, NUMBERS, time=time)
        predictions.append(model.predict(table))
        numpy.testing.assert_equal(predictions[-1], predictions[0])
    assert {len(training) for training, _ in divisions} == {len(divisions[0][0])}


def test_rows_of_one_time_are_together(divisions: Any) -> None:
    years = numpy.repeat([2020, 2021, 2022], [200, 150, 50])
    table = numpy.column_stack([X, years])
    TabularRegressor(**SMALL, encoder=as_it_is()).fit(table, NUMBERS, time=years)
    assert {len(validation) for _, validation in divisions} == {50}
    TabularRegressor(**SMALL, encoder=as_it_is(), validation_fraction=0.4).fit(
        table, NUMBERS, time=years
    )
    assert len(divisions[-1][1]) == 200  # 50 of 400 rows are farther from 0.4 than 200 are.


def test_own_validation_rows_have_precedence_over_times(divisions: Any) -> None:
    own = X[DAYS < 10]
    TabularRegressor(**SMALL, encoder=as_it_is()).fit(
        X, NUMBERS, X_val=own, y_val=NUMBERS[DAYS < 10], time=DAYS
    )
    assert len(divisions[0][0]) == ROWS
    numpy.testing.assert_allclose(divisions[0][1], own, rtol=1e-6)


TOWN_NUMBERS = RNG.integers(0, 60, ROWS)
TOWNS = pandas.DataFrame({"town": TOWN_NUMBERS.astype(str), "x": X[:, 0]})
TOWN_CASES = [
    (TabularClassifier, numpy.where(RNG.uniform(size=ROWS) < TOWN_NUMBERS / 60, "a", "b")),
    (TabularRegressor, TOWN_NUMBERS / 40 + RNG.normal(size=ROWS)),
]
"""Targets that rows of one town have in common a little, so that towns have mean targets."""


@pytest.mark.parametrize(("kind", "y"), TOWN_CASES)
def test_mean_targets_are_those_of_other_groups(parts_of_encoder: Any, kind: Any, y: Any) -> None:
    kind(**SMALL).fit(TOWNS, y, groups=GROUPS)
    parts, in_order = parts_of_encoder[0]
    assert not in_order
    assert set(parts) == set(range(5))
    for group in set(GROUPS):
        assert len(set(parts[GROUPS == group])) == 1


@pytest.mark.parametrize(("kind", "y"), TOWN_CASES)
def test_mean_targets_are_those_of_earlier_rows(parts_of_encoder: Any, kind: Any, y: Any) -> None:
    kind(**SMALL).fit(TOWNS, y, time=DAYS)
    parts, in_order = parts_of_encoder[0]
    assert in_order
    assert len(parts) < ROWS  # The validation rows are not among them.
    assert numpy.bincount(parts).min() > len(parts) / 10


def test_mean_targets_of_groups_and_times_by_hand() -> None:
    """Rows with the overall mean are added to those of a value, by the correlation of a value."""
    town = numpy.resize([f"{k:02d}" for k in range(50)], 500)
    y = RNG.normal(size=500) + 0.4 * RNG.normal(size=50)[town.astype(int)]
    groups, time = RNG.integers(0, 40, 500), RNG.integers(0, 1000, 500)
    encoder = xpnet.TableEncoder(random_state=0, task="regression")
    for links in ({"groups": groups}, {"time": time}):
        encoded = encoder.fit_transform({"town": town}, y, **links)[:, -1]
        if "groups" in links:
            numbers = numpy.random.RandomState(0).permutation(40)[groups] % 5
            others = numbers[:, None] != numbers
        else:
            numbers = numpy.digitize(time, numpy.quantile(time, [0.2, 0.4, 0.6, 0.8]))
            others = numbers[:, None] > numbers
        others &= town[:, None] == town
        pairs = (town[:, None] == town) & ~numpy.eye(500, dtype=bool)
        if "groups" in links:
            pairs &= groups[:, None] != groups
        centred = y - y.mean()
        correlation = (numpy.outer(centred, centred)[pairs]).mean() / y.var()
        prior = (1 - correlation) / correlation
        assert 2.5 < prior < 30  # so that no town has a column of its own
        expected = (others @ y + prior * y.mean()) / (others.sum(axis=1) + prior)
        of_values = [(y[town == t].sum() + prior * y.mean()) / (10 + prior) for t in town]
        expected = (expected - numpy.mean(of_values)) / expected.std()
        numpy.testing.assert_allclose(encoded, expected, atol=1e-5)


def test_values_of_validation_groups_alone_are_as_unknown_values(divisions: Any) -> None:
    """A column that names the groups has no input that is not 0 in validation rows alone."""
    table = {"x": X[:, 0], "group": GROUPS.astype(str)}
    encoder = xpnet.TableEncoder(binning="tree", min_frequency=2)
    TabularRegressor(**SMALL, encoder=encoder).fit(table, NUMBERS, groups=GROUPS)
    for training, validation in divisions:
        unseen = ~training.any(axis=0)
        assert unseen.sum() > 1
        assert not validation[:, unseen].any()


def test_intervals_know_that_the_level_of_a_new_group_is_unknown() -> None:
    """The levels differ ten times as much as the rows of a group, and the table names the group."""
    rng = numpy.random.default_rng(1)
    groups = numpy.repeat(numpy.arange(200), 10)
    y = 10 * rng.normal(size=200)[groups] + rng.normal(size=2000)
    table = pandas.DataFrame({"group": groups.astype(str), "x": rng.normal(size=2000)})
    old, new = groups < 150, groups >= 150
    model = TabularRegressor(networks=1, random_state=0, max_iter=30)
    model.fit(table[old], y[old], groups=groups[old])
    low, high = model.predict_interval(table[new], 0.9).T
    covered = ((low <= y[new]) & (y[new] <= high)).mean()
    assert covered == pytest.approx(0.9, abs=0.07)  # of 50 new groups
    assert (high - low).mean() > 25


class Asking(TransformerMixin, BaseEstimator):
    """An encoder of the user's own that asks for groups, and keeps what it gets."""

    def fit_transform(self, X: Any, y: Any = None, groups: Any = None) -> Any:
        """Keep the groups; return the columns as they are."""
        self.groups_ = groups
        return numpy.asarray(X, float)

    def transform(self, X: Any) -> Any:
        """Return the columns as they are."""
        return numpy.asarray(X, float)


def test_an_encoder_of_the_users_own_gets_the_groups_that_it_asks_for() -> None:
    X = numpy.random.default_rng(0).normal(size=(60, 2))
    groups = numpy.arange(60) // 5
    weight = numpy.where(groups == 3, 0.0, 1.0)
    settings: dict[str, Any] = {"max_iter": 1, "networks": 1, "random_state": 0}
    regressor = xpnet.TabularRegressor(encoder=Asking(), **settings)
    regressor.fit(X, X[:, 0], weight, groups=groups)
    counted = groups[weight > 0]
    received = regressor.encoder_.groups_
    assert (received[:, None] == received).tolist() == (counted[:, None] == counted).tolist()
    regressor.fit(X, X[:, 0], time=numpy.arange(60))
    assert regressor.encoder_.groups_ is None
    scaler = xpnet.TabularRegressor(encoder=StandardScaler(), **settings)
    assert len(scaler.fit(X, X[:, 0], groups=groups).predict(X)) == 60


def test_groups_are_routed_by_scikit_learn() -> None:
    seen = []

    class Spy(TabularRegressor):
        def fit(self, X: Any, y: Any, groups: Any = None) -> Any:
            seen.append(groups)
            return super().fit(X, y, groups=groups)

    with sklearn.config_context(enable_metadata_routing=True):
        model = Spy(**SMALL, encoder=as_it_is()).set_fit_request(groups=True)
        cross_validate(
            model, X, NUMBERS, cv=GroupKFold(3), params={"groups": GROUPS}, error_score="raise"
        )
    assert [len(set(groups)) for groups in seen] == [20, 20, 20]
    requests = TabularClassifier().get_metadata_routing().fit.requests
    assert {"groups", "time", "sample_weight"} <= set(requests)


REFUSED = [
    ({"groups": GROUPS, "time": DAYS}, "groups.*time"),
    ({"groups": GROUPS[:-1]}, "399"),
    ({"groups": numpy.where(GROUPS, GROUPS, numpy.nan)}, "gaps"),
    ({"groups": [None, *GROUPS[1:].astype(str)]}, "groups.*NoneType"),
    ({"groups": numpy.zeros(ROWS)}, "groups.*got 1"),
    ({"time": DAYS[:-1]}, "399"),
    ({"time": numpy.where(DAYS, DAYS, numpy.nan)}, "time.*got"),
    ({"time": numpy.full(ROWS, 3)}, "time.*got 1"),
    ({"time": numpy.where(DAYS > 3, "late", "early")}, "time.*text"),
    ({"time": "dai"}, "'dai'.*'day'"),
]


@pytest.mark.parametrize(("links", "message"), REFUSED, ids=[str(text) for _, text in REFUSED])
def test_refused(links: dict[str, Any], message: str) -> None:
    table = pandas.DataFrame({"x": X[:, 0], "day": DAYS})
    with pytest.raises(ValueError, match=message):
        TabularRegressor(**SMALL).fit(table, NUMBERS, **links)


@pytest.mark.parametrize(("kind", "y"), CASES)
@pytest.mark.parametrize("division", [{}, {"groups": numpy.arange(ROWS) // 2}, {"time": DAYS}])
def test_the_only_network_trains_on_a_view_of_the_encoded_rows_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch, kind: Any, y: Any, division: dict[str, Any]
) -> None:
    divide = ensemble.NetworkSplits.of_network
    are_views = []

    def record(splits: Any, *arguments: Any) -> Any:
        split = divide(splits, *arguments)
        are_views.append(numpy.shares_memory(split.training.X, splits.rows.X))
        return split

    def fitted() -> Any:
        model = kind(quality=1, max_iter=3, refit=False, random_state=0)
        return model.fit(X, y, WEIGHTS, **division)

    monkeypatch.setattr(ensemble.NetworkSplits, "of_network", record)
    on_view = fitted()
    monkeypatch.setattr("xpnet.tabular.fit.may_change", lambda *args: False)
    on_copy = fitted()
    assert are_views == [True, False]
    numpy.testing.assert_array_equal(on_view.predict_members(X), on_copy.predict_members(X))
    numpy.testing.assert_array_equal(on_view.feature_importances_, on_copy.feature_importances_)
    for name in ("residuals_", "residual_weights_"):
        if kind is TabularRegressor:
            numpy.testing.assert_array_equal(getattr(on_view, name), getattr(on_copy, name))


def test_validation_rows_are_released_when_a_network_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    validation_rows = []
    train_network = ensemble.train_network

    def record(training: Any, recipe: Any, rows: Any, validation: Any, **settings: Any) -> None:
        train_network(training, recipe, rows, validation, **settings)
        validation_rows.append(weakref.ref(validation.X))
        *earlier, _ = validation_rows
        assert all(reference() is None for reference in earlier)

    monkeypatch.setattr(ensemble, "train_network", record)
    TabularRegressor(**SMALL).fit(X, NUMBERS)
    assert len(validation_rows) == 3
