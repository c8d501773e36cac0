"""Training by L-BFGS: SciPy's optimizer over the gradient of a training step."""

from contextlib import nullcontext
from functools import partial
from math import prod

import numpy
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning

from xpnet.backend import Backend, Step
from xpnet.backend.bounds import bounds_of
from xpnet.distributed import broadcast_state
from xpnet.estimators.fit import Fit
from xpnet.estimators.training.epochs import reported_loss
from xpnet.estimators.training.warnings import warn_caller
from xpnet.models.network import trainable_on
from xpnet.typing import Array


def train_by_lbfgs(fit: Fit) -> None:
    """Train by L-BFGS-B (Byrd, Lu, Nocedal, Zhu, 1995), all rows at once, within the bounds of the
    parameters, if they have any.
    """
    with fit.fitted.network.lock.training():
        result = _minimize(fit)
    progress = fit.fitted.progress
    progress.n_iter_ = min(result.nit, fit.settings.max_iter)
    progress.loss_ = result.fun
    if result.status:
        _warn_of_no_convergence(fit, result)


def _minimize(fit: Fit) -> scipy.optimize.OptimizeResult:
    """Minimize the loss over the parameters of the network; return SciPy's result."""
    settings = fit.settings
    network = fit.fitted.network
    rows = fit.split.training
    ranks = fit.split.ranks
    step = trainable_on(network, rows)
    limits = {"max_iter": settings.max_iter, "max_fun": settings.max_fun, "tol": settings.tol}
    count = ranks.count(rows.count)
    ranks.check_alike(step.spec, rows=count, weighted=rows.weight is not None, **limits)
    gradients: dict[bytes, numpy.ndarray] = {}  # that of the last vector

    def loss_of(vector: numpy.ndarray) -> float:
        """Return the loss for these parameters, and keep its gradient."""
        write(step, vector)
        broadcast_state(step)
        loss = step.gradient(rows.X, rows.Y, sample_weight=rows.weight)
        gradients.clear()
        gradients[vector.tobytes()] = joined(step.gradients.groups, step.backend)
        return reported_loss(loss, step.penalty, step.spec)

    # SciPy's vectors are short: BLAS's threads would only wait for each other.
    one_thread = getattr(network.backend, "one_blas_thread", nullcontext)
    with step.running(), one_thread():
        result = scipy.optimize.minimize(
            partial(network.exclusively, loss_of),
            joined(step.params.groups, step.backend),
            method="L-BFGS-B",
            bounds=bounds_of_vector(step),
            jac=lambda vector: gradients[vector.tobytes()],  # SciPy asks for it after the loss
            options={
                "maxiter": settings.max_iter,
                "maxfun": settings.max_fun,
                "gtol": settings.tol,
            },
        )
    network.exclusively(write, step, result.x)
    return result


def bounds_of_vector(step: Step) -> scipy.optimize.Bounds | None:
    """Return the bounds of the vector of all parameters, which are as before; None for none."""
    bounds = bounds_of(step.spec)
    if not bounds:
        return None
    kept = joined(step.params.groups, step.backend)
    ends = []
    for end, infinite in (("low", -numpy.inf), ("high", numpy.inf)):
        for name, array in step.params.items():
            free = numpy.full(array.shape, infinite)
            step.params[name] = getattr(bounds[name], end) if name in bounds else free
        ends.append(joined(step.params.groups, step.backend))
    write(step, kept)
    return scipy.optimize.Bounds(*ends)


def _warn_of_no_convergence(fit: Fit, result: scipy.optimize.OptimizeResult) -> None:
    """Warn, as scikit-learn does, that L-BFGS ended before it converged. result : SciPy's"""
    iterations = fit.fitted.progress.n_iter_
    max_iter = fit.settings.max_iter
    advice = ""
    if iterations == max_iter:
        advice = f" Increase the number of iterations (max_iter={max_iter})."
    warn_caller(
        f"lbfgs failed to converge after {iterations} iteration(s) "
        f"(status={result.status}):\n"
        f"{result.message}\n{advice} You might also want to scale the data.",
        ConvergenceWarning,
    )


def write(step: Step, vector: numpy.ndarray) -> None:
    """Make these the parameters of a step. vector : (size,)"""
    arrays = []
    start = 0
    for group in step.params.groups:
        part = vector[start : start + prod(group.shape)].reshape(group.shape)
        arrays.append(step.backend.asarray(part, dtype=step.spec.dtype))
        start += part.size
    step.params.replace_groups(arrays)


def joined(arrays: list[Array], backend: Backend) -> numpy.ndarray:
    """Return the numbers of arrays, one behind the other: (size,) float64."""
    return numpy.concatenate(
        [backend.to_numpy(array).ravel() for array in arrays], dtype=numpy.float64
    )
