"""JAX, everything under jit; arrays that a call replaces are donated.

Training comes in two forms: a jitted call for each step, on batches that NumPy gathers, and the quickest that JAX has,
the whole epoch as one jitted scan over data that lie on the device.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy
from jax import numpy as jnp

from xpnet import BackendError
from xpnet_bench.contenders.answers import first_rows, sample, training_loss
from xpnet_bench.contenders.epochs import EpochByEpoch, accuracy_task
from xpnet_bench.contenders.task import Task
from xpnet_bench.jobs import Job, data

Params = list[Any]
_scanning = False


def facts(variant: str) -> dict[str, str]:
    """JAX's version and platform; fixes whether an epoch is one scan or a call for each step.

    Raises BackendError where there is no CUDA device and the variant asks for one.
    """
    global _scanning
    if variant == "cuda" and not _finds_cuda():
        raise BackendError("JAX finds no CUDA device")
    _scanning = variant == "scan"
    return {"jax": jax.__version__, "platform": jax.default_backend()}


def stopwatch(variant: str) -> Callable[[Callable[[], Any], int], float] | None:
    """On a GPU, seconds until the device has done all calls; None where calls return when they are done."""
    return _until_done if variant == "cuda" else None


def _until_done(call: Callable[[], Any], calls: int) -> float:
    started, result = time.perf_counter(), None
    for _ in range(calls):
        result = call()  # the device does them in turn
    jax.block_until_ready(result)
    return time.perf_counter() - started


def _finds_cuda() -> bool:
    try:
        return bool(jax.devices("cuda"))
    except (RuntimeError, AssertionError):  # without its CUDA plugin JAX ends in an assertion
        return False


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
        lambda: jax.block_until_ready(function(logits, y)),
        lambda result: [float(result[0]), *sample(result[1])],
    )


def relu(job: Job) -> Task:
    """jax.nn.relu."""
    x, function = _enter(data.flat(job, 1)[0]), jax.jit(jax.nn.relu)
    return Task(lambda: function(x).block_until_ready(), sample)


def _adam(
    param: jax.Array, grad: jax.Array, m: jax.Array, v: jax.Array, t: Any
) -> tuple[jax.Array, ...]:
    m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad * grad
    step = 1e-3 / (1 - 0.9**t) * m / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return param - step, m, v


def adam(job: Job) -> Task:
    """Make the update as one jitted function."""
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


class State(NamedTuple):
    """Holds what a step replaces: parameters, Adam's moments and its count of steps."""

    params: Params
    m: Params
    v: Params
    t: Any


def _descend(state: State, X: jax.Array, y: jax.Array) -> State:
    gradients = jax.grad(_network_loss)(state.params, X, y)
    return state._replace(
        params=[p - 1e-2 * gradient for p, gradient in zip(state.params, gradients, strict=True)]
    )


def _adam_step(state: State, X: jax.Array, y: jax.Array) -> State:
    gradients, t = jax.grad(_network_loss)(state.params, X, y), state.t + 1
    updated = [
        _adam(*arrays, t) for arrays in zip(state.params, gradients, state.m, state.v, strict=True)
    ]
    params, m, v = map(list, zip(*updated, strict=True))
    return State(params, m, v, t)


class Network:
    """Parameters and the rest of the state, and a compiled call for each step."""

    def __init__(self, job: Job) -> None:
        params = [_enter(a) for a in data.weights(job)]
        m, v = ([jnp.zeros_like(a) for a in params] for _ in range(2))
        self.state = State(params, m, v, jnp.zeros((), params[0].dtype))
        self.adam = bool(job.sizes.get("adam", 0))

    def epochs(self, X: Any, y: Any, job: Job, rng: numpy.random.Generator) -> None:
        """Epochs of minibatches, gathered by NumPy; one batch of all rows is taken as it lies."""
        rows, batch = len(X), job.sizes["batch"]
        for _ in range(job.sizes["epochs"]):
            if batch >= rows:
                self.state = _step(self.state, X, y, self.adam)
                continue
            order = rng.permutation(rows)
            for start in range(0, rows, batch):
                chosen = order[start : start + batch]
                self.state = _step(self.state, X[chosen], y[chosen], self.adam)
        jax.block_until_ready(self.state)

    def predict(self, X: Any) -> jax.Array:
        """Class probabilities."""
        return _probabilities(self.state.params, X).block_until_ready()


