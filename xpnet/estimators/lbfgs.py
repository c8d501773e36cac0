"""Training by L-BFGS: SciPy's optimizer over the gradient of a training step."""

from collections.abc import Callable
from contextlib import nullcontext
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
from xpnet.estimators.streaming import SourceRows, summed_gradient
from xpnet.models import Network


def minimise(
    network: Network,
    rows: Rows,
    ranks: Ranks,
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    iteration_ends: Callable[[], bool] | None,
) -> scipy.optimize.OptimizeResult:
    """Minimise by L-BFGS-B without bounds (Liu, Nocedal, 1989); the parameters found are the network's afterwards.

    tol : on the largest component of the gradient
    iteration_ends : called with the parameters of each iteration in the network; returns whether to stop
    """
    step = network.trainable(sparse=issparse(rows.X))
    if ranks.several:
        settings = {"max_iter": max_iter, "max_fun": max_fun, "tol": tol, "weighted": rows.weight is not None}
        ranks.check_alike(step.spec, rows=ranks.count(rows.count), **settings)
    asked, gradient = b"", numpy.zeros(0)

    def evaluate(vector: Any) -> float:
        nonlocal gradient
        write(step, ranks.broadcast(vector))
        if isinstance(rows, SourceRows):
            loss, penalty, gradients = summed_gradient(step, rows, ranks)
        else:
            loss = step.gradient(rows.X, rows.Y, sample_weight=rows.weight)
            penalty, gradients = step.penalty, step.gradients.groups
        gradient = joined(gradients, step.backend)
        return reported_loss(loss, penalty, step.spec)

    def loss_of(vector: Any) -> float:
        nonlocal asked
        asked = vector.tobytes()
        return network.exclusively(evaluate, vector)

    def gradient_of(vector: Any) -> Any:
        if vector.tobytes() != asked:  # SciPy asks for the gradient behind the loss, which has computed it
            loss_of(vector)
        return gradient

    def callback(vector: Any) -> None:
        network.exclusively(write, step, vector)
        if iteration_ends is not None and iteration_ends():
            raise StopIteration

    # SciPy's vectors are short: BLAS's threads would only wait for each other.
    one_thread = getattr(network.backend, "one_blas_thread", nullcontext)
    with step.running(), one_thread():
        result = scipy.optimize.minimize(
            loss_of,
            joined(step.params.groups, step.backend),
            method="L-BFGS-B",
            jac=gradient_of,
            callback=None if iteration_ends is None else callback,
            options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
        )
    network.exclusively(write, step, result.x)
    return result


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
    return numpy.concatenate([backend.to_numpy(array).ravel() for array in arrays], dtype=numpy.float64)


def iterations_made(found: scipy.optimize.OptimizeResult, max_iter: int) -> int:
    """Count the iterations that were made; warn where they have not converged."""
    made = min(found.nit, max_iter)
    if found.status:
        more = f" Increase the number of iterations (max_iter={max_iter})." if made == max_iter else ""
        said = f"lbfgs failed to converge after {made} iteration(s) (status={found.status}):\n{found.message}\n"
        warn_caller(f"{said}{more} You might also want to scale the data.".strip(), ConvergenceWarning)
    return made
