"""Estimators of tables: what they learn without a setting, and what each setting does."""

import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import joblib
import numpy
import pandas
import pytest
from helpers.cases import each_case
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import xpnet
from xpnet import TabularClassifier, TabularRegressor
from xpnet.backend.threads import allowed_threads
from xpnet.ops.losses import smoothed
from xpnet.tabular import base, fitted
from xpnet.tabular.ensemble import best_epoch, ensemble, network_training, recipe
from xpnet.tabular.ensemble.best_epoch import Patience, still_falls
from xpnet.tabular.ensemble.linear import solvers
from xpnet.tabular.quality import QUALITIES
from xpnet.training import Callback, engine

QUICK: dict[str, Any] = {"members": 2, "networks": 2, "max_iter": 40, "random_state": 0}
REPEATED = {
    "check_sample_weight_equivalence_on_dense_data": "a row of weight 2 is not a row that stands "
    "there twice: validation rows and batches are drawn by rows, and encoders count rows; the half "
    "of this check for weight 0 is made in test_weights.py"
}


@pytest.mark.filterwarnings("default", "ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [TabularClassifier(members=2, networks=1, max_iter=30)],
    expected_failed_checks=lambda estimator: REPEATED,
)
def test_check(estimator: Any, check: Callable[[Any], None]) -> None:
    """One check; it raises where the contract is broken."""
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("default", "ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [TabularRegressor(members=2, networks=1, max_iter=30)],
    expected_failed_checks=lambda estimator: REPEATED,
)
def test_check_of_a_regressor(estimator: Any, check: Callable[[Any], None]) -> None:
    """The same for the regressor, whose checks of X and of parameters are the classifier's."""
    check(estimator)


@pytest.fixture(scope="module")
def table() -> pandas.DataFrame:
    """Numbers with gaps, text and booleans."""
    rng = numpy.random.default_rng(0)
    return pandas.DataFrame(
        {
            "x": rng.normal(size=600),
            "gappy": numpy.where(rng.random(600) < 0.2, numpy.nan, rng.exponential(size=600)),
            "letter": rng.choice(["a", "b", "c"], 600),
            "truth": rng.random(600) < 0.5,
            "constant": "same",
        }
    )


@pytest.fixture(scope="module")
def target(table: pandas.DataFrame) -> numpy.ndarray:
    """A function of all columns, with a large mean and no noise."""
    bent = numpy.abs(table["x"]) * numpy.where(table["letter"] == "a", 1.0, -1.0) + table[
        "gappy"
    ].fillna(5.0)
    return 1e6 + 100 * (bent + table["truth"]).to_numpy()


def test_a_table_with_text_and_gaps_is_classified(
    table: pandas.DataFrame, target: numpy.ndarray
) -> None:
    labels = numpy.where(target > numpy.median(target), "high", "low")
    classifier = TabularClassifier(random_state=0).fit(table[:400], labels[:400])
    assert classifier.score(table[400:], labels[400:]) > 0.9
    assert classifier.encoder_.left_out_ == {"constant": "holds one value only"}
    assert classifier.feature_names_in_.tolist() == table.columns.tolist()
    probabilities = classifier.predict_proba(table[400:])
    numpy.testing.assert_allclose(
        probabilities, classifier.predict_members(table[400:]).mean(axis=0), atol=1e-5
    )
    assert classifier.why_.startswith(f"{len(classifier.networks_)} networks ")


def test_a_target_of_any_size_is_learned_and_its_range_kept(
    table: pandas.DataFrame, target: numpy.ndarray
) -> None:
    regressor = TabularRegressor(networks=1, max_iter=60, random_state=0)
    regressor.fit(table[:400], target[:400])
    assert regressor.score(table[400:], target[400:]) > 0.9
    far = regressor.predict(table.assign(x=1e9, gappy=1e9))
    assert target[:400].min() <= far.min() and far.max() <= target[:400].max()


def test_targets_whose_squares_overflow_are_refused() -> None:
    X = numpy.arange(40.0)[:, None]
    with pytest.raises(xpnet.InputError, match="`y` must hold numbers"):
        TabularRegressor(**QUICK).fit(X, X[:, 0] * 1e200)
    near = TabularRegressor(**QUICK).fit(X, X[:, 0] * 1e138).predict(X)
    assert numpy.isfinite(near).all()


