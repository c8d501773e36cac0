"""Networks of several settings: in turn, and as the best of a search."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pandas
import pytest
from sklearn.base import is_regressor

import xpnet
from xpnet import TabularClassifier, TabularRegressor
from xpnet.optimizers import AdamW
from xpnet.tabular.ensemble import ensemble, network_training, recipe
from xpnet.tabular.ensemble.blending import ValidationPredictions, best_together
from xpnet.tabular.ensemble.ensemble import Ensemble
from xpnet.tabular.ensemble.linear.baseline import sums_of_inputs
from xpnet.tabular.ensemble.network_training import NetworkTraining
from xpnet.tabular.ensemble.recipe import FoldScales
from xpnet.tabular.ensemble.search import (
    SETTINGS,
    are_bins,
    recipe_of_setting,
    usable_settings,
)
from xpnet.tabular.quality import QUALITIES, Rung
from xpnet.tabular.rows.table_split import FitRows, TableSplit
from xpnet.tabular.settings import TableSettings
from xpnet.training import Callback

RNG = numpy.random.default_rng(0)
ROWS = 240
TABLE = pandas.DataFrame(
    {"x": RNG.normal(size=ROWS), "y": RNG.normal(size=ROWS), "letter": RNG.choice(["a", "b"], ROWS)}
)
NUMBERS = (TABLE["x"] * TABLE["y"] + RNG.normal(size=ROWS) / 5).to_numpy()
LABELS = numpy.where(NUMBERS > 0, "high", "low")
CASES = [(TabularClassifier, LABELS), (TabularRegressor, NUMBERS)]
SMALL: dict[str, Any] = {"quality": 5, "members": 2, "max_iter": 2, "random_state": 0}


class SettingsMade(Exception):
    """Ends a fit once its settings are made."""


def settings_of(model: Any) -> TableSettings:
    """Return the settings that a fit makes of the parameters of a model."""
    made: list[TableSettings] = []

    def record(settings: TableSettings, *_: object) -> None:
        made.append(settings)
        raise SettingsMade

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SettingsMade):
        patch.setattr("xpnet.tabular.base.encode_and_divide", record)
        model.fit(TABLE, NUMBERS if is_regressor(model) else LABELS)
    return made[0]


def encoded(model: Any) -> tuple[Any, FitRows, recipe.Recipe]:
    """Return the fitted encoder, the encoded rows and the recipe of a model."""
    y = NUMBERS if is_regressor(model) else numpy.unique(LABELS, return_inverse=True)[1]
    encoder = model.new_encoder(0)
    X = encoder.fit_transform(TABLE, y)
    rows = FitRows(X, y[:, None] if is_regressor(model) else y)
    settings = settings_of(model)
    outputs = 1 if is_regressor(model) else 2
    made = recipe.make_recipe(
        settings,
        encoder,
        TableSplit(rows, None),
        outputs=outputs,
        networks=1,
        started=0.0,
        watch=None,
    )
    scales = FoldScales(settings, encoder.encodings_, TableSplit(rows, None), 2, 1)
    return encoder, rows, recipe.with_scales(made, scales.of_fold(0))


def scales_of(made: recipe.Recipe) -> numpy.ndarray:
    """Return the factors of the inputs, which a recipe has here."""
    assert made.input_scales is not None
    return made.input_scales


@pytest.fixture(autouse=True)
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have quality 5 train four settings on one fold, and three of them on two more."""
    quality = replace(QUALITIES[5], search=(Rung(4, 1), Rung(3, 2)))
    monkeypatch.setitem(QUALITIES, 5, quality)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Record the setting and the fold of each network that is trained."""
    recorded = []
    train_one = Ensemble.train_one

    def record(made: Ensemble, number: int) -> None:
        recorded.append(made.plans[number][1:])
        train_one(made, number)

    monkeypatch.setattr(Ensemble, "train_one", record)
    return recorded


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.title)
def test_factors_of_a_setting_leave_the_linear_baseline_as_it_is(setting: Any) -> None:
    encoder, rows, made = encoded(TabularRegressor(quality=5))
    other = recipe_of_setting(made, setting, encoder.encodings_, "regression")
    before, after = [
        sums_of_inputs(rows.X.astype(numpy.float64) * scales_of(one), one.input_sums)
        for one in (made, other)
    ]
    numpy.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-12)
    bins = are_bins(encoder.encodings_)
    assert other.learning_rate == made.learning_rate * setting.learning_rate
    assert other.schedule(7, []) == made.schedule(7, []) * setting.learning_rate
    decays = [one.spec.rule.weight_decay for one in (made, other)]
    assert decays[1] == decays[0] * setting.weight_decay
    named = ["_bin" in name for name in encoder.get_feature_names_out()]
    assert bins.tolist() == named and 0 < bins.sum() < len(bins)
    of_others = scales_of(other)[~bins]
    wanted = scales_of(made)[~bins] if setting.uses_importances else numpy.ones((~bins).sum())
    numpy.testing.assert_allclose(of_others, wanted)
    wanted = scales_of(made)[bins] if setting.uses_importances else numpy.ones(bins.sum())
    numpy.testing.assert_allclose(scales_of(other)[bins], wanted * setting.bin_scale)


@pytest.mark.parametrize("kind", [TabularClassifier, TabularRegressor])
def test_settings_change_nothing_that_the_user_has_chosen(kind: Any) -> None:
    def titles(**parameters: Any) -> list[str]:
        model = kind(quality=5, **parameters)
        return [setting.title for setting in usable_settings(settings_of(model), encoded(model)[2])]

    bins, importances, dropout, steps = (setting.title for setting in SETTINGS)
    assert titles() == [bins, importances, dropout, steps]
    assert titles(dropout=0.3) == [bins, importances, steps]
    assert (
        titles(weight_decay=0.3) == titles(learning_rate_init=0.1) == [bins, importances, dropout]
    )
    assert titles(hidden_layer_sizes=(5,)) == ["defaults", dropout]
    assert titles(hidden_layer_sizes=(), weight_decay=0.3) == ["defaults"]


@pytest.mark.parametrize(("kind", "y"), CASES)
def test_networks_take_settings_in_turn(trained: Any, kind: Any, y: Any) -> None:
    model = kind(quality=4, members=2, max_iter=1, random_state=0).fit(TABLE, y)
    assert trained == [(k % 4, k) for k in range(6)]
    # A file describes all networks at once.
    specs = {replace(network.spec, seed=0) for network in model.networks_}
    assert len(specs) == 1
    decay = QUALITIES[4].label_decay if kind is TabularClassifier else QUALITIES[4].number_decay
    assert specs.pop().rule == AdamW(weight_decay=decay).rule


@pytest.mark.parametrize(("kind", "y"), CASES)
def test_one_network_alone_has_smaller_bins_if_it_predicts_numbers(
    monkeypatch: pytest.MonkeyPatch, kind: Any, y: Any
) -> None:
    ensembles: list[Ensemble] = []
    train = Ensemble.train

    def record(ensemble: Ensemble, minimum: int) -> None:
        ensembles.append(ensemble)
        train(ensemble, minimum)

    monkeypatch.setattr(Ensemble, "train", record)
    model = kind(quality=1, max_iter=1, random_state=0).fit(TABLE, y)
    (ensemble,) = ensembles
    recipes: Any = ensemble.recipes
    assert len(model.networks_) == len(recipes.settings) == 1
    factors = scales_of(ensemble.recipe_of(0)) / recipes.scales.of_fold(0)
    of_bins = 0.4 if kind is TabularRegressor else 1.0
    wanted = numpy.where(are_bins(model.encoder_.encodings_), of_bins, 1.0)
    numpy.testing.assert_allclose(factors, wanted, rtol=1e-12)


@pytest.mark.parametrize(("kind", "y"), CASES)
def test_a_search_goes_on_with_the_settings_of_the_lowest_validation_loss(
    monkeypatch: pytest.MonkeyPatch,
    printed: pytest.CaptureFixture[str],
    trained: Any,
    kind: Any,
    y: Any,
) -> None:
    losses = [5.0, 2.0, 4.0, 1.0]

    def loss(training: NetworkTraining) -> float:
        return losses[settings[id(training.network)]]

    settings: dict[int, int] = {}

    def record(network: Any, *others: Any, **named: Any) -> NetworkTraining:
        settings[id(network)] = trained[-1][0]
        return NetworkTraining(network, *others, **named)

    monkeypatch.setattr(network_training, "NetworkTraining", record)
    monkeypatch.setattr(NetworkTraining, "validation_loss", property(loss))
    model = kind(**SMALL, verbose=True).fit(TABLE, y)
    lines = [(line[:9].strip(), line[10:]) for line in printed.readouterr().out.splitlines()]
    assert trained[:4] == [(setting, 0) for setting in range(4)]
    assert trained[4:] == [(setting, fold) for fold in (1, 2) for setting in (1, 2, 3)]
    titles = [SETTINGS[k].title for k in (3, 1, 2)]
    assert [value for name, value in lines if name == "go on"] == [", ".join(titles)]
    assert {name for name, _ in lines} >= {"network 1", "go on", "blended"}
    assert len(model.networks_) in (3, 6, 9)


def test_predictions_are_chosen_that_are_best_together() -> None:
    rng = numpy.random.default_rng(1)
    Y = rng.normal(size=(50, 1))
    error, noise = rng.normal(size=(50, 1)), rng.normal(size=(50, 1))
    outputs = [Y + error, Y - 0.9 * error, Y + 3 * noise, Y + 0.8 * error + noise]
    weight = rng.uniform(0.5, 2, 50)
    predicted = [ValidationPredictions(one, Y, weight) for one in outputs]
    subsets = [list(c) for n in range(1, 5) for c in combinations(range(4), n)]

    def loss(subset: list[int]) -> float:
        squares = (numpy.mean([outputs[k] for k in subset], axis=0) - Y)[:, 0] ** 2
        return float(squares @ weight)

    assert sorted(best_together(predicted)) == min(subsets, key=loss) == [0, 1]
    assert best_together(predicted[:1]) == [0]
    for rise, chosen in ((0.009, [0, 1]), (0.011, [0])):
        close = [Y + 1.0, Y + 1.0 + 2 * (numpy.sqrt(1 + rise) - 1)]  # the mean has a loss 1 + rise
        assert best_together([ValidationPredictions(one, Y, None) for one in close]) == chosen


@pytest.mark.parametrize("jobs", [1, 2])
def test_validation_rows_are_predicted_by_the_mean_of_all_settings(jobs: int) -> None:
    model = TabularRegressor(**SMALL, refit=False, n_jobs=jobs).fit(TABLE, NUMBERS)
    assert len(model.residuals_) == ROWS * 3 / 8
    errors = numpy.abs(NUMBERS - model.predict(TABLE))
    assert errors.mean() < numpy.abs(model.residuals_).mean() < 2 * errors.mean()
    low, high = model.predict_interval(TABLE, 0.9).T
    assert (low < high).all()


@pytest.mark.parametrize(("kind", "y"), CASES)
def test_the_networks_of_a_search_are_saved_and_exported(tmp_path: Path, kind: Any, y: Any) -> None:
    model = kind(**SMALL).fit(TABLE, y)
    model.save(tmp_path / "model.xpnet")
    opened = xpnet.load(tmp_path / "model.xpnet")
    numpy.testing.assert_array_equal(opened.predict(TABLE), model.predict(TABLE))
    assert len(opened.networks_) == len(model.networks_)


@pytest.mark.parametrize(
    ("arguments", "fit_arguments"),
    [
        ({"networks": 2}, {}),
        ({"validation_fraction": 0}, {}),
        ({"hidden_layer_sizes": (), "weight_decay": 0.1}, {}),
    ],
)
def test_there_is_no_search_where_it_has_nothing_to_choose(
    trained: Any, arguments: dict[str, Any], fit_arguments: dict[str, Any]
) -> None:
    TabularRegressor(**SMALL | arguments).fit(TABLE, NUMBERS, **fit_arguments)
    assert len(trained) == arguments.get("networks", 8)


@pytest.mark.parametrize(
    "arguments",
    [
        {"X_val": TABLE[:60], "y_val": NUMBERS[:60]},
        {"time": numpy.arange(ROWS)},
        {"groups": numpy.arange(ROWS) % 2},
    ],
    ids=["X_val", "time", "groups"],
)
def test_a_search_takes_validation_rows_of_any_kind(
    trained: Any, arguments: dict[str, Any]
) -> None:
    model = TabularRegressor(**SMALL).fit(TABLE, NUMBERS, **arguments)
    assert len(trained) == 10
    rows = {"X_val": 60, "time": 30, "groups": ROWS}
    assert len(model.residuals_) == rows[next(iter(arguments))]


def test_a_search_without_time_trains_one_network() -> None:
    model = TabularRegressor(**SMALL, time_limit=1e-9).fit(TABLE, NUMBERS)
    assert len(model.networks_) == 1
    assert model.n_iter_ == 1


def test_settings_that_the_time_did_not_reach_are_not_kept(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By this clock the time ends with the second network of one setting."""
    clock = SimpleNamespace(monotonic=lambda: 0.0 if len(trained) < 6 else numpy.inf)
    monkeypatch.setattr(ensemble, "time", clock)
    model = TabularRegressor(**SMALL, time_limit=1e9).fit(TABLE, NUMBERS)
    assert [fold for _, fold in trained[:6]] == [0, 0, 0, 0, 1, 1]
    assert len(model.networks_) == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_in_a_search_keeps_what_its_networks_have_learned(jobs: int) -> None:
    class Interrupted(Callback):
        def epoch_end(self, training: Any) -> None:
            raise KeyboardInterrupt

    model = TabularRegressor(**SMALL, n_jobs=jobs)
    with pytest.raises(KeyboardInterrupt):
        model.fit(TABLE, NUMBERS, callbacks=lambda number: [Interrupted()] * (number == 3))
    assert 3 <= len(model.networks_) < 10
    assert numpy.isfinite(model.predict(TABLE)).all()


def test_another_search(monkeypatch: pytest.MonkeyPatch, trained: Any) -> None:
    quality = replace(QUALITIES[5], search=(Rung(2, 1), Rung(1, 2)))
    monkeypatch.setitem(QUALITIES, 5, quality)
    model = TabularRegressor(**SMALL, loss="absolute_error").fit(TABLE, NUMBERS)
    assert len(trained) == 4 and len(model.networks_) == 3
