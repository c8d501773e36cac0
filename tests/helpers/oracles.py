"""What is right: activations, losses, optimizers and networks, each written out once, sharing
nothing with xpnet.

In NumPy, for every machine: ``ACTIVATIONS``, ``LOSSES``, ``UPDATES`` and ``PlainStep``. In PyTorch,
whose own functions and derivatives they are: ``pytorch_activations`` and ``pytorch_losses``.
tests/test_oracles.py holds the two against each other. A new activation, loss or optimizer needs
one entry in each table.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import scipy.special

ROOT_2_PI = np.sqrt(2 / np.pi)
DEFAULT_NUMBERS: dict[str, float] = {
    "huber": 1.0,
    "quantile": 0.5,
    "tweedie": 1.5,
    "multi_softmax_cross_entropy": 0,
}
"""The number that a loss has for every output where none is chosen: delta, quantile, power,
target.
"""


def _relu(z: Any) -> tuple[Any, Any]:
    return np.maximum(z, 0), (z > 0) * 1.0


def _tanh(z: Any) -> tuple[Any, Any]:
    return np.tanh(z), 1 / np.cosh(z) ** 2


def _logistic(z: Any) -> tuple[Any, Any]:
    f = 1 / (1 + np.exp(-z))
    return f, f * (1 - f)


def _softplus(z: Any) -> tuple[Any, Any]:
    return np.logaddexp(0, z), 1 / (1 + np.exp(-z))


def _leaky_relu(z: Any) -> tuple[Any, Any]:
    return np.where(z > 0, z, 0.01 * z), np.where(z > 0, 1, 0.01)


def _elu(z: Any) -> tuple[Any, Any]:
    return np.where(z > 0, z, np.expm1(z)), np.where(z > 0, 1, np.exp(z))


def _silu(z: Any) -> tuple[Any, Any]:
    f = 1 / (1 + np.exp(-z))
    return z * f, f + z * f * (1 - f)


def _gelu(z: Any) -> tuple[Any, Any]:
    f = scipy.special.ndtr(z)
    return z * f, f + z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)


def _gelu_tanh(z: Any) -> tuple[Any, Any]:
    f = np.tanh(ROOT_2_PI * (z + 0.044715 * z**3))
    slope = (1 + f) / 2 + z / 2 * (1 - f * f) * ROOT_2_PI * (1 + 0.134145 * z * z)
    return z * (1 + f) / 2, slope


ACTIVATIONS: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "identity": lambda z: (z, np.ones_like(z)),
    "relu": _relu,
    "tanh": _tanh,
    "logistic": _logistic,
    "softplus": _softplus,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "silu": _silu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
}
"""The value f(z) and the derivative f'(z) of each activation."""


def _softmax_cross_entropy(z: Any, y: Any, target: Any) -> tuple[Any, Any]:
    labels = np.eye(z.shape[1])[y] if y.ndim == 1 else y
    log_p = scipy.special.log_softmax(z, axis=1)
    gradient = np.exp(log_p) * labels.sum(axis=1, keepdims=True) - labels
    return -(labels * log_p).sum(axis=1), gradient


def _multi_softmax_cross_entropy(z: Any, y: Any, target: Any) -> tuple[Any, Any]:
    targets = np.broadcast_to(target, z.shape[1])
    losses, gradient = np.zeros(len(z)), np.zeros(z.shape)
    for one in np.unique(targets):
        outputs = targets == one
        loss, gradient[:, outputs] = _softmax_cross_entropy(z[:, outputs], y[:, outputs], None)
        losses += loss
    return losses, gradient