def test_a_row_is_predicted_alike_alone_and_among_others(
    table: pandas.DataFrame, target: numpy.ndarray
) -> None:
    regressor = TabularRegressor(**QUICK).fit(table, target)
    alone = numpy.concatenate([regressor.predict(table[start : start + 1]) for start in range(40)])
    numpy.testing.assert_array_equal(regressor.predict(table)[:40], alone)


@pytest.mark.parametrize("numbers", [1, 2000], ids=["of 32 rows", "of more"])
def test_predictions_do_not_depend_on_the_blocks_in_which_rows_are_encoded(
    table: pandas.DataFrame, target: numpy.ndarray, numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = table.assign(
        mixed=numpy.resize(numpy.array(["a", 1, 2.0, None, 2.5], dtype=object), len(table))
    )
    regressor = TabularRegressor(**QUICK).fit(mixed, target)
    whole = [regressor.predict(mixed[:rows]) for rows in (600, 577)]
    members = regressor.predict_members(mixed)
    monkeypatch.setattr(fitted, "MAX_NUMBERS_AT_ONCE", numbers)
    for expected in whole:
        numpy.testing.assert_array_equal(regressor.predict(mixed[: len(expected)]), expected)
    # Each member is a product of BLAS, which on some processors rounds by the number of rows.
    rounding = 10 * numpy.finfo(numpy.float32).eps * target.std()
    numpy.testing.assert_allclose(regressor.predict_members(mixed), members, rtol=0, atol=rounding)


def test_the_spread_of_the_members_is_that_of_their_predictions(
    table: pandas.DataFrame, target: numpy.ndarray
) -> None:
    regressor = TabularRegressor(members=3, networks=2, max_iter=20, random_state=0).fit(
        table, target
    )
    mean, spread = regressor.predict(table, return_std=True)
    each = regressor.predict_members(table)
    assert each.shape == (6, 600, 1)
    numpy.testing.assert_array_equal(regressor.predict(table), mean)
    numpy.testing.assert_allclose(spread, each[:, :, 0].std(axis=0))
    numpy.testing.assert_allclose(mean, each[:, :, 0].mean(axis=0).clip(target.min(), target.max()))


def test_a_seed_is_the_seed_of_an_encoder_that_has_none() -> None:
    """Targets of many categories are averaged over halves of the rows, which are drawn."""
    rng = numpy.random.default_rng(0)
    X = pandas.DataFrame(
        {"place": rng.integers(0, 150, 400).astype(str), "size": rng.normal(size=400)}
    )
    y = X["size"] + rng.normal(size=400)
    settings = {"encoder": xpnet.TableEncoder(max_categories=20), "random_state": 0, "max_iter": 2}
    first, second = (xpnet.TabularRegressor(**settings).fit(X, y).predict(X) for _ in range(2))
    numpy.testing.assert_array_equal(first, second)
    assert settings["encoder"].random_state is None


def test_a_seed_gives_the_same_fit_whatever_runs_side_by_side(
    table: pandas.DataFrame, target: numpy.ndarray
) -> None:
    quick = {**QUICK, "max_iter": 10}
    fits = [
        TabularRegressor(**quick, n_jobs=jobs).fit(table, target).predict(table)
        for jobs in (None, 1, 2)
    ]
    numpy.testing.assert_array_equal(fits[0], fits[1])
    numpy.testing.assert_allclose(
        fits[0], fits[2], atol=0.1 * target.std()
    )  # threads sum float32 in another order
    other = TabularRegressor(**{**quick, "random_state": 1}).fit(table, target).predict(table)
    assert numpy.abs(other - fits[0]).max() > 1e-3


def test_candidates_in_threads_are_those_alone(
    table: pandas.DataFrame, target: numpy.ndarray
) -> None:
    """Networks of two candidates train at once; networks of each are in threads, too."""
    table, target = table[:200], target[:200]
    regressor = TabularRegressor(members=2, networks=2, max_iter=4, random_state=0, n_jobs=2)
    grid = {"learning_rate_init": [1e-3, 1e-2], "loss": ["squared_error", "huber"]}
    alone, in_threads = (GridSearchCV(regressor, grid, cv=2, n_jobs=jobs) for jobs in (None, 3))
    alone.fit(table, target)
    with joblib.parallel_config("threading"):
        in_threads.fit(table, target)
    for fold in range(2):
        name = f"split{fold}_test_score"
        numpy.testing.assert_array_equal(alone.cv_results_[name], in_threads.cv_results_[name])
    assert in_threads.best_params_ == alone.best_params_
    assert allowed_threads() == joblib.cpu_count()


def test_validation_rows_of_the_user_end_the_training(
    table: pandas.DataFrame, target: numpy.ndarray
) -> None:
    given = {"X_val": table[400:], "y_val": target[400:]}
    settings: dict[str, Any] = {
        "networks": 2,
        "n_iter_no_change": 5,
        "max_iter": 60,
        "random_state": 0,
    }
    regressor = TabularRegressor(**settings).fit(table[:400], target[:400], **given)
    for network, best in zip(regressor.networks_, regressor.best_epochs_, strict=True):
        losses = network.history.validation_loss
        assert numpy.argmin(losses) + 1 == best
        assert network.history.epochs in (best + 5, 60)
        scaled = (target[400:] - target[:400].mean()) / target[:400].std()
        outputs = network.predict_members(regressor.encoder_.transform(table[400:]))[:, :, 0]
        assert numpy.mean((outputs - scaled) ** 2) / 2 == pytest.approx(min(losses), rel=1e-3)
    with pytest.raises(xpnet.InputError, match="got no y_val"):
        regressor.fit(table, target, X_val=table)


def test_a_network_keeps_the_mean_of_its_epochs_of_which_the_last_count_most() -> None:
    class Epochs(Callback):
        def __init__(self) -> None:
            self.made: list[dict[str, numpy.ndarray]] = []

        def epoch_end(self, training: Any) -> None:
            self.made.append(
                {name: value.copy() for name, value in training.step.state().params.items()}
            )

    seen = Epochs()
    X = numpy.random.default_rng(0).normal(size=(200, 3))
    model = TabularRegressor(
        encoder=StandardScaler(),
        networks=1,
        max_iter=12,
        refit=False,
        random_state=0,
        dtype="float64",
    )
    model.watch(lambda number: ([seen], None)).fit(X, X[:, 0] * X[:, 1])
    (network,), (best,) = model.networks_, model.best_epochs_
    weights = 0.7 ** numpy.arange(best)[::-1]
    for name, value in network.values().items():
        wanted = numpy.average([epoch[name] for epoch in seen.made[:best]], axis=0, weights=weights)
        numpy.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-12, err_msg=name)


