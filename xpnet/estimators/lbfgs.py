"""Training by L-BFGS: SciPy's optimizer over the gradient of a training step."""

from collections.abc import Callable
from typing import Any

import numpy
from scipy.optimize import OptimizeResult, minimize

from xpnet.backend import Backend, Step
from xpnet.dispatch import current_ranks
from xpnet.estimators.epochs import reported_loss
from xpnet.estimators.inputs import Rows
from xpnet.estimators.streaming import SourceRows, summed_gradient


class Objective:
    """The loss and its gradient as a function of one vector: all weights, then all biases."""

    def __init__(self, step: Step, backend: Backend, rows: Rows) -> None:
        self.step, self.backend, self.rows = step, backend, rows
        names = step.spec.parameter_names
        self.names = [*names[::2], *names[1::2]]

    def vector(self) -> Any:
        """The parameters: (size,) float64."""
        return self._pack(self.step.params)

    def write(self, vector: Any) -> None:
        """Make these the step's parameters. vector : (size,)"""
        start = 0
        for name in self.names:
            shape = tuple(self.step.params[name].shape)
            end = start + int(numpy.prod(shape))
            self.step.params[name] = vector[start:end].reshape(shape)
            start = end

    def __call__(self, vector: Any) -> tuple[float, Any]:
        """returns the loss as scikit-learn reports it, and the gradient (size,) float64"""
        self.write(current_ranks().share(vector))
        if isinstance(self.rows, SourceRows):
            found, gradients = summed_gradient(self.step, self.rows, self.backend)
            return found, self._pack(gradients)
        loss = self.step.gradient(self.rows.X, self.rows.Y, sample_weight=self.rows.weight)
        return reported_loss(loss, self.step.penalty, self.step.spec), self._pack(self.step.gradients)

    def _pack(self, arrays: Any) -> Any:
        parts = [numpy.asarray(self.backend.to_numpy(arrays[name])).ravel() for name in self.names]
        return numpy.concatenate(parts).astype(numpy.float64, copy=False)


def minimise(
    objective: Objective, *, max_iter: int, max_fun: int, tol: float, callback: Callable[[Any], None] | None
) -> OptimizeResult:
    """Minimise by L-BFGS-B without bounds (Liu, Nocedal, 1989); the parameters found are in the step afterwards.

    tol : on the largest component of the gradient; callback : called with the parameters after each iteration
    """
    with objective.step.running():
        found = minimize(
            objective,
            objective.vector(),
            method="L-BFGS-B",
            jac=True,
            callback=callback,
            options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
        )
    objective.write(found.x)
    return found
