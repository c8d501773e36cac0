"""Rows that were set apart in training tell how wide an interval must be, and how sure probabilities may be."""

from math import ceil, exp

import numpy
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from xpnet.errors import InputError


def conformal_margin(
    scores: numpy.ndarray, coverage: float, weight: numpy.ndarray | None = None
) -> numpy.ndarray:
    """Return the least margin that a new score exceeds with a probability of at most 1 - coverage, by column.

    It is the ceil((n + 1) coverage)-th of n scores. (Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World,
    2005.) With weights it is the least score up to which the scores have that share of the weight, the new row's
    included, which is taken to be the mean one. (Tibshirani, Barber, Candes, Ramdas, Conformal Prediction Under
    Covariate Shift, 2019, section 2.)

    scores : (n, columns), how far each row set apart lies outside of an interval without margin
    weight : (n,), not negative
    returns (columns,). Raises InputError for too few rows.
    """
    if weight is not None:
        scores, weight = scores[weight > 0], weight[weight > 0]
    share = (len(scores) + 1) * coverage - 1e-9  # of a product that is rounded
    if share > len(scores):
        raise InputError(
            f"An interval of coverage {coverage:g} takes {ceil(coverage / (1 - coverage) - 1e-9)} rows that are set "
            f"apart in training; there were {len(scores)}. Raise validation_fraction, or pass X_val and y_val."
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
    """Return probabilities (rows, classes) to the power of 1 / temperature, scaled to sum to 1, in their dtype."""
    logarithms = numpy.log(numpy.maximum(probabilities, numpy.finfo(probabilities.dtype).tiny))
    return softmax(logarithms / temperature, axis=1).astype(probabilities.dtype)