def test_a_large_table_makes_fewer_epochs_and_its_learning_rate_falls_over_the_last_third(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recipe, "LARGE_ROWS", 60)
    X = numpy.random.default_rng(0).normal(size=(60, 3))
    settings: dict[str, Any] = {"validation_fraction": 0, "random_state": 0, "batch_size": 60}
    with pytest.warns(ConvergenceWarning, match=f"{recipe.MIN_EPOCHS} epochs"):
        wide = TabularRegressor(hidden_layer_sizes=(512, 512), **settings).fit(X, X[:, 0])
    assert wide.n_iter_ == recipe.MIN_EPOCHS
    rates = wide.networks_[0].history.learning_rate
    assert rates[:11] == [QUALITIES[3].number_rate] * 11
    assert (numpy.diff(rates[10:]) < 0).all() and rates[-1] < rates[0] / 4
    monkeypatch.setattr(recipe, "LARGE_ROWS", 61)
    quality = QUALITIES[1]
    small = TabularRegressor(quality=1, **settings).fit(X, X[:, 0])
    assert small.n_iter_ == quality.max_epochs
    assert set(small.networks_[0].history.learning_rate) == {quality.number_rate}


def test_a_training_that_ends_at_the_last_epoch_of_a_small_table_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recipe, "MAX_EPOCHS", 3)
    X = numpy.random.default_rng(0).normal(size=(200, 3))
    with pytest.warns(ConvergenceWarning, match=r"of 3 epochs\. Set a larger `max_iter`\.$"):
        model = TabularRegressor(networks=1, random_state=0).fit(X, numpy.sin(3 * X[:, 0]))
    assert model.best_epochs_ == [3]


@each_case("rows", [100, 9_999, 10_000, 21_999, 22_000, 200_000, 10**6])
def test_the_work_of_a_fit_grows_with_the_rows_without_a_jump(rows: int) -> None:
    quality = QUALITIES[3]
    work = [count * recipe.allowed_work(quality, count, 30) for count in (rows, rows + 1)]
    assert work[0] <= work[1] * (1 + 1e-12)
    assert work[1] <= work[0] * (1 + 2 / rows)