def _ordered_cross_entropy(z: Any, y: Any, number: Any) -> tuple[Any, Any]:
    labels = np.eye(z.shape[1])[y] if y.ndim == 1 else y
    columns = z.shape[1] - 1
    logits = np.hstack([z[:, :1], -np.logaddexp(0, z[:, 1:-1])]).cumsum(axis=1)
    not_below = np.hstack([np.ones((len(z), 1)), 1 / (1 + np.exp(-logits)), np.zeros((len(z), 1))])
    p = not_below[:, :-1] - not_below[:, 1:]
    ratio, inner = labels / p, not_below[:, 1:-1]
    of_logits = (ratio[:, :-1] - ratio[:, 1:]) * inner * (1 - inner)
    moves = np.tril(np.ones((columns, columns))) * np.ones((len(z), 1, 1))
    moves[:, :, 1:] *= -1 / (1 + np.exp(-z[:, None, 1:-1]))
    gradient = np.hstack([np.einsum("ij,ijk->ik", of_logits, moves), np.zeros((len(z), 1))])
    return -(labels * np.log(p)).sum(axis=1), gradient


def _logistic_cross_entropy(z: Any, y: Any, number: Any) -> tuple[Any, Any]:
    p = 1 / (1 + np.exp(-z))
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(axis=1), p - y


def _squared_error(z: Any, y: Any, number: Any) -> tuple[Any, Any]:
    return 0.5 * ((z - y) ** 2).sum(axis=1), z - y


def _absolute_error(z: Any, y: Any, number: Any) -> tuple[Any, Any]:
    return np.abs(z - y).sum(axis=1), np.sign(z - y)


def _huber(z: Any, y: Any, delta: Any) -> tuple[Any, Any]:
    error = z - y
    near = np.abs(error) < delta
    losses = np.where(near, error * error / 2, delta * (np.abs(error) - delta / 2))
    return losses.sum(axis=1), np.where(near, error, delta * np.sign(error))


def _quantile(z: Any, y: Any, level: Any) -> tuple[Any, Any]:
    losses = np.where(y > z, level * (y - z), (1 - level) * (z - y))
    return losses.sum(axis=1), np.where(y > z, -level, 1 - level)


def _poisson(z: Any, y: Any, number: Any) -> tuple[Any, Any]:
    return (np.exp(z) - y + scipy.special.xlogy(y, y) - y * z).sum(axis=1), np.exp(z) - y


def _gamma(z: Any, y: Any, number: Any) -> tuple[Any, Any]:
    return (z - np.log(y) + y / np.exp(z) - 1).sum(axis=1), 1 - y / np.exp(z)


def _tweedie(z: Any, y: Any, power: Any) -> tuple[Any, Any]:
    p, mean = power, np.exp(z)
    losses = (
        y ** (2 - p) / ((1 - p) * (2 - p))
        - y * mean ** (1 - p) / (1 - p)
        + mean ** (2 - p) / (2 - p)
    )
    return losses.sum(axis=1), mean ** (2 - p) - y * mean ** (1 - p)


LOSSES: dict[str, Callable[[Any, Any, Any], tuple[Any, Any]]] = {
    "softmax_cross_entropy": _softmax_cross_entropy,
    "multi_softmax_cross_entropy": _multi_softmax_cross_entropy,
    "ordered_cross_entropy": _ordered_cross_entropy,
    "logistic_cross_entropy": _logistic_cross_entropy,
    "squared_error": _squared_error,
    "absolute_error": _absolute_error,
    "huber": _huber,
    "quantile": _quantile,
    "poisson": _poisson,
    "gamma": _gamma,
    "tweedie": _tweedie,
}
"""Each row's loss, and its gradient with respect to the outputs z (rows, outputs).

The third argument is the loss's number, one for all outputs or one for each.
"""


def row_losses(name: str, z: Any, y: Any, number: Any = ()) -> tuple[Any, Any]:
    """Each row's loss and its gradient; number : as in ``NetworkSpec.loss_numbers``, () for the
    default.
    """
    chosen = np.asarray(number, np.float64) if len(number) else DEFAULT_NUMBERS.get(name)
    return LOSSES[name](z, y, chosen)


