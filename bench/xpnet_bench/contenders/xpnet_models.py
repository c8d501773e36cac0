"""xpnet on one of its backends, through the names that a user has."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy

import xpnet
from xpnet.dispatch import choose
from xpnet_bench.contenders.answers import first_rows, sample, training_loss
from xpnet_bench.contenders.epochs import EpochByEpoch, accuracy_task
from xpnet_bench.contenders.task import Task
from xpnet_bench.jobs import Job, data

LEARNING_RATE = {0: 1e-2, 1: 1e-3}
_held_open = ExitStack()
_backend: Any = None


def facts(variant: str) -> dict[str, str]:
    """xpnet's version and what the backend says of itself; from here on everything runs on that backend.

    Raises BackendError where it is not usable.
    """
    global _backend
    _backend = xpnet.get_backend(variant)
    if (
        variant != "numba" or choose(numpy.zeros(1)).backend is not _backend
    ):  # else users need not name it, either
        _held_open.enter_context(xpnet.use_backend(_backend))
    return {"xpnet": xpnet.__version__, **_backend.describe()}


def estimators() -> dict[str, Any]:
    """Return the classes for operations on estimators, and the backend that they run on."""
    settings = {"backend": _backend.name}
    return {
        "classifier": xpnet.MLPClassifier,
        "regressor": xpnet.MLPRegressor,
        "settings": settings,
    }


def stopwatch(variant: str) -> Callable[[Callable[[], Any], int], float] | None:
    """Return for CuPy the seconds between two events on the device; None where calls return when done."""
    if variant != "cupy":
        return None
    import cupy

    def measure(call: Callable[[], Any], calls: int) -> float:
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        return cupy.cuda.get_elapsed_time(start, end) / 1000

    return measure


def _enter(array: numpy.ndarray) -> Any:
    return _backend.asarray(array)


def _sample(array: Any) -> list[float]:
    return sample(_backend.to_numpy(array))


def softmax(job: Job) -> Task:
    """xpnet.softmax."""
    logits = _enter(data.logits(job))
    return Task(lambda: xpnet.softmax(logits), _sample)


def cross_entropy(job: Job) -> Task:
    """xpnet.softmax_cross_entropy."""
    logits, y = _enter(data.logits(job)), _enter(data.labels(job))
    return Task(
        lambda: xpnet.softmax_cross_entropy(logits, y),
        lambda result: [float(result[0]), *_sample(result[1])],
    )


def relu(job: Job) -> Task:
    """xpnet.relu."""
    x = _enter(data.flat(job, 1)[0])
    return Task(lambda: xpnet.relu(x), _sample)


def adam(job: Job) -> Task:
    """The backend's kernel; raises BackendError for a backend that has none."""
    kernel = _backend.kernels.get("adam_update")
    if kernel is None:
        raise xpnet.BackendError(
            "this backend has no kernel for Adam; see numpy for the plain expression"
        )
    launch, first = getattr(kernel, "launch", kernel), data.flat(job, 4)
    grad = _enter(first[1])
    held: list[Any] = []

    def reset() -> None:
        held[:] = [_enter(first[i].copy()) for i in (0, 2, 3)]

    def call() -> Any:
        param, m, v = held
        held[:] = launch(param, grad, m, v, t=10, learning_rate=1e-3)
        return held[0]

    return Task(call, _sample, reset)


def _network(job: Job) -> xpnet.FeedforwardNeuralNet:
    adam, sizes = job.sizes.get("adam", 0), job.sizes
    network = xpnet.FeedforwardNeuralNet(
        sizes["features"],
        sizes["hidden"],
        sizes["classes"],
        LEARNING_RATE[adam],
        backend=_backend,
        dtype=job.dtype,
        optimizer="adam" if adam else None,
    )
    for name, value in zip(("W1", "b1", "W2", "b2"), data.weights(job), strict=True):
        network.params[name] = value
    return network


def _fit(
    network: xpnet.FeedforwardNeuralNet, X: Any, y: Any, job: Job, rng: numpy.random.Generator
) -> None:
    full = job.sizes["batch"] >= X.shape[0]
    network.fit(
        X, y, epochs=job.sizes["epochs"], batch_size=job.sizes["batch"], shuffle=not full, rng=rng
    )


def _predict_host(network: xpnet.FeedforwardNeuralNet, X: Any) -> numpy.ndarray:
    return _backend.to_numpy(network.predict(_enter(X)))


def train(job: Job) -> Task:
    """FeedforwardNeuralNet.fit from the first weights."""
    X, y = map(_enter, data.rows(job))
    held: list[Any] = []

    def reset() -> None:
        held[:] = [_network(job), numpy.random.default_rng(data.SEED)]

    def call() -> Any:
        network, rng = held
        _fit(network, X, y, job, rng)
        return network

    return Task(
        call, lambda network: training_loss(job, _predict_host(network, first_rows(job))), reset
    )


def _networks(job: Job) -> list[xpnet.FeedforwardNeuralNet]:
    """Networks that differ in the stream of their orders."""
    networks = [_network(job) for _ in range(job.sizes["networks"])]
    for seed, network in enumerate(networks):
        network.rng = numpy.random.default_rng(seed)
    return networks


def fit_many(job: Job) -> Task:
    """xpnet.fit_many."""
    X, y = map(_enter, data.rows(job))
    epochs, batch = job.sizes["epochs"], job.sizes["batch"]
    return Task(
        lambda: xpnet.fit_many(_networks(job), X, y, epochs=epochs, batch_size=batch),
        lambda result: [],
    )


def fit_each(job: Job) -> Task:
    """FeedforwardNeuralNet.fit of one network after the other."""
    X, y = map(_enter, data.rows(job))
    epochs, batch = job.sizes["epochs"], job.sizes["batch"]
    return Task(
        lambda: [network.fit(X, y, epochs=epochs, batch_size=batch) for network in _networks(job)],
        lambda result: [],
    )


def accuracy(job: Job) -> Task:
    """FeedforwardNeuralNet.fit, an epoch at a time, until enough test rows are right."""
    training, test = data.training_and_test(job)
    X, y, test_X = map(_enter, (*training, test.X))

    def start(seed: int) -> EpochByEpoch:
        network, rng = _network(job), numpy.random.default_rng(seed)

        def epoch() -> None:
            _fit(network, X, y, job, rng)
            _backend.synchronize()

        return EpochByEpoch(epoch, lambda: _predict_host(network, test_X))

    return accuracy_task(job, start, test.y)


def predict(job: Job) -> Task:
    """FeedforwardNeuralNet.predict."""
    network, X = _network(job), _enter(data.rows(job).X)
    return Task(lambda: network.predict(X), _sample)


OPERATIONS = {
    "softmax": softmax,
    "cross_entropy": cross_entropy,
    "relu": relu,
    "adam": adam,
    "train": train,
    "fit_many": fit_many,
    "fit_each": fit_each,
    "accuracy": accuracy,
    "predict": predict,
}
