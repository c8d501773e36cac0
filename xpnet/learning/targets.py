"""The targets of a fit: classes or numbers, how a network learns them, and what it answers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy
from sklearn.preprocessing import LabelBinarizer, label_binarize
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from xpnet.backend import Backend, on_device
from xpnet.backend.spec import CLASS_LOSSES, Loss
from xpnet.dispatch import get_backend
from xpnet.errors import InputError
from xpnet.learning.labels import (
    are_one_hot,
    check_label_types,
    check_savable_labels,
    checked_shares,
    classes_of_columns,
    hard_labels,
    hint_at_soft_labels,
)
from xpnet.learning.losses import NumericLoss
from xpnet.models.inputs import is_sparse, to_host
from xpnet.ops import Array
from xpnet.ops.losses import smoothed
from xpnet.ops.rows import targets_of
from xpnet.typing import ArrayLike, Namespace, SparseMatrix

HostTargets: TypeAlias = numpy.ndarray | SparseMatrix
"""Checked targets on the host, (rows,) or (rows, out). An indicator matrix of several labels a row
may be sparse."""


class Targets(ABC):
    """The meaning of the targets of a fit: how a loss takes them, and what outputs say.

    A fit learns it from the targets of the training rows.
    """

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Return the number of outputs of the network."""

    @property
    @abstractmethod
    def loss(self) -> Loss:
        """Return the name of the loss that the network is trained on."""

    @property
    @abstractmethod
    def loss_numbers(self) -> tuple[float, ...]:
        """Return the numbers that the loss takes."""

    @abstractmethod
    def encode(self, y: HostTargets) -> numpy.ndarray:
        """Return targets as the loss takes them: class indices (rows,) or numbers (rows, out),
        NumPy's.
        """

    @abstractmethod
    def decode(self, encoded: numpy.ndarray) -> numpy.ndarray:
        """Return encoded targets as scorers of scikit-learn take them, NumPy's."""

    def check_known(self, y: HostTargets) -> None:
        """Raise ValueError for labels that were not learned."""
        return

    def strata(self, encoded: Array) -> numpy.ndarray | None:
        """Return the groups of rows whose proportions both parts of a split keep, (rows, 1),
        NumPy's: two classes, as in scikit-learn; None for other targets.
        """
        return None

    def in_order(self, outputs: Array, xp: Namespace) -> Array:
        """Return outputs (..., out) as they are predicted: several quantiles in rising order."""
        return outputs

    def smooth(self, encoded: Array, share: float, backend: Backend, dtype: str) -> Array:
        """Return targets of which a share is spread over all classes; numbers as they are."""
        return encoded


@dataclass(frozen=True)
class NumberTargets(Targets):
    """Targets that are numbers.

    numeric_loss : the loss, with its levels; count : the number of targets
    """

    numeric_loss: NumericLoss
    count: int

    @property
    def outputs(self) -> int:
        """See `Targets.outputs`."""
        levels = len(self.numeric_loss.numbers) if self.numeric_loss.has_several_levels else 1
        return self.count * levels

    @property
    def loss(self) -> Loss:
        """See `Targets.loss`."""
        return self.numeric_loss.name  # type: ignore[return-value]

    @property
    def loss_numbers(self) -> tuple[float, ...]:
        """See `Targets.loss_numbers`."""
        return self.numeric_loss.numbers

    def encode(self, y: HostTargets) -> numpy.ndarray:
        """See `Targets.encode`."""
        y = dense(y)
        return self.numeric_loss.repeat(y[:, None] if y.ndim == 1 else y)

    def decode(self, encoded: numpy.ndarray) -> numpy.ndarray:
        """See `Targets.decode`."""
        return encoded[:, 0] if self.count == 1 else encoded

    def in_order(self, outputs: Array, xp: Namespace) -> Array:
        """See `Targets.in_order`."""
        return self.numeric_loss.in_order(outputs, xp)


