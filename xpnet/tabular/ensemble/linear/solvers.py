"""Linear models of several penalties: ridge regressions, logistic ones, and ordered logistic ones.

They replace scikit-learn's within a fit: one factorization serves all outputs, a limit of time ends
a solver, and no warning reaches the user, since a model that has not converged may help as well.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh, lstsq
from scipy.optimize import minimize

from xpnet import ops
from xpnet.learning.ordered import first_thresholds
from xpnet.ops.offsets import labels_and_offsets
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

    penalty : of the squared weights
    """

    weights: numpy.ndarray
    biases: numpy.ndarray
    penalty: float = 1.0

    def outputs(self, X: numpy.ndarray | SparseMatrix) -> numpy.ndarray:
        """Return its outputs: (rows, outputs)."""
        return X @ self.weights + self.biases


def fit_ridges(
    X: numpy.ndarray, Y: numpy.ndarray, weight: numpy.ndarray | None, penalties: Sequence[float]
) -> list[LinearModel]:
    """Fit a ridge regression for each penalty of the squared weights.

    X : (rows, numbers); Y : (rows, outputs); weight : (rows,), None for equal ones
    """
    X = numpy.asarray(X, numpy.float64)
    Y = numpy.asarray(Y, numpy.float64)
    x_mean, y_mean = numpy.average(X, 0, weight), numpy.average(Y, 0, weight)
    factors, basis = in_row_space(X - x_mean)
    Y = Y - y_mean
    weighted = factors if weight is None else factors * weight[:, None]
    squares, products = weighted.T @ factors, weighted.T @ Y
    models = []
    for penalty in penalties:
        weights = basis(_solution(squares + penalty * numpy.eye(len(squares)), products))
        models.append(LinearModel(weights, y_mean - x_mean @ weights, float(penalty)))
    return models


def in_row_space(
    X: numpy.ndarray,
) -> tuple[numpy.ndarray, Callable[[numpy.ndarray], numpy.ndarray]]:
    """Return X as factors of an orthonormal basis of its rows, where these are the fewer.

    A penalty of the squared weights leaves the weights within the space of the rows. So 400 rows of
    20,000 numbers have a problem of 400 unknowns. (Hastie, Tibshirani, Efficient Quadratic
    Regularization for Expression Arrays, 2004.)

    X : (rows, numbers)
    returns the factors (rows, unknowns), and the function that turns weights of them (unknowns,
    outputs) into weights of the numbers (numbers, outputs)
    """
    if X.shape[1] <= len(X):
        return X, lambda weights: weights
    values, vectors = eigh((X @ X.T).astype(numpy.float64), check_finite=False)
    is_kept = values > values[-1] * numpy.finfo(X.dtype).eps * len(X)
    lengths, vectors = numpy.sqrt(values[is_kept]), vectors[:, is_kept]
    return vectors * lengths, lambda weights: X.T @ (vectors @ (weights / lengths[:, None]))


def _solution(matrix: numpy.ndarray, right: numpy.ndarray) -> numpy.ndarray:
    """Return the solution of the normal equations of a ridge regression.

    Beside weights of 1e30 a penalty of 1 is rounded away, and the matrix may be singular. Then the
    smallest solution is returned.
    """
    try:
        return cho_solve(cho_factor(matrix, check_finite=False), right, check_finite=False)
    except LinAlgError:
        return lstsq(matrix, right, check_finite=False)[0]


def fit_logistics(
    X: numpy.ndarray,
    labels: numpy.ndarray,
    weight: numpy.ndarray | None,
    penalties: Sequence[float],
    *,
    classes: int,
    deadline: float,
) -> list[LinearModel]:
    """Fit a multinomial logistic regression for each penalty of the squared weights.

    Each minimizes the summed loss of the rows plus half of the penalty times the squared weights.
    Its outputs are logits. Two classes have one column of weights, the difference of their logits.
    Each search begins where that of the next larger penalty has ended.

    X : (rows, numbers)
    labels : (rows,) class indices, (rows, classes) soft labels, or (rows, 2 * classes) of these and
        offsets of the logits
    weight : (rows,), None for equal ones
    penalties : in rising order
    deadline : the monotonic time, in seconds, at which the last iteration ends; smaller penalties
        are then left out
    """
    factors, basis = in_row_space(X)
    problem = _Logistic(factors, labels, weight, classes)
    return _minima(problem, basis, penalties, deadline)


def fit_ordered_logistics(
    X: numpy.ndarray,
    labels: numpy.ndarray,
    weight: numpy.ndarray | None,
    penalties: Sequence[float],
    *,
    classes: int,
    deadline: float,
) -> list[LinearModel]:
    """Fit an ordered logistic regression for each penalty of the squared weights of the score.

    The thresholds have no penalty. The arguments are those of `fit_logistics`; outputs are those
    that ``xpnet.ops.ordered`` takes.
    """
    factors, basis = in_row_space(X)
    problem = _OrderedLogistic(factors, labels, weight, classes)
    return _minima(problem, basis, penalties, deadline)


def _minima(
    problem: "_Problem",
    basis: Callable[[numpy.ndarray], numpy.ndarray],
    penalties: Sequence[float],
    deadline: float,
) -> list[LinearModel]:
    """Return the linear models of the minima of a problem, for penalties in rising order.

    basis : turns weights of the problem's numbers into weights of the inputs
    """
    models: list[LinearModel] = []
    parameters = problem.start
    for penalty in reversed(penalties):
        if models and time.monotonic() >= deadline:
            break
        parameters = problem.minimum(parameters, penalty, deadline)
        weights, biases = problem.of_outputs(parameters)
        models.insert(0, LinearModel(basis(weights), biases, penalty))
    return models