def test_bounded_trainings_of_a_small_table_make_no_more_epochs_than_their_work_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(400, 4))
    y = X.sum(axis=1)  # its validation loss falls for hundreds of epochs
    monkeypatch.setattr(recipe, "WORK_OF_FEW_ROWS", 0.4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = TabularRegressor(random_state=0).fit(X, y)
    work = sum(
        recipe.work_of_an_epoch(network.spec) * network.history.epochs
        for network in model.networks_
    )
    assert model.n_iter_ < recipe.MAX_EPOCHS
    assert work <= 0.4 * QUALITIES[3].work_of_a_row * 1.1  # the linear part's units are few
    rates = model.networks_[0].history.learning_rate
    assert rates[0] == QUALITIES[3].number_rate
    assert rates[-1] < 0.2 * rates[0]


@pytest.mark.parametrize(
    ("losses", "falls"),
    [
        ([2.0], False),
        ([2.0, 1.0], True),
        ([2.0, 2.5], False),
        ([10.0, *[1.0] * 18, 0.95], False),  # 0.6 % of the fall, in the last two of twenty epochs
        ([10.0, *[1.0] * 18, 0.85], True),
        ([10.0, *[1.0] * 17, 0.5, 0.9], True),
        ([10.0, *[1.0] * 16, 0.5, 0.9, 0.9], False),
    ],
)
def test_a_loss_still_falls_when_its_last_epochs_lowered_it(
    losses: list[float], falls: bool
) -> None:
    assert still_falls(losses) == falls


@pytest.mark.parametrize(("epochs", "share"), [(2, 0.0), (2, 0.5), (1, 1.0)])
def test_a_training_waits_longer_after_a_late_best_epoch(
    monkeypatch: pytest.MonkeyPatch, epochs: int, share: float
) -> None:
    patience = Patience(epochs, share)
    quality = replace(QUALITIES[3], patience=patience)
    monkeypatch.setitem(QUALITIES, 3, quality)
    rng = numpy.random.default_rng(0)
    X, y = rng.normal(size=(300, 3)), rng.normal(size=300)
    model = TabularRegressor(networks=4, refit=False, random_state=0).fit(X, y)
    best = numpy.array(model.best_epochs_)
    made = [network.history.epochs for network in model.networks_]
    assert made == list(best + epochs + (share * best).round().astype(int))


def test_a_number_of_epochs_without_a_lower_loss_is_kept_as_it_is() -> None:
    rng = numpy.random.default_rng(0)
    X, y = rng.normal(size=(300, 3)), rng.normal(size=300)
    model = TabularRegressor(n_iter_no_change=7, networks=3, refit=False, random_state=0).fit(X, y)
    made = [network.history.epochs for network in model.networks_]
    assert made == [best + 7 for best in model.best_epochs_]


def test_the_rows_of_a_very_large_table_share_its_work() -> None:
    quality = QUALITIES[1]
    assert recipe.allowed_work(quality, 200_000, 30) == quality.work_of_a_row
    assert recipe.allowed_work(quality, 25_000, 90) == 3 * quality.work_of_a_row
    assert recipe.allowed_work(quality, 1_000_000, 30) == quality.work_of_a_row / 5
    of_many_columns = recipe.allowed_work(quality, 25_000, 20_000)
    assert of_many_columns == recipe.allowed_work(quality, 25_000, 1000)


def test_a_very_large_table_makes_as_many_epochs_as_have_enough_updates() -> None:
    assert recipe.affordable_epochs(1.0, updates=10, maximum=100) == recipe.MIN_EPOCHS
    assert recipe.affordable_epochs(1.0, updates=8000, maximum=100) == 3
    assert recipe.affordable_epochs(30.0, updates=10, maximum=100) == 30
    assert recipe.affordable_epochs(300.0, updates=10, maximum=100) == 100


def test_another_network_is_trained_where_the_first_left_epochs_unused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quality = replace(QUALITIES[3], network_counts=((0, 3, 4),))
    monkeypatch.setitem(QUALITIES, 3, quality)
    rng = numpy.random.default_rng(0)
    X, y = rng.normal(size=(300, 3)), rng.normal(size=300)
    early = TabularRegressor(n_iter_no_change=1, max_iter=40, random_state=0).fit(X, y)
    assert len(early.networks_) == len(early.best_epochs_) == 4
    assert sum(network.history.epochs for network in early.networks_) <= 3 * 40
    together = clone(early).set_params(n_jobs=2).fit(X, y)
    assert len(together.networks_) == 4
    assert len(TabularRegressor(max_iter=4, random_state=0).fit(X, y).networks_) == 3


@pytest.mark.parametrize("number", QUALITIES)
def test_a_quality_sets_what_the_user_leaves_open(number: int) -> None:
    quality = QUALITIES[number]
    X = numpy.random.default_rng(0).normal(size=(80, 2))
    model = TabularClassifier(quality=number, max_iter=1, random_state=0).fit(X, X[:, 0] > 0)
    spec = model.networks_[0].spec
    (_, count, _), *_ = quality.network_counts[::-1]
    folds = sum(rung.folds for rung in quality.search)
    counts = [folds, 2 * folds, 3 * folds] if quality.search else [count]
    assert len(model.networks_) in counts
    assert spec.members == quality.members
    assert spec.rule.weight_decay == quality.label_decay
    assert model.networks_[0].history.learning_rate == [quality.label_rate]
    own = TabularClassifier(
        quality=number,
        max_iter=1,
        networks=1,
        members=2,
        hidden_layer_sizes=(7,),
        weight_decay=0.5,
        random_state=0,
    ).fit(X, X[:, 0] > 0)
    spec = own.networks_[0].spec
    assert (len(own.networks_), spec.members, spec.widths[1:-1]) == (1, 2, (7,))
    assert spec.rule.weight_decay == 0.5


@pytest.mark.parametrize(
    ("model", "rows", "size"),
    [
        (TabularClassifier(), 499, 64),
        (TabularClassifier(), 500, 128),
        (TabularRegressor(), 2999, 64),
        (TabularRegressor(), 3000, 128),
        (TabularRegressor(quality=1), 500, 128),
        (TabularRegressor(batch_size=7), 3000, 7),
    ],
)
def test_batches_grow_with_the_rows(model: Any, rows: int, size: int) -> None:
    """Whatever else the networks are."""
    x = numpy.arange(float(rows))
    sizes: list[int] = []
    small = {"networks": 1, "members": 1, "hidden_layer_sizes": (2,), "max_iter": 1}
    clone(model).set_params(**small, encoder=StandardScaler(), refit=False).fit(
        x[:, None], x % 2, callbacks=[lambda training: sizes.append(training.batches.batch_size)]
    )
    assert sizes == [size]


@pytest.mark.parametrize("quality", [0, 6, 2.5, "best"])
def test_a_quality_is_a_whole_number_from_1_to_5(quality: Any) -> None:
    with pytest.raises(xpnet.InputError, match="quality"):
        TabularClassifier(quality=quality).fit([[0.0], [1.0]] * 4, [0, 1] * 4)


def test_each_member_sets_other_rows_apart(table: pandas.DataFrame, target: numpy.ndarray) -> None:
    regressor = TabularRegressor(**QUICK, validation_fraction=0.5).fit(table, target)
    curves = [network.history.validation_loss for network in regressor.networks_]
    assert curves[0][0] != curves[1][0]
    whole = TabularRegressor(**QUICK, validation_fraction=0).fit(table, target)
    assert [network.history.validation_loss for network in whole.networks_] == [[], []]
    assert whole.best_epochs_ == [40, 40]


def test_rows_of_a_batch_may_all_have_no_weight(
    table: pandas.DataFrame, target: numpy.ndarray
) -> None:
    weight = numpy.zeros(600)
    weight[:9] = 1.0
    model = TabularClassifier(**QUICK).fit(
        table, target > numpy.median(target), sample_weight=weight
    )
    assert numpy.isfinite(model.predict_proba(table)).all()


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"hidden_layer_sizes": (8, -1)}, "must be > 0"),
        ({"class_weight": {False: -1.0, True: 1.0}}, "must not be negative"),
    ],
)
def test_sizes_and_weights_that_make_no_sense_are_refused(
    parameters: dict[str, Any], sentence: str
) -> None:
    X = numpy.arange(40.0)[:, None]
    with pytest.raises(xpnet.InputError, match=sentence):
        TabularClassifier(**{**QUICK, **parameters}).fit(X, X[:, 0] > 20)


