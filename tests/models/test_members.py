"""Networks of several members, as a user trains and keeps them."""

from pathlib import Path
from typing import Any

import array_api_strict
import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import NotFittedError

import xpnet

X, Y = load_breast_cancer(return_X_y=True)
X = ((X - X.mean(0)) / X.std(0)).astype("float32")


def trained(**options: object) -> xpnet.FeedforwardNeuralNet:
    settings: dict[str, Any] = {"optimizer": "adam", "rng": 0, "dtype": "float32", **options}
    network = xpnet.FeedforwardNeuralNet(30, (16, 8), 2, 1e-2, **settings)
    network.fit(X[:400], Y[:400], epochs=5, batch_size=64)
    return network


@pytest.mark.parametrize("scales", ["all", "first"])
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_they_learn_and_differ(scales: str, backend: str) -> None:
    network = trained(members=6, member_scales=scales, backend=backend)
    each, mean = network.predict_members(X), network.predict(X)
    assert each.shape == (6, len(X), 2)
    np.testing.assert_allclose(each.mean(axis=0), mean, atol=1e-6)
    assert (mean.argmax(1) == Y)[400:].mean() > 0.9
    assert each.std(axis=0).max() > 0.05


def test_one_member_is_the_network_as_ever_to_the_bit() -> None:
    plain, one = trained(), trained(members=1)
    for name, array in plain.params.items():
        np.testing.assert_array_equal(one.params[name], array)
    np.testing.assert_array_equal(plain.predict_members(X)[0], plain.predict(X))


def test_both_backends_give_the_same_network() -> None:
    by_numba, by_numpy = (
        trained(members=3, dropout=0.1, dtype="float64", backend=name)
        for name in ("numba", "numpy")
    )
    for (
        name,
        array,
    ) in by_numpy.params.items():  # 35 updates of Adam, whose division magnifies rounding
        np.testing.assert_allclose(
            by_numba.params[name], array, rtol=1e-9, atol=1e-10, err_msg=name
        )


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_estimators_predict_with_each_member(backend: str) -> None:
    settings: dict[str, Any] = {
        "hidden_layer_sizes": 8,
        "members": 4,
        "max_iter": 3,
        "random_state": 0,
    }
    numbers = xpnet.MLPRegressor(backend=backend, **settings).fit(X, X[:, :2])
    labels = xpnet.MLPClassifier(backend=backend, **settings).fit(X, Y)
    each, second = numbers.predict_members(X), labels.predict_members(X[:7])
    assert each.shape == (4, len(X), 2) and second.shape == (4, 7, 1) and each.std(axis=0).min() > 0
    np.testing.assert_allclose(each.mean(axis=0), numbers.predict(X), atol=1e-6)
    np.testing.assert_allclose(
        second.mean(axis=0)[:, 0], labels.predict_proba(X[:7])[:, 1], atol=1e-6
    )
    with pytest.raises(ValueError, match="features"):
        numbers.predict_members(X[:, 1:])
    with pytest.raises(NotFittedError):
        xpnet.MLPRegressor().predict_members(X)


def test_own_batches_change_the_network_and_one_member_has_one_batch() -> None:
    def fitted(members: int, own_batches: bool, backend: str) -> xpnet.FeedforwardNeuralNet:
        network = xpnet.FeedforwardNeuralNet(
            30, 8, 2, members=members, rng=0, dtype="float64", backend=backend
        )
        network.fit(X[:400], Y[:400], epochs=3, batch_size=64, own_batches=own_batches)
        return network

    own, shared, by_numpy = (
        fitted(3, True, "numba"),
        fitted(3, False, "numba"),
        fitted(3, True, "numpy"),
    )
    assert abs(own.params["W1"] - shared.params["W1"]).max() > 1e-4
    for name, array in by_numpy.params.items():
        np.testing.assert_allclose(own.params[name], array, rtol=1e-9, atol=1e-12, err_msg=name)
    np.testing.assert_array_equal(
        fitted(1, True, "numba").params["W1"], fitted(1, False, "numba").params["W1"]
    )


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_an_error_restores_the_generator_of_the_members(
    backend: str,
) -> None:
    def rate_that_fails_at(last: int) -> Any:
        def rate(epoch: int, losses: Any) -> float:
            if epoch == last:
                raise ArithmeticError("no rate")
            return 0.1

        return rate

    networks = [
        xpnet.FeedforwardNeuralNet(30, 4, 2, rate_that_fails_at(n), members=3, rng=0)
        for n in (3, 99)
    ]
    with pytest.raises(ArithmeticError):
        networks[0].to(backend).fit(X[:40], Y[:40], epochs=6, batch_size=8, own_batches=True)
    networks[1].to(backend).fit(X[:40], Y[:40], epochs=3, batch_size=8, own_batches=True)
    assert networks[0].rng.bit_generator.state == networks[1].rng.bit_generator.state


def test_each_member_predicts_sparse_rows_where_arrays_are_not_numpys() -> None:
    network = xpnet.FeedforwardNeuralNet(30, 4, 3, members=2, rng=0).to(array_api_strict.zeros(1))
    rows = scipy.sparse.csr_matrix(X[:5])
    found = network.predict_members(rows)
    assert type(found) is type(network.predict(rows)) is np.ndarray
    np.testing.assert_allclose(found.mean(axis=0), network.predict(rows), rtol=1e-12)


def test_a_member_is_a_plain_network() -> None:
    """x r W s + b = x (r W s) + b: its factors of inputs and outputs can be multiplied into the
    weight between them.
    """
    network, values = trained(members=3), {}
    for layer in ("1", "2", "3"):
        factors = (
            network.params.get(f"{name}{layer}", np.ones((3, 1)))
            for name in ("scale_in", "scale_out")
        )
        scale_in, scale_out = factors
        weight = network.params[f"W{layer}"]
        weight = weight[2] if weight.ndim == 3 else weight
        values[f"W{layer}"] = scale_in[2][:, None] * weight * scale_out[2]
        values[f"b{layer}"] = network.params[f"b{layer}"][2]
    plain = xpnet.FeedforwardNeuralNet(30, (16, 8), 2, dtype="float32", rng=0)
    plain.params.update(values)
    # float32 sums in another order: an error of some 1e-6 in a logit is as large, relatively, in a
    # probability
    np.testing.assert_allclose(plain.predict(X), network.predict_members(X)[2], rtol=2e-5)


def test_they_are_saved_and_go_on(tmp_path: Path) -> None:
    network = trained(members=4)
    network.save(tmp_path / "model")
    loaded = xpnet.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(X), network.predict(X))
    before = loaded.loss(X, Y)
    loaded.fit(X, Y, epochs=5, batch_size=64, rng=1)
    assert loaded.loss(X, Y) < before


@pytest.mark.parametrize("members", [0, 2.5, True])
def test_a_number_of_members_that_is_none_is_refused(members: object) -> None:
    with pytest.raises(xpnet.InputError, match="`members` must be a whole number"):
        xpnet.FeedforwardNeuralNet(3, 4, 2, members=members)  # type: ignore[arg-type]


@pytest.mark.parametrize("scales", ["all", "first"])
def test_onnx_gives_the_mean_of_the_members(scales: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network = trained(members=4, member_scales=scales)
    network.export_onnx(tmp_path / "model.onnx")
    (found,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"X": X})
    np.testing.assert_allclose(found, network.predict(X), atol=1e-5)
