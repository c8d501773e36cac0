"""The targets of a fit: classes or numbers, and how a network learns them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from scipy import sparse
from sklearn.preprocessing import LabelBinarizer, label_binarize
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from xpnet.backend.spec import Loss
from xpnet.errors import InputError
from xpnet.learning.labels import check_label_types, check_savable_labels


class Targets(ABC):
    """The targets of a fit: how they are encoded for the loss, and checked."""

    @abstractmethod
    def encode(self, y: numpy.ndarray) -> numpy.ndarray:
        """Return targets as the loss takes them: class indices (rows,) or numbers (rows, out),
        NumPy's.
        """

    @abstractmethod
    def outputs(self, encoded: numpy.ndarray) -> int:
        """Return the number of outputs of the network."""

    @abstractmethod
    def loss(self, encoded: numpy.ndarray) -> Loss:
        """Return the name of the loss that the network is trained on."""

    @property
    def loss_numbers(self) -> tuple[float, ...]:
        """Return the numbers that the loss takes."""
        return ()

    @property
    def has_classes(self) -> bool:
        """Return whether targets are classes."""
        return False

    def check_known(self, y: numpy.ndarray) -> None:
        """Raise ValueError for labels that were not learned."""
        return


@dataclass(frozen=True)
class ClassTargets(Targets):
    """Targets that are classes.

    classes : (classes,) the labels, sorted; of several targets a list with those of each
    sparse_labels : whether labels come as a sparse indicator matrix
    """

    classes: numpy.ndarray | list[numpy.ndarray]
    sparse_labels: bool = False

    @property
    def has_several(self) -> bool:
        """Return whether there are several targets of classes."""
        return isinstance(self.classes, list)

    @property
    def has_classes(self) -> bool:
        """See `Targets.has_classes`."""
        return True

    @property
    def loss_numbers(self) -> tuple[float, ...]:
        """Return the number of its target for each output of several targets."""
        if not self.has_several:
            return ()
        return tuple(float(target) for target, classes in enumerate(self.classes) for _ in classes)

    def outputs(self, encoded: numpy.ndarray) -> int:
        """See `Targets.outputs`."""
        return encoded.shape[1] if encoded.ndim == 2 else len(self.classes)

    def loss(self, encoded: numpy.ndarray) -> Loss:
        """See `Targets.loss`."""
        if encoded.ndim == 1:
            return "softmax_cross_entropy"
        return "multi_softmax_cross_entropy" if self.has_several else "logistic_cross_entropy"

    def encode(self, y: numpy.ndarray) -> numpy.ndarray:
        """See `Targets.encode`."""
        if self.has_several:
            columns = [y[:, [k]] == classes for k, classes in enumerate(self.classes)]
            return numpy.hstack(columns)
        if y.ndim == 2:
            return label_binarize(y, classes=self.classes) if y.shape[0] else y
        if len(self.classes) > 2:
            return numpy.searchsorted(self.classes, y)  # classes are sorted, and hold every label
        return (y != self.classes[0])[:, None]

    def check_known(self, y: numpy.ndarray) -> None:
        """See `Targets.check_known`."""
        for classes, labels in self._classes_and_labels(y):
            if len(numpy.setdiff1d(labels, classes, assume_unique=True)):
                raise ValueError(
                    f"`y` has classes not in `self.classes_`. `self.classes_` has {classes}. 'y' "
                    f"has {labels}."
                )

    def check_same(self, y: numpy.ndarray) -> None:
        """Raise ValueError unless y has all the labels that were learned, and no others."""
        for classes, labels in self._classes_and_labels(y):
            if set(labels) != set(classes):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous "
                    f"call to fit. Previously got {classes}, `y` has {labels}"
                )
        self.check_known(y)

    def _classes_and_labels(self, y: numpy.ndarray) -> list[tuple[numpy.ndarray, numpy.ndarray]]:
        """Return the classes and the labels in y of each target. Raises InputError for another
        number of targets.
        """
        if not self.has_several:
            return [(self.classes, unique_labels(y))]  # type: ignore[list-item]  # one target
        if sparse.issparse(y) or y.shape[1:] != (len(self.classes),):
            raise InputError(
                f"`y` must be an array with a column for each of {len(self.classes)} targets; got "
                f"{type(y).__name__} of shape {tuple(y.shape)}."
            )
        return [(classes, numpy.unique(y[:, k])) for k, classes in enumerate(self.classes)]


def classes_of(y: numpy.ndarray) -> numpy.ndarray | list[numpy.ndarray]:
    """Return the distinct labels, sorted; of several targets a list with those of each.

    Raises ValueError for values that scikit-learn does not take as labels of classes. Whole numbers
    that repeat are not shown to scikit-learn, whose check takes as long as many epochs of a small
    network.
    """
    if type(y) is numpy.ndarray and y.ndim == 1 and y.dtype.kind in "iu":
        labels = numpy.unique(y)
        if 2 * len(labels) < len(y):
            return labels
    if not sparse.issparse(y) and y.ndim == 2:
        check_classification_targets(y)
        if type_of_target(y) == "multiclass-multioutput":
            return [numpy.unique(labels) for labels in y.T]
    return LabelBinarizer().fit(y).classes_


def declared_classes(
    classes: Any, learned: numpy.ndarray | list[numpy.ndarray] | None
) -> numpy.ndarray | list[numpy.ndarray]:
    """Return the classes of ``partial_fit``: those of the first call, which later calls must repeat
    or leave out.

    classes : the argument of ``partial_fit``; None for none
    learned : the classes of calls before; None for none

    Raises ValueError if no call has passed classes, and for other classes than those of earlier
    calls.
    """
    if classes is None:
        if learned is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return learned
    several = isinstance(classes, list) and len(classes) > 0 and numpy.ndim(classes[0]) == 1
    all_labels: Sequence[numpy.ndarray] = classes if several else [classes]
    for labels in all_labels:
        check_label_types(labels, "classes")
        check_savable_labels(numpy.ravel(labels), "classes")
    declared = [unique_labels(labels) for labels in classes] if several else unique_labels(classes)
    expected = declared if learned is None else learned
    same = type(expected) is type(declared) and len(expected) == len(declared)
    if not same or not all(map(numpy.array_equal, expected, declared)):
        raise ValueError(
            f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
            f"{expected!r}"
        )
    return declared