def _sgd(rule: Any, t: int, learning_rate: float, p: Any, g: Any, state: list[Any]) -> None:
    (velocity, _) = state
    velocity[...] = rule.momentum * velocity - learning_rate * g
    p += rule.momentum * velocity - learning_rate * g if rule.nesterov else velocity


def _adam(rule: Any, t: int, learning_rate: float, p: Any, g: Any, state: list[Any]) -> None:
    first, second = state
    first[...] = rule.beta1 * first + (1 - rule.beta1) * g
    second[...] = rule.beta2 * second + (1 - rule.beta2) * g**2
    p -= learning_rate * rule.weight_decay * p
    correction1, correction2 = 1 - rule.beta1**t, 1 - rule.beta2**t
    if rule.epsilon_hat:
        size = learning_rate * correction2**0.5 / correction1
        p -= size * first / (np.sqrt(second) + rule.epsilon)
    else:
        p -= learning_rate * (first / correction1) / (np.sqrt(second / correction2) + rule.epsilon)


def _rmsprop(rule: Any, t: int, learning_rate: float, p: Any, g: Any, state: list[Any]) -> None:
    (square, _) = state
    square[...] = rule.beta2 * square + (1 - rule.beta2) * g**2
    p -= learning_rate * rule.weight_decay * p
    p -= learning_rate * g / (np.sqrt(square) + rule.epsilon)


def _nadam(rule: Any, t: int, learning_rate: float, p: Any, g: Any, state: list[Any]) -> None:
    mean, square = state
    decays = rule.beta1 * (1 - 0.5 * 0.96 ** (np.arange(1, t + 2) / 250))
    mean[...] = rule.beta1 * mean + (1 - rule.beta1) * g
    square[...] = rule.beta2 * square + (1 - rule.beta2) * g**2
    ahead = decays[t] * mean / (1 - np.prod(decays))
    ahead += (1 - decays[t - 1]) * g / (1 - np.prod(decays[:t]))
    p -= learning_rate * rule.weight_decay * p
    p -= learning_rate * ahead / (np.sqrt(square / (1 - rule.beta2**t)) + rule.epsilon)


def _lion(rule: Any, t: int, learning_rate: float, p: Any, g: Any, state: list[Any]) -> None:
    (mean, _) = state
    direction = np.sign(rule.beta1 * mean + (1 - rule.beta1) * g)
    p -= learning_rate * (direction + rule.weight_decay * p)
    mean[...] = rule.beta2 * mean + (1 - rule.beta2) * g


class UpdateOracle(NamedTuple):
    """What an update is compared with.

    formula : what a rule does to a parameter and its two buffers in step t, in place
    pytorch : numbers of the update, and PyTorch's optimizer with the same formula and its settings
    """

    formula: Callable[..., None]
    pytorch: Sequence[tuple[dict[str, Any], str, dict[str, Any]]] = ()


UPDATES: dict[str, UpdateOracle] = {
    "sgd": UpdateOracle(
        _sgd,
        [
            ({}, "SGD", {}),
            ({"momentum": 0.9}, "SGD", {"momentum": 0.9}),
            ({"momentum": 0.9, "nesterov": True}, "SGD", {"momentum": 0.9, "nesterov": True}),
        ],
    ),
    "adam": UpdateOracle(
        _adam, [({}, "Adam", {}), ({"weight_decay": 0.1}, "AdamW", {"weight_decay": 0.1})]
    ),
    "rmsprop": UpdateOracle(
        _rmsprop,
        [
            ({}, "RMSprop", {}),
            ({"beta2": 0.8, "epsilon": 1e-3}, "RMSprop", {"alpha": 0.8, "eps": 1e-3}),
        ],
    ),
    "nadam": UpdateOracle(
        _nadam,
        [
            ({}, "NAdam", {}),
            ({"beta1": 0.5, "beta2": 0.9}, "NAdam", {"betas": (0.5, 0.9)}),
            ({"beta1": 0.0}, "NAdam", {"betas": (0.0, 0.999)}),
            (
                {"weight_decay": 0.1},
                "NAdam",
                {"weight_decay": 0.1, "decoupled_weight_decay": True},
            ),
        ],
    ),
    "lion": UpdateOracle(_lion),
}


