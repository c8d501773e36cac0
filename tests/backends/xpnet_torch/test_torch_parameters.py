"""Parameters of a network of tensors have no part in a user's graph of gradients."""

import numpy as np
import pytest

import xpnet

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


def test_parameters_of_a_module_are_taken_without_its_graph() -> None:
    module = torch.nn.Linear(4, 3)
    network = xpnet.LogisticRegression(4, 3, backend="torch")
    network.params["W"] = module.weight.T.double()
    network.params["b"] = module.bias.double()
    X = torch.randn(5, 4, dtype=torch.float64)
    predicted = network.predict(X)
    assert not predicted.requires_grad
    assert not any(values.requires_grad for values in network.params.values())
    expected = torch.softmax(module.double()(X), dim=1).detach()
    np.testing.assert_allclose(predicted.numpy(), expected.numpy(), atol=1e-12)
