"""The balance of a trained network: as much predicted as observed, over rows that it learned from.

A training that ends before the maximum of the likelihood leaves the level of its outputs anywhere
near. The last biases set it right: those of means with a logarithmic link, by their totals, and
the thresholds of ordered classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.utils import gen_batches

from xpnet.data.sources import Source
from xpnet.learning.ordered import (
    cumulative_logits,
    cumulative_of_outputs,
    outputs_of_cumulative,
    sums_of_classes,
)
from xpnet.learning.scores import MIN_PROBABILITY
from xpnet.learning.split import select
from xpnet.models import Network
from xpnet.models.inputs import to_host
from xpnet.ops import ordered
from xpnet.training import LabeledRows
from xpnet.training.streamed import SourceRows

ROWS_OF_TOTALS = 8192
"""Rows that are predicted at once for their total; the values of hidden units of all would take
much memory."""
ROWS_OF_ABSENT_CLASS = 0.5
"""Rows that a class counts which no training row has: its threshold is finite with them."""


@dataclass(frozen=True)
class Totals:
    """The weighted sums of the targets of rows, and of the means that a network predicts for them.

    A generalized linear model with the canonical link gives both the same sum, as every maximum of
    its likelihood does. A network whose training ends before the maximum does not, and with few
    events it is far off. A shift of the bias of its outputs sets this right. (Wuthrich, Bias
    Regularization in Neural Network Models for General Insurance Pricing, 2020, section 3.) The
    sums are those of training rows: networks are off alike on new rows, and the sums of the fewer
    validation rows would be less certain.

    observed, predicted : (outputs,) float64
    """

    observed: numpy.ndarray
    predicted: numpy.ndarray

    def __add__(self, other: "Totals") -> "Totals":
        """Return the sums of both rows."""
        return Totals(self.observed + other.observed, self.predicted + other.predicted)

    @property
    def shift(self) -> numpy.ndarray:
        """Return the shift of the outputs' logarithms after which both sums are equal: (outputs,).

        It is 0 where no sum of means can be equal, since nothing was observed.
        """
        with numpy.errstate(divide="ignore", invalid="ignore"):
            shift = numpy.log(self.observed) - numpy.log(self.predicted)
        return numpy.where(numpy.isfinite(shift), shift, 0.0)


def totals_of(network: Network, rows: LabeledRows) -> Totals:
    """Return the weighted sums of the targets of rows and of their predictions."""
    to_numpy = network.backend.to_numpy
    outputs = network.spec.widths[-1]
    totals = Totals(numpy.zeros(outputs), numpy.zeros(outputs))
    for part in _parts_of(network, rows):
        predicted = numpy.asarray(to_numpy(network.predict(part.X)), numpy.float64)
        observed = numpy.asarray(to_host(part.Y), numpy.float64)
        weight = numpy.ones(len(observed)) if part.weight is None else to_host(part.weight)
        totals += Totals(weight @ observed, weight @ predicted)
    return totals


def balanced_thresholds(network: Network, rows: LabeledRows) -> numpy.ndarray:
    """Return last biases with which ordered classes are predicted as often as rows have them.

    The thresholds begin where they suit equal scores, and rise with a few steps of the optimizer
    while the scores spread. So the outer ones lie too near to each other, and the outer classes
    have a mean probability above their share. With the scores as they are, each threshold alone
    decides the mean probability of the classes above it.

    rows : whose targets are labels or shares of ordered classes
    returns the bias of the last layer, (outputs,) or (members, outputs) float64
    """
    shape = network.values()[network.spec.bias_names[-1]].shape
    return outputs_of_cumulative(
        balanced_logits(scores_of(network, rows), rows, shape[-1])
    ).reshape(shape)


def balanced_logits(scores: numpy.ndarray, rows: LabeledRows, classes: int) -> numpy.ndarray:
    """Return the cumulative logits beside scores with which each class has its share of the rows.

    scores : (members, rows)
    returns (members, classes - 1)
    """
    Y, weight = to_host(rows.Y), to_host(rows.weight)
    weight = numpy.ones(len(Y)) if weight is None else weight.astype(numpy.float64)
    counts = sums_of_classes(Y, weight, classes)
    counts = counts.clip(ROWS_OF_ABSENT_CLASS * weight.mean())
    above = 1 - counts.cumsum()[:-1] / counts.sum()
    shares = weight / weight.sum()
    return numpy.array(
        [[_shift_for(of_member, shares, share) for share in above] for of_member in scores]
    )


def _shift_for(scores: numpy.ndarray, weight: numpy.ndarray, mean: float) -> float:
    """Return the shift of scores with which their logistic function has a mean.

    scores : (rows,); weight : (rows,), which sum to 1
    """
    lowest, highest = logit(mean) - scores.max() - 1, logit(mean) - scores.min() + 1
    return float(brentq(lambda shift: weight @ expit(scores + shift) - mean, lowest, highest))


def with_moved_thresholds(
    probabilities: numpy.ndarray, before: numpy.ndarray, after: numpy.ndarray
) -> numpy.ndarray:
    """Return the probabilities of ordered classes for other thresholds.

    probabilities : (members, rows, classes)
    before, after : last biases, (classes,) or (members, classes)
    """
    moves = cumulative_of_outputs(numpy.atleast_2d(after).astype(numpy.float64))
    moves = moves - cumulative_of_outputs(numpy.atleast_2d(before).astype(numpy.float64))
    logits = cumulative_logits(probabilities.astype(numpy.float64).clip(MIN_PROBABILITY))
    moved = ordered(outputs_of_cumulative(logits + moves[:, None]))
    return numpy.asarray(moved).astype(probabilities.dtype)


def scores_of(network: Network, rows: LabeledRows) -> numpy.ndarray:
    """Return the scores of ordered classes without thresholds: (members, rows) float64."""
    to_numpy = network.backend.to_numpy
    logits = []
    for part in _parts_of(network, rows):
        members = numpy.asarray(to_numpy(network.predict_members(part.X)), numpy.float64)
        logits.append(cumulative_logits(members.clip(MIN_PROBABILITY))[..., 0])
    biases = numpy.atleast_2d(network.values()[network.spec.bias_names[-1]])
    scores: numpy.ndarray = numpy.concatenate(logits, axis=1) - biases[:, :1]
    return scores


def _parts_of(network: Network, rows: LabeledRows) -> Iterator[LabeledRows]:
    """Yield rows in parts that fit into memory with the values of all hidden units."""
    if isinstance(rows.X, Source):
        source_rows = SourceRows.whole(rows.X, rows.Y, rows.weight)
        yield from source_rows.parts(network.backend, network.spec.dtype)
        return
    for part in gen_batches(rows.count, ROWS_OF_TOTALS):
        weight = select(rows.weight, part)
        yield LabeledRows(rows.X[part], rows.Y[part], weight)
