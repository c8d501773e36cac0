"""The constant prediction, which is the best one where a table tells nothing of its target.

Networks of a few hundred rows predict a target of noise worse than its mean or its frequencies do.
Few validation rows alone do not show it: of tables with a weak effect the networks are worse than a
constant on 25 validation rows in every third fit. So training rows are asked, too, whether some
input is related to the target. Only where none is, and validation rows do not show that the
networks predict better, the constant is predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy
from scipy.optimize import brentq
from scipy.stats import t as student

from xpnet.backend import NetworkSpec
from xpnet.backend.spec import CLASS_LOSSES
from xpnet.learning.class_offsets import constant_beside_offsets
from xpnet.learning.split import select
from xpnet.ops.offsets import has_offsets, with_offsets
from xpnet.tabular.rows.nested_choices import losses_and_slopes, losses_of_rows
from xpnet.tabular.rows.table_split import FitRows, TableSplit
from xpnet.training import LabeledRows

MEDIAN = 0.5
"""Level of the quantile that has the lowest absolute error."""
MEAN_LOSSES = CLASS_LOSSES | {"squared_error", "poisson", "gamma", "tweedie"}
"""Losses whose best constant is the mean of the targets."""
MAX_P_VALUE = 0.05
"""Probability, for a target of noise, with which an input counts as related."""
MIN_GAIN = 1.0
"""Number of standard errors by which networks must predict validation rows better than a constant
to be kept where no input is related."""

MIN_HARM = 2.0
"""Number of standard errors by which a network must predict validation rows worse than a constant
to be left out. With fewer, the few rows may have been unlucky, and its order of new rows be right.
"""


def has_related_number(numbers: numpy.ndarray, rows: FitRows, spec: NetworkSpec) -> bool:
    """Return whether a number or its square is correlated with the target, beside the constant.

    The correlations are tested together. (Simes, An Improved Bonferroni Procedure for Multiple
    Tests of Significance, 1986.)

    A weight that is an inverse variance makes a row more certain; other weights make the rows count
    as fewer rows. (Kish, Survey Sampling, 1965, section 11.7.)

    numbers : (rows, numbers) of the inputs; spec : of the networks, for their loss
    """
    weight = numpy.ones(len(numbers)) if rows.weight is None else rows.weight.astype(numpy.float64)
    weight = weight / weight.max()
    weight /= weight.sum()
    count = _independent_rows(
        weight if rows.inverse_variance is None else weight / rows.inverse_variance
    )
    centred = _standardised(numbers.astype(numpy.float64), weight)
    inputs = numpy.hstack([centred, _standardised(centred**2, weight)])
    targets = _standardised(targets_beside_constant(rows, spec), weight)
    correlations = numpy.abs((inputs.T * weight) @ targets).clip(max=1 - 1e-12)
    freedom = max(count - 2, 1.0)
    statistics = correlations * numpy.sqrt(freedom / (1 - correlations**2))
    p_values = numpy.sort(2 * student.sf(statistics.ravel(), freedom))
    ranks = numpy.arange(1, len(p_values) + 1)
    return bool((p_values * len(p_values) / ranks).min(initial=1.0) < MAX_P_VALUE)


def best_constant(rows: LabeledRows, spec: NetworkSpec) -> numpy.ndarray:
    """Return the outputs that have the lowest mean loss of rows: (outputs,).

    With offsets they are those of an offset of 0.
    """
    outputs = spec.widths[-1]
    if spec.loss in MEAN_LOSSES:
        return _mean_beside_offsets(rows, outputs)
    columns = _columns(rows.Y, outputs)
    numbers = spec.output_numbers or (MEDIAN,) * outputs
    of_column = _huber_constant if spec.loss == "huber" else _quantile
    return numpy.array(
        [
            of_column(column, number, rows.weight)
            for column, number in zip(columns.T, numbers, strict=True)
        ]
    )


def targets_beside_constant(rows: LabeledRows, spec: NetworkSpec) -> numpy.ndarray:
    """Return what inputs must be related to if they tell more than a constant: (rows, outputs).

    These are the targets, minus what their offsets predict, where the constant is a mean. For other
    losses they are the slopes of the losses at the constant: of quantiles, the side on which a
    target lies. (Rao, Large sample tests of statistical hypotheses, 1948.)
    """
    if spec.loss in MEAN_LOSSES:
        return targets_beside_offsets(rows, spec.widths[-1])
    columns = _columns(rows.Y, spec.widths[-1])
    constant = numpy.broadcast_to(best_constant(rows, spec), columns.shape)
    return losses_and_slopes(constant, columns, spec)[1]


def targets_beside_offsets(rows: LabeledRows, outputs: int) -> numpy.ndarray:
    """Return targets as columns, minus what the offsets of rows predict: (rows, outputs) float64.

    Without offsets nothing is subtracted.
    """
    columns = _columns(rows.Y, outputs)
    if not has_offsets(rows.Y, outputs):
        return columns
    constant = numpy.broadcast_to(_mean_beside_offsets(rows, outputs), columns.shape)
    return columns - numpy.asarray(with_offsets(constant, rows.Y[:, outputs:]))


def _mean_beside_offsets(rows: LabeledRows, outputs: int) -> numpy.ndarray:
    """Return the mean of targets, with offsets that of an offset of 0: (outputs,)."""
    columns = _columns(rows.Y, outputs)
    if has_offsets(rows.Y, outputs):
        return constant_beside_offsets(columns, rows.Y[:, outputs:], rows.weight)
    return numpy.average(columns, axis=0, weights=rows.weight)


def _columns(Y: numpy.ndarray, outputs: int) -> numpy.ndarray:
    """Return targets as columns, one for each class, without offsets: (rows, outputs) float64."""
    return numpy.eye(outputs)[Y] if Y.ndim == 1 else Y[:, :outputs].astype(numpy.float64)


def _quantile(values: numpy.ndarray, level: float, weight: numpy.ndarray | None) -> float:
    """Return the quantile of a level of values (rows,), by weights."""
    return float(numpy.quantile(values, level, method="inverted_cdf", weights=weight))


def _huber_constant(values: numpy.ndarray, delta: float, weight: numpy.ndarray | None) -> float:
    """Return the number around which the residuals of values (rows,), cut off at delta, sum to 0.

    (Huber, Robust Estimation of a Location Parameter, 1964.)
    """

    def mean_residual(constant: float) -> float:
        """Return the mean of the residuals that are cut off."""
        residuals = (values - constant).clip(-delta, delta)
        return float(numpy.average(residuals, weights=weight))

    low, high = float(values.min()), float(values.max())
    return float(brentq(mean_residual, low, high)) if low < high else low


class Gains(NamedTuple):
    """The gains of predictions of rows above those of the constant.

    values : (rows,) losses of the constant minus losses of the predictions; weight : (rows,)
    """

    values: numpy.ndarray
    weight: numpy.ndarray


@dataclass(frozen=True, eq=False)
class Constants:
    """The constants that predict rows best: shares of the classes, means or quantiles of numbers.

    split : the rows of a fit, on the host; spec : of its networks, for their loss
    """

    split: TableSplit
    spec: NetworkSpec

    @property
    def of_all_rows(self) -> numpy.ndarray:
        """Return the constant of all rows: (outputs,)."""
        return best_constant(self.split.rows, self.spec)

    def of_validation_rows(self, fold: int) -> numpy.ndarray:
        """Return the constant of the training rows of a fold for each of its validation rows.

        returns (validation rows, outputs)
        """
        validation = self.split.validation
        constant = self.of_all_rows
        if isinstance(validation, Sequence):
            training = _targets_of(self.split.rows, validation[fold].training)
            constant = best_constant(training, self.spec)
        return numpy.tile(constant, (len(self._validation_rows(fold).Y), 1))

    @property
    def have_groups(self) -> bool:
        """Return whether the validation rows of folds have groups."""
        validation = self.split.validation
        return isinstance(validation, Sequence) and validation[0].groups is not None

    def gains(self, fold: int, outputs: numpy.ndarray) -> Gains:
        """Return the gains of outputs of the rows of a fold. outputs : (rows, outputs)"""
        rows = self._validation_rows(fold)
        of_constant, of_outputs = (
            losses_of_rows(predicted[None], rows.Y, self.spec)
            for predicted in (self.of_validation_rows(fold), outputs)
        )
        weight = numpy.ones(len(rows.Y)) if rows.weight is None else rows.weight
        return Gains(of_constant - of_outputs, weight)

    def _validation_rows(self, fold: int) -> LabeledRows:
        """Return validation rows, or their targets and weights alone. fold : their number"""
        validation = self.split.validation
        if isinstance(validation, LabeledRows):
            return validation
        assert validation is not None
        return _targets_of(self.split.rows, validation[fold].validation)


def _targets_of(rows: LabeledRows, selection: numpy.ndarray | slice) -> LabeledRows:
    """Return the targets and weights of some rows, without their inputs."""
    Y = rows.Y[selection]
    return LabeledRows(numpy.empty((len(Y), 0)), Y, select(rows.weight, selection))


def are_clearly_positive(gains: numpy.ndarray, weight: numpy.ndarray, errors: float) -> bool:
    """Return whether the mean of gains is at least a number of standard errors above 0.

    gains, weight : (rows,)
    """
    shares = weight.astype(numpy.float64) / weight.max()
    shares /= shares.sum()
    mean = float(shares @ gains)
    return bool(mean >= errors * float(numpy.sqrt(shares**2 @ (gains - mean) ** 2)))


def _independent_rows(weight: numpy.ndarray) -> float:
    """Return the number of equal rows whose mean is as certain as that of rows with weights."""
    return float(weight.sum()) ** 2 / float((weight**2).sum())


def _standardised(columns: numpy.ndarray, weight: numpy.ndarray) -> numpy.ndarray:
    """Return columns (rows, columns) of mean 0 and deviation 1; constant ones are 0."""
    centred = columns - numpy.average(columns, axis=0, weights=weight)
    spread = numpy.sqrt(numpy.average(centred**2, axis=0, weights=weight))
    is_constant = spread <= 1e-9 * numpy.abs(columns).max(axis=0, initial=0.0)
    return centred * numpy.where(is_constant, 0.0, 1 / numpy.where(is_constant, 1.0, spread))
