"""Numbers that name things, such as firms, tell by the mean targets of their levels."""

from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
from helpers.c_program import compiled
from numpy.random import RandomState

import xpnet
from xpnet import TableEncoder
from xpnet.errors import InputError
from xpnet.tabular.encodings.encoding_target import Target, Task
from xpnet.tabular.encodings.level import (
    LevelEncoding,
    fit_levels,
    indices_of_levels,
)
from xpnet.tabular.encodings.number_fit import Scaling, fit_numbers
from xpnet.tabular.encodings.value_effect import ComparedTargets, effect_of_values
from xpnet.tabular.rows.division import RowLinks

FIRMS = 60
YEARS = 8


def panel(correlation: float, seed: int = 0) -> pandas.DataFrame:
    """Firms in years, with a target of variance 1 that two rows of a firm share to some degree."""
    rng = numpy.random.default_rng(seed)
    firm = numpy.repeat(rng.permutation(1000)[:FIRMS], YEARS)
    of_firm = numpy.repeat(rng.normal(size=FIRMS), YEARS)
    noise = rng.normal(size=FIRMS * YEARS)
    y = numpy.sqrt(correlation) * of_firm + numpy.sqrt(1 - correlation) * noise
    size = rng.normal(size=FIRMS * YEARS)
    return pandas.DataFrame({"firm": firm, "size": size, "y": y})


def target_of(y: numpy.ndarray, task: Task = "regression", groups: Any = None) -> Target:
    return Target(y, task, RowLinks(groups=groups), RandomState(0))


def fitted(x: numpy.ndarray, target: Target) -> Any:
    scaling = Scaling(robust=True, max_bins=32, max_fine_bins=64, target=target)
    return fit_levels(x, fit_numbers(x, scaling, 0, "number")[0], target)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.8])
def test_the_correlation_of_rows_of_one_level_is_measured(correlation: float) -> None:
    effects = []
    for seed in range(20):
        table = panel(correlation, seed)
        x, Y = table["firm"].to_numpy(float), table[["y"]].to_numpy()
        targets = ComparedTargets(Y, numpy.arange(len(Y)))
        effects.append(effect_of_values(x, numpy.empty(0), targets))
    assert numpy.mean([one.correlation for one in effects]) == pytest.approx(correlation, abs=0.05)
    deviations = [one.deviations for one in effects]
    if correlation == 0:
        assert numpy.mean(deviations) == pytest.approx(0, abs=0.7)
        assert numpy.std(deviations) == pytest.approx(1, abs=0.4)
    else:
        assert min(deviations) > 8
        # n - 1 other rows of a level explain r^2 (n - 1) / (1 + (n - 2) r) of the variance.
        others = YEARS - 1
        explained = correlation**2 * others / (1 + (others - 1) * correlation)
        measured = numpy.mean([one.explained for one in effects])
        assert measured == pytest.approx(explained, abs=0.07)


def test_a_row_gets_the_shrunk_mean_of_other_rows_of_its_level() -> None:
    table = panel(0.5)
    x, y = table["firm"].to_numpy(float), table["y"].to_numpy()
    levels = fitted(x, target_of(y))
    parts = RowLinks().parts(5, len(y), RandomState(0))
    of_rows = levels.means.of_training_rows(numpy.arange(len(y)))[:, 0].astype(float)
    means = numpy.array([_mean_of_others(x, y, parts, row) for row in range(len(y))])
    sums, counts = means.T
    # Standardised, the details are a line through (sum + p mean) / (count + p) for one p.
    priors = numpy.linspace(0.1, 30, 300)
    fits = [numpy.corrcoef(of_rows, (sums + p * y.mean()) / (counts + p))[0, 1] for p in priors]
    best = priors[int(numpy.argmax(fits))]
    assert max(fits) == pytest.approx(1, abs=1e-5)
    assert 0.4 < best < 2.5, "a correlation of 0.5 asks for one row"
    within = pandas.Series(of_rows).groupby(x).transform(lambda one: one - one.mean())
    assert numpy.corrcoef(within, y)[0, 1] < 0, "a row's target leaks into its own encoding"


def _mean_of_others(
    x: numpy.ndarray, y: numpy.ndarray, parts: numpy.ndarray, row: int
) -> tuple[float, int]:
    others = (x == x[row]) & (parts != parts[row])
    return float(y[others].sum()), int(others.sum())


