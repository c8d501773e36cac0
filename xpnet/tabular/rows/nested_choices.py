"""Predictions of validation rows by choices of other validation rows: nested predictions.

The validation rows of a network choose its epoch, the penalty of its linear baseline and how far
this baseline is blended in. The smallest of several losses of few rows is smaller than the loss of
new rows: with 38 validation rows and a target of noise, by 5 % on average. So the rows are divided
into parts, and the rows of a part are predicted with what the rows of the other parts choose. What
is measured on these predictions, such as intervals and temperatures, is as large as on new rows.
(Varma, Simon, Bias in Error Estimation When Using Cross-Validation for Model Selection, 2006.)
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy

from xpnet import ops
from xpnet.backend import NetworkSpec
from xpnet.backend.spec import CLASS_LOSSES, OUTPUT_ACTIVATIONS
from xpnet.learning.labels import hard_labels
from xpnet.learning.scores import log_losses
from xpnet.ops.losses import EACH_ROW
from xpnet.tabular.rows.division import RowLinks
from xpnet.training import LabeledRows

PARTS = 8
"""Number of parts. The choices by seven eighths of the rows are nearly those by all."""
MIN_ROWS = 2
"""Minimum number of validation rows that are divided. Few rows choose badly, but the lowest of
their losses says nothing of new rows."""
MAX_ROWS = 1000
"""Number of validation rows up to which they are divided. The choices among more rows lower their
own loss by less than 0.2 %."""
MAX_ROWS_THAT_WAIT = 150
"""Number of validation rows up to which a training goes on for the parts without which it would not
have ended. More rows lower their own loss by some thousandths, and the epochs are a third of all.
"""
MIN_MEAN = 1e-30
"""Smallest predicted mean whose logarithm is taken."""


def losses_of_rows(outputs: numpy.ndarray, Y: numpy.ndarray, spec: NetworkSpec) -> numpy.ndarray:
    """Return the loss of each row: (rows,).

    outputs : (members, rows, outputs), as they are predicted. The loss of classes is that of the
        mean probabilities; of numbers it is the mean over the members, as that of
        `xpnet.learning.scores.validation_loss`.
    Y : (rows,) class indices, (rows, classes) soft labels, with offsets behind them (rows, 2 *
        classes), or (rows, outputs) numbers
    spec : of the network, for its loss
    """
    if spec.loss in CLASS_LOSSES:
        return log_losses(outputs.mean(axis=0), Y)
    if spec.loss == "squared_error":
        losses: numpy.ndarray = ((outputs - Y) ** 2).mean(axis=0).sum(axis=1) / 2
        return losses
    members, rows, width = outputs.shape
    targets = numpy.broadcast_to(Y, outputs.shape).reshape(members * rows, width)
    losses, _ = losses_and_slopes(outputs.reshape(targets.shape), targets, spec)
    return losses.reshape(members, rows).mean(axis=0)


def losses_and_slopes(
    outputs: numpy.ndarray, Y: numpy.ndarray, spec: NetworkSpec
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return losses by the loss in ``xpnet.ops``, (rows,), and their slopes, (rows, outputs).

    outputs, Y : (rows, outputs); outputs as they are predicted
    """
    if OUTPUT_ACTIVATIONS[spec.loss] == "exp":
        outputs = numpy.log(outputs.clip(MIN_MEAN))
    losses, slopes = getattr(ops, spec.loss)(outputs, Y, EACH_ROW, **spec.loss_arguments)
    return losses, slopes


@dataclass(frozen=True, eq=False)
class ValidationParts:
    """The parts of the validation rows of a network, on the host.

    spec : of the network, for its loss
    part_of_row : (rows,) int; weight : (rows,)
    Y : (rows,) class indices, (rows, classes) soft labels, with offsets behind them (rows, 2 *
        classes), or (rows, outputs) numbers
    """

    spec: NetworkSpec
    part_of_row: numpy.ndarray
    Y: numpy.ndarray
    weight: numpy.ndarray

    @property
    def count(self) -> int:
        """Return the number of parts."""
        return int(self.part_of_row.max()) + 1

    def losses_of_others(self, outputs: numpy.ndarray) -> numpy.ndarray:
        """Return for each part the sum of the losses of the rows of other parts: (parts,).

        outputs : (members, rows, outputs), as they are predicted
        """
        of_parts = self.losses_of_parts(outputs)
        return of_parts.sum() - of_parts

    def losses_of_parts(self, outputs: numpy.ndarray) -> numpy.ndarray:
        """Return the sum of the losses of the rows of each part, by their weights: (parts,)."""
        losses = self.weight * losses_of_rows(outputs.astype(numpy.float64), self.Y, self.spec)
        return numpy.bincount(self.part_of_row, losses, self.count)

    def mean_loss(self, outputs: numpy.ndarray) -> float:
        """Return the mean loss of the rows. outputs : (rows, outputs), as they are predicted"""
        return float(self.losses_of_parts(outputs[None]).sum() / self.weight.sum())


