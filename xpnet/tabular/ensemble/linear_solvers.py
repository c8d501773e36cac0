"""Linear models of a few thousand numbers: ridge regressions of several penalties, and logistic.

They replace scikit-learn's within a fit: one factorization serves all outputs, a limit of time ends
a solver, and no warning reaches the user, since a model that has not converged may help as well.
"""

import time
from dataclasses import dataclass

import numpy
from scipy.linalg import LinAlgError, cho_factor, cho_solve, lstsq
from scipy.optimize import minimize

from xpnet.typing import SparseMatrix

MAX_ITERATIONS = 60
"""Maximum number of iterations of a logistic regression. More take longer than the networks where
there are many categories and classes.
"""
MAX_GRADIENT = 1e-4
"""Largest entry of the gradient of the mean loss at which a logistic regression has converged."""


@dataclass(frozen=True, eq=False)
class LinearModel:
    """A linear model of the inputs. weights : (inputs, outputs); biases : (outputs,); float64

    penalty : of the squared weights, in a ridge regression
    """

    weights: numpy.ndarray
    biases: numpy.ndarray
    penalty: float = 1.0

    def outputs(self, X: numpy.ndarray | SparseMatrix) -> numpy.ndarray:
        """Return its outputs: (rows, outputs)."""
        return X @ self.weights + self.biases


def fit_ridges(
    X: numpy.ndarray, Y: numpy.ndarray, weight: numpy.ndarray | None, penalties: numpy.ndarray
) -> list[LinearModel]:
    """Fit a ridge regression for each penalty of the squared weights.

    X : (rows, numbers); Y : (rows, outputs); weight : (rows,), None for equal ones
    """
    X = numpy.asarray(X, numpy.float64)
    Y = numpy.asarray(Y, numpy.float64)
    x_mean, y_mean = numpy.average(X, 0, weight), numpy.average(Y, 0, weight)
    X = X - x_mean
    Y = Y - y_mean
    weighted = X if weight is None else X * weight[:, None]
    squares, products = weighted.T @ X, weighted.T @ Y
    models = []
    for penalty in penalties:
        weights = _solution(squares + penalty * numpy.eye(len(squares)), products)
        models.append(LinearModel(weights, y_mean - x_mean @ weights, float(penalty)))
    return models


def _solution(matrix: numpy.ndarray, right: numpy.ndarray) -> numpy.ndarray:
    """Return the solution of the normal equations of a ridge regression.

    Beside weights of 1e30 a penalty of 1 is rounded away, and the matrix may be singular. Then the
    smallest solution is returned.
    """
    try:
        return cho_solve(cho_factor(matrix, check_finite=False), right, check_finite=False)
    except LinAlgError:
        return lstsq(matrix, right, check_finite=False)[0]


def fit_logistic(
    X: numpy.ndarray,
    labels: numpy.ndarray,
    weight: numpy.ndarray | None,
    *,
    classes: int,
    deadline: float,
) -> LinearModel:
    """Fit a multinomial logistic regression, whose outputs are logits.

    It minimizes the summed loss of the rows plus half of the squared weights. Two classes have one
    column of weights, the difference of their logits.

    X : (rows, numbers); weight : (rows,), None for equal ones
    deadline : the monotonic time, in seconds, at which the last iteration ends
    """
    rows, numbers = X.shape
    row_weights = numpy.ones(rows) if weight is None else weight.astype(numpy.float64)
    penalty = 1.0 / row_weights.sum()
    row_weights = row_weights / row_weights.sum()
    index = numpy.arange(rows)
    logits_of_columns = numpy.array([[-0.5, 0.5]]) if classes == 2 else numpy.eye(classes)
    shape = (numbers + 1, len(logits_of_columns))

    def loss_and_gradient(parameters: numpy.ndarray) -> tuple[float, numpy.ndarray]:
        """Compute the mean loss with its penalty, and the gradient of their sum."""
        weights, bias = numpy.split(parameters.reshape(shape), [numbers])
        logits = (X @ weights.astype(X.dtype) + bias) @ logits_of_columns
        logits -= logits.max(axis=1, keepdims=True)
        errors = numpy.exp(logits)
        sums = errors.sum(axis=1)
        losses = numpy.log(sums) - logits[index, labels]
        errors *= (row_weights / sums)[:, None]
        errors[index, labels] -= row_weights
        of_columns = errors @ logits_of_columns.T
        of_weights = X.T @ of_columns.astype(X.dtype) + penalty * weights
        loss = row_weights @ losses + penalty / 2 * (weights**2).sum()
        return float(loss), numpy.vstack([of_weights, of_columns.sum(axis=0)]).ravel()

    def stop_at_deadline(_: numpy.ndarray) -> None:
        """End SciPy's search after an iteration when the time is over."""
        if time.monotonic() >= deadline:
            raise StopIteration

    # OpenBLAS's product of float32 for five columns and AVX-512 computes with lanes that it never
    # set, and drops them. What they held may raise the flag of an invalid operation.
    with numpy.errstate(invalid="ignore"):
        result = minimize(
            loss_and_gradient,
            numpy.zeros(shape).ravel(),
            jac=True,
            method="L-BFGS-B",
            callback=stop_at_deadline,
            options={"maxiter": MAX_ITERATIONS, "gtol": MAX_GRADIENT},
        )
    weights, bias = numpy.split(result.x.reshape(shape) @ logits_of_columns, [numbers])
    return LinearModel(weights, bias[0])
