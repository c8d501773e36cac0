"""Users of PyTorch: tensors go in and come out, and its own objects get a sentence each."""

from typing import Any

import numpy as np
import pytest

import xpnet
from xpnet.errors import InputError

torch: Any = pytest.importorskip("torch", reason="the library of these users")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(np.int64)
SMALL: dict[str, Any] = {"quality": 1, "networks": 1, "max_iter": 3, "random_state": 0}
DATASET = torch.utils.data.TensorDataset(torch.asarray(X), torch.asarray(LABELS))
LOADER = torch.utils.data.DataLoader(DATASET, batch_size=20)


def assert_same(tensor: Any, expected: Any) -> None:
    """A tensor on the host with exactly these values."""
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), expected)


def test_a_tabular_classifier_returns_tensors_for_tensors() -> None:
    rows = torch.asarray(X)
    model = xpnet.TabularClassifier(**SMALL).fit(rows, torch.asarray(LABELS))
    for method in ("predict", "predict_proba", "predict_members"):
        assert_same(getattr(model, method)(rows), getattr(model, method)(X))
    assert model.score(rows, torch.asarray(LABELS)) == model.score(X, LABELS)
    words = xpnet.TabularClassifier(**SMALL).fit(X, np.where(LABELS, "yes", "no"))
    assert isinstance(words.predict(rows), np.ndarray)  # no tensor holds text


def test_a_tabular_regressor_returns_tensors_for_tensors() -> None:
    rows = torch.asarray(X)
    model = xpnet.TabularRegressor(**SMALL).fit(rows, torch.asarray(X[:, 0]))
    predictions = model.predict(rows)
    assert_same(predictions, model.predict(X))
    for tensor, expected in zip(
        model.predict(rows, return_std=True), model.predict(X, return_std=True), strict=True
    ):
        assert_same(tensor, expected)
    interval = model.predict_interval(X, 0.5)
    assert_same(model.predict_interval(rows, 0.5), interval)
    assert_same(model.predict_interval(rows, 0.5, predictions=predictions), interval)
    assert model.score(rows, rows[:, 0]) == model.score(X, X[:, 0])


def test_arrays_of_jax_come_back_as_arrays_of_jax() -> None:
    jax: Any = pytest.importorskip("jax", reason="the library of these arrays")
    model = xpnet.TabularClassifier(**SMALL).fit(X, LABELS)
    probabilities = model.predict_proba(jax.numpy.asarray(X))
    assert isinstance(probabilities, jax.Array)
    np.testing.assert_allclose(np.asarray(probabilities), model.predict_proba(X), rtol=1e-6)


def fit_network(**settings: Any) -> Any:
    """Make a network of some settings, and train it."""
    return xpnet.FeedforwardNeuralNet(3, 4, 2, **settings).fit(DATASET.tensors[0], LABELS, epochs=1)


@pytest.mark.parametrize("rows", [LOADER, DATASET], ids=["DataLoader", "TensorDataset"])
@pytest.mark.parametrize(
    "train",
    [
        lambda rows: xpnet.FeedforwardNeuralNet(3, 4, 2).fit(rows, epochs=1),
        lambda rows: xpnet.FeedforwardNeuralNet(3, 4, 2).fit(rows, LABELS, epochs=1),
        lambda rows: xpnet.MLPClassifier().fit(rows),
        lambda rows: xpnet.MLPRegressor().fit(rows, LABELS),
        lambda rows: xpnet.TabularClassifier().fit(rows),
        lambda rows: xpnet.TabularRegressor().fit(rows, LABELS),
        lambda rows: xpnet.TabularClassifier(**SMALL).fit(X, LABELS).predict(rows),
        lambda rows: xpnet.MLPClassifier((2,), solver="lbfgs").fit(X, LABELS).predict(rows),
        lambda rows: xpnet.FeedforwardNeuralNet(3, 4, 2).predict(rows),
    ],
)
def test_a_loader_is_refused_with_the_call_that_works(rows: Any, train: Any) -> None:
    with pytest.raises(InputError, match=rf"got a {type(rows).__name__} of PyTorch.*torch\.cat"):
        train(rows)


def test_the_call_that_is_named_works() -> None:
    inputs, labels = map(torch.cat, zip(*LOADER, strict=True))
    assert_same(inputs, X)
    assert_same(labels, LABELS)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rng": torch.Generator()}, "`rng` must be a seed"),
        ({"optimizer": torch.optim.Adam}, "`optimizer` must be one of"),
        ({"learning_rate": torch.optim.lr_scheduler.StepLR}, "`learning_rate` must be a number"),
        ({"learning_rate": "0.1"}, "`learning_rate` must be a number"),
        ({"activation": torch.relu}, "`activation` must be a name"),
        ({"loss": torch.nn.MSELoss()}, "`loss` must be one of"),
    ],
)
def test_objects_of_pytorch_are_refused_with_a_remedy(settings: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit_network(**settings)


@pytest.mark.parametrize("kind", [xpnet.MLPClassifier, xpnet.TabularClassifier])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("random_state", torch.Generator()),
        ("solver", torch.optim.Adam),
        ("learning_rate_init", torch.optim.lr_scheduler.StepLR),
    ],
)
def test_an_estimator_names_the_parameter(kind: Any, name: str, value: Any) -> None:
    with pytest.raises(InputError, match=name):
        kind(**{name: value}).fit(X, LABELS)


def test_a_layer_without_backward_is_told_what_to_write() -> None:
    with pytest.raises(InputError, match=r"no backward.*Write backward\(d_out\)"):
        xpnet.gradcheck.check_layer(torch.nn.Linear(3, 2), np.zeros((2, 3)))
    with pytest.raises(InputError, match=r"Pass Affine\(\)"):
        xpnet.gradcheck.check_layer(xpnet.Affine, np.zeros((2, 3)))
