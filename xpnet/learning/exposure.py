"""Exposures and offsets: known factors of the mean of each row.

With a logarithmic link a mean is ``e * exp(o)``: the known factor e of the row times the predicted
rate. The deviance of power p of a target y against this mean is ``e^(2-p)`` times the deviance of
``y / e`` against the rate. So rows with exposures are rows with other targets and weights, and no
loss, step or file knows of them.

Source: P. McCullagh, J. A. Nelder, Generalized Linear Models, 1989, section 6.3.1 (offsets); the
identity follows from the deviances in ``xpnet.ops``.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy

from xpnet.errors import InputError
from xpnet.learning.losses import NumericLoss
from xpnet.learning.weights import check_weights
from xpnet.models.inputs import to_host
from xpnet.typing import ArrayLike, TargetsLike


class Exposures(NamedTuple):
    """Exposures and offsets of rows, as a user passes them.

    exposure : (rows,) numbers above 0 that the mean is proportional to; None for 1
    offset : (rows,) numbers that are added to the logarithm of the mean; None for 0
    ending : of the names of these arguments, "_val" for those of validation rows
    """

    exposure: ArrayLike | None
    offset: ArrayLike | None
    ending: str = ""

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is known."""
        return self.exposure is None and self.offset is None

    def factors(self, rows: int, loss: NumericLoss) -> numpy.ndarray:
        """Return the known factor of each row's mean, exposure * exp(offset): (rows,) float64.

        Raises InputError for values that make no factor, and for a loss without a logarithmic link.
        """
        if loss.power is None:
            name = "exposure" if self.exposure is not None else "offset"
            raise InputError(
                f"`{name}{self.ending}` must go with a loss of logarithms, 'poisson', 'gamma' or "
                f"'tweedie'; got loss={loss.name!r}. Choose one of them."
            )
        factors = numpy.ones(rows)
        if self.exposure is not None:
            factors *= numbers_of_rows(
                self.exposure,
                rows,
                f"exposure{self.ending}",
                "finite numbers above 0",
                lambda values: numpy.isfinite(values) & (values > 0),
            )
        if self.offset is not None:
            factors *= numpy.exp(
                numbers_of_rows(
                    self.offset,
                    rows,
                    f"offset{self.ending}",
                    f"numbers from {-MAX_OFFSET} to {MAX_OFFSET}",
                    lambda values: numpy.abs(values) <= MAX_OFFSET,
                )
            )
        return factors


MAX_OFFSET = 80
"""Largest absolute value of an offset: exp of larger ones leaves the range of float32."""


def check_passed_with_validation(
    name: str, of_training: object, of_validation: object, X_val: object
) -> None:
    """Raise InputError unless exposures or offsets of validation rows come where they must.

    name : "exposure" or "offset"; of_training, of_validation : those of the rows; None for none
    """
    is_expected = of_training is not None and X_val is not None
    if (of_validation is not None) != is_expected:
        raise InputError(
            f"`{name}_val` must be passed where `X_val` and `{name}` are, and nowhere else; "
            f"got {'no ' if is_expected else ''}{name}_val. "
            f"{'Add' if is_expected else 'Leave out'} {name}_val."
        )


class Rates(NamedTuple):
    """Targets per unit of exposure.

    y : (rows,) or (rows, out) targets divided by the known factors
    weight : (rows,) of these targets, those of the rows times the inverse variances; None for equal
        ones
    inverse_variance : (rows,) in inverse proportion to the variances of these targets,
        exposures to the power of 2 - p; None for equal ones. (McCullagh, Nelder, Generalized Linear
        Models, 1989, section 2.2.)
    """

    y: TargetsLike | None
    weight: ArrayLike | None
    inverse_variance: numpy.ndarray | None = None


def rates_of(
    y: numpy.ndarray,
    weight: ArrayLike | None,
    factors: numpy.ndarray,
    loss: NumericLoss,
    weight_name: str,
) -> Rates:
    """Return the targets and weights that have the same deviance up to a factor of all rows.

    y : (rows,) or (rows, out) numbers; weight : (rows,) as a user passes it, or None
    factors : (rows,) of the means; weight_name : of the argument, for errors
    """
    assert loss.power is not None
    rates = y / factors.reshape(-1, *[1] * (y.ndim - 1))
    if loss.power == 2:
        return Rates(rates, weight)
    inverse_variance = factors ** (2 - loss.power)
    if weight is None:
        return Rates(rates, inverse_variance, inverse_variance)
    of_rows = check_weights(to_host(weight), len(y), weight_name)
    return Rates(rates, of_rows * inverse_variance, inverse_variance)


def numbers_of_rows(
    values: ArrayLike,
    rows: int,
    name: str,
    rule: str,
    are_allowed: Callable[[numpy.ndarray], numpy.ndarray],
) -> numpy.ndarray:
    """Return a number for each row, (rows,) float64.

    Raises InputError, which names the first wrong row, unless all of them are allowed.
    """
    try:
        numbers = numpy.asarray(to_host(values), numpy.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"`{name}` must hold {rule}; {error}. Convert it to numbers.") from error
    if numbers.ndim == 2 and numbers.shape[1] == 1:
        numbers = numbers[:, 0]
    if numbers.shape != (rows,):
        raise InputError(
            f"`{name}` must hold one number for each of {rows} rows; got shape {numbers.shape}. "
            "Pass one column."
        )
    wrong = ~are_allowed(numbers)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"`{name}` must hold {rule}; got {numbers[row]:g} in row {row}. Correct it, or leave "
            "the row out."
        )
    return numbers
