"""Training by L-BFGS: SciPy's optimizer over the gradient of a training step."""

from collections.abc import Callable
from contextlib import nullcontext
from math import prod
from typing import Any

import numpy
from scipy.optimize import OptimizeResult, minimize

from xpnet.backend import Step
from xpnet.dispatch import current_ranks
from xpnet.estimators.epochs import reported_loss
from xpnet.estimators.inputs import Rows
from xpnet.estimators.streaming import SourceRows, summed_gradient
from xpnet.models import Network


class Objective:
    """The loss and its gradient as a function of one vector: all weights, then all biases."""

    def __init__(self, network: Network, step: Step, rows: Rows) -> None:
        self.network, self.step, self.rows = network, step, rows
        self._at = self._gradient = numpy.zeros(0)
        slots, start = {slot.name: slot for slot in step.spec.slots()}, 0
        names = step.spec.parameter_names
        self.places: list[tuple[str, int, int, tuple[int, ...]]] = []
        for name in (*names[::2], *names[1::2]):
            end = start + prod(slots[name].shape)
            self.places.append((name, start, end, slots[name].shape))
            start = end

    def vector(self) -> Any:
        """The parameters: (size,) float64."""
        return self._pack(self.step.params)

    def write(self, vector: Any) -> None:
        """Make these the network's parameters. vector : (size,)"""
        self.network.load_values({name: vector[a:b].reshape(shape) for name, a, b, shape in self.places})

    def loss(self, vector: Any) -> float:
        """The loss as scikit-learn reports it. The gradient comes with it, and is kept for who asks for it next."""
        self.write(current_ranks().share(vector))
        if isinstance(self.rows, SourceRows):
            loss, gradients = summed_gradient(self.step, self.rows, self.network.backend)
            self._at, self._gradient = vector, self._pack(gradients)
            return loss
        loss = self.step.gradient(self.rows.X, self.rows.Y, sample_weight=self.rows.weight)
        self._at, self._gradient = vector, self._pack(self.step.gradients)
        return reported_loss(loss, self.step.penalty, self.step.spec)

    def gradient(self, vector: Any) -> Any:
        """The gradient (size,) float64."""
        if not numpy.array_equal(vector, self._at):
            self.loss(vector)
        return self._gradient

    def _pack(self, arrays: Any) -> Any:
        host = self.network.backend.to_numpy
        parts = [host(arrays[name]).ravel() for name, *_ in self.places]
        return numpy.concatenate(parts, dtype=numpy.float64)


def minimise(
    objective: Objective, *, max_iter: int, max_fun: int, tol: float, callback: Callable[[Any], None] | None
) -> OptimizeResult:
    """Minimise by L-BFGS-B without bounds (Liu, Nocedal, 1989); the parameters found are in the step afterwards.

    tol : on the largest component of the gradient; callback : called with the parameters after each iteration
    """
    # SciPy's vectors are short: BLAS's threads would only wait for each other.
    one_thread = getattr(objective.network.backend, "one_blas_thread", nullcontext)
    with objective.step.running(), one_thread():
        found = minimize(
            objective.loss,
            objective.vector(),
            method="L-BFGS-B",
            jac=objective.gradient,
            callback=callback,
            options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
        )
    objective.write(found.x)
    return found
