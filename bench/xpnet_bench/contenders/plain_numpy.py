"""Plain NumPy, as one would write it by hand: the formulas of the layers, temporaries and all."""

from typing import Any

import numpy

from xpnet_bench.contenders.answers import first_rows, sample, training_loss
from xpnet_bench.contenders.epochs import EpochByEpoch, accuracy_task
from xpnet_bench.contenders.task import Task
from xpnet_bench.jobs import Job, data

Arrays = list[numpy.ndarray]
LEARNING_RATE = {0: 1e-2, 1: 1e-3}


def facts(variant: str) -> dict[str, str]:
    """NumPy's version."""
    return {"numpy": numpy.__version__}


def _softmax(logits: numpy.ndarray) -> numpy.ndarray:
    exponentials = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _cross_entropy(logits: numpy.ndarray, y: numpy.ndarray) -> tuple[float, numpy.ndarray]:
    rows = numpy.arange(len(y))
    d_logits = _softmax(logits)
    loss = -numpy.log(d_logits[rows, y]).mean()
    d_logits[rows, y] -= 1
    d_logits /= len(y)
    return loss, d_logits


def softmax(job: Job) -> Task:
    """Softmax over rows."""
    logits = data.logits(job)
    return Task(lambda: _softmax(logits), sample)


def cross_entropy(job: Job) -> Task:
    """Return the loss and its gradient."""
    logits, y = data.logits(job), data.labels(job)
    return Task(
        lambda: _cross_entropy(logits, y), lambda result: [float(result[0]), *sample(result[1])]
    )


def relu(job: Job) -> Task:
    """numpy.maximum."""
    (x,) = data.flat(job, 1)
    return Task(lambda: numpy.maximum(x, 0), sample)


def adam(job: Job) -> Task:
    """Update in place, with the temporaries of the expressions."""
    param, grad, m, v = data.flat(job, 4)
    fresh = [a.copy() for a in (param, m, v)]

    def reset() -> None:
        for array, first in zip((param, m, v), fresh, strict=True):
            array[...] = first

    def call() -> numpy.ndarray:
        _adam(param, grad, m, v, 10)
        return param

    return Task(call, sample, reset)


def _adam(
    param: numpy.ndarray, grad: numpy.ndarray, m: numpy.ndarray, v: numpy.ndarray, t: int
) -> None:
    m *= 0.9
    m += 0.1 * grad
    v *= 0.999
    v += 0.001 * grad * grad
    scale, root = 1e-3 / (1 - 0.9**t), (1 - 0.999**t) ** -0.5
    param -= scale * m / (numpy.sqrt(v) * root + 1e-8)


class Network:
    """784-hidden-10 by hand."""

    def __init__(self, job: Job) -> None:
        self.adam = bool(job.sizes.get("adam", 0))
        self.params = data.weights(job)
        self.m, self.v = ([numpy.zeros_like(a) for a in self.params] for _ in range(2))
        self.t = 0

    def predict(self, X: numpy.ndarray) -> numpy.ndarray:
        """Class probabilities."""
        W1, b1, W2, b2 = self.params
        return _softmax(numpy.maximum(X @ W1 + b1, 0) @ W2 + b2)

    def step(self, X: numpy.ndarray, y: numpy.ndarray) -> None:
        """Make one update."""
        W1, b1, W2, b2 = self.params
        hidden = numpy.maximum(X @ W1 + b1, 0)
        _, d_logits = _cross_entropy(hidden @ W2 + b2, y)
        d_hidden = (d_logits @ W2.T) * (hidden > 0)
        self._update(
            [X.T @ d_hidden, d_hidden.sum(axis=0), hidden.T @ d_logits, d_logits.sum(axis=0)]
        )

    def _update(self, gradients: Arrays) -> None:
        self.t += 1
        for param, gradient, m, v in zip(self.params, gradients, self.m, self.v, strict=True):
            if self.adam:
                _adam(param, gradient, m, v, self.t)
            else:
                param -= LEARNING_RATE[0] * gradient

    def epochs(
        self, X: numpy.ndarray, y: numpy.ndarray, job: Job, rng: numpy.random.Generator
    ) -> None:
        """Epochs of minibatches; one batch of all rows is taken as it lies."""
        rows, batch = len(X), job.sizes["batch"]
        for _ in range(job.sizes["epochs"]):
            if batch >= rows:
                self.step(X, y)
                continue
            order = rng.permutation(rows)
            for start in range(0, rows, batch):
                chosen = order[start : start + batch]
                self.step(X[chosen], y[chosen])


def train(job: Job) -> Task:
    """Epochs from the first weights."""
    X, y = data.rows(job)
    held: list[Any] = []

    def reset() -> None:
        held[:] = [Network(job), numpy.random.default_rng(data.SEED)]

    def call() -> Network:
        network, rng = held
        network.epochs(X, y, job, rng)
        return network

    return Task(call, lambda network: training_loss(job, network.predict(first_rows(job))), reset)


def accuracy(job: Job) -> Task:
    """Epochs until enough test rows are right."""
    (X, y), test = data.training_and_test(job)

    def start(seed: int) -> EpochByEpoch:
        network, rng = Network(job), numpy.random.default_rng(seed)
        return EpochByEpoch(lambda: network.epochs(X, y, job, rng), lambda: network.predict(test.X))

    return accuracy_task(job, start, test.y)


def predict(job: Job) -> Task:
    """Class probabilities."""
    network, X = Network(job), data.rows(job).X
    return Task(lambda: network.predict(X), sample)


OPERATIONS = {
    "softmax": softmax,
    "cross_entropy": cross_entropy,
    "relu": relu,
    "adam": adam,
    "train": train,
    "accuracy": accuracy,
    "predict": predict,
}
