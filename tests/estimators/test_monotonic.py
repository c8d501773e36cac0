"""Columns with which no prediction falls or rises: pairs of rows, in Python, files, ONNX and C."""

import shutil
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
from helpers.c_program import compiled
from sklearn.ensemble import HistGradientBoostingRegressor

import xpnet

PAIRS = 10_000
ROWS = 400
RNG = numpy.random.default_rng(0)
TABLE = pandas.DataFrame(
    {
        "area": RNG.normal(size=ROWS),
        "age": RNG.exponential(size=ROWS),
        "rooms": RNG.integers(0, 6, ROWS),
        "town": RNG.choice(["x", "y", "z"], ROWS),
    }
)
# It rises with area and falls with age, but with noise that a free network learns.
EFFECT = numpy.tanh(2 * TABLE["area"]) - 0.5 * TABLE["age"] + 0.1 * (TABLE["rooms"] - 3) ** 2
NOISY = (EFFECT + RNG.normal(size=ROWS)).to_numpy()
SIGNS = {"area": 1, "age": -1}
SMALL: dict[str, Any] = {
    "hidden_layer_sizes": (16, 12),
    "networks": 2,
    "members": 2,
    "max_iter": 60,
    "random_state": 0,
}
MLP: dict[str, Any] = {"max_iter": 150, "random_state": 0, "learning_rate_init": 0.01}
QUIET = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
KINDS: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "numbers": (xpnet.TabularRegressor, {}, NOISY),
    "quantiles": (
        xpnet.TabularRegressor,
        {"loss": "quantile", "quantile": [0.1, 0.5, 0.9]},
        NOISY,
    ),
    "counts": (xpnet.TabularRegressor, {"loss": "poisson"}, RNG.poisson(numpy.exp(EFFECT))),
    "two classes": (xpnet.TabularClassifier, {"calibration": "temperature"}, NOISY > 0),
    "ordered classes": (
        xpnet.TabularClassifier,
        {"ordered": [0, 1, 2]},
        numpy.digitize(NOISY, [-1, 1]),
    ),
}


def rising(outputs: Any) -> Any:
    """Numbers, or the probabilities of a class above each."""
    return 1 - outputs.cumsum(axis=1)[:, :-1]


def predicted(model: Any, table: Any) -> Any:
    """What must rise: predictions, or probabilities of a higher class."""
    if hasattr(model, "classes_"):
        return rising(numpy.asarray(model.predict_proba(table), numpy.float64))
    return model.predict(table).reshape(len(table), -1)


def pairs(column: str, sign: int) -> tuple[Any, Any]:
    """Rows, and rows with a column that is higher by little or much, for which outputs rise."""
    rng = numpy.random.default_rng(1)
    before = TABLE.sample(PAIRS, replace=True, random_state=2).reset_index(drop=True)
    before[column] += rng.normal(size=PAIRS)
    after = before.copy()
    after[column] += sign * rng.exponential(size=PAIRS) * rng.choice([1e-3, 0.1, 1, 30], PAIRS)
    return before, after


def largest_fall(predict: Any, column: str, sign: int) -> float:
    """The largest fall among the pairs, as a share of the range of predictions."""
    before, after = (predict(table) for table in pairs(column, sign))
    return float((before - after).max() / numpy.ptp(before))


@pytest.mark.parametrize("kind", KINDS)
def test_no_prediction_of_a_table_falls(kind: str, tmp_path: Path) -> None:
    estimator, settings, y = KINDS[kind]
    model = estimator(**SMALL, **settings, monotonic_cst=SIGNS).fit(TABLE, y)
    model.save(tmp_path / "model.safetensors")
    opened = xpnet.load(tmp_path / "model.safetensors")
    free = estimator(**SMALL, **settings).fit(TABLE, y)
    for column, sign in SIGNS.items():
        # Sums of float32 in another order: a few roundings of the largest prediction.
        assert largest_fall(lambda table: predicted(model, table), column, sign) < 1e-5
        assert largest_fall(lambda table: predicted(opened, table), column, sign) < 1e-5
    # The test can fail: without constraints some predictions fall.
    assert largest_fall(lambda table: predicted(free, table), "area", 1) > 0.01
    assert largest_fall(lambda table: predicted(model, table), "rooms", 1) > 0.01


