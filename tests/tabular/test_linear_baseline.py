"""Simple models beside networks: they end up in the networks' own weights, and help where the truth
is simple.
"""

from pathlib import Path
from typing import Any

import numpy
import pytest
from scipy.special import expit, log_softmax, softmax
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.preprocessing import StandardScaler

import xpnet
from xpnet.backend import NetworkSpec
from xpnet.models import Network
from xpnet.models.presets import initial_values
from xpnet.tabular.ensemble.linear.baseline import (
    LinearModel,
    blended_outputs,
    numbers_of_columns,
    with_linear,
    with_scaled_inputs,
)

DRAWN = numpy.random.default_rng(0)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("hidden", [(16,), (16, 8)])
@pytest.mark.parametrize("outputs", [1, 3])
def test_scales_and_a_linear_model_are_part_of_the_weights(
    members: int, hidden: tuple[int, ...], outputs: int
) -> None:
    spec = NetworkSpec(
        widths=(6, *hidden, outputs),
        activations=("relu",) * len(hidden),
        loss="squared_error" if outputs == 1 else "softmax_cross_entropy",
        members=members,
    )
    values = initial_values(spec, numpy.random.default_rng(1))
    X, scales = DRAWN.normal(size=(40, 6)), DRAWN.uniform(0.2, 2.0, 6)
    weights, bias = DRAWN.normal(size=(6, outputs)), DRAWN.normal(size=outputs)
    before = Network(spec, values, 0.1, backend="numpy", dtype="float64").predict_members(
        X * scales
    )
    grown, found = with_linear(spec, values, LinearModel(weights, bias), 0.25)
    found = with_scaled_inputs(grown, found, scales)
    after = Network(grown, found, 0.1, backend="numpy", dtype="float64").predict_members(X)
    linear = (X * scales) @ weights + bias
    wanted = 0.75 * before + 0.25 * linear
    if outputs > 1:
        wanted = softmax(0.75 * log_softmax(numpy.log(before), axis=-1) + 0.25 * linear, axis=-1)
    numpy.testing.assert_allclose(after, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("classes", [2, 4])
def test_of_ordered_classes_the_cumulative_logits_are_blended(members: int, classes: int) -> None:
    rng = numpy.random.default_rng(2)
    spec = NetworkSpec(
        widths=(6, 8, 8, classes),
        activations=("relu", "relu"),
        loss="ordered_cross_entropy",
        members=members,
    )
    drawn = initial_values(spec, numpy.random.default_rng(1))
    biases = rng.normal(size=drawn["b3"].shape)
    drawn["b3"] = biases
    X = rng.normal(size=(40, 6))
    weights, of_linear = numpy.zeros((6, classes)), rng.normal(size=classes)
    weights[:, 0] = rng.normal(size=6)

    def cumulative(scores: numpy.ndarray, gaps: numpy.ndarray) -> numpy.ndarray:
        """Return the logits of a class above k. scores : (..., 1); gaps : before softplus"""
        falls = numpy.cumsum(numpy.log1p(numpy.exp(gaps)), axis=-1)
        return numpy.concatenate([scores, scores - falls], axis=-1)

    network = Network(spec, drawn, 0.1, backend="numpy", dtype="float64")
    first = network.predict_members(X)[..., :1]
    scores = numpy.log(1 - first) - numpy.log(first)
    gaps = numpy.broadcast_to(biases.reshape(members, 1, classes), (members, 40, classes))
    before = cumulative(scores, gaps[..., 1:-1])
    linear = X @ weights + of_linear
    after = 0.75 * before + 0.25 * cumulative(linear[:, :1], linear[:, 1:-1])
    not_above = numpy.concatenate([expit(-after), numpy.ones((members, 40, 1))], axis=-1)
    grown, parameters = with_linear(spec, network.values(), LinearModel(weights, of_linear), 0.25)
    assert grown.widths == (6, 8 + 2 * members, 8 + 2 * members, classes)
    received = Network(grown, parameters, 0.1, backend="numpy", dtype="float64").predict_members(X)
    wanted = numpy.diff(not_above, axis=-1, prepend=0)
    numpy.testing.assert_allclose(received, wanted, rtol=1e-7, atol=1e-9)
    blends = blended_outputs(network.predict_members(X), linear, spec.loss)
    numpy.testing.assert_allclose(blends[1], wanted.mean(axis=0), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("codes", [False, True])
def test_numbers_of_columns_hold_what_bins_and_places_of_values_say(codes: bool) -> None:
    size, letter = DRAWN.uniform(1.0, 9.0, 400), DRAWN.choice(["a", "b", "c"], 400)
    table: dict[str, Any] = {
        "size": numpy.where(DRAWN.random(400) < 0.1, numpy.nan, size),
        "letter": letter,
    }
    encoder = xpnet.TableEncoder(bins=4).fit(table)
    numbers, columns = numbers_of_columns(encoder.encodings_, codes=codes)
    found = encoder.transform(table) @ numbers
    assert columns == ([0, 0, 1] if codes else [0, 0, 1, 1, 1])
    known = ~numpy.isnan(table["size"])
    assert abs(numpy.corrcoef(found[known, 0], size[known])[0, 1]) > 0.9999
    numpy.testing.assert_array_equal(found[:, 1], ~known)
    assert len(numpy.unique(found[:, 2:], axis=0)) == 3


def test_a_linear_truth_is_found_as_a_linear_model_finds_it() -> None:
    rng = numpy.random.default_rng(0)
    X = rng.lognormal(size=(600, 6))
    y = X @ [3.0, -2.0, 5.0, 1.0, 0.0, 4.0] + rng.normal(size=600)
    train, test = slice(0, 300), slice(300, 600)
    fitted = xpnet.TabularRegressor(networks=1, random_state=0).fit(X[train], y[train])
    scaler = StandardScaler().fit(X[train])
    ridge = RidgeCV(numpy.logspace(-3, 3, 13)).fit(scaler.transform(X[train]), y[train])
    within = (X[test] <= X[train].max(axis=0)).all(
        axis=1
    )  # beyond it, predictions stay where the bins end
    error = mean_squared_error(y[test][within], fitted.predict(X[test][within]))
    assert error < 1.5 * mean_squared_error(
        y[test][within], ridge.predict(scaler.transform(X[test][within]))
    )
    assert error < 2.0  # the noise is 1


def test_a_linear_truth_of_many_classes_is_found_as_a_linear_model_finds_it() -> None:
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(1600, 10))
    y = (X @ rng.normal(size=(10, 6)) + rng.gumbel(size=(1600, 6))).argmax(axis=1)
    fitted = xpnet.TabularClassifier(networks=1, random_state=0).fit(X[:600], y[:600])
    logistic = LogisticRegression().fit(X[:600], y[:600])
    losses = [log_loss(y[600:], model.predict_proba(X[600:])) for model in (fitted, logistic)]
    assert losses[0] < 1.04 * losses[1]  # two standard errors of the difference are 0.03


def test_columns_of_noise_do_little_harm() -> None:
    X = DRAWN.normal(size=(900, 30))
    y = (X[:, 0] > 0.5) == (X[:, 1] > -0.5)
    fitted = xpnet.TabularClassifier(random_state=0).fit(X[:600], y[:600])
    assert fitted.score(X[600:], y[600:]) > 0.9


def test_files_and_onnx_hold_the_linear_model_too(tmp_path: Path) -> None:
    X = DRAWN.uniform(1.0, 9.0, size=(200, 3))
    y = X @ [3.0, -2.0, 5.0]
    fitted = xpnet.TabularRegressor(random_state=0, members=2, networks=2, max_iter=5).fit(X, y)
    assert fitted.networks_[0].spec.widths == (fitted.networks_[0].spec.widths[0], 132, 132, 1)
    fitted.save(tmp_path / "linear.safetensors")
    numpy.testing.assert_array_equal(
        xpnet.load(tmp_path / "linear.safetensors").predict(X), fitted.predict(X)
    )
    fitted.export_onnx(tmp_path / "linear.onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(tmp_path / "linear.onnx")
    columns = session.get_inputs()
    given = (
        {column.name: X[:, [k]] for k, column in enumerate(columns)}
        if len(columns) > 1
        else {columns[0].name: X}
    )
    found = session.run(None, given)[0]
    numpy.testing.assert_allclose(found.ravel(), fitted.predict(X), rtol=1e-5)


def test_trees_whose_cuts_separate_no_labels_say_nothing_of_columns() -> None:
    z = [-0.329, -0.792, 0.455, -0.099, 0.545, -0.607, 0.127, -0.892, 0.841, 0.188, 0.331, 0.411]
    labels = numpy.array([1, 1, 1, 1, 0, 1, 0, 0, 0, 1, 0, 1])
    classifier = xpnet.TabularClassifier(random_state=2, quality=1).fit({"z": z}, labels)
    assert classifier.predict_proba({"z": z}).sum(axis=1) == pytest.approx(1)
