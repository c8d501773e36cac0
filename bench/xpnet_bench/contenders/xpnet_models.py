"""xpnet on one of its backends, through the names that a user has."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy

import xpnet
from xpnet import BackendError
from xpnet.dispatch import choose
from xpnet_bench.contenders.contender import Contender, Network, Task
from xpnet_bench.contenders.estimators import EstimatorTasks
from xpnet_bench.contenders.plain_numpy import ADAM_RATE, SGD_RATE
from xpnet_bench.jobs import Job, data, widths_of

OPTIONS: dict[int, Any] = {23: "fp32", 10: "tf32", 7: "bf16"}
"""``precision`` of the backends, by the bits of the fraction of what products take."""


def device_seconds(call: Callable[[], Any], calls: int) -> float:
    """Return the seconds that this number of calls takes, by the clock of the device."""
    import cupy

    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    start.record()
    for _ in range(calls):
        call()
    end.record()
    end.synchronize()
    return cupy.cuda.get_elapsed_time(start, end) / 1000


class XpnetNetwork(Network):
    """A FeedforwardNeuralNet."""

    def __init__(self, job: Job, seed: int, backend: Any) -> None:
        super().__init__(job, seed)
        features, *hidden, classes = widths_of(job)
        self.model = xpnet.FeedforwardNeuralNet(
            features,
            tuple(hidden),
            classes,
            ADAM_RATE if self.uses_adam else SGD_RATE,
            backend=backend,
            dtype=job.dtype,
            optimizer="adam" if self.uses_adam else None,
        )
        self.model.params.update(dict(zip(self.model.params, data.weights(job), strict=True)))
        self.predict = self.model.predict  # type: ignore[method-assign]

    def epochs(self, *arrays: Any) -> None:
        epochs, batch = self.job.sizes["epochs"], self.job.sizes["batch"]
        shuffle = batch < arrays[0].shape[0]
        self.model.fit(*arrays, epochs=epochs, batch_size=batch, shuffle=shuffle, rng=self.rng)


class Xpnet(EstimatorTasks, Contender):
    """xpnet on the backend that the variant names."""

    def __init__(self, variant: str) -> None:
        super().__init__(variant)
        self.backend = xpnet.get_backend(variant)
        self.settings = {"backend": self.backend.name}
        self.classifier, self.regressor = xpnet.MLPClassifier, xpnet.MLPRegressor
        self.softmax, self.relu = xpnet.softmax, xpnet.relu
        self.cross_entropy = xpnet.softmax_cross_entropy
        self._contexts = ExitStack()
        if variant != "numba" or choose(numpy.zeros(1)).backend is not self.backend:
            # Otherwise the backend is the default, and users need not name it either.
            self._contexts.enter_context(xpnet.use_backend(self.backend))

    def close(self) -> None:
        """Leave the choice of the backend."""
        self._contexts.close()

    def facts(self) -> dict[str, str]:
        return {"xpnet": xpnet.__version__, **self.backend.describe()}

    def stopwatch(self, call: Callable[[], Any], calls: int) -> float:
        """For CuPy the seconds between two events on the device."""
        measure = device_seconds if self.variant == "cupy" else super().stopwatch
        return measure(call, calls)

    def enter(self, array: numpy.ndarray) -> Any:
        return self.backend.asarray(array)

    def leave(self, array: Any) -> numpy.ndarray:
        return self.backend.to_numpy(array)

    def synchronize(self) -> None:
        self.backend.synchronize()

    def network(self, job: Job, seed: int) -> Network:
        backend, bits = self.backend, job.sizes.get("bits")
        if bits and self.variant == "numpy":
            raise BackendError("has products of one precision")
        if bits:
            backend = type(backend)(OPTIONS[bits])  # type: ignore[call-arg]
        return XpnetNetwork(job, seed, backend)

    def adam_state(self, *arrays: numpy.ndarray) -> Sequence[Any]:
        """Raises BackendError for a backend that has no kernel for Adam."""
        if "adam_update" not in self.backend.kernels:
            raise BackendError(
                "this backend has no kernel for Adam; see numpy for the plain expression"
            )
        return super().adam_state(*arrays)

    def adam(self, param: Any, grad: Any, m: Any, v: Any) -> tuple[Any, ...]:
        """The backend's kernel."""
        kernel: Any = self.backend.kernels["adam_update"]
        launch = getattr(kernel, "launch", kernel)
        param, m, v = launch(param, grad, m, v, t=10, learning_rate=1e-3)
        return param, grad, m, v

    def _models(self, job: Job) -> list[xpnet.FeedforwardNeuralNet]:
        """Networks that differ in the orders that they draw."""
        models = []
        for seed in range(job.sizes["networks"]):
            model = XpnetNetwork(job, seed, self.backend).model
            model.rng = numpy.random.default_rng(seed)
            models.append(model)
        return models

    def make_fit_many(self, job: Job) -> Task:
        """xpnet.fit_many."""
        arrays = self.place(data.rows(job), job)
        epochs, batch = job.sizes["epochs"], job.sizes["batch"]
        return Task(
            lambda: xpnet.fit_many(self._models(job), *arrays, epochs=epochs, batch_size=batch)
        )