def test_it_fits_as_well_as_what_it_constrains() -> None:
    """Its error of a rising effect is that of scikit-learn's constrained trees, or less."""
    rng = numpy.random.default_rng(3)
    X = rng.normal(size=(1200, 3))
    true = numpy.tanh(2 * X[:, 0]) - 0.3 * X[:, 1] ** 3 + numpy.abs(X[:, 2])
    y = true + 0.3 * rng.normal(size=1200)
    ours = xpnet.TabularRegressor(quality=2, random_state=0, monotonic_cst=[1, -1, 0])
    theirs = HistGradientBoostingRegressor(random_state=0, monotonic_cst=[1, -1, 0])
    errors = [
        ((model.fit(X[:600], y[:600]).predict(X[600:]) - true[600:]) ** 2).mean()
        for model in (ours, theirs)
    ]
    assert errors[0] < errors[1]


@QUIET
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"solver": "lbfgs"},
        {"members": 3},
        {"activation": "tanh"},
        {"hidden_layer_sizes": ()},
        {"dtype": "float32", "dropout": 0.1, "solver": "sgd", "learning_rate_init": 0.001},
    ],
    ids=str,
)
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_no_prediction_of_an_mlp_falls(settings: dict[str, Any], backend: str) -> None:
    X = TABLE[["area", "age", "rooms"]]
    options = {**MLP, "hidden_layer_sizes": (12, 8), **settings, "backend": backend}
    model = xpnet.MLPRegressor(**options, monotonic_cst=SIGNS).fit(X, NOISY)
    by_place = xpnet.MLPRegressor(**options, monotonic_cst=[1, -1, 0]).fit(X, NOISY)
    numpy.testing.assert_array_equal(by_place.predict(X), model.predict(X))
    classifier = xpnet.MLPClassifier(**options, monotonic_cst=SIGNS).fit(X, NOISY > 0)
    for column, sign in SIGNS.items():
        for one in (model, classifier):
            fall = largest_fall(lambda table, one=one: predicted(one, table[[*X]]), column, sign)
            assert fall < 1e-5
    assert numpy.corrcoef(model.predict(X), EFFECT)[0, 1] > 0.5


