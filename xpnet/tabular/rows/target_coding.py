"""The coding of targets: learned from the training rows, it gives those that networks learn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy

from xpnet.backend.spec import Loss
from xpnet.errors import InputError
from xpnet.learning.class_offsets import offsets_of_classes
from xpnet.learning.labels import are_one_hot, checked_shares, hard_labels
from xpnet.learning.ordered import indices_in
from xpnet.tabular.rows.coded_labels import CheckedTargets, CodedLabels
from xpnet.typing import ArrayLike


class TargetCoding(Protocol):
    """The coding of targets, which a fit learns from the training rows before it trains."""

    @property
    def outputs(self) -> int:
        """Return the number of outputs of the networks."""

    def encode(self, y: CheckedTargets, name: str) -> numpy.ndarray:
        """Return targets as the loss takes them: (rows,) class indices or (rows, outputs).

        name : of the argument, for errors
        """


def loss_of_classes(*, are_ordered: bool) -> Loss:
    """Return the loss of classes, which may have an order."""
    return "ordered_cross_entropy" if are_ordered else "softmax_cross_entropy"


@dataclass(frozen=True)
class ClassCoding:
    """How labels become classes: by the labels of the training rows.

    labels : (classes,), sorted, or in rising order; are_ordered : whether they have such an order
    share_columns : (classes,) the column of each class in soft labels; None where there are none
    """

    labels: numpy.ndarray
    are_ordered: bool = False
    share_columns: numpy.ndarray | None = None

    @property
    def outputs(self) -> int:
        """Return the number of classes."""
        return len(self.labels)

    @property
    def loss(self) -> Loss:
        """Return the loss of the classes."""
        return loss_of_classes(are_ordered=self.are_ordered)

    def offsets(self, offset: ArrayLike, rows: int, name: str) -> numpy.ndarray | None:
        """Return the offsets of the logits of rows, (rows, classes), from those of a user.

        None where all are 0: such a fit has the bits of one without offsets.

        name : of the argument, for errors

        Raises InputError for other numbers, and for classes with an order.
        """
        offsets = offsets_of_classes(offset, rows, self.loss, self.outputs, name)
        return offsets if offsets.any() else None

    def encode(self, y: CodedLabels | numpy.ndarray, name: str) -> numpy.ndarray:
        """Return indices into the labels, (rows,), or soft labels, (rows, classes).

        One-hot rows are indices. Raises InputError for unknown labels.
        """
        if isinstance(y, numpy.ndarray):
            return self._encoded_shares(y, name)
        if self.are_ordered:
            indices = indices_in(self.labels, y.labels)
        else:
            indices = numpy.searchsorted(self.labels, y.labels).clip(0, len(self.labels) - 1)
        is_unknown = self.labels[indices] != y.labels
        unknown = numpy.flatnonzero(is_unknown[y.indices]) if is_unknown.any() else ()
        if len(unknown):
            label = y.labels[y.indices[unknown[:1]]].tolist()[0]
            raise InputError(
                f"`{name}` must hold labels that the training rows have; got {label!r}. Leave such "
                "rows out, or fit again with them."
            )
        return indices[y.indices]

    def _encoded_shares(self, y: numpy.ndarray, name: str) -> numpy.ndarray:
        """Return soft labels, (rows, classes) in the order of the labels, or indices (rows,)."""
        if self.share_columns is None:
            raise InputError(
                f"`{name}` must hold one label for each row, as y does; got shape {y.shape}. Pass "
                "one column."
            )
        shares = checked_shares(y, name, len(self.labels))[:, self.share_columns]
        return hard_labels(shares) if are_one_hot(shares) else shares


@dataclass(frozen=True)
class NumberCoding:
    """How the targets of the training rows are scaled.

    target : (4, outputs) centre, scale, minimum and maximum
    flat : whether targets are one-dimensional
    dtype : of the scaled targets
    for_loss : returns targets (rows, targets) as the columns of the loss, (rows, outputs), and
    raises for others
    """

    target: numpy.ndarray
    flat: bool
    dtype: str
    for_loss: Callable[[numpy.ndarray], numpy.ndarray]

    @property
    def outputs(self) -> int:
        """Return the number of outputs."""
        return self.target.shape[1]

    def encode(self, y: numpy.ndarray, name: str) -> numpy.ndarray:
        """Return scaled targets: (rows, outputs). Raises InputError for other columns."""
        columns = self.for_loss(y.reshape(len(y), -1))
        if columns.shape[1] != self.outputs:
            raise InputError(
                f"`{name}` must have as many columns as the y of the fit; got shape {y.shape}. "
                "Pass the same targets."
            )
        centre, scale = self.target[:2]
        return ((columns - centre) / scale).astype(self.dtype)
