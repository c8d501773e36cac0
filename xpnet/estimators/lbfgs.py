"""Training by L-BFGS: SciPy's optimizer over the gradient of a training step."""

from contextlib import nullcontext
from functools import partial
from math import prod
from typing import Any

import numpy
import scipy.optimize
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning

from xpnet.backend import Backend, Step
from xpnet.distributed import Ranks
from xpnet.estimators.epochs import reported_loss
from xpnet.estimators.inputs import Rows
from xpnet.estimators.libraries import warn_caller


def fit_lbfgs(estimator: Any, rows: Rows, ranks: Ranks) -> None:
    """Train by L-BFGS-B without bounds (Liu, Nocedal, 1989), all rows at once."""
    network, most = estimator._fitted, estimator.max_iter
    gradients: dict[bytes, Any] = {}  # that of the last vector
    step = network.trainable(sparse=issparse(rows.X))
    limits = {"max_iter": most, "max_fun": estimator.max_fun, "tol": estimator.tol}
    ranks.check_alike(
        step.spec, rows=ranks.count(rows.count), weighted=rows.weight is not None, **limits
    )

    def loss_of(vector: Any) -> float:
        write(step, ranks.broadcast(vector))
        loss = step.gradient(rows.X, rows.Y, sample_weight=rows.weight)
        gradients.clear()
        gradients[vector.tobytes()] = joined(step.gradients.groups, step.backend)
        return reported_loss(loss, step.penalty, step.spec)

    # SciPy's vectors are short: BLAS's threads would only wait for each other.
    one_thread = getattr(network.backend, "one_blas_thread", nullcontext)
    with step.running(), one_thread():
        found = scipy.optimize.minimize(
            partial(network.exclusively, loss_of),
            joined(step.params.groups, step.backend),
            method="L-BFGS-B",
            jac=lambda vector: gradients[vector.tobytes()],  # SciPy asks for it behind the loss
            options=dict(zip(("maxiter", "maxfun", "gtol"), limits.values(), strict=True)),
        )
    network.exclusively(write, step, found.x)
    estimator.n_iter_, estimator.loss_ = min(found.nit, most), found.fun
    if found.status:
        more = (
            f" Increase the number of iterations (max_iter={most})."
            if estimator.n_iter_ == most
            else ""
        )
        failed = f"lbfgs failed to converge after {estimator.n_iter_} iteration(s) (status={found.status})"
        said = f"{failed}:\n{found.message}\n{more} You might also want to scale the data."
        warn_caller(said, ConvergenceWarning)


def write(step: Step, vector: Any) -> None:
    """Make these the parameters of a step. vector : (size,)"""
    backend, arrays, start = step.backend, [], 0
    for group in step.params.groups:
        part = vector[start : start + prod(group.shape)].reshape(group.shape)
        arrays.append(backend.asarray(part, dtype=step.spec.dtype))
        start += part.size
    step.params.replace_groups(arrays)


def joined(arrays: list[Any], backend: Backend) -> Any:
    """Return the numbers of arrays, one behind the other: (size,) float64."""
    return numpy.concatenate(
        [backend.to_numpy(array).ravel() for array in arrays], dtype=numpy.float64
    )