def test_balanced_classes_find_the_rare_one(table: pandas.DataFrame) -> None:
    rare = (table["x"] + numpy.random.default_rng(1).normal(size=600) > 2.2).to_numpy()
    plain = TabularClassifier(**QUICK).fit(table, rare).predict(table).mean()
    balanced = (
        TabularClassifier(**QUICK, class_weight="balanced").fit(table, rare).predict(table).mean()
    )
    assert plain < rare.mean() < balanced


def test_no_hidden_layer_is_a_linear_model() -> None:
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(500, 3))
    y = X @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=500)
    linear: dict[str, Any] = {
        "encoder": StandardScaler(),
        "hidden_layer_sizes": (),
        "weight_decay": 0.0003,
    }
    linear |= {"learning_rate_init": 0.02, "random_state": 0}
    regressor = TabularRegressor(networks=2, **linear).fit(X, y)
    numpy.testing.assert_allclose(regressor.predict(X), Ridge().fit(X, y).predict(X), atol=0.1)
    labels = y + rng.normal(size=500) > 0
    classifier = TabularClassifier(networks=2, **linear).fit(X, labels)
    wanted = log_loss(labels, LogisticRegression(C=100).fit(X, labels).predict_proba(X))
    assert log_loss(labels, classifier.predict_proba(X)) < wanted + 0.02


