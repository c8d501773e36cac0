"""Ordered classes: their order, and how they are learned and predicted.

The network has a score and thresholds that rise, as ``xpnet.ops.ordered`` describes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy

from xpnet.backend import Backend, NetworkSpec
from xpnet.backend.spec import Loss
from xpnet.errors import InputError
from xpnet.learning.labels import classes_of_columns
from xpnet.learning.parameters import ARRAY_LIKE, allowing
from xpnet.learning.targets import ClassTargets, HostTargets, Targets, dense, labels_at
from xpnet.ops import Array, softplus
from xpnet.typing import ArrayLike

Order: TypeAlias = Sequence[object] | numpy.ndarray | bool | None
"""The parameter ``ordered``: the classes in rising order; None for the order of an ordered
categorical of pandas or polars, False for no order."""

Choice = Literal["median", "mode"]
"""Which of ordered classes is predicted: the median class or the most probable one."""


@dataclass(eq=False, repr=False, kw_only=True)
class OrderParameters:
    """The parameters of classifiers for classes with an order.

    Parameters
    ----------
    ordered : sequence of labels, False or None, default None
        The classes in rising order, such as ``["low", "middle", "high"]``, which are learned by
        cumulative logits: one score, and thresholds that rise. None takes the order of ``y`` where
        it is an ordered categorical of pandas or an ``Enum`` of polars, whose ``Categorical`` is
        sorted by its texts and so has no order here; False takes none.
    ordered_prediction : {"median", "mode"}, default "median"
        Which of ordered classes is predicted: the median class, which has the smallest mean
        distance in ranks, or the most probable one.
    """

    ordered: Order = allowing(None, ARRAY_LIKE, bool, None)
    ordered_prediction: Choice = allowing("median", {"median", "mode"})


MIN_GAP = 1e-9
"""Smallest distance of two thresholds that outputs are computed of. Probabilities that are rounded
may have none."""


def order_of(ordered: Order, y: object) -> numpy.ndarray | None:
    """Return the classes in rising order, (classes,); None where they have no order.

    ordered : the parameter; y : labels as a user passes them

    Raises InputError for an order that names a class twice.
    """
    if ordered is None:
        categories = _order_of_categories(y)
        return None if categories is None else _as_labels(categories)
    if isinstance(ordered, bool | numpy.bool_):
        if ordered:
            raise InputError(
                "`ordered` must hold the classes in rising order, or be None or False; got True. "
                "Pass, for example, ordered=['low', 'middle', 'high']."
            )
        return None
    classes = _as_labels(ordered)
    labels = classes.tolist()
    twice = [label for label in labels if labels.count(label) > 1] if classes.ndim == 1 else []
    if classes.ndim != 1 or len(classes) < 2 or twice:
        raise InputError(
            "`ordered` must hold two classes or more in rising order, each once; got "
            f"{f'{twice[0]!r} twice' if twice else repr(labels)}. Pass, for example, "
            "ordered=['low', 'middle', 'high']."
        )
    return classes


def ordered_classes(labels: numpy.ndarray, order: numpy.ndarray) -> numpy.ndarray:
    """Return the classes that some rows have, in rising order.

    labels : (classes,) that rows have, each once

    Raises InputError for a label that the order misses.
    """
    ordered_labels = set(order.tolist())
    missing = [label for label in labels.tolist() if label not in ordered_labels]
    if missing:
        raise InputError(
            f"`ordered` must hold every class of y; {missing[0]!r} is missing in "
            f"{order.tolist()!r}. Add it at its place."
        )
    present = set(labels.tolist())
    classes = numpy.array([label in present for label in order.tolist()], bool)
    if classes.sum() < 2:
        raise InputError(
            f"`y` must hold two classes or more; got {labels.tolist()} alone. Add rows of another "
            "class."
        )
    return order[classes]


def indices_in(classes: numpy.ndarray, y: numpy.ndarray) -> numpy.ndarray:
    """Return the index of each label among classes in any order, (rows,) int64.

    Labels that are no classes get some index.
    """
    sorter = numpy.argsort(classes)
    places = numpy.searchsorted(classes, y, sorter=sorter).clip(0, len(classes) - 1)
    return sorter[places]


def median_classes(probabilities: numpy.ndarray) -> numpy.ndarray:
    """Return the index of the lowest class up to which the probabilities add up to 1/2: (rows,).

    probabilities : (rows, classes), lowest class first
    """
    indices: numpy.ndarray = (probabilities[:, :-1].cumsum(axis=1) < 0.5).sum(axis=1)
    return indices


def first_thresholds(Y: numpy.ndarray, weight: numpy.ndarray | None, classes: int) -> numpy.ndarray:
    """Return the biases of the last layer with which a network predicts the frequencies of classes.

    One row more of each class keeps them finite.

    Y : (rows,) class indices or (rows, classes) shares; weight : (rows,) or None
    returns (classes,) float64, as ``xpnet.ops.ordered`` takes them
    """
    counts = sums_of_classes(Y, weight, classes)
    return outputs_of_cumulative(cumulative_logits(counts + 1))


def sums_of_classes(Y: numpy.ndarray, weight: numpy.ndarray | None, classes: int) -> numpy.ndarray:
    """Return the rows of each class, each by its weight: (classes,).

    Y : (rows,) class indices or (rows, classes) shares; weight : (rows,) or None
    """
    if Y.ndim == 1:
        return numpy.bincount(Y, weight, minlength=classes)
    sums: numpy.ndarray = Y.sum(axis=0) if weight is None else weight @ Y
    return sums


def cumulative_logits(shares: numpy.ndarray) -> numpy.ndarray:
    """Return the logits of the probabilities of a class above k, which fall: (..., classes - 1).

    shares : (..., classes), lowest class first, positive; they need not sum to 1
    """
    below = shares.cumsum(axis=-1)[..., :-1]
    above = shares[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:]
    logits: numpy.ndarray = numpy.log(above) - numpy.log(below)
    return logits


def outputs_of_cumulative(logits: numpy.ndarray) -> numpy.ndarray:
    """Return the outputs, as ``xpnet.ops.ordered`` takes them, of cumulative logits.

    logits : (..., classes - 1); they fall
    returns (..., classes)
    """
    gaps = -numpy.diff(logits, axis=-1).clip(max=-MIN_GAP)
    of_gaps = gaps + numpy.log(-numpy.expm1(-gaps))  # the inverse of softplus
    return numpy.concatenate([logits[..., :1], of_gaps, numpy.zeros_like(logits[..., :1])], axis=-1)


def cumulative_of_outputs(outputs: numpy.ndarray) -> numpy.ndarray:
    """Return the cumulative logits of outputs, (..., classes - 1). outputs : (..., classes)"""
    falls = numpy.asarray(softplus(outputs[..., 1:-1]))
    logits: numpy.ndarray = numpy.concatenate([outputs[..., :1], -falls], axis=-1).cumsum(axis=-1)
    return logits


def with_thresholds(
    spec: NetworkSpec,
    values: Mapping[str, numpy.ndarray],
    Y: numpy.ndarray,
    weight: numpy.ndarray | None,
) -> dict[str, numpy.ndarray]:
    """Return first parameters whose thresholds fit the frequencies of ordered classes; those of
    other classes are as they were.
    """
    if spec.loss != "ordered_cross_entropy":
        return dict(values)
    name = spec.bias_names[-1]
    bias = first_thresholds(Y, weight, spec.widths[-1])
    return {**values, name: numpy.broadcast_to(bias, values[name].shape).copy()}


@dataclass(frozen=True, eq=False)
class OrderedTargets(ClassTargets):
    """Targets that are ordered classes. classes : in rising order; choice : what is predicted"""

    choice: Choice = "median"

    @property
    def outputs(self) -> int:
        """See `Targets.outputs`."""
        return len(self.classes)

    @property
    def loss(self) -> Loss:
        """See `Targets.loss`."""
        return "ordered_cross_entropy"

    def encode(self, y: HostTargets) -> numpy.ndarray:
        """See `Targets.encode`."""
        y = dense(y)
        if self._holds_shares(y):
            return self._encoded_shares(y)
        return indices_in(self._labels, y)

    def labels(self, outputs: Array, backend: Backend, *, on_host: bool) -> Array:
        """See `ClassTargets.labels`."""
        if self.choice == "mode":
            return super().labels(outputs, backend, on_host=on_host)
        xp = backend.xp
        below = xp.cumulative_sum(outputs[:, :-1], axis=1) < 0.5
        indices = xp.sum(xp.astype(below, xp.int64), axis=1)
        return labels_at(indices, self._labels, backend, on_host=on_host)

    @property
    def _labels(self) -> numpy.ndarray:
        """Return the classes, which are those of one target."""
        assert isinstance(self.classes, numpy.ndarray)
        return self.classes


def learn_ordered(
    y: HostTargets,
    order: numpy.ndarray,
    earlier: ClassTargets | None,
    *,
    columns: ArrayLike | None = None,
    incremental: bool,
    must_be_same: bool,
) -> OrderedTargets:
    """Return the meaning of labels of ordered classes; the arguments are those of `learn_classes`.

    order : the classes in rising order, those that y lacks among them
    columns : the label of each column of soft labels; None for labels

    Raises InputError for several targets and for a label that the order misses, ValueError for
    labels that do not fit those seen before.
    """
    if columns is not None and y.ndim == 2:
        labels = classes_of_columns(columns, y.shape[1])
        classes = ordered_classes(numpy.sort(labels), order)
        return OrderedTargets(classes, share_columns=indices_in(labels, classes))
    if y.ndim != 1:
        raise InputError(
            f"`y` must hold one label for each row where classes are ordered; got shape "
            f"{tuple(y.shape)}. Leave ordered out, or pass one column."
        )
    labels = numpy.unique(dense(y))
    if earlier is None:
        present = ordered_classes(labels, order)
        return OrderedTargets(order if incremental else present)
    targets = OrderedTargets(earlier.classes)
    if must_be_same:
        targets.check_same(y)
    else:
        targets.check_known(y)
    return targets


def order_before(targets: Targets) -> numpy.ndarray | None:
    """Return the order of the classes of a fit before, None where they had none."""
    return targets._labels if isinstance(targets, OrderedTargets) else None


def _order_of_categories(y: object) -> list[object] | None:
    """Return the categories of an ordered categorical, lowest first; None for other labels."""
    dtype = getattr(y, "dtype", None)
    if getattr(dtype, "ordered", False) and hasattr(dtype, "categories"):  # pandas
        return list(dtype.categories)  # type: ignore[union-attr]
    if type(dtype).__name__ == "Enum" and hasattr(dtype, "categories"):  # polars
        return dtype.categories.to_list()  # type: ignore[union-attr]
    return None


def _as_labels(classes: ArrayLike) -> numpy.ndarray:
    """Return classes as an array of labels: text, numbers, or objects."""
    values = numpy.asarray(classes)
    return values if values.dtype.kind in "biufU" else numpy.asarray(classes, dtype=object)