def test_levels_are_found_though_bins_tell_most_of_them_apart() -> None:
    """40 firms of 25 rows: bins of a tree separate nearly all of them."""
    rng = numpy.random.default_rng(0)
    firm = rng.permutation(numpy.repeat(rng.permutation(400)[:40], 25))
    y = rng.normal(size=400)[firm] + rng.normal(size=1000)
    assert fitted(firm.astype(float), target_of(y)) is not None
    encoder = TableEncoder(binning="tree").fit({"firm": firm, "x": rng.normal(size=1000)}, y)
    assert "firm_level_target" in encoder.get_feature_names_out()
    edges = next(one for one in encoder.encodings_ if one.column == 0).edges
    firms_of_bins = numpy.histogram(numpy.unique(firm), edges)[0]
    assert firms_of_bins.min() >= 8, "bins of few firms would tell the firm"


def test_a_number_with_levels_keeps_bins_of_many_levels() -> None:
    """The amounts of recipes are levels, and have a curve that a line does not hold."""
    rng = numpy.random.default_rng(0)
    recipe = numpy.repeat(numpy.arange(200), 5)
    amounts = rng.permutation(1000)[:200].astype(float)
    of_recipe = numpy.sin(amounts / 100) + rng.normal(size=200)
    y = of_recipe[recipe] + rng.normal(size=1000) / 4
    X = {"amount": amounts[recipe], "x": rng.normal(size=1000)}
    encoder = TableEncoder(binning="tree").fit(X, y)
    names = encoder.get_feature_names_out().tolist()
    assert "amount_level_target" in names
    assert sum(name.startswith("amount_bin") for name in names) >= 5


def test_numbers_of_noise_have_no_levels() -> None:
    rng = numpy.random.default_rng(3)
    for rows in (3, 5, 25):
        for _ in range(20):
            firm = numpy.repeat(numpy.arange(60.0), rows)
            assert fitted(firm, target_of(rng.normal(size=60 * rows))) is None


def test_numbers_that_are_measured_have_no_levels() -> None:
    rng = numpy.random.default_rng(1)
    age = rng.integers(18, 80, 2000).astype(float)
    for y in (rng.normal(size=2000), numpy.sin(age / 9) + rng.normal(size=2000), age**2):
        assert fitted(age, target_of(y)) is None
    assert fitted(age, target_of((age > 40).astype(int), "classification")) is None


def test_numbers_without_bins_have_no_levels() -> None:
    table = panel(0.8)
    encoder = TableEncoder(scaling="standard", bins=None)
    encoded = encoder.fit_transform(table[["firm", "size"]], table["y"])
    numpy.testing.assert_allclose(encoded.std(axis=0), [1.0, 1.0], rtol=1e-5)


