"""Hidden activations, gradients with respect to the inputs, shares of features, importances."""

import warnings
from typing import Any

import numpy as np
import pandas
import pytest
import scipy.sparse
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import xpnet

KINDS: dict[str, dict[str, Any]] = {
    "softmax": {"kind": xpnet.MLPClassifier, "y": "three"},
    "logistic": {"kind": xpnet.MLPClassifier, "y": "two"},
    "identity": {"kind": xpnet.MLPRegressor, "y": "number"},
    "exp": {"kind": xpnet.MLPRegressor, "y": "amount", "loss": "gamma"},
    "members": {
        "kind": xpnet.MLPClassifier,
        "y": "three",
        "members": 3,
        "activation": ["gelu", "tanh"],
    },
    "dropout": {"kind": xpnet.MLPRegressor, "y": "number", "dropout": 0.3},
}


def fitted(name: str, backend: str = "numpy") -> tuple[Any, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    score = X[:, 0] - X[:, 1] * X[:, 2]
    targets = {
        "three": np.digitize(score, [-0.5, 0.5]),
        "two": score > 0,
        "number": score,
        "amount": np.exp(score),
    }
    options = {**KINDS[name]}
    kind, y = options.pop("kind"), targets[options.pop("y")]
    settings = {
        "hidden_layer_sizes": (6, 5),
        "activation": "tanh",
        "max_iter": 9,
        "random_state": 0,
        **options,
    }
    return kind(**settings, backend=backend).fit(X, y), X


def predict(model: Any, X: np.ndarray, output: int) -> np.ndarray:
    found = model.predict_proba(X) if hasattr(model, "classes_") else model.predict(X)[:, None]
    return found[:, output]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("name", KINDS)
def test_a_gradient_by_the_inputs_is_that_of_differences(name: str, backend: str) -> None:
    model, X = fitted(name, backend)
    outputs = range(len(model.classes_)) if hasattr(model, "classes_") else [0]
    for output in [*outputs, -1]:
        found = model.input_gradient(X, output)
        for feature in range(4):
            step = np.eye(4)[feature] * 1e-6
            slope = (predict(model, X + step, output) - predict(model, X - step, output)) / 2e-6
            np.testing.assert_allclose(found[:, feature], slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("loss", ["squared_error", "huber", "poisson"])
def test_a_gradient_of_several_numbers_is_that_of_the_output_asked_for(loss: str) -> None:
    X = np.random.default_rng(0).normal(size=(60, 4))
    y = np.abs(np.column_stack([X[:, 0], X[:, 1] ** 2, X[:, 2]]))
    model = xpnet.MLPRegressor(
        loss=loss, hidden_layer_sizes=6, activation="tanh", max_iter=9, random_state=0
    ).fit(X, y)
    for output in range(3):
        for feature in range(4):
            step = np.eye(4)[feature] * 1e-6
            slope = (model.predict(X + step) - model.predict(X - step))[:, output] / 2e-6
            np.testing.assert_allclose(
                model.input_gradient(X, output)[:, feature], slope, rtol=1e-6, atol=1e-8
            )


def test_gradients_stay_where_the_arrays_live() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    _, X = fitted("identity")
    rows = torch.tensor(X)
    model = xpnet.MLPRegressor(hidden_layer_sizes=6, max_iter=3, random_state=0).fit(
        rows, rows[:, 0]
    )
    found = model.input_gradient(rows)
    leaf = rows.clone().requires_grad_()
    z = torch.relu(leaf @ torch.tensor(model.coefs_[0]) + torch.tensor(model.intercepts_[0]))
    (z @ torch.tensor(model.coefs_[1])).sum().backward()
    torch.testing.assert_close(found, leaf.grad, rtol=1e-10, atol=1e-12)
    assert model.transform(rows).shape == (60, 6) and isinstance(
        model.transform(rows), torch.Tensor
    )


def test_a_gradient_leaves_the_network_as_it_is() -> None:
    model, X = fitted("softmax", "numba")
    before, loss = model.predict_proba(X), model.loss_
    model.input_gradient(X)
    model.transform(X)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert model.partial_fit(X, np.arange(60) % 3).loss_ != loss


def test_hidden_activations() -> None:
    model, X = fitted("identity")
    first = np.tanh(X @ model.coefs_[0] + model.intercepts_[0])
    second = np.tanh(first @ model.coefs_[1] + model.intercepts_[1])
    np.testing.assert_allclose(model.transform(X, layer=0), first, rtol=1e-12)
    np.testing.assert_allclose(model.transform(X), second, rtol=1e-12)
    np.testing.assert_allclose(model.transform(scipy.sparse.csr_array(X)), second, rtol=1e-12)
    assert list(model.get_feature_names_out()) == [f"mlpregressor{k}" for k in range(5)]
    model, X = fitted("members")
    assert model.transform(X).shape == (60, 15) == (60, len(model.get_feature_names_out()))


def test_a_pipeline_transforms_rows_for_another_model() -> None:
    _, X = fitted("logistic")
    y = X[:, 0] * X[:, 1] > 0
    first = xpnet.MLPClassifier((16,), max_iter=300, learning_rate_init=0.01, random_state=0, tol=0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        chain = make_pipeline(first, LogisticRegression()).fit(X, y)
    assert chain.score(X, y) > 0.9 > LogisticRegression().fit(X, y).score(X, y)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda model, X: model.transform(X, layer=2), "one of 2 hidden layers; got 2"),
        (lambda model, X: model.input_gradient(X, output=3), "0 to 2; got 3"),
        (lambda model, X: model.input_gradient(scipy.sparse.csr_array(X)), "toarray"),
        (lambda model, X: model.transform(X[:, :2]), "features"),
    ],
)
def test_missing_layers_and_outputs_are_refused(call: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call(*fitted("softmax"))


@pytest.mark.parametrize("name", KINDS)
def test_shares_add_up_to_the_prediction(name: str) -> None:
    model, X = fitted(name)
    shares = xpnet.expected_gradients(model, X[:5], X[5:], samples=1000, random_state=0)
    wanted = predict(model, X[:5], -1) - predict(model, X[5:], -1).mean()
    # The mean of 1000 ways, each of the prediction's spread.
    spread = predict(model, X, -1).std()
    np.testing.assert_allclose(shares.sum(axis=1), wanted, atol=8 * spread / 1000**0.5)


def test_shares_are_of_the_columns_that_a_frame_names() -> None:
    frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(30, 3)), columns=["a", "b", "c"])
    model = xpnet.MLPRegressor(hidden_layer_sizes=4, solver="lbfgs", random_state=0).fit(
        frame, frame["a"]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shares = xpnet.expected_gradients(model, frame[:4], frame, samples=3, random_state=0)
    plain = xpnet.MLPRegressor(hidden_layer_sizes=4, solver="lbfgs", random_state=0).fit(
        frame.to_numpy(), frame["a"]
    )
    rows = frame.to_numpy()
    np.testing.assert_array_equal(
        shares, xpnet.expected_gradients(plain, rows[:4], rows, samples=3, random_state=0)
    )
    with pytest.raises(ValueError, match="same order"):
        xpnet.expected_gradients(model, frame[["c", "b", "a"]], frame, samples=3)
    with pytest.raises(NotFittedError):
        xpnet.expected_gradients(xpnet.MLPRegressor(), frame, frame)


def test_importances_are_drawn_by_size() -> None:
    pytest.importorskip("matplotlib", reason="plots are drawn by matplotlib, the extra 'plot'")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    model = xpnet.MLPRegressor(hidden_layer_sizes=16, max_iter=60, random_state=0).fit(
        X, 3 * X[:, 1] + X[:, 0]
    )
    display = xpnet.ImportanceDisplay.from_estimator(
        model, X, 3 * X[:, 1] + X[:, 0], random_state=0
    )
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["x2", "x0", "x1"]
    assert display.importances.shape == (3, 5)
    many = xpnet.ImportanceDisplay(rng.normal(size=(50, 2)), [f"${k}$" for k in range(50)]).plot()
    assert len(many.bars_) == 20