def test_counts_are_predicted_as_positive_numbers() -> None:
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(800, 1))
    y = rng.poisson(numpy.exp(1 + X[:, 0]))
    regressor = TabularRegressor(loss="poisson", networks=2, random_state=0).fit(X, y)
    assert regressor.predict(X).min() >= 0
    assert numpy.corrcoef(numpy.log(regressor.predict(X) + 1e-3), X[:, 0])[0, 1] > 0.95
    with pytest.raises(xpnet.InputError, match=r"negative.*poisson.*-5"):
        regressor.fit(X, y - 5)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("quality", [3, 5])
def test_without_time_one_epoch_is_made(
    table: pandas.DataFrame, target: numpy.ndarray, jobs: int, quality: int
) -> None:
    limited = TabularRegressor(time_limit=1e-6, quality=quality, n_jobs=jobs, random_state=0)
    limited.fit(table, target)
    epochs = [network.history.epochs for network in limited.networks_]
    assert epochs == [1] * len(epochs)
    assert len(epochs) <= jobs  # those that begin together have the same right
    assert limited.predict_interval(table, 0.5).shape == (len(table), 2)


def test_no_epoch_begins_that_would_end_too_late(
    table: pandas.DataFrame, target: numpy.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By this clock an epoch takes 10 s, from 10 to 20 s and from 30 to 40 s."""
    seconds = [0.0]

    def tick() -> float:
        seconds[0] += 10
        return seconds[0]

    clock = SimpleNamespace(monotonic=lambda: seconds[0], perf_counter=tick)
    for room in (best_epoch, ensemble, recipe, network_training, engine):
        monkeypatch.setattr(room, "time", clock)
    monkeypatch.setattr(base, "monotonic", clock.monotonic)
    settings = {"networks": 1, "max_iter": 9, "refit": False, "random_state": 0}
    assert TabularRegressor(**settings, time_limit=45).fit(table, target).n_iter_ == 2
    seconds[0] = 0.0
    assert TabularRegressor(**settings, time_limit=51).fit(table, target).n_iter_ == 3


def test_the_time_that_simple_models_take_counts(
    table: pandas.DataFrame, target: numpy.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By this clock simple models take 50 s, and an epoch takes no time."""
    seconds = [0.0]

    def slow(*_: Any) -> None:
        seconds[0] += 50

    def slow_scales(encodings: Any, rows: Any, *_: Any, **settings: int) -> numpy.ndarray:
        seconds[0] += 50
        return numpy.ones(rows.X.shape[1])

    clock = SimpleNamespace(monotonic=lambda: seconds[0], perf_counter=lambda: seconds[0])
    for room in (best_epoch, ensemble, recipe, network_training, engine):
        monkeypatch.setattr(room, "time", clock)
    monkeypatch.setattr(base, "monotonic", clock.monotonic)
    limited = TabularRegressor(
        time_limit=45, networks=1, max_iter=3, refit=False, n_iter_no_change=200, random_state=0
    )
    monkeypatch.setattr(network_training, "fit_linear", slow)
    assert limited.fit(table, target).n_iter_ == 1
    monkeypatch.setattr(network_training, "fit_linear", lambda *_: None)
    assert limited.fit(table, target).n_iter_ == 3
    monkeypatch.setattr(recipe, "scales_of_inputs", slow_scales)
    assert limited.fit(table, target).n_iter_ == 1


@pytest.mark.filterwarnings("error")
def test_a_linear_model_that_has_not_converged_warns_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(solvers, "MAX_ITERATIONS", 1)
    X = numpy.random.default_rng(0).normal(size=(200, 3))
    y = X.sum(axis=1) > 0
    assert TabularClassifier(**QUICK).fit(X, y).score(X, y) > 0.9


def test_smoothed_labels_are_probabilities() -> None:
    found = smoothed(numpy.array([0, 2]), numpy.empty((0, 3)), 0.3, 3)
    numpy.testing.assert_allclose(found, [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]], rtol=1e-12)
    y = numpy.arange(90) % 3
    classifier = TabularClassifier(**QUICK, label_smoothing=0.3).fit(y[:, None].astype(float), y)
    assert classifier.score(y[:, None].astype(float), y) == 1.0


