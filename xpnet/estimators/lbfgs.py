"""Training by L-BFGS: SciPy's optimizer over the gradient of a training step."""

from collections.abc import Callable
from contextlib import nullcontext
from math import prod
from typing import Any

import numpy
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning

from xpnet.backend import Step
from xpnet.distributed import Ranks
from xpnet.estimators.epochs import reported_loss
from xpnet.estimators.inputs import Rows
from xpnet.estimators.libraries import warn_caller
from xpnet.estimators.streaming import SourceRows, summed_gradient
from xpnet.models import Network


class Objective:
    """Computes loss and gradient as functions of one vector of all parameters.

    SciPy asks for the gradient behind the loss, with which it has been computed.
    """

    def __init__(self, network: Network, step: Step, rows: Rows, ranks: Ranks) -> None:
        self.network, self.step, self.rows, self.ranks = network, step, rows, ranks
        self._asked, self._gradient = b"", numpy.zeros(0)

    def vector(self) -> Any:
        """Return the parameters: (size,) float64."""
        return self._joined(self.step.params.groups)

    def write(self, vector: Any) -> None:
        """Make these the network's parameters. vector : (size,)"""
        backend, arrays, start = self.step.backend, [], 0
        for group in self.step.params.groups:
            end = start + prod(group.shape)
            arrays.append(backend.asarray(vector[start:end].reshape(group.shape), dtype=self.step.spec.dtype))
            start = end
        self.step.params.replace_groups(arrays)

    def loss(self, vector: Any) -> float:
        """Compute the loss as scikit-learn reports it."""
        self._asked = vector.tobytes()
        return self.network.exclusively(self._evaluate, vector)

    def gradient(self, vector: Any) -> Any:
        """Return the gradient of the loss: (size,) float64."""
        if vector.tobytes() != self._asked:
            self.loss(vector)
        return self._gradient

    def _evaluate(self, vector: Any) -> float:
        rows, step = self.rows, self.step
        self.write(self.ranks.broadcast(vector))
        if isinstance(rows, SourceRows):
            loss, penalty, gradients = summed_gradient(step, rows, self.ranks)
        else:
            loss = step.gradient(rows.X, rows.Y, sample_weight=rows.weight)
            penalty, gradients = step.penalty, step.gradients.groups
        self._gradient = self._joined(gradients)
        return reported_loss(loss, penalty, step.spec)

    def _joined(self, arrays: list[Any]) -> Any:
        host = self.step.backend.to_numpy
        return numpy.concatenate([host(array).ravel() for array in arrays], dtype=numpy.float64)


def minimise(
    objective: Objective, *, max_iter: int, max_fun: int, tol: float, callback: Callable[[Any], None] | None
) -> scipy.optimize.OptimizeResult:
    """Minimise by L-BFGS-B without bounds (Liu, Nocedal, 1989); the parameters found are in the step afterwards.

    tol : on the largest component of the gradient; callback : called with the parameters after each iteration
    """
    ranks, rows = objective.ranks, objective.rows
    if ranks.several:
        settings = {"max_iter": max_iter, "max_fun": max_fun, "tol": tol, "weighted": rows.weight is not None}
        ranks.check_alike(objective.step.spec, rows=ranks.count(rows.count), **settings)
    # SciPy's vectors are short: BLAS's threads would only wait for each other.
    one_thread = getattr(objective.network.backend, "one_blas_thread", nullcontext)
    with objective.step.running(), one_thread():
        found = scipy.optimize.minimize(
            objective.loss,
            objective.vector(),
            method="L-BFGS-B",
            jac=objective.gradient,
            callback=callback,
            options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
        )
    objective.network.exclusively(objective.write, found.x)
    return found


def iterations_made(found: scipy.optimize.OptimizeResult, max_iter: int) -> int:
    """Count the iterations that were made; warn where they have not converged."""
    made = min(found.nit, max_iter)
    if found.status:
        more = f" Increase the number of iterations (max_iter={max_iter})." if made == max_iter else ""
        said = f"lbfgs failed to converge after {made} iteration(s) (status={found.status}):\n{found.message}\n"
        warn_caller(f"{said}{more} You might also want to scale the data.".strip(), ConvergenceWarning)
    return made
