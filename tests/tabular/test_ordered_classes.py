"""Tables with classes in rising order: fits, files, ONNX and C."""

import shutil
from pathlib import Path
from typing import Any

import numpy
import pandas
import polars
import pytest
from helpers.c_program import compiled
from scipy.special import expit
from sklearn import metrics

import xpnet
from xpnet.modelfile import export_model

NAMES = ["low", "middle", "high", "top"]
SMALL: dict[str, Any] = {
    "hidden_layer_sizes": (8,),
    "networks": 2,
    "members": 2,
    "max_iter": 30,
    "random_state": 0,
}
RNG = numpy.random.default_rng(0)
ROWS = 400
TABLE = pandas.DataFrame(
    {
        "size": RNG.normal(size=ROWS),
        "weight": RNG.normal(size=ROWS),
        "colour": RNG.choice(["red", "blue", "green"], ROWS),
    }
)
SCORE = 2 * TABLE["size"] + (TABLE["colour"] == "red")
RANKS = numpy.digitize(SCORE + RNG.logistic(size=ROWS), [-1.5, 0, 2])
Y = pandas.Series(pandas.Categorical.from_codes(RANKS, NAMES, ordered=True))


@pytest.fixture(scope="module")
def model() -> xpnet.TabularClassifier:
    """A model of an ordered categorical."""
    return xpnet.TabularClassifier(**SMALL).fit(TABLE, Y)


def test_it_learns_the_order_and_the_probabilities(model: Any) -> None:
    assert model.classes_.tolist() == NAMES
    probabilities = model.predict_proba(TABLE)
    numpy.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    thresholds = numpy.array([-1.5, 0, 2])
    below = numpy.hstack([expit(thresholds - SCORE.to_numpy()[:, None]), numpy.ones((ROWS, 1))])
    true = numpy.diff(below, axis=1, prepend=0)
    best = metrics.log_loss(RANKS, true, labels=range(4))
    frequencies = numpy.tile(numpy.bincount(RANKS) / ROWS, (ROWS, 1))
    constant = metrics.log_loss(RANKS, frequencies, labels=range(4))
    loss = metrics.log_loss(RANKS, probabilities, labels=range(4))
    assert loss < best + 0.2 * (constant - best)


def test_a_linear_truth_is_found_as_the_ordered_model_of_statsmodels_finds_it() -> None:
    ordinal = pytest.importorskip("statsmodels.miscmodels.ordinal_model")
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(1200, 6))
    y = numpy.digitize(X @ [1, -0.5, 0.5, 0, 0, 0] + rng.logistic(size=1200), [-1, 0, 1.5])
    model = xpnet.TabularClassifier(ordered=range(4), networks=1, random_state=0)
    probabilities = model.fit(X[:300], y[:300]).predict_proba(X[300:])
    theirs = ordinal.OrderedModel(y[:300], X[:300], distr="logit")
    expected = theirs.predict(theirs.fit(method="bfgs", disp=0).params, exog=X[300:])
    losses = [metrics.log_loss(y[300:], predicted) for predicted in (probabilities, expected)]
    # Two standard errors of the difference are 0.02; without a linear baseline it is 0.06.
    assert losses[0] < losses[1] + 0.03


@pytest.mark.parametrize("seed", [0, 2])
def test_each_class_is_predicted_as_often_as_the_rows_have_it(seed: int) -> None:
    rng = numpy.random.default_rng(seed)
    X = rng.normal(size=(500, 6))
    score = 2 * numpy.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + X[:, 3]
    y = numpy.digitize(score + rng.logistic(size=500), [-3, -1, 1, 3])
    weight = rng.uniform(0.5, 2, 500)
    shares = numpy.bincount(y, weight) / weight.sum()
    model = xpnet.TabularClassifier(ordered=range(5), quality=1, random_state=0)
    means = weight @ model.fit(X, y, sample_weight=weight).predict_proba(X) / weight.sum()
    # As the optimizer leaves the thresholds, the lowest class has 13 % and 37 % too much. The first
    # network is blended with its linear baseline, whose scores and its own vary less together.
    numpy.testing.assert_allclose(means / shares, 1, atol=0.005)