def test_several_targets_are_learned_together(
    table: pandas.DataFrame, target: numpy.ndarray
) -> None:
    both = numpy.column_stack([target, -target])
    regressor = TabularRegressor(networks=1, max_iter=60, random_state=0).fit(table, both)
    assert regressor.predict(table).shape == (600, 2)
    assert regressor.score(table, both) > 0.9


def test_copies_searches_and_float64(table: pandas.DataFrame, target: numpy.ndarray) -> None:
    quick = {**QUICK, "networks": 1}
    regressor = TabularRegressor(**quick, dtype="float64").fit(table, target)
    copy = pickle.loads(pickle.dumps(regressor))
    numpy.testing.assert_array_equal(copy.predict(table), regressor.predict(table))
    assert regressor.networks_[0].dtype_ == "float64"
    assert cross_val_score(clone(regressor), table, target, cv=2).min() > 0.5


def test_labels_of_validation_rows_are_known(table: pandas.DataFrame) -> None:
    labels = table["letter"].to_numpy()
    with pytest.raises(xpnet.InputError, match="labels that the training rows have; got 'z'"):
        TabularClassifier(**QUICK).fit(
            table, labels, X_val=table[:2], y_val=numpy.array(["a", "z"])
        )


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (["a", "a\0"], "end in a NUL"),
        (["a", None], "10 of 20 rows have none, the first of them row 1"),
        (["a", 1], "strings alone"),
    ],
)
@pytest.mark.parametrize("kind", [list, lambda labels: numpy.array(labels, dtype=object)])
def test_labels_that_numpy_cannot_tell_apart_or_sort_are_refused(
    kind: Any, labels: Any, sentence: str
) -> None:
    X = numpy.linspace(0, 1, 40).reshape(20, 2)
    with pytest.raises(xpnet.InputError, match=sentence):
        TabularClassifier(max_iter=2, members=2).fit(X, kind(labels * 10))


def test_a_fit_that_failed_leaves_no_watcher_to_the_next() -> None:
    X, y = numpy.arange(40.0).reshape(20, 2), numpy.arange(20) % 2
    model = xpnet.TabularClassifier(max_iter=2, members=1, networks=1)
    watched: list[int] = []

    def watch(number: int) -> Any:
        watched.append(number)
        return [], None

    with pytest.raises(ValueError):
        model.watch(watch).fit(X, None)
    model.fit(X, y)
    assert watched == []
    model.watch(watch).fit(X, y)
    assert watched == [0]


@pytest.mark.parametrize("networks", [8, 12])
def test_a_row_is_predicted_alone_as_among_others(networks: int) -> None:
    rng = numpy.random.default_rng(0)
    X, y = rng.normal(size=(80, 3)), rng.normal(size=80)
    model = TabularRegressor(networks=networks, max_iter=2, random_state=0).fit(X, y)
    together = model.predict(X)
    alone = numpy.concatenate([model.predict(X[k : k + 1]) for k in range(80)])
    numpy.testing.assert_array_equal(alone, together)
