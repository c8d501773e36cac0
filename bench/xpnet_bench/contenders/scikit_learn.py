"""scikit-learn's MLPClassifier, started from the same weights."""

import warnings
from typing import Any

import numpy
import sklearn
from sklearn.neural_network import MLPClassifier, MLPRegressor

from xpnet_bench.contenders.answers import first_rows, sample, training_loss
from xpnet_bench.contenders.epochs import EpochByEpoch, accuracy_task
from xpnet_bench.contenders.task import Task
from xpnet_bench.jobs import Job, data

warnings.filterwarnings("ignore", category=sklearn.exceptions.ConvergenceWarning)


def facts(variant: str) -> dict[str, str]:
    """scikit-learn's version."""
    return {"scikit-learn": sklearn.__version__}


def estimators() -> dict[str, Any]:
    """Return the classes for operations on estimators."""
    return {"classifier": MLPClassifier, "regressor": MLPRegressor}


def _classifier(job: Job, seed: int) -> MLPClassifier:
    sizes, adam = job.sizes, job.sizes.get("adam", 0)
    return MLPClassifier(
        (sizes["hidden"],),
        solver="adam" if adam else "sgd",
        learning_rate_init=1e-3 if adam else 1e-2,
        momentum=0.0,
        alpha=0.0,
        batch_size=min(sizes.get("batch", 1), sizes["rows"]),
        shuffle=sizes.get("batch", 0) < sizes["rows"],
        max_iter=sizes.get("epochs", 1),
        tol=0.0,
        n_iter_no_change=10**6,
        warm_start=True,
        random_state=seed,
    )


def _network(job: Job) -> MLPClassifier:
    """Started from the weights that every contender starts from: with ``warm_start`` a fit goes on from what it finds.

    A first fit on one row of each class tells it shapes and classes.
    """
    classes, network = job.sizes["classes"], _classifier(job, data.SEED)
    asked = network.get_params()
    network.set_params(batch_size=classes, max_iter=1)
    network.fit(numpy.zeros((classes, job.sizes["features"]), job.dtype), numpy.arange(classes))
    network.set_params(**asked)
    W1, b1, W2, b2 = data.weights(job)
    network.coefs_, network.intercepts_ = [W1, W2], [b1, b2]
    return network


def train(job: Job) -> Task:
    """fit for so many epochs."""
    X, y = data.rows(job)
    held: list[Any] = []

    def reset() -> None:
        held[:] = [_network(job)]

    return Task(
        lambda: held[0].fit(X, y),
        lambda network: training_loss(job, network.predict_proba(first_rows(job))),
        reset,
    )


def accuracy(job: Job) -> Task:
    """partial_fit, which is one epoch, until enough test rows are right; from weights that it draws itself."""
    (X, y), test = data.training_and_test(job)

    def start(seed: int) -> EpochByEpoch:
        network, classes = _classifier(job, seed), numpy.arange(job.sizes["classes"])
        return EpochByEpoch(
            lambda: network.partial_fit(X, y, classes=classes),
            lambda: network.predict_proba(test.X),
        )

    return accuracy_task(job, start, test.y)


def predict(job: Job) -> Task:
    """predict_proba."""
    network, X = _network(job), data.rows(job).X
    return Task(lambda: network.predict_proba(X), sample)


OPERATIONS = {"train": train, "accuracy": accuracy, "predict": predict}
