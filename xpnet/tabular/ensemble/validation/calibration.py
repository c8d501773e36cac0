"""The widths of intervals and the temperature of probabilities, from validation rows."""

from math import ceil, exp

import numpy
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from xpnet.errors import InputError
from xpnet.learning.scores import log_losses
from xpnet.learning.split import select

SCORE_ROUNDING = 1e-12
"""Difference of two scores that is due to rounding: thresholds of both are equally good."""

BELOW_ONE = float(numpy.nextafter(1.0, 0.0))
"""The largest threshold."""

PRIOR_MEAN = 0.2
"""Mean of the logarithm of temperatures before validation rows are seen. Networks of few rows are
too certain: on 22 tables of 100 to 400 rows, open and made-up ones, the temperature that suits new
rows has a logarithm between -0.15 and 0.36 unless they are nearly noise, and 0.2 on average."""
PRIOR_DEVIATION = 0.2
"""Standard deviation of this logarithm. With both numbers the log loss of new rows of these tables
is nearer to that of the best temperature by a quarter than with 0 and 0.3."""


def conformal_margin(
    scores: numpy.ndarray,
    coverage: float,
    weight: numpy.ndarray | None = None,
    groups: numpy.ndarray | None = None,
) -> numpy.ndarray:
    """Return the smallest margin that a new score exceeds with probability 1 - coverage or less.

    It is the ceil((n + 1) coverage)-th of n scores. (Vovk, Gammerman, Shafer, Algorithmic Learning
    in a Random World, 2005.) With weights it is the smallest score up to which the scores have that
    share of the weight. The new row is one of them, with the mean weight. (Tibshirani, Barber,
    Candes, Ramdas, Conformal Prediction Under Covariate Shift, 2019, section 2.) Rows of groups
    count as the smaller number of independent rows that say as much.

    scores : (n, columns), how far each validation row lies outside of an interval without margin
    weight : (n,) of the rows, not negative; None for equal ones
    groups : (n,) int64; None for rows that are independent of each other
    returns one margin for each column: (columns,)

    Raises InputError for too few rows.
    """
    if weight is not None:
        counts = weight > 0
        scores, weight = scores[counts], weight[counts]
        groups = select(groups, counts)
    share = (len(scores) + 1) * coverage - 1e-9  # The product is rounded.
    if share > len(scores):
        raise InputError(
            f"An interval of coverage {coverage:g} must have "
            f"{ceil(coverage / (1 - coverage) - 1e-9)} validation rows or more; got {len(scores)}. "
            "Raise validation_fraction, or pass X_val and y_val."
        )
    if groups is None:
        return _quantile(scores, share / len(scores), weight)
    margin = _quantile(scores, coverage, weight)
    shares = [
        min(1.0, coverage * (1 + 1 / independent_rows(exceeds, groups)))
        for exceeds in (scores > margin).T
    ]
    return numpy.array(
        [_quantile(column, share, weight) for column, share in zip(scores.T, shares, strict=True)]
    )


def _quantile(scores: numpy.ndarray, share: float, weight: numpy.ndarray | None) -> numpy.ndarray:
    """Return the weighted quantile of scores (rows,), or of each column of (rows, outputs)."""
    return numpy.asarray(
        numpy.quantile(scores, share, axis=0, method="inverted_cdf", weights=weight)
    )


def independent_rows(values: numpy.ndarray, groups: numpy.ndarray) -> float:
    """Return the number of independent rows whose mean is as certain as that of rows in groups.

    n rows in groups of size m with a correlation r within groups are n / (1 + (m - 1) r) rows.
    (Kish, Survey Sampling, 1965, section 5.4; r from the analysis of variance.)

    values : (rows,); groups : (rows,) int64
    """
    _, numbers, sizes = numpy.unique(groups, return_inverse=True, return_counts=True)
    rows = len(values)
    count = len(sizes)
    size = float((sizes**2).sum() / rows)
    means = numpy.bincount(numbers, values) / sizes
    within = float(((values - means[numbers]) ** 2).sum()) / max(rows - count, 1)
    between = float((sizes * (means - values.mean()) ** 2).sum()) / max(count - 1, 1)
    typical = (rows - size) / max(count - 1, 1)
    spread = between + (typical - 1) * within
    correlation = max(0.0, min(1.0, (between - within) / spread)) if spread > 0 else 0.0
    return rows / (1 + (size - 1) * correlation)