def test_a_table_that_tells_nothing_has_the_frequencies_of_ordered_classes() -> None:
    rng = numpy.random.default_rng(4)
    X, y = rng.normal(size=(200, 2)), rng.integers(0, 3, 200)
    model = xpnet.TabularClassifier(ordered=[0, 1, 2], quality=1, random_state=0).fit(X, y)
    assert "predict a constant" in model.why_
    frequencies = numpy.tile(numpy.bincount(y) / 200, (200, 1))
    numpy.testing.assert_allclose(model.predict_proba(X), frequencies, atol=1e-6)


def test_each_way_to_name_the_order_gives_the_same_fit(model: Any) -> None:
    texts = Y.astype(str)
    named = xpnet.TabularClassifier(**SMALL, ordered=NAMES).fit(TABLE, texts)
    enum = polars.Series(texts.tolist(), dtype=polars.Enum(NAMES))
    of_enum = xpnet.TabularClassifier(**SMALL).fit(TABLE, enum)
    for other in (named, of_enum):
        assert other.classes_.tolist() == NAMES
        numpy.testing.assert_array_equal(other.predict_proba(TABLE), model.predict_proba(TABLE))
    unordered = xpnet.TabularClassifier(**SMALL, ordered=False).fit(TABLE, Y)
    assert unordered.classes_.tolist() == sorted(NAMES)


def test_the_median_or_the_most_probable_class(model: Any) -> None:
    sums = model.predict_proba(TABLE).cumsum(axis=1)
    medians = [next(k for k in range(4) if row[k] >= 0.5) for row in sums]
    numpy.testing.assert_array_equal(model.predict(TABLE), numpy.array(NAMES)[medians])
    mode = xpnet.TabularClassifier(**SMALL, ordered_prediction="mode").fit(TABLE, Y)
    most_probable = mode.predict_proba(TABLE).argmax(axis=1)
    numpy.testing.assert_array_equal(mode.predict(TABLE), numpy.array(NAMES)[most_probable])


def test_files_keep_the_order_and_a_refinement_goes_on(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model.safetensors")
    opened = xpnet.load(tmp_path / "model.safetensors")
    numpy.testing.assert_array_equal(opened.predict(TABLE), model.predict(TABLE))
    numpy.testing.assert_array_equal(opened.predict_proba(TABLE), model.predict_proba(TABLE))
    later = pandas.Series(pandas.Categorical.from_codes(3 - RANKS, NAMES, ordered=True))
    refinement = opened.refine(TABLE, later, learning_rate_share=1.0)
    assert refinement.loss_after < refinement.loss_before
    assert opened.classes_.tolist() == NAMES


@pytest.mark.parametrize("choice", ["median", "mode"])
def test_onnx_has_the_same_probabilities_and_labels(choice: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    for names in (NAMES, NAMES[:2]):
        y = numpy.array(NAMES)[RANKS.clip(0, len(names) - 1)]
        model = xpnet.TabularClassifier(**SMALL, ordered=names, ordered_prediction=choice)
        model.fit(TABLE, y)
        model.export_onnx(tmp_path / "model.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
        columns = {name: TABLE[[name]].to_numpy() for name in TABLE}
        label, probabilities = session.run(["label", "probabilities"], columns)
        numpy.testing.assert_allclose(probabilities, model.predict_proba(TABLE), atol=1e-5)
        assert (label == model.predict(TABLE)).mean() > 0.99  # but for sums next to 1/2


@pytest.mark.skipif(shutil.which("gcc") is None, reason="a C compiler is needed")
@pytest.mark.slow
def test_c_has_the_same_probabilities(model: Any, tmp_path: Path) -> None:
    rows = TABLE.to_numpy().tolist()
    found = compiled(model, rows, 4, tmp_path)
    numpy.testing.assert_allclose(found, model.predict_proba(TABLE), atol=1e-5)
    export_model(model, tmp_path / "again.c")
    assert '"middle"' in (tmp_path / "again.c").read_text()


def test_a_threshold_and_an_order_are_refused_together() -> None:
    model = xpnet.TabularClassifier(**SMALL, threshold=0.5)
    with pytest.raises(xpnet.errors.InputError, match="threshold"):
        model.fit(TABLE, pandas.Categorical.from_codes((RANKS > 1).astype(int), NAMES[:2], True))


def test_a_class_that_the_order_misses_is_refused() -> None:
    with pytest.raises(xpnet.errors.InputError, match="'top' is missing"):
        xpnet.TabularClassifier(**SMALL, ordered=NAMES[:3]).fit(TABLE, Y)
