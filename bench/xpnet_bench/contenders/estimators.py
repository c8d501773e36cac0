"""Fits and predictions through scikit-learn's contract: the same lines for scikit-learn and for xpnet."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy
from scipy import sparse
from sklearn import datasets
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from xpnet import InputError
from xpnet_bench.contenders.answers import sample
from xpnet_bench.contenders.task import Task
from xpnet_bench.jobs import Job, data
from xpnet_bench.measure.pinning import allowed_threads

warnings.filterwarnings("ignore", category=ConvergenceWarning)


@dataclass(frozen=True)
class Library:
    """Holds a library's classes of estimators, and arguments for every constructor."""

    classifier: Any
    regressor: Any
    settings: Mapping[str, Any] = field(default_factory=dict)


def operations(library: Library) -> dict[str, Callable[[Job], Task]]:
    """The operations that estimators have, by name."""
    found = (
        fit_lbfgs,
        fit_weighted,
        fit_dropout,
        fit_sparse,
        fit_plain,
        search,
        predict_label,
        predict_proba,
    )
    return {operation.__name__: partial(operation, library) for operation in found}


def _classifier(library: Library, job: Job, **settings: Any) -> Any:
    return _estimator(library.classifier, library, job, **settings)


def _estimator(kind: Any, library: Library, job: Job, **settings: Any) -> Any:
    sizes = job.sizes
    return kind(
        hidden_layer_sizes=(sizes["hidden"],) * sizes.get("layers", 1),
        batch_size=sizes.get("batch", "auto"),
        max_iter=sizes["epochs"],
        tol=0.0,
        n_iter_no_change=10**6,
        random_state=data.SEED,
        **library.settings,
        **settings,
    )


def _fit(model: Any, *arrays: Any, **keywords: Any) -> Task:
    """A new estimator is fitted in each call."""
    return Task(lambda: clone(model).fit(*arrays, **keywords), _norms)


def _norms(fitted: Any) -> list[float]:
    """Return the norms of the weights. scikit-learn's loss in float32 is no measure: it clips probabilities."""
    return [float(numpy.linalg.norm(weight)) for weight in fitted.coefs_]


def fit_lbfgs(library: Library, job: Job) -> Task:
    """Full batches by L-BFGS on one of scikit-learn's small data sets, columns standardized."""
    X, y = getattr(datasets, f"load_{job.data}")(return_X_y=True)
    kind = library.regressor if job.data == "diabetes" else library.classifier
    return _fit(
        _estimator(kind, library, job, solver="lbfgs"), StandardScaler().fit_transform(X), y
    )


def fit_plain(library: Library, job: Job) -> Task:
    """Minibatches of Adam."""
    X, y = data.rows(job)
    return _fit(_classifier(library, job), X, y)


def fit_weighted(library: Library, job: Job) -> Task:
    """Fit as ``fit`` does, with a weight for each row."""
    X, y = data.rows(job)
    return _fit(_classifier(library, job), X, y, sample_weight=data.row_weights(job))


def fit_dropout(library: Library, job: Job) -> Task:
    """The same with dropout; masks are random, so that answers are not compared."""
    if "dropout" not in library.classifier().get_params():
        raise InputError("its estimators have no dropout")
    X, y = data.rows(job)
    model = _classifier(library, job, dropout=job.sizes["dropped_per_cent"] / 100)
    return replace(_fit(model, X, y), answer=lambda fitted: [])


def fit_sparse(library: Library, job: Job) -> Task:
    """Fit on rows of mostly zeros, in compressed form."""
    X, y = data.rows(job)
    kept = numpy.random.default_rng(data.SEED).random(X.shape) < job.sizes["filled_per_cent"] / 100
    return _fit(_classifier(library, job), sparse.csr_matrix(X * kept), y)


def search(library: Library, job: Job) -> Task:
    """GridSearchCV over penalties, as many jobs as threads."""
    X, y = data.rows(job)
    penalties = list(numpy.geomspace(1e-6, 1e-1, job.sizes["candidates"]))
    grid = GridSearchCV(
        _classifier(library, job),
        {"alpha": penalties},
        cv=job.sizes["folds"],
        n_jobs=allowed_threads(),
    )
    return Task(lambda: clone(grid).fit(X, y), lambda fitted: [])


def predict_label(library: Library, job: Job) -> Task:
    """``predict`` of one row."""
    fitted, row = _fitted(library, job)
    return Task(lambda: fitted.predict(row), lambda labels: [])


def predict_proba(library: Library, job: Job) -> Task:
    """``predict_proba`` of one row."""
    fitted, row = _fitted(library, job)
    return Task(lambda: fitted.predict_proba(row), sample)


def _fitted(library: Library, job: Job) -> tuple[Any, numpy.ndarray]:
    X, y = data.rows(job)
    return _classifier(library, job).fit(X, y), X[:1]
