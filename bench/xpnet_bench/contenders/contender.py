"""The base class of contenders: functions of arrays and a network for the tasks of all jobs."""

import itertools
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy

from xpnet import BackendError
from xpnet_bench.jobs import Job, data

ANSWER_SIZE = 24
"""Maximum number of values of an array that are compared between contenders."""


class Round(NamedTuple):
    """Seconds of one unit of a job, what was measured besides, and perhaps numbers of the
    answer.
    """

    seconds: float
    note: Mapping[str, float] = {}
    answer: Sequence[float] = ()


@dataclass
class Task:
    """A prepared job: the arrays lie where the library wants them.

    call : what is timed
    answer : some numbers that follow from what ``call`` returned, the same for all contenders
        within rounding; none of a task that is not compared
    reset : run before each timed call, outside the clock
    times_itself : whether ``call`` returns a list of ``Round``, since the seconds of the whole call
        are not what counts
    """

    call: Callable[[], Any]
    answer: Callable[[Any], Sequence[float]] = lambda result: ()
    reset: Callable[[], None] = lambda: None
    times_itself: bool = False


def sample(array: numpy.ndarray) -> list[float]:
    """Values at even distances in an array."""
    flat = numpy.asarray(array).reshape(-1)
    return [float(value) for value in flat[:: max(1, flat.size // ANSWER_SIZE)][:ANSWER_SIZE]]


def training_loss(job: Job, probabilities: numpy.ndarray) -> list[float]:
    """The mean cross-entropy of a trained network on the first rows of its training data.

    probabilities : (rows, classes) for ``first_rows(job)``
    """
    y = data.rows(job).y[: len(probabilities)]
    right = numpy.asarray(probabilities, dtype=numpy.float64)[numpy.arange(len(y)), y]
    return [float(-numpy.log(numpy.maximum(right, 1e-30)).mean())]


def first_rows(job: Job) -> numpy.ndarray:
    """(up to 1000, features): the rows on which trained networks are compared."""
    return data.rows(job).X[:1000]


def not_offered(*arguments: Any) -> Any:
    """Stand for an operation that a library lacks: raise BackendError."""
    raise BackendError("has no such operation")


class Network:
    """A network in training, from the weights that all contenders start from. Subclasses define a
    step.
    """

    def __init__(self, job: Job, seed: int) -> None:
        self.job, self.rng = job, numpy.random.default_rng(seed)
        self.uses_adam = bool(job.sizes.get("adam", 0))

    def step(self, *arrays: Any) -> None:
        """Make one update with X and y of a batch."""
        raise NotImplementedError

    def predict(self, X: Any) -> Any:
        """Return class probabilities."""
        raise NotImplementedError

    def shuffled(self, rows: int) -> Any:
        """Draw an order of the rows."""
        return self.rng.permutation(rows)

    def epochs(self, *arrays: Any) -> None:
        """Make the job's epochs of minibatches of X and y; one batch of all rows is taken as it
        lies.
        """
        rows, batch = len(arrays[0]), self.job.sizes["batch"]
        for _ in range(self.job.sizes["epochs"]):
            if batch >= rows:
                self.step(*arrays)
                continue
            order = self.shuffled(rows)
            for start in range(0, rows, batch):
                chosen = order[start : start + batch]
                self.step(*(array[chosen] for array in arrays))


class Contender:
    """A library in one of its forms. Its constructor raises BackendError where that cannot be used.

    softmax, cross_entropy, relu : functions of arrays; the second returns the loss and its gradient
        with respect to the logits
    adam : takes what ``adam_state`` made, and returns it after the tenth update
    network : makes a network with the first weights from a job and a seed
    """

    softmax: Callable[..., Any] = staticmethod(not_offered)
    cross_entropy: Callable[..., Any] = staticmethod(not_offered)
    relu: Callable[..., Any] = staticmethod(not_offered)
    adam: Callable[..., Any] = staticmethod(not_offered)
    network: Callable[..., Any] = staticmethod(not_offered)

    def __init__(self, variant: str) -> None:
        self.variant = variant

    def facts(self) -> dict[str, str]:
        """Return the versions of what computes."""
        return {"numpy": numpy.__version__}

    def stopwatch(self, call: Callable[[], Any], calls: int) -> float:
        """Return the seconds that this number of calls takes, garbage collection included."""
        return timeit.timeit(call, setup="gc.enable()", number=calls)

    def enter(self, array: numpy.ndarray) -> Any:
        """Bring an array to where the library computes."""
        return array

    def leave(self, array: Any) -> numpy.ndarray:
        """Bring an array of the library back."""
        return numpy.asarray(array)

    def place(self, rows: data.Rows, job: Job) -> Sequence[Any]:
        """Bring training rows X and y to where training wants them."""
        return tuple(map(self.enter, rows))

    def bind(self, function: Callable[..., Any], *arrays: Any) -> Callable[[], Any]:
        """Return a call without arguments, which returns when its work is done, or is timed by
        ``stopwatch``.
        """
        return lambda: function(*arrays)

    def synchronize(self) -> None:
        """Wait until the work that was asked for is done."""

    def task(self, job: Job) -> Task:
        """Prepare a job; this or the first call raises BackendError where the contender does not do
        it.
        """
        make: Callable[[Job], Task] = getattr(self, f"make_{job.operation}", not_offered)
        return make(job)

    def sample(self, result: Any) -> list[float]:
        """Values of an array of the library."""
        return sample(self.leave(result))

    def make_softmax(self, job: Job) -> Task:
        """Softmax over rows."""
        return Task(self.bind(self.softmax, self.enter(data.logits(job))), self.sample)

    def make_cross_entropy(self, job: Job) -> Task:
        """Cross-entropy and its gradient."""
        logits, y = self.enter(data.logits(job)), self.enter(data.labels(job))
        return Task(
            self.bind(self.cross_entropy, logits, y),
            lambda result: [float(result[0]), *self.sample(result[1])],
        )

    def make_relu(self, job: Job) -> Task:
        """ReLU."""
        return Task(self.bind(self.relu, self.enter(data.flat(job, 1)[0])), self.sample)

    def adam_state(self, *arrays: numpy.ndarray) -> Sequence[Any]:
        """Make the state of Adam before its tenth update, the parameter first; the arrays, which
        are copies, are parameter, gradient and the two moments.
        """
        return tuple(map(self.enter, arrays))

    def make_adam(self, job: Job) -> Task:
        """One update of Adam."""
        first = data.flat(job, 4)
        state: list[Any] = []

        def reset() -> None:
            state[:] = self.adam_state(*(array.copy() for array in first))

        def call() -> Any:
            state[:] = self.adam(*state)
            return state[0]

        return Task(call, self.sample, reset)

    def make_predict(self, job: Job) -> Task:
        """Class probabilities of a network."""
        network = self.network(job, data.SEED)
        return Task(self.bind(network.predict, self.enter(data.rows(job).X)), self.sample)

    def make_train(self, job: Job) -> Task:
        """Epochs from the first weights; on a GPU, where making a network takes long, each goes on
        from the last.
        """
        arrays, networks = self.place(data.rows(job), job), [self.network(job, data.SEED)]

        def reset() -> None:
            if job.suite != "gpu":
                networks[:] = [self.network(job, data.SEED)]

        def call() -> Network:
            networks[0].epochs(*arrays)
            return networks[0]

        return Task(
            call,
            lambda network: training_loss(job, self._probabilities(network, first_rows(job))),
            reset,
        )

    def make_accuracy(self, job: Job) -> Task:
        """Train a new network, epoch by epoch, until enough test rows are right; only its epochs
        are timed.
        """
        training, test = data.training_and_test(job)
        arrays, target = self.place(training, job), job.sizes["per_mille"] / 1000
        seeds = itertools.count()

        def reach() -> list[Round]:
            network = self.network(job, next(seeds))
            seconds = 0.0
            accuracy = 0.0
            epoch = 0
            while epoch < job.sizes["epochs_at_most"] and accuracy < target:
                start = time.perf_counter()
                network.epochs(*arrays)
                self.synchronize()
                seconds += time.perf_counter() - start
                epoch += 1
                predicted = self._probabilities(network, test.X).argmax(axis=1)
                accuracy = float((predicted == test.y).mean())
            return [Round(seconds, {"epochs": epoch, "accuracy": accuracy})]

        return Task(reach, times_itself=True)

    def _probabilities(self, network: Network, X: numpy.ndarray) -> numpy.ndarray:
        return self.leave(network.predict(self.enter(X)))