class PlainStep:
    """The textbook's algorithm in float64, with nothing shared with the library.

    spec : an ``xpnet.backend.NetworkSpec``; params : the parameters by name, copied
    """

    def __init__(self, spec: Any, params: Mapping[str, Any]) -> None:
        self.spec, self.t, self.penalty = spec, 0, 0.0
        self.params = {name: np.array(p, np.float64) for name, p in params.items()}
        self.state = {
            name: [np.zeros(p.shape), np.zeros(p.shape)] for name, p in self.params.items()
        }

    def gradient(self, x: Any, y: Any, w: Any = None) -> tuple[float, dict[str, Any]]:
        """The mean loss of the rows, weighted by w, with the penalty; and the gradient by name."""
        x, w = np.asarray(x, np.float64), np.ones(len(x)) if w is None else w
        layers = len(self.spec.widths) - 1
        inputs, slopes = [x], []
        for k in range(layers):
            z = inputs[-1] @ self.params[f"W{k + 1}"] + self.params[f"b{k + 1}"]
            f, slope = ACTIVATIONS[(*self.spec.activations, "identity")[k]](z)
            inputs.append(f)
            slopes.append(slope)
        losses, d = row_losses(self.spec.loss, z, y, self.spec.loss_numbers)
        scale = w / w.sum()
        d, gradients = d * scale[:, None], {}
        l2 = self.spec.l2 / w.sum() if self.spec.l2_over_batch else self.spec.l2
        for k in reversed(range(layers)):
            W = self.params[f"W{k + 1}"]
            gradients[f"W{k + 1}"] = inputs[k].T @ d + l2 * W
            gradients[f"b{k + 1}"] = d.sum(axis=0)
            d = d @ W.T * slopes[k - 1] if k else d
        squares = sum((self.params[f"W{k + 1}"] ** 2).sum() for k in range(layers))
        return (scale * losses).sum() + l2 / 2 * squares, gradients

    def update(self, gradients: Mapping[str, Any], learning_rate: float) -> None:
        """One step of the specification's rule."""
        self.t += 1
        update = UPDATES[self.spec.rule.name].formula
        for name, g in gradients.items():
            update(self.spec.rule, self.t, learning_rate, self.params[name], g, self.state[name])
        if self.spec.loss == "ordered_cross_entropy":  # thresholds are the same for all rows
            self.params[f"W{len(self.spec.widths) - 1}"][:, 1:] = 0

    def step(self, x: Any, y: Any, learning_rate: float) -> float:
        """One update by all rows; the loss before it."""
        loss, gradients = self.gradient(x, y)
        self.update(gradients, learning_rate)
        return loss

    def epoch(
        self,
        X: Any,
        Y: Any,
        *,
        learning_rate: float,
        batch_size: int,
        order: Any = None,
        sample_weight: Any = None,
    ) -> float:
        """One update for each batch; the mean loss of the rows."""
        order = np.arange(len(X)) if order is None else order
        w = np.ones(len(X)) if sample_weight is None else sample_weight.astype(np.float64)
        total = 0.0
        for start in range(0, len(X), batch_size):
            rows = order[start : start + batch_size]
            loss, gradients = self.gradient(X[rows], Y[rows], w[rows])
            total += w[rows].sum() * loss
            self.update(gradients, learning_rate)
        return total / w.sum()