@QUIET
def test_onnx_holds_it(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = xpnet.TabularRegressor(**SMALL, monotonic_cst=SIGNS).fit(TABLE, NOISY)
    model.export_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")

    def predict(table: Any) -> Any:
        columns = {
            name: table[[name]].to_numpy(None if name == "town" else "float64") for name in table
        }
        return session.run(["predictions"], columns)[0]

    numpy.testing.assert_allclose(predict(TABLE)[:, 0], model.predict(TABLE), atol=1e-4)
    assert all(largest_fall(predict, *one) < 1e-5 for one in SIGNS.items())


@pytest.mark.skipif(shutil.which("gcc") is None, reason="a C compiler is needed")
@pytest.mark.slow
def test_c_holds_it(tmp_path: Path) -> None:
    model = xpnet.TabularRegressor(**SMALL, monotonic_cst=SIGNS).fit(TABLE, NOISY)
    for place, one in enumerate(SIGNS.items()):
        before, after = pairs(*one)
        folder = tmp_path / str(place)
        folder.mkdir()
        both = pandas.concat([before, after]).to_numpy().tolist()
        found = compiled(model, both, 1, folder)[:, 0]
        assert (found[:PAIRS] - found[PAIRS:]).max() / numpy.ptp(found) < 1e-5


def test_partial_fit_and_refine_keep_it() -> None:
    X = TABLE[["area", "age", "rooms"]]
    mlp = xpnet.MLPRegressor(hidden_layer_sizes=(12, 8), random_state=0, monotonic_cst=SIGNS)
    model = xpnet.TabularRegressor(**SMALL, monotonic_cst=SIGNS).fit(TABLE, NOISY)
    for _ in range(5):
        mlp.partial_fit(X, -NOISY)
    model.refine(TABLE, -NOISY, learning_rate_share=1.0)
    for one in SIGNS.items():
        assert largest_fall(lambda table: predicted(model, table), *one) < 1e-5
        fall = largest_fall(lambda table: predicted(mlp, table[[*X]]), *one)
        assert fall < 1e-5


@pytest.mark.parametrize(
    ("constraints", "said"),
    [
        ({"town": 1}, "'town'"),
        ({"aera": 1}, "'area'"),
        ({"area": 2}, "got 2"),
        ([1, 0], "4 columns"),
    ],
    ids=str,
)
def test_constraints_that_cannot_hold_are_refused(constraints: Any, said: str) -> None:
    model = xpnet.TabularRegressor(**SMALL, monotonic_cst=constraints)
    with pytest.raises(xpnet.errors.InputError) as error:
        model.fit(TABLE, NOISY)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("estimator", "settings", "y", "said"),
    [
        (xpnet.MLPRegressor, {"activation": "gelu"}, NOISY, "gelu"),
        (xpnet.MLPClassifier, {}, numpy.digitize(NOISY, [-1, 1]), "3 classes"),
        (xpnet.MLPRegressor, {"monotonic_cst": {"b": 1}}, NOISY, "no names"),
        (
            xpnet.TabularClassifier,
            {"ordered": [0, 1, 2], "calibration": "temperature"},
            numpy.digitize(NOISY, [-1, 1]),
            "`calibration` must be None",
        ),
    ],
    ids=["activation", "classes", "names", "calibration"],
)
def test_networks_that_cannot_hold_them_are_refused(
    estimator: Any, settings: dict[str, Any], y: Any, said: str
) -> None:
    X = TABLE[["area", "age", "rooms"]].to_numpy()
    model = estimator(**{"monotonic_cst": [1, 0, 0], **settings})
    with pytest.raises(xpnet.errors.InputError) as error:
        model.fit(X, y)
    assert said in str(error.value)
    with pytest.raises(AttributeError):
        _ = model.n_iter_


@pytest.mark.parametrize(
    ("constraints", "remedy"),
    [({"aera": 1}, "Did you mean 'area'"), ({"z": 1}, "Correct the name")],
)
def test_an_unknown_column_of_a_frame_gets_a_suggestion(
    constraints: dict[str, int], remedy: str
) -> None:
    model = xpnet.MLPRegressor(monotonic_cst=constraints, **MLP)
    with pytest.raises(xpnet.InputError, match=f"got '{next(iter(constraints))}'.*{remedy}"):
        model.fit(TABLE[["area", "age", "rooms"]], NOISY)


def test_an_encoder_of_ones_own_gets_what_the_estimator_sets() -> None:
    """Monotonic columns are encoded as plain numbers, and dates are read in their format."""
    days = pandas.Series(pandas.date_range("2024-01-01", periods=ROWS)).dt.strftime("%d|%m|%Y")
    table = TABLE[["area"]].assign(day=days)
    settings = {**SMALL, "max_iter": 3, "monotonic_cst": {"area": 1}, "date_format": "%d|%m|%Y"}
    own = xpnet.TabularRegressor(**settings, encoder=xpnet.TableEncoder()).fit(table, NOISY)
    named = xpnet.TableEncoder(plain_numbers=["area"], date_format="%d|%m|%Y", random_state=0)
    numpy.testing.assert_array_equal(
        own.encoder_.transform(table), named.fit(table, NOISY).transform(table)
    )
    assert own.encoder_.forms_[1].date_format == "%d|%m|%Y"
    one_day = table.sort_values("area").assign(day=days[0])
    assert numpy.diff(own.predict(one_day)).min() >= 0
