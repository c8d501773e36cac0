"""A network of numbers has the losses and gradients of PyTorch's automatic differentiation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet
from xpnet.errors import InputError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = RNG.gamma(2.0, size=(60, 2))


def torch_loss(torch: Any, name: str, outputs: Any, targets: Any) -> Any:
    """The mean over the rows of a loss, summed over the outputs."""
    if name == "squared_error":
        losses = 0.5 * torch.nn.functional.mse_loss(outputs, targets, reduction="none")
    elif name == "absolute_error":
        losses = torch.nn.functional.l1_loss(outputs, targets, reduction="none")
    elif name == "huber":
        losses = torch.nn.functional.huber_loss(outputs, targets, reduction="none")
    else:
        losses = torch.exp(outputs) - targets * outputs  # Poisson's, but for a constant
    return losses.sum(dim=1).mean()


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("name", ["squared_error", "absolute_error", "huber", "poisson"])
def test_gradients_are_those_of_autograd(name: str, backend: str) -> None:
    torch = pytest.importorskip("torch", reason="its automatic differentiation")
    network = xpnet.FeedforwardNeuralNet(4, (5,), 2, loss=name, activation="tanh", rng=0)
    network.to(backend)
    value = network.gradient(X, Y)
    found = {key: np.asarray(network.gradients[key]) for key in network.params}
    values = {
        key: torch.tensor(np.asarray(array), requires_grad=True)
        for key, array in network.params.items()
    }
    hidden = torch.tanh(torch.asarray(X) @ values["W1"] + values["b1"])
    outputs = hidden @ values["W2"] + values["b2"]
    loss = torch_loss(torch, name, outputs, torch.asarray(Y))
    loss.backward()
    for key, tensor in values.items():
        np.testing.assert_allclose(found[key], tensor.grad.numpy(), atol=1e-12)
    if name != "poisson":
        assert value == pytest.approx(float(loss.detach()), rel=1e-12)


def test_numbers_are_predicted_in_columns_and_saved(tmp_path: Path) -> None:
    line = xpnet.FeedforwardNeuralNet(4, (), 1, 0.3, loss="squared_error", rng=0)
    y = X @ [1.0, -2.0, 0.5, 0.0] + 3
    line.fit(X, y, epochs=200)
    assert line.predict(X).shape == (60, 1)
    np.testing.assert_allclose(line.predict(X)[:, 0], y, atol=1e-3)
    line.save(tmp_path / "m")
    opened = xpnet.load(tmp_path / "m")
    np.testing.assert_array_equal(opened.predict(X), line.predict(X))
    assert opened.loss(X, y) == line.loss(X, y)


def test_whole_numbers_are_numbers_and_no_classes() -> None:
    counts = RNG.poisson(3, 60)
    ours = xpnet.FeedforwardNeuralNet(4, (3,), 1, 0.1, loss="poisson", rng=0)
    floats = xpnet.FeedforwardNeuralNet(4, (3,), 1, 0.1, loss="poisson", rng=0)
    ours.fit(X, counts, epochs=3)
    floats.fit(X, counts[:, None].astype(float), epochs=3)
    np.testing.assert_array_equal(ours.predict(X), floats.predict(X))
    assert (ours.predict(X) > 0).all()


def test_other_losses_and_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="Did you mean 'squared_error'"):
        xpnet.FeedforwardNeuralNet(4, 3, 1, loss="squared_eror")
    network = xpnet.FeedforwardNeuralNet(4, 3, 2, loss="squared_error", rng=0)
    with pytest.raises(InputError, match=r"each of 2 outputs; got \(60, 1\)"):
        network.fit(X, Y[:, 0], epochs=1)
