"""Layers, AdamW and clipping, which scikit-learn lacks, against trainings in PyTorch."""

from typing import Any

import pytest
from helpers.estimators import SETTINGS, assert_close
from helpers.oracles import pytorch_activations
from sklearn.base import clone

import xpnet


@pytest.fixture
def torch() -> Any:
    """PyTorch, where it is installed."""
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def torch_training(
    torch: Any,
    data: Any,
    model: Any,
    optimizer: Any,
    activations: list[Any],
    max_norm: float | None = None,
) -> Any:
    """Full-batch epochs in PyTorch from ``model``'s initial parameters; returns its weights.

    The loss is scikit-learn's: cross-entropy plus alpha / 2 sum ||W||^2 / rows.
    """
    start = clone(model).set_params(max_iter=1, learning_rate_init=1e-300).fit(data.X, data.counts)
    weights = [torch.tensor(w, requires_grad=True) for w in start.coefs_]
    biases = [torch.tensor(b, requires_grad=True) for b in start.intercepts_]
    steps, X, y = optimizer(weights + biases), torch.asarray(data.X), torch.asarray(data.counts)
    for _ in range(model.max_iter):
        out = X
        for weight, bias, activation in zip(
            weights, biases, [*activations, torch.nn.Identity()], strict=True
        ):
            out = activation(out @ weight + bias)
        penalty = model.alpha / 2 * sum((w * w).sum() for w in weights) / len(X)
        steps.zero_grad()
        (torch.nn.functional.cross_entropy(out, y) + penalty).backward()
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(weights + biases, max_norm)
        steps.step()
    return [w.detach().numpy() for w in weights]


@pytest.mark.parametrize(
    "pair", [("tanh", "logistic"), ("gelu", "silu"), ("elu", "gelu_tanh"), ("leaky_relu", "elu")]
)
def test_activations_per_layer(torch: Any, data: Any, backend: str, pair: tuple[str, str]) -> None:
    """One for each hidden layer, against PyTorch."""
    model = xpnet.MLPClassifier(**{**SETTINGS, "batch_size": 130, "backend": backend})
    model.set_params(
        activation=list(pair), solver="sgd", momentum=0, alpha=0.1, learning_rate_init=0.5
    )
    functions = [pytorch_activations()[name] for name in pair]
    weights = torch_training(torch, data, model, lambda p: torch.optim.SGD(p, lr=0.5), functions)
    assert_close(model.fit(data.X, data.counts), weights)


def test_adamw(torch: Any, data: Any, backend: str) -> None:
    """Decoupled weight decay, against PyTorch."""
    model = xpnet.MLPClassifier(
        **{**SETTINGS, "batch_size": 130, "backend": backend, "activation": "tanh"}
    )
    model.set_params(solver="adamw", weight_decay=0.3, learning_rate_init=0.01)
    optimizer = lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.3)  # noqa: E731
    weights = torch_training(torch, data, model, optimizer, [torch.tanh] * 2)
    assert_close(model.fit(data.X, data.counts), weights)


def test_gradient_clipping(torch: Any, data: Any, backend: str) -> None:
    """Gradients longer than max_grad_norm are scaled down, against PyTorch; a long limit changes
    nothing.
    """
    model = xpnet.MLPClassifier(
        **{**SETTINGS, "batch_size": 130, "backend": backend, "activation": "tanh"}
    )
    model.set_params(solver="sgd", momentum=0, learning_rate_init=1.0, max_grad_norm=0.05)
    weights = torch_training(
        torch, data, model, lambda p: torch.optim.SGD(p, lr=1.0), [torch.tanh] * 2, max_norm=0.05
    )
    assert_close(model.fit(data.X, data.counts), weights)
    free, unlimited = (
        clone(model).set_params(max_grad_norm=None),
        clone(model).set_params(max_grad_norm=1e9),
    )
    assert_close(free.fit(data.X, data.counts), unlimited.fit(data.X, data.counts).coefs_)
