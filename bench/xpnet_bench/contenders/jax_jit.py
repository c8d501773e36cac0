"""JAX, everything under jit; arrays that a call replaces are donated."""

from functools import partial
from typing import Any

import jax
import numpy
from jax import numpy as jnp

from xpnet_bench.contenders.answers import first_rows, sample, training_loss
from xpnet_bench.contenders.epochs import EpochByEpoch, accuracy_task
from xpnet_bench.contenders.task import Task
from xpnet_bench.jobs import Job, data

Params = list[Any]


def facts(variant: str) -> dict[str, str]:
    """JAX's version and platform."""
    return {"jax": jax.__version__, "platform": jax.default_backend()}


def _enter(array: numpy.ndarray) -> Any:
    """JAX drops float64 unless told not to; the setting is part of what its functions are compiled for."""
    if array.dtype.kind == "f":
        jax.config.update("jax_enable_x64", array.dtype.itemsize == 8)
    return jnp.asarray(array)


def _loss(logits: jax.Array, y: jax.Array) -> jax.Array:
    log_probabilities = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_probabilities, y[:, None], axis=1).mean()


def softmax(job: Job) -> Task:
    """jax.nn.softmax."""
    logits, function = _enter(data.logits(job)), jax.jit(jax.nn.softmax)
    return Task(lambda: function(logits).block_until_ready(), sample)


def cross_entropy(job: Job) -> Task:
    """value_and_grad of the loss."""
    logits, y = _enter(data.logits(job)), jnp.asarray(data.labels(job))
    function = jax.jit(jax.value_and_grad(_loss))
    return Task(
        lambda: jax.block_until_ready(function(logits, y)), lambda result: [float(result[0]), *sample(result[1])]
    )


def relu(job: Job) -> Task:
    """jax.nn.relu."""
    x, function = _enter(data.flat(job, 1)[0]), jax.jit(jax.nn.relu)
    return Task(lambda: function(x).block_until_ready(), sample)


def _adam(param: jax.Array, grad: jax.Array, m: jax.Array, v: jax.Array, t: Any) -> tuple[jax.Array, ...]:
    m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad * grad
    step = 1e-3 / (1 - 0.9**t) * m / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return param - step, m, v


def adam(job: Job) -> Task:
    """The update as one jitted function."""
    first = data.flat(job, 4)
    grad, function = _enter(first[1]), jax.jit(partial(_adam, t=10), donate_argnums=(0, 2, 3))
    held: list[Any] = []

    def reset() -> None:
        held[:] = [jnp.array(first[i]) for i in (0, 2, 3)]

    def call() -> jax.Array:
        param, m, v = held
        held[:] = function(param, grad, m, v)
        return jax.block_until_ready(held)[0]

    return Task(call, sample, reset)


def _logits(params: Params, X: jax.Array) -> jax.Array:
    W1, b1, W2, b2 = params
    return jax.nn.relu(X @ W1 + b1) @ W2 + b2


def _network_loss(params: Params, X: jax.Array, y: jax.Array) -> jax.Array:
    return _loss(_logits(params, X), y)


@jax.jit
def _probabilities(params: Params, X: jax.Array) -> jax.Array:
    return jax.nn.softmax(_logits(params, X))


@partial(jax.jit, donate_argnums=(0,))
def _descend(params: Params, X: jax.Array, y: jax.Array) -> Params:
    gradients = jax.grad(_network_loss)(params, X, y)
    return [param - 1e-2 * gradient for param, gradient in zip(params, gradients, strict=True)]


@partial(jax.jit, donate_argnums=(0, 1, 2))
def _adam_step(params: Params, m: Params, v: Params, t: Any, X: jax.Array, y: jax.Array) -> tuple[Params, ...]:
    gradients = jax.grad(_network_loss)(params, X, y)
    updated = [_adam(*arrays, t) for arrays in zip(params, gradients, m, v, strict=True)]
    return tuple(list(column) for column in zip(*updated, strict=True))


class Network:
    """Parameters, and moments where Adam is asked for."""

    def __init__(self, job: Job) -> None:
        self.params = [_enter(a) for a in data.weights(job)]
        self.adam, self.t = bool(job.sizes.get("adam", 0)), 0
        self.m, self.v = ([jnp.zeros_like(a) for a in self.params] for _ in range(2))

    def step(self, X: Any, y: Any) -> None:
        """One update."""
        if not self.adam:
            self.params = _descend(self.params, X, y)
            return
        self.t += 1
        self.params, self.m, self.v = _adam_step(self.params, self.m, self.v, float(self.t), X, y)

    def epochs(self, X: Any, y: Any, job: Job, rng: numpy.random.Generator) -> None:
        """Epochs of minibatches, gathered by NumPy; one batch of all rows is taken as it lies."""
        rows, batch = len(X), job.sizes["batch"]
        for _ in range(job.sizes["epochs"]):
            if batch >= rows:
                self.step(X, y)
                continue
            order = rng.permutation(rows)
            for start in range(0, rows, batch):
                chosen = order[start : start + batch]
                self.step(X[chosen], y[chosen])
        jax.block_until_ready(self.params)

    def predict(self, X: Any) -> jax.Array:
        """Class probabilities."""
        return _probabilities(self.params, X).block_until_ready()


def train(job: Job) -> Task:
    """Epochs from the first weights."""
    X, y = rows = data.rows(job)
    if job.sizes["batch"] >= len(X):  # smaller batches are gathered by NumPy
        X, y = map(_enter, rows)
    held: list[Any] = []

    def reset() -> None:
        held[:] = [Network(job), numpy.random.default_rng(data.SEED)]

    def call() -> Network:
        network, rng = held
        network.epochs(X, y, job, rng)
        return network

    return Task(call, lambda network: training_loss(job, numpy.asarray(network.predict(first_rows(job)))), reset)


def accuracy(job: Job) -> Task:
    """Epochs until enough test rows are right."""
    (X, y), test = data.training_and_test(job)

    def start(seed: int) -> EpochByEpoch:
        network, rng = Network(job), numpy.random.default_rng(seed)
        return EpochByEpoch(lambda: network.epochs(X, y, job, rng), lambda: numpy.asarray(network.predict(test.X)))

    return accuracy_task(job, start, test.y)


def predict(job: Job) -> Task:
    """The forward pass as one jitted function."""
    network, X = Network(job), _enter(data.rows(job).X)
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