class _Problem(ABC):
    """A loss of the rows with a penalty of the squared weights, and its minimum.

    start : the parameters with which a search begins
    """

    start: numpy.ndarray

    @abstractmethod
    def loss_and_gradient(
        self, parameters: numpy.ndarray, penalty: float
    ) -> tuple[float, numpy.ndarray]:
        """Compute the mean loss with its penalty, and the gradient of their sum."""

    @abstractmethod
    def of_outputs(self, parameters: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Return the weights (numbers, outputs) and the biases (outputs,) of parameters."""

    def minimum(self, start: numpy.ndarray, penalty: float, deadline: float) -> numpy.ndarray:
        """Return the parameters of the minimum, or of the last iteration before the deadline."""

        def stop_at_deadline(_: numpy.ndarray) -> None:
            """End SciPy's search after an iteration when the time is over."""
            if time.monotonic() >= deadline:
                raise StopIteration

        # OpenBLAS's product of float32 for five columns and AVX-512 computes with lanes that it
        # never set, and drops them. What they held may raise the flag of an invalid operation.
        with numpy.errstate(invalid="ignore"):
            result = minimize(
                self.loss_and_gradient,
                start.ravel(),
                args=(penalty,),
                jac=True,
                method="L-BFGS-B",
                callback=stop_at_deadline,
                options={"maxiter": MAX_ITERATIONS, "gtol": MAX_GRADIENT},
            )
        return result.x.reshape(start.shape)


class _OrderedLogistic(_Problem):
    """The loss of an ordered logistic regression of the rows.

    start : (numbers + classes - 1,) the weights of the score, then its bias and the gaps of the
        thresholds, as ``xpnet.ops.ordered`` takes them
    """

    def __init__(
        self, X: numpy.ndarray, labels: numpy.ndarray, weight: numpy.ndarray | None, classes: int
    ) -> None:
        self.X = X
        self.labels = labels
        self.weight: numpy.ndarray | None = weight
        self.scale: float = 1.0 / (len(X) if weight is None else float(weight.sum()))
        self.start = numpy.concatenate(
            [numpy.zeros(X.shape[1]), first_thresholds(labels, weight, classes)[:-1]]
        )

    def loss_and_gradient(
        self, parameters: numpy.ndarray, penalty: float
    ) -> tuple[float, numpy.ndarray]:
        """See `_Problem.loss_and_gradient`."""
        X = self.X
        weights, biases = numpy.split(parameters, [X.shape[1]])
        outputs = numpy.tile(numpy.append(biases, 0.0), (len(X), 1))
        outputs[:, 0] += X @ weights.astype(X.dtype)
        results = ops.ordered_cross_entropy(outputs, self.labels, self.weight)
        loss, d_outputs = map(numpy.asarray, results)
        of_weights = X.T @ d_outputs[:, 0].astype(X.dtype) + penalty * self.scale * weights
        penalized = float(loss) + penalty * self.scale / 2 * float(weights @ weights)
        return penalized, numpy.append(of_weights, d_outputs[:, :-1].sum(axis=0))

    def of_outputs(self, parameters: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
        """See `_Problem.of_outputs`."""
        of_score, biases = numpy.split(parameters, [self.X.shape[1]])
        weights = numpy.zeros((len(of_score), len(biases) + 1))
        weights[:, 0] = of_score
        return weights, numpy.append(biases, 0.0)


class _Logistic(_Problem):
    """The loss of a logistic regression of the rows.

    start : (numbers + 1, columns of weights) zeros; the last row is of the biases
    """

    def __init__(
        self, X: numpy.ndarray, labels: numpy.ndarray, weight: numpy.ndarray | None, classes: int
    ) -> None:
        rows, numbers = X.shape
        row_weights = numpy.ones(rows) if weight is None else weight.astype(numpy.float64)
        self.X = X
        self.labels, self.offsets = labels_and_offsets(labels, classes)
        self.scale: float = 1.0 / row_weights.sum()
        self.row_weights: numpy.ndarray = row_weights / row_weights.sum()
        self.rows: numpy.ndarray = numpy.arange(rows)
        self.logits_of_columns: numpy.ndarray = (
            numpy.array([[-0.5, 0.5]]) if classes == 2 else numpy.eye(classes)
        )
        self.start = numpy.zeros((numbers + 1, len(self.logits_of_columns)))

    def loss_and_gradient(
        self, parameters: numpy.ndarray, penalty: float
    ) -> tuple[float, numpy.ndarray]:
        """See `_Problem.loss_and_gradient`."""
        X = self.X
        weights, bias = numpy.split(parameters.reshape(self.start.shape), [X.shape[1]])
        logits = (X @ weights.astype(X.dtype) + bias) @ self.logits_of_columns
        if self.offsets is not None:
            logits += self.offsets
        logits -= logits.max(axis=1, keepdims=True)
        errors = numpy.exp(logits)
        sums = errors.sum(axis=1)
        errors *= (self.row_weights / sums)[:, None]
        if self.labels.ndim == 2:
            losses = numpy.log(sums) - (logits * self.labels).sum(axis=1)
            errors -= self.row_weights[:, None] * self.labels
        else:
            losses = numpy.log(sums) - logits[self.rows, self.labels]
            errors[self.rows, self.labels] -= self.row_weights
        of_columns = errors @ self.logits_of_columns.T
        of_weights = X.T @ of_columns.astype(X.dtype) + penalty * self.scale * weights
        loss = self.row_weights @ losses + penalty * self.scale / 2 * (weights**2).sum()
        return float(loss), numpy.vstack([of_weights, of_columns.sum(axis=0)]).ravel()

    def of_outputs(self, parameters: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
        """See `_Problem.of_outputs`."""
        weights, bias = numpy.split(parameters @ self.logits_of_columns, [len(parameters) - 1])
        return weights, bias[0]
