"""An independent float64 network in plain NumPy, which shares no line with the library, to compare results with."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class Network:
    """A ReLU network on softmax cross-entropy; weights = [W1, b1, W2, b2, ...]."""

    def __init__(self, weights: Sequence[Any]) -> None:
        self.weights = [np.array(w, dtype=np.float64) for w in weights]
        self.moments = [np.zeros_like(w) for w in self.weights]
        self.squares = [np.zeros_like(w) for w in self.weights]
        self.t = 0

    def loss_and_gradient(self, X: Any, Y: Any) -> tuple[float, list[Any]]:
        """Y: one-hot or soft labels (batch, classes)."""
        X, Y = np.asarray(X, np.float64), np.asarray(Y, np.float64)
        hidden = [X]
        for W, b in zip(self.weights[:-2:2], self.weights[1:-2:2], strict=True):
            hidden.append(np.clip(hidden[-1].dot(W) + b, 0, None))
        logits = hidden[-1].dot(self.weights[-2]) + self.weights[-1]
        log_p = logits - np.logaddexp.reduce(logits, axis=1)[:, None]
        loss = float(-np.mean(np.einsum("nk,nk->n", Y, log_p)))
        delta = (np.exp(log_p) * Y.sum(axis=1)[:, None] - Y) / len(X)
        gradient: list[Any] = []
        for k in range(len(hidden) - 1, -1, -1):
            gradient = [np.einsum("ni,nj->ij", hidden[k], delta), delta.sum(axis=0), *gradient]
            if k:
                delta = np.einsum("nj,ij->ni", delta, self.weights[2 * k]) * np.heaviside(
                    hidden[k], 0.0
                )
        return loss, gradient

    def sgd(self, X: Any, Y: Any, learning_rate: float) -> float:
        """One step of plain gradient descent; returns the loss before it."""
        loss, gradient = self.loss_and_gradient(X, Y)
        self.weights = [w - learning_rate * g for w, g in zip(self.weights, gradient, strict=True)]
        return loss

    def adam(self, X: Any, Y: Any, learning_rate: float) -> float:
        """One step of Adam with the paper's numbers; returns the loss before it."""
        loss, gradient = self.loss_and_gradient(X, Y)
        self.t += 1
        for k, g in enumerate(gradient):
            self.moments[k] += 0.1 * (g - self.moments[k])
            self.squares[k] += 0.001 * (g**2 - self.squares[k])
            mean = self.moments[k] / (1 - 0.9**self.t)
            square = self.squares[k] / (1 - 0.999**self.t)
            self.weights[k] = self.weights[k] - learning_rate * mean / (np.sqrt(square) + 1e-8)
        return loss


def pytorchs_activations() -> dict[str, Any]:
    """PyTorch's function for each activation, by xpnet's name."""
    import torch

    functional = torch.nn.functional
    return {
        "identity": lambda x: x.clone(),
        "relu": torch.relu,
        "tanh": torch.tanh,
        "logistic": torch.sigmoid,
        "softplus": functional.softplus,
        "leaky_relu": functional.leaky_relu,
        "elu": functional.elu,
        "silu": functional.silu,
        "gelu": functional.gelu,
        "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    }
