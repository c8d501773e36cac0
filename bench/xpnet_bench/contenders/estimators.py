"""Fits and predictions through scikit-learn's contract: the same lines for scikit-learn and for
xpnet.

scikit-learn's data sets and searches are imported where they are needed: they are no part of a
library's first use.
"""

from collections.abc import Mapping
from typing import Any

import numpy

from xpnet import BackendError
from xpnet_bench.contenders.contender import Task
from xpnet_bench.jobs import Job, data
from xpnet_bench.measure.pinning import allowed_threads


class EstimatorTasks:
    """The tasks of a library with estimators. settings : arguments for each constructor"""

    classifier: Any
    regressor: Any
    settings: Mapping[str, Any] = {}

    def _classifier(self, job: Job, **settings: Any) -> Any:
        return self._estimator(self.classifier, job, **settings)

    def _estimator(self, kind: Any, job: Job, **settings: Any) -> Any:
        sizes = job.sizes
        return kind(
            hidden_layer_sizes=(sizes["hidden"],) * sizes.get("layers", 1),
            batch_size=sizes.get("batch", "auto"),
            max_iter=sizes["epochs"],
            tol=0.0,
            n_iter_no_change=10**6,
            random_state=data.SEED,
            **self.settings,
            **settings,
        )

    def make_fit_lbfgs(self, job: Job) -> Task:
        """Full batches by L-BFGS on one of scikit-learn's small data sets, columns standardized."""
        from sklearn import datasets
        from sklearn.preprocessing import StandardScaler

        X, y = getattr(datasets, f"load_{job.data}")(return_X_y=True)
        kind = self.regressor if job.data == "diabetes" else self.classifier
        estimator = self._estimator(kind, job, solver="lbfgs")
        return _fit(estimator, StandardScaler().fit_transform(X), y)

    def make_fit_weighted(self, job: Job) -> Task:
        """Minibatches with a weight for each row."""
        weights = data.row_weights(job)
        return _fit(self._classifier(job), *data.rows(job), sample_weight=weights)

    def make_fit_dropout(self, job: Job) -> Task:
        """Minibatches with dropout; masks are random, so that answers are not compared."""
        if "dropout" not in self.classifier().get_params():
            raise BackendError("its estimators have no dropout")
        model = self._classifier(job, dropout=job.sizes["dropped_per_cent"] / 100)
        return Task(_fit(model, *data.rows(job)).call)

    def make_fit_sparse(self, job: Job) -> Task:
        """Minibatches of rows of mostly zeros, in compressed form."""
        from scipy import sparse

        X, y = data.rows(job)
        share = job.sizes["filled_per_cent"] / 100
        kept = numpy.random.default_rng(data.SEED).random(X.shape) < share
        return _fit(self._classifier(job), sparse.csr_matrix(X * kept), y)

    def make_search(self, job: Job) -> Task:
        """GridSearchCV over penalties, as many processes as threads."""
        return self._search(job, "loky")

    def make_search_in_threads(self, job: Job) -> Task:
        """GridSearchCV over penalties, in threads of one process."""
        return self._search(job, "threading")

    def make_search_in_turn(self, job: Job) -> Task:
        """GridSearchCV over penalties, one fit after the other, each on all threads."""
        return self._search(job, "sequential")

    def _search(self, job: Job, workers: str) -> Task:
        from joblib import parallel_config
        from sklearn.base import clone
        from sklearn.model_selection import GridSearchCV

        X, y = data.rows(job)
        penalties = {"alpha": list(numpy.geomspace(1e-6, 1e-1, job.sizes["candidates"]))}
        folds, threads = job.sizes["folds"], allowed_threads()
        grid = GridSearchCV(self._classifier(job), penalties, cv=folds, n_jobs=threads)

        def search() -> None:
            with parallel_config(workers):
                clone(grid).fit(X, y)

        return Task(search)


def _fit(model: Any, *arrays: Any, **keywords: Any) -> Task:
    """A new estimator is fitted in each call."""
    from sklearn.base import clone

    return Task(lambda: clone(model).fit(*arrays, **keywords), _norms)


def _norms(fitted: Any) -> list[float]:
    """The norms of the weights. scikit-learn's loss in float32 is no measure: it clips
    probabilities.
    """
    return [float(numpy.linalg.norm(weight)) for weight in fitted.coefs_]