@pytest.mark.parametrize("reason", ["few levels", "few rows", "no target", "own groups"])
def test_levels_need_rows_that_tell_about_each_other(reason: str) -> None:
    table = panel(0.9)
    x, target = table["firm"].to_numpy(float), target_of(table["y"].to_numpy())
    assert fitted(x, target) is not None
    if reason == "few levels":
        x = x % 4
    elif reason == "few rows":
        x = x + numpy.arange(len(x)) % (YEARS // 2) / 10  # two rows of each level
    elif reason == "no target":
        target = Target(None, None, RowLinks(), RandomState(0))
        number = fit_numbers(x, Scaling(True, 8, 0, None), 0, "number")[0]
        assert fit_levels(x, number, target) is None
        return
    else:
        target = target_of(table["y"].to_numpy(), groups=table["firm"].to_numpy())
    assert fitted(x, target) is None


def test_rows_of_many_are_compared_and_all_have_details(monkeypatch: pytest.MonkeyPatch) -> None:
    table = panel(0.9)
    x, target = table["firm"].to_numpy(float), target_of(table["y"].to_numpy())
    of_all = fitted(x, target)
    monkeypatch.setattr("xpnet.tabular.encodings.value_effect.MAX_COMPARED_ROWS", 240)
    of_some = fitted(x, target_of(table["y"].to_numpy()))
    assert of_some.encoding.levels.tolist() == of_all.encoding.levels.tolist()
    rows = numpy.arange(len(x))
    both = [levels.means.of_training_rows(rows)[:, 0] for levels in (of_all, of_some)]
    assert numpy.corrcoef(both)[0, 1] > 0.99
    monkeypatch.setattr("xpnet.tabular.encodings.value_effect.MAX_TARGET_NUMBERS", 239)
    assert fitted(x, target) is None


def test_gaps_and_other_numbers_are_none_of_the_levels() -> None:
    levels = numpy.array([-2.0, 0.5, 7.0])
    x = numpy.array([7.0, -2.0, numpy.nan, 0.6, numpy.inf, -numpy.inf, 0.5])
    assert indices_of_levels(x, levels).tolist() == [2, 0, -1, -1, -1, -1, 1]
    details = numpy.arange(1, 7, dtype=numpy.float32).reshape(3, 2)
    out = numpy.full((7, 2), numpy.nan, numpy.float32)
    LevelEncoding(0, levels, details, ("frequency", "target")).write_numbers(x, out)
    assert out.tolist() == [[5, 6], [1, 2], [0, 0], [0, 0], [0, 0], [0, 0], [3, 4]]


def test_a_network_predicts_by_the_level(monkeypatch: pytest.MonkeyPatch) -> None:
    table = panel(0.8)
    later = numpy.arange(len(table)) % YEARS >= YEARS - 2

    def error() -> float:
        model = xpnet.TabularRegressor(quality=1, random_state=0)
        model.fit(table[["firm", "size"]][~later], table["y"][~later])
        return float(numpy.std(table["y"][later] - model.predict(table[["firm", "size"]][later])))

    error_by_level = error()
    monkeypatch.setattr("xpnet.tabular.encodings.column_fit.fit_levels", lambda *_: None)
    assert error_by_level < 0.85 * error()


@pytest.fixture(scope="module")
def trained() -> Any:
    """A regressor of a table with firms, gaps and text."""
    table = panel(0.8)
    y = table.pop("y")
    table["firm"] = table["firm"].astype(float)
    table.loc[::50, "firm"] = numpy.nan
    table["kind"] = numpy.array(["a", "b", "c"])[numpy.arange(len(table)) % 3]
    model = xpnet.TabularRegressor(quality=1, random_state=0, max_iter=2).fit(table, y)
    assert any(isinstance(one, LevelEncoding) for one in model.encoder_.encodings_)
    return table, y, model


def test_files_onnx_and_c_hold_the_levels(trained: Any, tmp_path: Path) -> None:
    table, _, model = trained
    rows = table.iloc[:120].reset_index(drop=True)
    rows.loc[3, "firm"] = -5.0  # no level
    predicted = model.predict(rows)
    model.save(tmp_path / "m")
    opened = xpnet.load(tmp_path / "m")
    numpy.testing.assert_array_equal(opened.predict(rows), predicted)
    cells = [[*row] for row in rows.itertuples(index=False)]
    in_c = compiled(model, cells, 1, tmp_path)[:, 0]
    numpy.testing.assert_allclose(in_c, predicted, rtol=1e-4, atol=1e-5)
    model.export_onnx(tmp_path / "m.onnx")
    onnxruntime = pytest.importorskip("onnxruntime", reason="has no wheel for every Python")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    inputs = {name: rows[[name]].to_numpy() for name in rows}
    (in_onnx,) = session.run(None, inputs)
    numpy.testing.assert_allclose(in_onnx[:, 0], predicted, rtol=1e-4, atol=1e-5)


def test_a_table_of_numbers_is_one_input_of_an_onnx_graph(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="has no wheel for every Python")
    table = panel(0.8)
    X = table[["size", "firm"]].to_numpy()
    model = xpnet.TabularRegressor(quality=1, max_iter=2, random_state=0).fit(X, table["y"])
    assert any(isinstance(one, LevelEncoding) for one in model.encoder_.encodings_)
    model.export_onnx(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    (in_onnx,) = session.run(None, {"X": X})
    numpy.testing.assert_allclose(in_onnx[:, 0], model.predict(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "levels", [[1.0, 1.0, 2.0], [1.0, numpy.nan, 2.0], [1.0, 2.0, numpy.inf], [1.0, 2.0]]
)
def test_a_file_of_impossible_levels_is_refused(
    levels: list[float], trained: Any, tmp_path: Path
) -> None:
    table, y, _ = trained
    model = xpnet.TabularRegressor(quality=1, max_iter=1, random_state=0).fit(table, y)
    (encoding,) = (one for one in model.encoder_.encodings_ if isinstance(one, LevelEncoding))
    count = 3
    vars(encoding)["details"] = encoding.details[:count]
    vars(encoding)["levels"] = numpy.array(levels)
    with pytest.raises(InputError, match="levels|shape"):
        model.save(tmp_path / "m")


def test_labels_have_a_mean_for_each_class_but_the_first() -> None:
    table = panel(0.98)
    label = numpy.digitize(table["y"], [-0.5, 0.5])
    encoder = TableEncoder(binning="tree", random_state=0)
    encoder.fit_transform(table[["firm", "size"]], numpy.array(["a", "b", "c"])[label])
    names = encoder.get_feature_names_out().tolist()
    assert [name for name in names if "level" in name] == [
        "firm_level_frequency",
        "firm_level_target_1",
        "firm_level_target_2",
    ]
