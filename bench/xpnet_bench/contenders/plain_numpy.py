"""Plain NumPy, as one would write it by hand: the formulas of the layers, temporaries and all."""

import numpy

from xpnet_bench.contenders.contender import Contender, Network
from xpnet_bench.jobs import Job, data

SGD_RATE, ADAM_RATE = 1e-2, 1e-3
"""Learning rates of all contenders."""


def softmax(logits: numpy.ndarray) -> numpy.ndarray:
    """Softmax of each row."""
    exponentials = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def cross_entropy(logits: numpy.ndarray, y: numpy.ndarray) -> tuple[float, numpy.ndarray]:
    """The mean loss, and its gradient with respect to the logits."""
    rows = numpy.arange(len(y))
    d_logits = softmax(logits)
    loss = -numpy.log(d_logits[rows, y]).mean()
    d_logits[rows, y] -= 1
    d_logits /= len(y)
    return loss, d_logits


def adam(
    param: numpy.ndarray, grad: numpy.ndarray, m: numpy.ndarray, v: numpy.ndarray, t: int
) -> None:
    """Update in place, with the temporaries of the expressions."""
    m *= 0.9
    m += 0.1 * grad
    v *= 0.999
    v += 0.001 * grad * grad
    scale, root = ADAM_RATE / (1 - 0.9**t), (1 - 0.999**t) ** -0.5
    param -= scale * m / (numpy.sqrt(v) * root + 1e-8)


class PlainNetwork(Network):
    """A network of one hidden layer."""

    def __init__(self, job: Job, seed: int) -> None:
        super().__init__(job, seed)
        self.params = data.weights(job)
        self.m, self.v = ([numpy.zeros_like(a) for a in self.params] for _ in range(2))
        self.t = 0

    def predict(self, X: numpy.ndarray) -> numpy.ndarray:
        W1, b1, W2, b2 = self.params
        return softmax(numpy.maximum(X @ W1 + b1, 0) @ W2 + b2)

    def step(self, X: numpy.ndarray, y: numpy.ndarray) -> None:  # type: ignore[override]
        W1, b1, W2, b2 = self.params
        hidden = numpy.maximum(X @ W1 + b1, 0)
        _, d_logits = cross_entropy(hidden @ W2 + b2, y)
        d_hidden = (d_logits @ W2.T) * (hidden > 0)
        gradients = [
            X.T @ d_hidden,
            d_hidden.sum(axis=0),
            hidden.T @ d_logits,
            d_logits.sum(axis=0),
        ]
        self.t += 1
        for param, gradient, m, v in zip(self.params, gradients, self.m, self.v, strict=True):
            if self.uses_adam:
                adam(param, gradient, m, v, self.t)
            else:
                param -= SGD_RATE * gradient


class PlainNumpy(Contender):
    """NumPy's functions and the formulas."""

    softmax = staticmethod(softmax)
    cross_entropy = staticmethod(cross_entropy)

    @staticmethod
    def relu(x: numpy.ndarray) -> numpy.ndarray:
        """Return the positive part."""
        return numpy.maximum(x, 0)

    @staticmethod
    def adam(
        param: numpy.ndarray, grad: numpy.ndarray, m: numpy.ndarray, v: numpy.ndarray
    ) -> tuple[numpy.ndarray, ...]:
        """Update in place."""
        adam(param, grad, m, v, 10)
        return param, grad, m, v

    def network(self, job: Job, seed: int) -> Network:
        return PlainNetwork(job, seed)