@dataclass(frozen=True, eq=False)
class ClassTargets(Targets):
    """Targets that are classes.

    classes : (classes,) the labels, sorted; of several targets a list with those of each
    are_indicators : whether a row may have several of the labels
    are_sparse : whether labels come as a sparse indicator matrix
    share_columns : (classes,) the column of each class where labels are probabilities; None where
        they are labels
    """

    classes: numpy.ndarray | list[numpy.ndarray]
    are_indicators: bool = False
    are_sparse: bool = False
    share_columns: numpy.ndarray | None = None

    @property
    def outputs(self) -> int:
        """See `Targets.outputs`."""
        if isinstance(self.classes, list):
            return sum(map(len, self.classes))
        return len(self.classes) if self.are_indicators or len(self.classes) > 2 else 1

    @property
    def loss(self) -> Loss:
        """See `Targets.loss`."""
        if isinstance(self.classes, list):
            return "multi_softmax_cross_entropy"
        is_softmax = self.outputs > 1 and not self.are_indicators
        return "softmax_cross_entropy" if is_softmax else "logistic_cross_entropy"

    @property
    def loss_numbers(self) -> tuple[float, ...]:
        """Return the number of its target for each output of several targets."""
        if not isinstance(self.classes, list):
            return ()
        return tuple(float(target) for target, classes in enumerate(self.classes) for _ in classes)

    @property
    def columns(self) -> list[slice]:
        """Return which outputs belong to each of several targets."""
        return targets_of(self.loss_numbers, self.outputs)

    def encode(self, y: HostTargets) -> numpy.ndarray:
        """See `Targets.encode`."""
        y = dense(y)
        if isinstance(self.classes, list):
            columns = [y[:, [k]] == classes for k, classes in enumerate(self.classes)]
            return numpy.hstack(columns)
        if self._holds_shares(y):
            return self._encoded_shares(y)
        if y.ndim == 2:
            return label_binarize(y, classes=self.classes) if y.shape[0] else y
        if len(self.classes) > 2:
            return numpy.searchsorted(self.classes, y)  # classes are sorted, and hold every label
        return (y != self.classes[0])[:, None]

    def decode(self, encoded: numpy.ndarray) -> numpy.ndarray:
        """See `Targets.decode`."""
        if isinstance(self.classes, list):
            return numpy.asarray(self.labels(encoded, get_backend("numpy"), on_host=True))
        if self.are_indicators:
            return encoded.astype(int)
        if encoded.ndim == 2 and encoded.shape[1] > 1:
            return self.classes[encoded.argmax(axis=1)]
        if self.share_columns is not None and encoded.ndim == 2:
            encoded = encoded > 0.5
        return self.classes[encoded.reshape(len(encoded)).astype(int)]

    def labels(self, outputs: Array, backend: Backend, *, on_host: bool) -> Array:
        """Return the most probable label of each row, (rows,), of each of several targets,
        (rows, targets), or whether a row has each label, (rows, classes).

        on_host : whether they are NumPy's; labels that are not numbers are in any case
        """
        xp = backend.xp
        if self.are_indicators:
            return xp.astype(outputs > 0.5, xp.int64)
        if not isinstance(self.classes, list):
            if outputs.shape[1] > 1:
                indices = xp.argmax(outputs, axis=1)
            else:  # the probability of the second of two classes
                indices = xp.astype(outputs[:, 0] > 0.5, xp.int64)
            return labels_at(indices, self.classes, backend, on_host=on_host)
        labels = [
            labels_at(xp.argmax(outputs[:, columns], axis=1), classes, backend, on_host=on_host)
            for classes, columns in zip(self.classes, self.columns, strict=True)
        ]
        namespace: Any = numpy if isinstance(labels[0], numpy.ndarray) else xp
        return namespace.stack(labels, axis=1)

    def strata(self, encoded: Array) -> numpy.ndarray | None:
        """See `Targets.strata`."""
        return to_host(encoded) > 0.5 if self.outputs == 1 else None

    def smooth(self, encoded: Array, share: float, backend: Backend, dtype: str) -> Array:
        """See `Targets.smooth`."""
        if not share:
            return encoded
        outputs = self.outputs
        like = backend.asarray(numpy.empty((0, outputs)), dtype=dtype)
        has_one_target = self.loss in CLASS_LOSSES
        counts = [outputs if has_one_target else 2]
        if isinstance(self.classes, list):
            counts = [len(classes) for classes in self.classes for _ in classes]
        with on_device(backend):
            return smoothed(encoded, like, share, counts)

    def _holds_shares(self, y: HostTargets) -> bool:
        """Return whether targets are probabilities of the classes."""
        return self.share_columns is not None and y.ndim == 2

    def _encoded_shares(self, y: numpy.ndarray) -> numpy.ndarray:
        """Return soft labels as the loss takes them; one-hot rows as labels.

        y : (rows, classes), in the order of the user's columns
        """
        assert self.share_columns is not None and isinstance(self.classes, numpy.ndarray)
        shares = checked_shares(y, "y", len(self.classes))[:, self.share_columns]
        if are_one_hot(shares):
            return self.encode(self.classes[hard_labels(shares)])
        return shares[:, 1:] if self.outputs == 1 else numpy.ascontiguousarray(shares)

    def check_known(self, y: HostTargets) -> None:
        """See `Targets.check_known`."""
        if self._holds_shares(y):
            return
        for classes, labels in self._classes_and_labels(y):
            if len(numpy.setdiff1d(labels, classes, assume_unique=True)):
                raise ValueError(
                    f"`y` has classes not in `self.classes_`. `self.classes_` has {classes}. 'y' "
                    f"has {labels}."
                )

    def check_same(self, y: HostTargets) -> None:
        """Raise ValueError unless y has all the labels that were learned, and no others."""
        for classes, labels in self._classes_and_labels(y):
            if set(labels) != set(classes):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous "
                    f"call to fit. Previously got {classes}, `y` has {labels}"
                )
        self.check_known(y)

    def _classes_and_labels(self, y: HostTargets) -> list[tuple[numpy.ndarray, numpy.ndarray]]:
        """Return the classes and the labels in y of each target. Raises InputError for another
        number of targets.
        """
        if not isinstance(self.classes, list):
            return [(self.classes, unique_labels(y))]
        if is_sparse(y) or y.shape[1:] != (len(self.classes),):
            raise InputError(
                f"`y` must be an array with a column for each of {len(self.classes)} targets; got "
                f"{type(y).__name__} of shape {tuple(y.shape)}."
            )
        return [(classes, numpy.unique(dense(y)[:, k])) for k, classes in enumerate(self.classes)]


