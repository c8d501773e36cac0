"""Weights of rows."""

from collections.abc import Iterable, Mapping
from numbers import Real

import numpy
from sklearn.utils import check_array
from sklearn.utils.class_weight import compute_sample_weight

from xpnet.distributed.agreement import class_counts
from xpnet.distributed.ranks import Ranks
from xpnet.errors import InputError
from xpnet.learning.labels import check_class_weights, check_not_negative
from xpnet.learning.targets import ClassTargets, HostTargets, dense


def check_weights(weights: object, rows: int, name: str = "sample_weight") -> numpy.ndarray:
    """Check weights of rows as scikit-learn does, and make them (rows,) float64.

    Raises InputError for negative weights and for zeros alone, ValueError for another shape, and
    for weights that are not finite.
    """
    if isinstance(weights, Real):
        weights = numpy.full(rows, float(weights))
    if not rows:
        return numpy.empty(0)
    checked: numpy.ndarray = check_array(
        weights, ensure_2d=False, dtype=numpy.float64, order="C", input_name=name
    )
    if checked.shape != (rows,):
        raise ValueError(f"sample_weight.shape == {checked.shape}, expected {(rows,)}!")
    if (checked < 0).any():
        row = int(checked.argmin())
        raise InputError(
            f"`{name}` must not be negative; got {checked[row]:g} in row {row}. Leave {name} out, "
            "or correct it."
        )
    if not checked.any():
        raise InputError(
            f"`{name}` must hold a positive weight; got zeros alone; leave {name} out, or correct "
            "it."
        )
    return checked


def weights_in_dtype(weights: numpy.ndarray, dtype: str, name: str) -> numpy.ndarray:
    """Return weights of rows in a dtype.

    Raises InputError for weights that the dtype takes for 0 or for infinity.
    """
    with numpy.errstate(over="ignore", under="ignore"):
        converted = weights.astype(dtype)
    lost = weights[((converted == 0) & (weights != 0)) | ~numpy.isfinite(converted)]
    if len(lost):
        limits = numpy.finfo(dtype)
        raise InputError(
            f"`{name}` must hold 0 or numbers from {limits.tiny:.2g} to {limits.max:.2g}, the "
            f"range of {dtype}; got {lost[0]:g}. Multiply all weights by one factor."
        )
    return converted


def class_weights(
    y: HostTargets,
    encoded: numpy.ndarray,
    targets: ClassTargets,
    class_weight: object,
    ranks: Ranks,
) -> numpy.ndarray:
    """Return the weight of each row by its class, (rows,) float64.

    y : the targets as the user has them; encoded : as the loss takes them
    class_weight : as scikit-learn takes it; "balanced" counts the rows of all ranks
    """
    for one in class_weight if isinstance(class_weight, list) else [class_weight]:
        check_not_negative(one)
    if targets.share_columns is not None and y.ndim == 2:
        return weights_of_shares(dense(y)[:, targets.share_columns], targets.classes, class_weight)
    if not isinstance(targets.classes, list):
        check_class_weights(class_weight, targets.classes)
    if class_weight == "balanced" and ranks.sharded:
        counts = class_counts(encoded, len(targets.classes), ranks)
        balanced = counts.sum() / (len(counts) * counts)
        class_weight = dict(zip(targets.classes, balanced, strict=True))
    return compute_sample_weight(class_weight, y) if len(encoded) else numpy.zeros(0)


def weights_of_shares(
    shares: numpy.ndarray, classes: Iterable[object], class_weight: object
) -> numpy.ndarray:
    """Return the mean weight of each row by the probabilities of its classes: (rows,) float64.

    shares : (rows, classes); class_weight : "balanced", or weights by label
    """
    sums = shares.sum(axis=0, dtype=numpy.float64)
    if isinstance(class_weight, Mapping):
        of_classes = numpy.array([class_weight.get(label, 1.0) for label in classes])
    else:
        of_classes = sums.sum() / (len(sums) * numpy.where(sums > 0, sums, 1.0))
    return numpy.asarray(shares @ of_classes, numpy.float64)


def nonzero_rows(weight: numpy.ndarray | None) -> numpy.ndarray | None:
    """Return the indices of the rows whose weight is not 0, None for all rows."""
    return None if weight is None or weight.all() else numpy.flatnonzero(weight)


def none_if_uniform(weight: numpy.ndarray | None) -> numpy.ndarray | None:
    """Return weights, None for equal ones, which have no effect."""
    return None if weight is None or (weight == weight[:1]).all() else weight
