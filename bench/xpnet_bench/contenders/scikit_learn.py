"""scikit-learn's estimators, started from the same weights."""

from typing import Any

import numpy
import sklearn
from sklearn.neural_network import MLPClassifier, MLPRegressor

from xpnet_bench.contenders.contender import Contender, Network
from xpnet_bench.contenders.estimators import EstimatorTasks
from xpnet_bench.contenders.plain_numpy import ADAM_RATE, SGD_RATE
from xpnet_bench.jobs import Job, data


class EstimatorNetwork(Network):
    """MLPClassifier, whose ``fit`` goes on from the weights that it has."""

    def __init__(self, job: Job, seed: int) -> None:
        super().__init__(job, seed)
        sizes = job.sizes
        self.classes = numpy.arange(sizes["classes"])
        self.estimator = MLPClassifier(
            (sizes["hidden"],),
            solver="adam" if self.uses_adam else "sgd",
            learning_rate_init=ADAM_RATE if self.uses_adam else SGD_RATE,
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
        if job.operation != "accuracy":
            self._set_first_weights()

    def _set_first_weights(self) -> None:
        """A first fit on one row of each class makes the shapes and the classes known."""
        parameters = self.estimator.get_params()
        self.estimator.set_params(batch_size=len(self.classes), max_iter=1)
        shape = len(self.classes), self.job.sizes["features"]
        self.estimator.fit(numpy.zeros(shape, self.job.dtype), self.classes)
        self.estimator.set_params(**parameters)
        W1, b1, W2, b2 = data.weights(self.job)
        self.estimator.coefs_, self.estimator.intercepts_ = [W1, W2], [b1, b2]

    def epochs(self, *arrays: Any) -> None:
        """By ``fit``; epoch by epoch with ``partial_fit``, which keeps the optimizer's state."""
        if self.job.operation == "accuracy":
            self.estimator.partial_fit(*arrays, classes=self.classes)
        else:
            self.estimator.fit(*arrays)

    def predict(self, X: Any) -> Any:
        return self.estimator.predict_proba(X)


class ScikitLearn(EstimatorTasks, Contender):
    """MLPClassifier and MLPRegressor."""

    classifier, regressor = MLPClassifier, MLPRegressor

    def facts(self) -> dict[str, str]:
        return {"scikit-learn": sklearn.__version__}

    def network(self, job: Job, seed: int) -> Network:
        return EstimatorNetwork(job, seed)