def best_temperature(
    probabilities: numpy.ndarray, labels: numpy.ndarray, weight: numpy.ndarray | None = None
) -> float:
    """Return the most probable temperature, between 1/20 and 20.

    Few labels fit some temperature by chance: where probabilities hardly differ from row to row, 25
    labels of noise ask for one near 1/20, whose predictions are certain and wrong. So the logarithm
    has a normal prior, as that of a scale in Gelman et al., Bayesian Data Analysis, 2013, section
    5.7, which fades as the rows become many.

    probabilities : (rows, classes)
    labels : (rows,) class indices or (rows, classes) soft labels; or with offsets, which are added
        to the logits of this temperature
    weight : (rows,)
    """
    rows = len(labels) if weight is None else float(weight.sum()) ** 2 / float((weight**2).sum())

    def loss(logarithm: float) -> float:
        """Return the log loss of the labels and of the prior at temperature exp(``logarithm``)."""
        of_prior = ((logarithm - PRIOR_MEAN) / PRIOR_DEVIATION) ** 2 / 2 / rows
        of_classes = tempered(probabilities, exp(logarithm))
        if labels.ndim == 2:
            return of_prior + float(numpy.average(log_losses(of_classes, labels), weights=weight))
        chosen = of_classes[numpy.arange(len(labels)), labels]
        logarithms = numpy.log(numpy.maximum(chosen, 1e-300))
        return of_prior - float(numpy.average(logarithms, weights=weight))

    return exp(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x)


def tempered(probabilities: numpy.ndarray, temperature: float) -> numpy.ndarray:
    """Return probabilities to the power of 1 / temperature, scaled to sum to 1.

    probabilities : (rows, classes)
    """
    logarithms = numpy.log(numpy.maximum(probabilities, numpy.finfo(probabilities.dtype).tiny))
    return softmax(logarithms / temperature, axis=1).astype(probabilities.dtype)


def best_threshold(
    probabilities: numpy.ndarray, labels: numpy.ndarray, weight: numpy.ndarray | None, score: str
) -> float:
    """Return the threshold from which the second class is predicted, so that a score is largest.

    It lies in the middle between two probabilities of the rows; of several with the largest score
    it is the one nearest to 0.5. It is 0.5 where the rows have one class.

    probabilities : (rows, 2); labels : (rows,) 0 or 1; weight : (rows,) or None
    score : "f1", that of the second class, or "balanced_accuracy"
    """
    order = numpy.argsort(-probabilities[:, 1], kind="stable")
    second = probabilities[order, 1].astype(numpy.float64)
    weights = numpy.ones(len(order)) if weight is None else weight[order].astype(numpy.float64)
    is_second = labels[order] == 1
    true = (weights * is_second).cumsum()
    false = (weights * ~is_second).cumsum()
    if not true[-1] or not false[-1]:
        return 0.5
    if score == "f1":
        scores = 2 * true / (true + false + true[-1])
    else:
        scores = (true / true[-1] + 1 - false / false[-1]) / 2
    lower = numpy.append(second[1:], 0.0)
    thresholds = (second + lower) / 2
    # Equal probabilities are on one side, and all rows may be of the second class or none.
    possible = numpy.flatnonzero((second > lower) & (thresholds < 1))
    best = scores[possible].max()
    candidates = thresholds[possible][scores[possible] >= best - SCORE_ROUNDING]
    return float(candidates[numpy.abs(candidates - 0.5).argmin()])


def threshold_of_second(threshold: float, positive: int) -> float:
    """Return the probability of the second class from which it is predicted, below 1.

    threshold : the probability of the positive class from which that is predicted
    positive : the index of the positive class, 0 or 1
    """
    return threshold if positive == 1 else min(1 - threshold, BELOW_ONE)