class ScannedNetwork(Network):
    """The same, where an epoch, or many steps on one batch, is one compiled scan, the gathering of rows included."""

    def epochs(self, X: Any, y: Any, job: Job, rng: numpy.random.Generator) -> None:
        """X, y: on the device. The order of the rows is drawn by NumPy, as everybody's is."""
        rows, batch, epochs = len(X), job.sizes["batch"], job.sizes["epochs"]
        if batch >= rows:
            self.state = _repeat(self.state, X, y, epochs, self.adam)
        else:
            for _ in range(epochs):
                order = rng.permutation(rows).astype(numpy.int32)
                self.state = _epoch(self.state, X, y, order, batch, self.adam)
        jax.block_until_ready(self.state)


@partial(jax.jit, static_argnums=3, donate_argnums=0)
def _step(state: State, X: jax.Array, y: jax.Array, adam: bool) -> State:
    """Take one step."""
    return _adam_step(state, X, y) if adam else _descend(state, X, y)


@partial(jax.jit, static_argnums=(3, 4), donate_argnums=0)
def _repeat(state: State, X: jax.Array, y: jax.Array, steps: int, adam: bool) -> State:
    """So many steps on all rows."""
    return jax.lax.scan(lambda state, _: (_step(state, X, y, adam), None), state, length=steps)[0]


@partial(jax.jit, static_argnums=(4, 5), donate_argnums=0)
def _epoch(
    state: State, X: jax.Array, y: jax.Array, order: jax.Array, batch: int, adam: bool
) -> State:
    """An epoch over the rows in that order; what is left after the last whole batch is a smaller one."""

    def step(state: State, rows: jax.Array) -> tuple[State, None]:
        return _step(state, X[rows], y[rows], adam), None

    whole = len(order) // batch * batch
    state, _ = jax.lax.scan(step, state, order[:whole].reshape(-1, batch))
    return step(state, order[whole:])[0] if whole < len(order) else state


def _network(job: Job) -> Network:
    return ScannedNetwork(job) if _scanning else Network(job)


def _placed(rows: data.Rows, job: Job) -> tuple[Any, Any]:
    """On the device, but for rows that NumPy gathers into smaller batches."""
    return tuple(map(_enter, rows)) if _scanning or job.sizes["batch"] >= len(rows.X) else rows


def train(job: Job) -> Task:
    """Epochs from the first weights."""
    X, y = _placed(data.rows(job), job)
    held: list[Any] = []

    def reset() -> None:
        held[:] = [_network(job), numpy.random.default_rng(data.SEED)]

    def call() -> Network:
        network, rng = held
        network.epochs(X, y, job, rng)
        return network

    return Task(
        call,
        lambda network: training_loss(job, numpy.asarray(network.predict(first_rows(job)))),
        reset,
    )


def fit_many(job: Job) -> Task:
    """All networks by vmap, an epoch as one jitted scan over batches that all networks share."""
    (X, y), count, batch = map(_enter, data.rows(job)), job.sizes["networks"], job.sizes["batch"]
    step_of_all = jax.vmap(_adam_step, (0, None, None))

    @partial(jax.jit, donate_argnums=0)
    def epoch(state: State, order: jax.Array) -> State:
        return jax.lax.scan(lambda s, rows: (step_of_all(s, X[rows], y[rows]), None), state, order)[
            0
        ]

    def call() -> None:
        params, rng = (
            [jnp.stack([_enter(a)] * count) for a in data.weights(job)],
            numpy.random.default_rng(data.SEED),
        )
        m, v = ([jnp.zeros_like(p) for p in params] for _ in range(2))
        state = State(params, m, v, jnp.zeros(count, params[0].dtype))
        for _ in range(job.sizes["epochs"]):
            state = epoch(state, rng.permutation(len(X)).reshape(-1, batch).astype(numpy.int32))
        jax.block_until_ready(state)

    return Task(call, lambda result: [])


def accuracy(job: Job) -> Task:
    """Epochs until enough test rows are right."""
    training, test = data.training_and_test(job)
    X, y = _placed(training, job)

    def start(seed: int) -> EpochByEpoch:
        network, rng = _network(job), numpy.random.default_rng(seed)
        return EpochByEpoch(
            lambda: network.epochs(X, y, job, rng), lambda: numpy.asarray(network.predict(test.X))
        )

    return accuracy_task(job, start, test.y)


def predict(job: Job) -> Task:
    """Run the forward pass as one jitted function."""
    network, X = Network(job), _enter(data.rows(job).X)
    return Task(lambda: network.predict(X), sample)


OPERATIONS = {
    "softmax": softmax,
    "cross_entropy": cross_entropy,
    "relu": relu,
    "adam": adam,
    "train": train,
    "fit_many": fit_many,
    "accuracy": accuracy,
    "predict": predict,
}