def validation_parts_of(
    rows: LabeledRows, groups: numpy.ndarray | None, spec: NetworkSpec
) -> ValidationParts | None:
    """Divide validation rows at random, rows of one group together.

    None for more rows than need it, and for too few.

    rows : on the host; groups : (rows,) int64, None for no groups; spec : of their network
    """
    count = len(rows.Y)
    if not MIN_ROWS <= count <= MAX_ROWS:
        return None
    if groups is not None:
        groups = numpy.unique(groups, return_inverse=True)[1]
        if int(groups.max()) < 1:
            return None
    random_state = numpy.random.RandomState(0)
    if groups is None and spec.loss in CLASS_LOSSES:
        parts = parts_of_labels(hard_labels(rows.Y, spec.widths[-1]), random_state)
    else:
        parts = RowLinks(groups=groups).parts(PARTS, count, random_state)
    parts = numpy.unique(parts, return_inverse=True)[1]
    return replace(one_part_of(rows, spec), part_of_row=parts)


def one_part_of(rows: LabeledRows, spec: NetworkSpec) -> ValidationParts:
    """Return validation rows, on the host, as one part, whose loss can be measured."""
    count = len(rows.Y)
    weight = numpy.ones(count) if rows.weight is None else rows.weight.astype(numpy.float64)
    return ValidationParts(spec, numpy.zeros(count, numpy.int64), numpy.asarray(rows.Y), weight)


def parts_of_labels(labels: numpy.ndarray, random_state: numpy.random.RandomState) -> numpy.ndarray:
    """Divide rows into parts with classes in proportion: (rows,) int, from 0 to PARTS - 1.

    Validation rows have the classes in the proportions of the training rows. If one part of them
    had more rows of a class, the others would have fewer, and choose for it what suits it least.

    labels : (rows,) class indices
    """
    order = random_state.permutation(len(labels))
    order = order[numpy.argsort(labels[order], kind="stable")]
    parts = numpy.empty(len(labels), numpy.int64)
    parts[order] = numpy.arange(len(labels)) % PARTS
    return parts


class NestedEpochs:
    """The outputs of validation rows at the epochs that the rows of other parts choose.

    The others of a part also say after which epoch the training would have ended without it. A row
    that could end the training would have a part in the choice for itself: its loss would be lower
    than that of a new row.

    parts : of the validation rows
    max_waited : returns the number of epochs since a best epoch after which a training ends
    losses : (parts,) lowest losses of other parts so far
    best_epochs : (parts,) the epochs that had them; epochs : number of epochs that were compared
    outputs : of each part the outputs of all rows at its epoch, (members, rows, outputs)
    """

    def __init__(self, parts: ValidationParts, max_waited: Callable[[int], int]) -> None:
        self.parts = parts
        self.max_waited = max_waited
        self.losses: numpy.ndarray = numpy.full(parts.count, numpy.inf)
        self.best_epochs: numpy.ndarray = numpy.zeros(parts.count, numpy.int64)
        self.epochs: int = 0
        self.outputs: list[numpy.ndarray] = []

    @property
    def may_go_on(self) -> bool:
        """Return whether the rows are few, so that a training goes on after its end for a part."""
        is_few = len(self.parts.part_of_row) <= MAX_ROWS_THAT_WAIT
        return is_few and bool(self.are_waiting.any())

    @property
    def are_waiting(self) -> numpy.ndarray:
        """Return for which parts the training goes on, by the rows of the others: (parts,) bool."""
        longest = [self.max_waited(epoch) for epoch in self.best_epochs.tolist()]
        return self.epochs - self.best_epochs < longest

    def compare(self, outputs: numpy.ndarray) -> float:
        """Take the outputs of an epoch for the parts whose other parts it predicts best.

        returns the mean loss of all rows
        """
        of_parts = self.parts.losses_of_parts(outputs)
        losses = of_parts.sum() - of_parts
        is_lower = (losses < self.losses) & (self.are_waiting if self.epochs else True)
        self.epochs += 1
        before = self.outputs or [outputs] * len(losses)
        self.outputs = [
            outputs if lower else kept for lower, kept in zip(is_lower, before, strict=True)
        ]
        self.losses = numpy.where(is_lower, losses, self.losses)
        self.best_epochs[is_lower] = self.epochs
        return float(of_parts.sum() / self.parts.weight.sum())

    def of_rows(self) -> numpy.ndarray:
        """Return the outputs of the rows, each at the epoch that other parts choose.

        returns (rows, outputs), means over the members
        """
        means = numpy.stack([outputs.mean(axis=0) for outputs in self.outputs])
        return means[self.parts.part_of_row, numpy.arange(len(self.parts.part_of_row))]


@dataclass(frozen=True, eq=False)
class NestedOutputs:
    """The outputs of validation rows for each blend weight of the linear baseline.

    parts : of the validation rows
    blends : (blend weights, rows, outputs), each row at the epoch and penalty that other parts
        choose
    losses : (parts, blend weights) of the rows of other parts
    """

    parts: ValidationParts
    blends: numpy.ndarray
    losses: numpy.ndarray

    @property
    def own_losses(self) -> numpy.ndarray:
        """Return the losses of each part as others have chosen for it: (parts, blend weights)."""
        return numpy.stack(
            [self.parts.losses_of_parts(blend[None]) for blend in self.blends], axis=1
        )

    def of_weights(self, indices: numpy.ndarray) -> numpy.ndarray:
        """Return the outputs: (rows, outputs). indices : (parts,) of the blend weight of each"""
        rows = numpy.arange(len(self.parts.part_of_row))
        return self.blends[indices[self.parts.part_of_row], rows]