def dense(y: HostTargets) -> numpy.ndarray:
    """Return targets as an array of the same shape."""
    return y.toarray() if is_sparse(y) else numpy.asarray(y)


def labels_at(indices: Array, classes: numpy.ndarray, backend: Backend, *, on_host: bool) -> Array:
    """Return the labels of classes by their indices, (rows,).

    on_host : whether they are NumPy's; labels that are not numbers are in any case
    """
    if on_host or classes.dtype.kind not in "iufb":
        # With a single class there is an output for another, which was never seen.
        return classes[numpy.minimum(backend.to_numpy(indices), len(classes) - 1)]
    return backend.xp.take(backend.asarray(classes), indices)


def learn_classes(
    y: HostTargets,
    declared: ArrayLike | None,
    earlier: ClassTargets | None,
    *,
    incremental: bool,
    must_be_same: bool,
) -> ClassTargets:
    """Return the meaning of labels.

    y : rows with each label; declared : the argument ``classes`` of ``partial_fit``
    earlier : the meaning of the targets of the fit that this one goes on with; None for none
    incremental : whether this is ``partial_fit``, whose rows may lack classes
    must_be_same : whether y must have all classes of the earlier fit

    Raises ValueError where they do not fit those seen before, or the classes.
    """
    classes = None if earlier is None else earlier.classes
    if incremental:
        classes = declared_classes(declared, classes)
    if classes is None:
        classes = classes_of(y)
        is_matrix = y.ndim == 2 and not isinstance(classes, list)
        return ClassTargets(classes, is_matrix, is_sparse(y))
    is_matrix = y.ndim == 2 and not isinstance(classes, list)
    if earlier is None:
        targets = ClassTargets(classes, is_matrix, is_sparse(y))
    elif (y.ndim == 2) != (earlier.are_indicators or isinstance(earlier.classes, list)):
        raise ValueError("The object was not fitted with multilabel input.")
    else:
        targets = replace(earlier, classes=classes)
    if must_be_same:
        targets.check_same(y)
    else:
        targets.check_known(y)
    return targets


def learn_shares(
    y: HostTargets, columns: ArrayLike, earlier: ClassTargets | None, *, must_be_same: bool
) -> ClassTargets:
    """Return the meaning of soft labels; for the arguments see `learn_classes`.

    y : (rows, classes); columns : the label of each column

    Raises InputError for labels that are no probabilities, ValueError for other classes than those
    of the earlier fit where they must be the same.
    """
    if y.ndim != 2 or is_sparse(y):
        raise InputError(
            "`classes` must go with the probabilities of classes in y, (rows, classes); got y of "
            f"shape {tuple(y.shape)}. Leave classes out."
        )
    labels = classes_of_columns(columns, y.shape[1])
    order = numpy.argsort(labels)
    targets = ClassTargets(labels[order], share_columns=order)
    if (
        must_be_same
        and earlier is not None
        and not numpy.array_equal(earlier.classes, targets.classes)
    ):
        raise ValueError(
            "warm_start can only be used where `y` has the same classes as in the previous call to "
            f"fit. Previously got {earlier.classes}, `classes` has {targets.classes}"
        )
    return targets


def classes_of(y: HostTargets) -> numpy.ndarray | list[numpy.ndarray]:
    """Return the distinct labels, sorted; of several targets a list with those of each.

    Raises ValueError for values that scikit-learn does not take as labels of classes. Whole numbers
    that repeat are not shown to scikit-learn, whose check takes as long as many epochs of a small
    network.
    """
    if type(y) is numpy.ndarray and y.ndim == 1 and y.dtype.kind in "iu":
        labels = numpy.unique(y)
        if 2 * len(labels) < len(y):
            return labels
    if not is_sparse(y) and y.ndim == 2:
        with hint_at_soft_labels(y):
            check_classification_targets(y)
        if type_of_target(y) == "multiclass-multioutput":
            return [numpy.unique(labels) for labels in dense(y).T]
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
    all_labels = classes if several else [classes]
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
