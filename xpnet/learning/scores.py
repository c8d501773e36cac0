"""Scores of predictions on the host, by scikit-learn where its functions hold the rows once; the
loss of a network on validation rows.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, TypeAlias

import numpy
from sklearn import metrics

from xpnet.learning.losses import NumericLoss
from xpnet.learning.ordered import median_classes
from xpnet.ops.offsets import has_offsets, with_offsets
from xpnet.typing import PredictionRule

Scores: TypeAlias = dict[str, Any]
"""Scores of some rows by name: numbers, None where one is not defined, the name of a class, and the
scores of each class.
"""

MIN_PROBABILITY = 1e-30
"""Smallest probability whose logarithm is taken in a validation loss."""


def log_losses(probabilities: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """Return the loss of each row, minus the logarithm of its label's probability: (rows,) float64.

    probabilities : (rows, classes)
    labels : (rows,) class indices; or (rows, classes) shares, by which logarithms are averaged;
        or shares with offsets behind them, (rows, 2 * classes)
    """
    classes = probabilities.shape[1]
    if has_offsets(labels, classes):
        positive = probabilities.astype(numpy.float64).clip(MIN_PROBABILITY)
        probabilities = numpy.asarray(with_offsets(positive, labels[:, classes:]))
        labels = labels[:, :classes]
    if labels.ndim == 2:
        logarithms = numpy.log(probabilities.astype(numpy.float64).clip(MIN_PROBABILITY))
        return -(labels * logarithms).sum(axis=1)
    of_labels = probabilities[numpy.arange(len(labels)), labels].astype(numpy.float64)
    return -numpy.log(of_labels.clip(MIN_PROBABILITY))


def predicted_classes(probabilities: numpy.ndarray, rule: PredictionRule) -> numpy.ndarray:
    """Return the index of the predicted class of each row: (rows,) int64.

    probabilities : (rows, classes)
    """
    if rule is None or rule == "mode":
        return probabilities.argmax(axis=1)
    if rule == "median":
        return median_classes(probabilities)
    return (probabilities[:, 1] >= rule).astype(numpy.int64)


def middle(outputs: numpy.ndarray) -> numpy.ndarray:
    """Return one number a row: of several quantiles the middle one.

    outputs : (rows,) or (rows, levels)
    """
    columns = outputs.reshape(len(outputs), -1)
    return columns[:, columns.shape[1] // 2]


def class_scores(
    labels: numpy.ndarray,
    probabilities: numpy.ndarray,
    names: Sequence[object],
    weight: numpy.ndarray | None = None,
    rule: PredictionRule = None,
    *,
    are_ordered: bool = False,
    positive: int = 1,
) -> Scores:
    """Return scores of probabilities, and precision, recall, F1 and rows of each class.

    F1 is that of the positive one of two classes, which ``f1_class`` names; of more classes it is
    the mean. ROC AUC compares each class with the others, and is None if a class has no rows. It
    and the log loss are computed here, since scikit-learn's functions hold all rows several times,
    of which there may be many millions.

    labels : (rows,) class indices; probabilities : (rows, classes); names : of the classes
    weight : (rows,) positive, by which every score but a number of rows counts them; None for equal
    ones
    rule : which class is predicted
    are_ordered : whether the classes rise; then there are the mean absolute error of their ranks
        and Cohen's kappa with quadratic weights
    positive : the index of the positive one of two classes
    """
    count, classes = probabilities.shape
    predicted = predicted_classes(probabilities, rule)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(classes), zero_division=0, sample_weight=weight
    )
    rows = numpy.bincount(labels, minlength=classes)
    by_class = (precision, recall, f1, rows)
    sums = _sums_of(probabilities)
    compared = range(classes) if classes > 2 else (1,)
    areas = [_area(probabilities[:, k] / sums, labels == k, weight) for k in compared if rows.all()]
    columns = zip(names, *(scores.tolist() for scores in by_class), strict=True)
    return {
        "rows": count,
        "accuracy": float(numpy.average(labels == predicted, weights=weight)),
        "balanced_accuracy": float(recall[rows > 0].mean()),
        "f1": float(f1.mean() if classes > 2 else f1[positive]),
        "f1_class": names[positive] if classes == 2 else None,
        "log_loss": log_loss(labels, probabilities, weight),
        "roc_auc": float(numpy.mean(areas)) if areas else None,
        **(_rank_scores(labels, predicted, classes, weight) if are_ordered else {}),
        "classes": [
            dict(zip(("class", "precision", "recall", "f1", "rows"), values, strict=True))
            for values in columns
        ],
    }


def _sums_of(probabilities: numpy.ndarray) -> numpy.ndarray:
    """Return the sum of each row, (rows,): probabilities that were rounded to float32 have others
    than exactly 1.
    """
    return probabilities.sum(axis=1, dtype=numpy.float64)


def log_loss(
    labels: numpy.ndarray, probabilities: numpy.ndarray, weight: numpy.ndarray | None = None
) -> float:
    """Return the mean log loss of probabilities. The arguments are those of `class_scores`."""
    epsilon = numpy.finfo(numpy.float64).eps
    of_labels = probabilities[numpy.arange(len(labels)), labels] / _sums_of(probabilities)
    of_labels = numpy.clip(of_labels, epsilon, 1 - epsilon)
    return -float(numpy.average(numpy.log(of_labels), weights=weight))


def _rank_scores(
    labels: numpy.ndarray, predicted: numpy.ndarray, classes: int, weight: numpy.ndarray | None
) -> Scores:
    """Return scores of ordered classes by their distance in ranks.

    Kappa is None where all rows have one class, and have it predicted.

    labels, predicted : (rows,) class indices
    """
    distances = numpy.abs(labels.astype(numpy.int64) - predicted)
    is_one_class = len(numpy.union1d(labels, predicted)) == 1
    return {
        "mae_of_ranks": float(numpy.average(distances, weights=weight)),
        "quadratic_kappa": None
        if is_one_class
        else float(
            metrics.cohen_kappa_score(
                labels,
                predicted,
                labels=range(classes),
                weights="quadratic",
                sample_weight=weight,
            )
        ),
    }


def _area(scores: numpy.ndarray, is_class: numpy.ndarray, weight: numpy.ndarray | None) -> float:
    """Return ROC AUC: how often a row of the class has a higher score than one of the others.

    Equal scores count half. weight : (rows,) positive, None for equal ones
    """
    own = scores[is_class]
    others = numpy.sort(scores[~is_class])
    if weight is None:
        own = numpy.sort(own)  # the search below is faster
        below = int(numpy.searchsorted(others, own, "left").sum())
        not_above = int(numpy.searchsorted(others, own, "right").sum())
        return (below + not_above) / (2 * len(own) * len(others))
    own_weight = weight[is_class]
    weight_of_others = weight[~is_class]
    order = numpy.argsort(scores[~is_class])
    sums = numpy.concatenate([[0.0], weight_of_others[order].cumsum()])
    pairs = sums[numpy.searchsorted(others, own, "left")]
    pairs += sums[numpy.searchsorted(others, own, "right")]
    return float(own_weight @ pairs / (2 * own_weight.sum() * sums[-1]))


def number_scores(
    targets: numpy.ndarray,
    outputs: numpy.ndarray,
    loss: NumericLoss,
    weight: numpy.ndarray | None = None,
    factors: numpy.ndarray | None = None,
) -> Scores:
    """Return rows, mean absolute error, root of the mean squared error, R2, and what fits the loss.

    Counts and amounts have their mean deviance and D2, quantiles the pinball loss and D2 (the means
    over the levels), medians D2. R2 and D2 are None for fewer than two rows, and a deviance and its
    D2 where a target is not one of the loss.

    outputs : (rows,) or (rows, levels); weight : (rows,) positive, None for equal ones
    factors : (rows,) known ones of the means, with which D2 compares with the constant rate
    """
    measured = {"y_true": targets, "y_pred": middle(outputs), "sample_weight": weight}
    scores: Scores = {
        "rows": len(targets),
        "mae": float(metrics.mean_absolute_error(**measured)),
        "rmse": float(metrics.root_mean_squared_error(**measured)),
        "r2": float(metrics.r2_score(**measured)) if len(targets) > 1 else None,
    }
    if loss.name in ("squared_error", "huber"):
        return scores
    by_loss = (targets[:, None], outputs.reshape(len(targets), -1), weight)
    is_measurable = loss.allows(targets)
    if loss.name == "quantile":
        scores["pinball_loss"] = loss.mean_deviance(*by_loss)
    elif loss.power is not None:
        scores["mean_deviance"] = loss.mean_deviance(*by_loss) if is_measurable else None
    scores["d2"] = None
    if is_measurable and len(targets) > 1 and factors is not None:
        scores["d2"] = loss.d2_of_rates(*by_loss[:2], factors, weight)
    elif is_measurable and len(targets) > 1:
        scores["d2"] = loss.d2(*by_loss)
    return scores


def mean_scores(measured: Sequence[Mapping[str, Scores]]) -> dict[str, Scores]:
    """Return the means of scores over the folds of a cross-validation, and their spread.

    The spread is the standard deviation over the folds, with one degree of freedom less than folds.
    A score that a fold lacks has neither.

    measured : the scores of each fold, by the rows that they are of
    """
    test = [scores["test"] for scores in measured]
    return {
        "test": _over_folds(test, fmean),
        "spread": _over_folds(test, stdev),
        "baseline": _over_folds([scores["baseline"] for scores in measured], fmean),
    }


def _over_folds(scores: Sequence[Scores], statistic: Callable[[list[float]], float]) -> Scores:
    """Return a statistic of each score over folds, with the number of all rows."""
    names = [name for name in scores[0] if name not in ("rows", "classes", "f1_class")]
    statistics: Scores = {"rows": sum(of_fold["rows"] for of_fold in scores)}
    for name in names:
        values = [of_fold[name] for of_fold in scores]
        statistics[name] = None if None in values else statistic(values)
    return statistics | {name: scores[0][name] for name in ("f1_class",) if name in scores[0]}


def class_frequencies(
    labels: numpy.ndarray, weight: numpy.ndarray | None, classes: int
) -> numpy.ndarray:
    """Return the fraction of the rows, or of their weight, that each class has: (classes,).

    labels : (rows,) class indices; weight : (rows,) positive, None for equal ones
    """
    counts = numpy.bincount(labels, weight, minlength=classes)
    return counts / counts.sum()


def constant_numbers(
    targets: numpy.ndarray, weight: numpy.ndarray | None, loss: NumericLoss
) -> numpy.ndarray:
    """Return the mean of the targets, or their quantiles where a loss has levels: (outputs,).

    targets : (rows,); weight : (rows,) positive, None for equal ones
    """
    if loss.name == "quantile":
        return numpy.quantile(targets, loss.numbers, weights=weight, method="inverted_cdf")
    return numpy.average(targets, weights=weight, keepdims=True)