@contextmanager
def pytorch_in_float64() -> Iterator[Any]:
    """PyTorch with scalars in float64: its NAdam keeps a product of decays in the default dtype."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield torch
    finally:
        torch.set_default_dtype(before)


def pytorch_activations() -> dict[str, Callable[[Any], Any]]:
    """PyTorch's function for each activation, by xpnet's name."""
    import torch

    functional = torch.nn.functional
    return {
        "identity": lambda z: z.clone(),
        "relu": torch.relu,
        "tanh": torch.tanh,
        "logistic": torch.sigmoid,
        "softplus": functional.softplus,
        "leaky_relu": functional.leaky_relu,
        "elu": functional.elu,
        "silu": functional.silu,
        "gelu": functional.gelu,
        "gelu_tanh": lambda z: functional.gelu(z, approximate="tanh"),
    }


def pytorch_losses() -> dict[str, Callable[[Any, Any, Any], Any]]:
    """Each row's loss by PyTorch's functions, by xpnet's name; arguments as in ``LOSSES``, as
    tensors.
    """
    import torch

    F = torch.nn.functional

    def multi_softmax(z: Any, y: Any, target: Any) -> Any:
        targets = torch.as_tensor(target).expand(z.shape[1])
        columns = [targets == one for one in torch.unique(targets)]
        return sum(F.cross_entropy(z[:, c], y[:, c], reduction="none") for c in columns)

    def ordered(z: Any, y: Any, _: Any) -> Any:
        logits = torch.cat([z[:, :1], -F.softplus(z[:, 1:-1])], dim=1).cumsum(1)
        ends = torch.ones_like(z[:, :1]), torch.zeros_like(z[:, :1])
        not_below = torch.cat([ends[0], torch.sigmoid(logits), ends[1]], dim=1)
        return -(y * torch.log(not_below[:, :-1] - not_below[:, 1:])).sum(1)

    def huber(z: Any, y: Any, delta: Any) -> Any:
        columns = zip(z.T, y.T, torch.as_tensor(delta).expand(z.shape[1]), strict=True)
        return sum(F.huber_loss(a, b, reduction="none", delta=float(d)) for a, b, d in columns)

    def quantile(z: Any, y: Any, level: Any) -> Any:
        return torch.maximum(level * (y - z), (level - 1) * (y - z)).sum(1)

    def poisson(z: Any, y: Any, _: Any) -> Any:
        likelihood = F.poisson_nll_loss(z, y, log_input=True, reduction="none")
        return (likelihood + torch.xlogy(y, y) - y).sum(1)

    def tweedie(z: Any, y: Any, p: Any) -> Any:
        mean = torch.exp(z)
        ends = y ** (2 - p) / ((1 - p) * (2 - p)) + mean ** (2 - p) / (2 - p)
        return (ends - y * mean ** (1 - p) / (1 - p)).sum(1)

    return {
        "softmax_cross_entropy": lambda z, y, _: F.cross_entropy(z, y, reduction="none"),
        "multi_softmax_cross_entropy": multi_softmax,
        "ordered_cross_entropy": ordered,
        "logistic_cross_entropy": lambda z, y, _: F.binary_cross_entropy_with_logits(
            z, y, reduction="none"
        ).sum(1),
        "squared_error": lambda z, y, _: F.mse_loss(z, y, reduction="none").sum(1) / 2,
        "absolute_error": lambda z, y, _: F.l1_loss(z, y, reduction="none").sum(1),
        "huber": huber,
        "quantile": quantile,
        "poisson": poisson,
        "gamma": lambda z, y, _: (z - torch.log(y) + y * torch.exp(-z) - 1).sum(1),
        "tweedie": tweedie,
    }


def pytorch_row_losses(name: str, z: Any, y: Any, number: Any = ()) -> Any:
    """Each row's loss as a tensor; number : as in ``row_losses``."""
    import torch

    chosen = torch.as_tensor(np.asarray(number, np.float64)) if len(number) else None
    return pytorch_losses()[name](z, y, DEFAULT_NUMBERS.get(name) if chosen is None else chosen)
