"""A linear prediction of the target by the other columns of a table.

The effect of a value, such as a firm, is best predicted by what is left of the targets of its rows
after the effects of the other columns: that varies less than the targets do. A mixed model
estimates both at once. (Henderson, Best Linear Unbiased Estimation and Prediction under a Selection
Model, 1975; Robinson, That BLUP Is a Good Thing, 1991.) Here one step is enough, a ridge regression
on the other columns, since networks learn from all columns again. On 300 rows of 100 values, with
one column that explains a fifth of the variance within values, means of what is left have a squared
error of new rows that is 3 % lower than means of the targets have.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy
from scipy.linalg import eigh

from xpnet.tabular.columns.records import Table
from xpnet.tabular.encodings.category import CategoryEncoding
from xpnet.tabular.encodings.encoding import Encoding
from xpnet.tabular.encodings.encoding_target import LinearPrediction, Target
from xpnet.tabular.encodings.number import NumberEncoding
from xpnet.tabular.encodings.target_means import target_columns
from xpnet.tabular.encodings.value_effect import compared_rows, has_few_targets

MAX_VALUES = 20
"""Maximum number of values of a category that is among the columns; categories of more values have
mean targets themselves."""
MAX_INPUTS = 256
"""Maximum number of inputs of the ridge regression. With more of them it takes long, and in such
tables a single column matters less."""
MAX_SHARE_OF_ROWS = 0.2
"""Maximum number of inputs as a share of the rows. More inputs fit noise, which the residuals of
rows of one value then lack in common."""
PENALTIES = numpy.logspace(-4, 2, 13)
"""Penalties of the squared weights that are compared, for each row."""


@dataclass(frozen=True, eq=False)
class OtherColumns:
    """The columns that may explain the target besides the column whose values have means.

    inputs : (rows, inputs) float32, of mean 0 and deviation 1
    columns : (inputs,) index of the table's column of each
    weights : (inputs, outputs) float64, of the ridge regression on all inputs
    inverse : (inputs, inputs) float64, of the matrix of its normal equations
    """

    inputs: numpy.ndarray
    columns: numpy.ndarray
    weights: numpy.ndarray
    inverse: numpy.ndarray

    def without(self, column: int) -> LinearPrediction | None:
        """Return what the columns but one predict; None where there is no other.

        Leaving out inputs S of a ridge regression changes its weights by
        A^-1[:, S] (A^-1[S, S])^-1 w[S], with the matrix A of the normal equations.
        """
        left_out = numpy.flatnonzero(self.columns == column)
        if len(left_out) == len(self.columns):
            return None
        weights = self.weights
        if len(left_out):
            block = self.inverse[numpy.ix_(left_out, left_out)]
            change = self.inverse[:, left_out] @ numpy.linalg.solve(block, weights[left_out])
            weights = weights - change
            weights[left_out] = 0.0
        return LinearPrediction(self.inputs, weights.astype(numpy.float32))


def fit_other_columns(
    table: Table, encodings: Sequence[Encoding], target: Target
) -> OtherColumns | None:
    """Fit a ridge regression of the target on the numbers and the small categories of a table.

    The penalty has the lowest error by generalized cross-validation. (Golub, Heath, Wahba, 1979.)
    None where the target has too many classes, and for too many inputs or none.
    """
    rows = compared_rows(target.learned(numpy.arange(table.rows)))
    usable = [
        replace(encoding, edges=numpy.empty(0))
        if isinstance(encoding, NumberEncoding)
        else encoding
        for encoding in encodings
        if isinstance(encoding, NumberEncoding)
        or (isinstance(encoding, CategoryEncoding) and len(encoding.values) <= MAX_VALUES)
    ]
    widths = [len(encoding.labels) for encoding in usable]
    too_many = sum(widths) > min(MAX_INPUTS, MAX_SHARE_OF_ROWS * len(rows))
    if not sum(widths) or too_many or not has_few_targets(target, rows):
        return None
    inputs = numpy.empty((table.rows, sum(widths)), numpy.float32)
    for encoding, end in zip(usable, numpy.cumsum(widths).tolist(), strict=True):
        encoding.write(table, inputs[:, end - len(encoding.labels) : end])
    inputs -= inputs.mean(axis=0, dtype=numpy.float64).astype(numpy.float32)
    spread = inputs.std(axis=0, dtype=numpy.float64)
    inputs /= numpy.where(spread > 0, spread, 1.0).astype(numpy.float32)
    X = inputs[rows].astype(numpy.float64)
    Y = target_columns(target, rows)
    Y -= Y.mean(axis=0)
    values, vectors = eigh(X.T @ X)
    values = values.clip(min=0.0)
    products = vectors.T @ (X.T @ Y)
    total = (Y**2).sum()
    penalties = PENALTIES * len(rows)
    errors = [_error(values, (products**2).sum(axis=1), total, len(rows), p) for p in penalties]
    shrunk = values + penalties[int(numpy.argmin(errors))]
    inverse = (vectors / shrunk) @ vectors.T
    columns = numpy.repeat([encoding.column for encoding in usable], widths)
    return OtherColumns(inputs, columns, vectors @ (products / shrunk[:, None]), inverse)


def _error(
    values: numpy.ndarray, squares: numpy.ndarray, total: float, rows: int, penalty: float
) -> float:
    """Return the error of a penalty by generalized cross-validation.

    values : eigenvalues of the matrix of squares; squares : of the products in their directions
    total : sum of the squared targets
    """
    shares = values / (values + penalty)
    explained = (squares * (values + 2 * penalty) / (values + penalty) ** 2).sum()
    return float((total - explained) / (1 - (1 + shares.sum()) / rows) ** 2)
