"""Training by L-BFGS: SciPy's optimizer over the gradient of a training step."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property
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
from xpnet.models.inputs import is_host


class Objective:
    """Computes loss and gradient as functions of one vector: all weights, all biases, then the factors of members.

    SciPy asks for the gradient behind the loss, with which it has been computed.
    """

    def __init__(self, network: Network, step: Step, rows: Rows, ranks: Ranks) -> None:
        self.network, self.step, self.rows, self.ranks = network, step, rows, ranks
        spec, slots, start = step.spec, {slot.name: slot for slot in step.spec.slots()}, 0
        self.names = tuple(dict.fromkeys((*spec.weight_names, *spec.bias_names, *spec.parameter_names)))
        self._asked = self._gradient = numpy.zeros(0)
        self._written = numpy.zeros(sum(prod(slot.shape) for slot in slots.values()))
        self._values: dict[str, Any] = {}  # as the network takes them: views of what is written
        for name in self.names:
            end = start + prod(slots[name].shape)
            self._values[name] = self._written[start:end].reshape(slots[name].shape)
            start = end

    def vector(self) -> Any:
        """Return the parameters: (size,) float64."""
        return self._pack(self._runs(self.step.params))

    def write(self, vector: Any) -> None:
        """Make these the network's parameters. vector : (size,)"""
        self._written[...] = vector
        self.network.load_values(self._values)

    def loss(self, vector: Any) -> float:
        """Compute the loss as scikit-learn reports it."""
        self._asked = vector
        self.write(self.ranks.broadcast(vector))
        if isinstance(self.rows, SourceRows):
            loss, penalty, gradients = self.network.exclusively(summed_gradient, self.step, self.rows, self.ranks)
            self._gradient = self._pack(self._runs(gradients))
            return reported_loss(loss, penalty, self.step.spec)
        rows, compute = self.rows, self.step.gradient
        loss = self.network.exclusively(compute, rows.X, rows.Y, sample_weight=rows.weight)
        self._gradient = self._pack(self._lasting or self._runs(self.step.gradients))
        return reported_loss(loss, self.step.penalty, self.step.spec)

    def gradient(self, vector: Any) -> Any:
        """Return the gradient of the loss: (size,) float64."""
        if vector.shape != self._asked.shape or not (vector == self._asked).all():
            self.loss(vector)
        return self._gradient

    @cached_property
    def _lasting(self) -> list[Any]:
        """Return the step's gradient as runs, found once, if each gradient lies where the last one did; else empty."""
        gradients: Any = self.step.gradients
        stays = gradients.flat is not None and is_host(self.network.backend)
        return self._runs(gradients) if stays else []

    def _runs(self, arrays: Any) -> list[Any]:
        """Return each of these arrays as a run of numbers on the host, in the vector's order."""
        host = self.network.backend.to_numpy
        return [host(arrays[name]).ravel() for name in self.names]

    def _pack(self, runs: list[Any]) -> Any:
        return numpy.concatenate(runs, dtype=numpy.float64)


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
    objective.write(found.x)
    return found


def iterations_made(found: scipy.optimize.OptimizeResult, max_iter: int) -> int:
    """Count the iterations that were made; warn where they have not converged."""
    made = min(found.nit, max_iter)
    if found.status:
        more = f" Increase the number of iterations (max_iter={max_iter})." if made == max_iter else ""
        said = f"lbfgs failed to converge after {made} iteration(s) (status={found.status}):\n{found.message}\n"
        warn_caller(f"{said}{more} You might also want to scale the data.".strip(), ConvergenceWarning)
    return made
