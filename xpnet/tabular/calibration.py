"""The widths of intervals and the temperature of probabilities, from validation rows."""

from math import ceil, exp

import numpy
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from xpnet.errors import InputError


def conformal_margin(
    scores: numpy.ndarray, coverage: float, weight: numpy.ndarray | None = None
) -> numpy.ndarray:
    """Return the smallest margin that a new score exceeds with probability 1 - coverage or less.

    It is the ceil((n + 1) coverage)-th of n scores. (Vovk, Gammerman, Shafer, Algorithmic Learning
    in a Random World, 2005.) With weights it is the smallest score up to which the scores have that
    share of the weight. The new row is one of them, with the mean weight. (Tibshirani, Barber,
    Candes, Ramdas, Conformal Prediction Under Covariate Shift, 2019, section 2.)

    scores : (n, columns), how far each validation row lies outside of an interval without margin
    weight : (n,), not negative
    returns one margin for each column: (columns,)

    Raises InputError for too few rows.
    """
    if weight is not None:
        scores, weight = scores[weight > 0], weight[weight > 0]
    share = (len(scores) + 1) * coverage - 1e-9  # The product is rounded.
    if share > len(scores):
        raise InputError(
            f"An interval of coverage {coverage:g} must have "
            f"{ceil(coverage / (1 - coverage) - 1e-9)} validation rows or more; got {len(scores)}. "
            "Raise validation_fraction, or pass X_val and y_val."
        )
    return numpy.quantile(
        scores, share / len(scores), axis=0, method="inverted_cdf", weights=weight
    )


def best_temperature(
    probabilities: numpy.ndarray, labels: numpy.ndarray, weight: numpy.ndarray | None = None
) -> float:
    """Return the temperature that makes these labels the most likely, between 1/20 and 20.

    probabilities : (rows, classes); labels : (rows,) class indices; weight : (rows,)
    """

    def loss(logarithm: float) -> float:
        chosen = tempered(probabilities, exp(logarithm))[numpy.arange(len(labels)), labels]
        return -float(numpy.average(numpy.log(numpy.maximum(chosen, 1e-300)), weights=weight))

    return exp(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x)


def tempered(probabilities: numpy.ndarray, temperature: float) -> numpy.ndarray:
    """Return probabilities to the power of 1 / temperature, scaled to sum to 1.

    probabilities : (rows, classes)
    """
    logarithms = numpy.log(numpy.maximum(probabilities, numpy.finfo(probabilities.dtype).tiny))
    return softmax(logarithms / temperature, axis=1).astype(probabilities.dtype)
