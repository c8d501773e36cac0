"""Losses of numbers, as the parameters of a regressor describe them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise
from numbers import Real
from typing import TYPE_CHECKING

import numpy
from sklearn.metrics import (
    d2_absolute_error_score,
    d2_pinball_score,
    d2_tweedie_score,
    mean_pinball_loss,
    mean_tweedie_deviance,
    r2_score,
)

from xpnet.errors import InputError, did_you_mean
from xpnet.learning.parameters import ARRAY_LIKE, POSITIVE, Interval, allowing
from xpnet.models.inputs import require
from xpnet.typing import Array, ArrayLike, Namespace

SCORINGS = ("r2", "d2")
"""Names of the scores of numbers that ``score`` measures."""
SMALLEST_MEAN = float(numpy.finfo(numpy.float32).tiny)
"""Smallest predicted mean that a deviance is computed of, since exp(o) may round to 0."""


@dataclass(frozen=True)
class NumericLoss:
    """A loss of targets that are numbers.

    name : a name in ``xpnet.backend.spec.NUMERIC_LOSSES``
    numbers : the numbers that it takes: the levels of quantiles, the delta of Huber's, a power
    """

    name: str
    numbers: tuple[float, ...] = ()

    @property
    def has_several_levels(self) -> bool:
        """Return whether a target is learned in several outputs, one for each quantile."""
        return len(self.numbers) > 1

    @property
    def power(self) -> float | None:
        """Return the power of the mean that the variance grows with, of a loss with a logarithmic
        link; None for other losses.
        """
        if self.name == "tweedie":
            return self.numbers[0]
        return {"poisson": 1.0, "gamma": 2.0}.get(self.name)

    def repeat(self, y: numpy.ndarray) -> numpy.ndarray:
        """Return targets as the loss takes them: one target in a column for each of several levels.

        y : (rows, out)

        Raises InputError for targets that the loss is not for.
        """
        require(
            not self.has_several_levels or y.shape[1] == 1,
            "`y` must have one target for several quantiles",
            y.shape[1],
        )
        if not self.allows(y):
            rule = "be greater than 0" if self.name == "gamma" else "not be negative"
            require(False, f"`y` must {rule} with loss={self.name!r}", float(y.min()))
        return y.repeat(len(self.numbers), axis=1) if self.has_several_levels else y

    def allows(self, y: numpy.ndarray) -> bool:
        """Return whether the loss is for such targets, which for a deviance have a lowest value.

        y : of any shape
        """
        if self.power is None or not y.size:
            return True
        return bool(y.min() > 0 if self.name == "gamma" else y.min() >= 0)

    def in_order(self, outputs: Array, xp: Namespace) -> Array:
        """Return outputs (..., out) as they are predicted: several quantiles in rising order."""
        return xp.sort(outputs, axis=-1) if self.has_several_levels else outputs

    def score(
        self,
        y: numpy.ndarray,
        outputs: numpy.ndarray,
        sample_weight: ArrayLike | None = None,
        scoring: str | None = None,
    ) -> float:
        """Return R^2 or D^2; with None R^2, and D^2 for quantiles.

        y, outputs : (rows, out); scoring : a name in SCORINGS

        Raises InputError for another name, and for D^2 of Huber's loss.
        """
        if scoring not in (*SCORINGS, None):
            raise InputError(
                f"`scoring` must be None, {' or '.join(map(repr, SCORINGS))}; got {scoring!r}. "
                f"{did_you_mean(scoring, SCORINGS)}".rstrip()
            )
        if scoring == "d2" or (scoring is None and self.name == "quantile"):
            return self.d2(y, outputs, sample_weight)
        targets = numpy.broadcast_to(y, outputs.shape)
        return float(r2_score(targets, outputs, sample_weight=sample_weight))

    def d2(
        self, y: numpy.ndarray, outputs: numpy.ndarray, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return D^2: the share of the loss of the best constant that predictions do not have.

        It is the mean over outputs, and R^2 for the squared error. (Hastie, Tibshirani, Wainwright,
        Statistical Learning with Sparsity, 2015, equation 3.11.)

        y, outputs : (rows, out)

        Raises InputError for Huber's loss, for which the best constant has no formula.
        """
        if self.name == "huber":
            raise InputError(
                "`scoring='d2'` must come with another loss than 'huber'; use scoring='r2'."
            )
        if self.name == "squared_error":
            return float(r2_score(y, outputs, sample_weight=sample_weight))
        if self.name == "absolute_error":
            return float(d2_absolute_error_score(y, outputs, sample_weight=sample_weight))
        measure = d2_pinball_score if self.name == "quantile" else d2_tweedie_score
        return self._mean_over_outputs(measure, y, outputs, sample_weight)

    def d2_of_rates(
        self,
        y: numpy.ndarray,
        outputs: numpy.ndarray,
        factors: numpy.ndarray,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Return D^2 where means are in part known: compared with the best constant rate.

        The deviance of a target against its mean is that of their rates, weighted by ``factors^(2 -
        power)``, as ``xpnet.learning.exposure`` shows.

        y, outputs : (rows, out); factors : (rows,) of the means
        """
        assert self.power is not None
        weight = factors ** (2 - self.power)
        if sample_weight is not None:
            weight = weight * numpy.asarray(sample_weight)
        column = factors[:, None]
        return self.d2(y / column, outputs / column, weight)

    def mean_deviance(
        self, y: numpy.ndarray, outputs: numpy.ndarray, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the mean deviance, of quantiles the mean pinball loss; the mean over outputs.

        y, outputs : (rows, out), of a loss that has a ``power`` or levels
        """
        measure = mean_pinball_loss if self.name == "quantile" else mean_tweedie_deviance
        return self._mean_over_outputs(measure, y, outputs, sample_weight)

    def _mean_over_outputs(
        self,
        measure: Callable[..., float],
        y: numpy.ndarray,
        outputs: numpy.ndarray,
        sample_weight: ArrayLike | None,
    ) -> float:
        """Return the mean of what a function of scikit-learn measures of each output.

        measure : of quantiles with an argument ``alpha``, of deviances with ``power``
        """
        if self.power is not None:
            outputs = numpy.maximum(numpy.asarray(outputs, numpy.float64), SMALLEST_MEAN)
        is_quantile = self.name == "quantile"
        numbers = self.numbers if is_quantile else (self.power,)
        name = "alpha" if is_quantile else "power"
        targets = numpy.broadcast_to(y, outputs.shape)
        measured = [
            measure(true, predicted, sample_weight=sample_weight, **{name: number})
            for number, true, predicted in zip(cycle(numbers), targets.T, outputs.T, strict=False)
        ]
        return float(numpy.mean(measured))


@dataclass(eq=False, repr=False, kw_only=True)
class LossParameters:
    """The numbers that the loss of a regressor takes.

    Parameters
    ----------
    quantile : float or sequence of float, default 0.5
        For ``"quantile"``: the level, between 0 and 1, or several that rise, each with a column of
        predictions. Predictions of several levels do not cross: they are sorted.
    delta : float, default 1.0
        For ``"huber"``: the error, greater than 0, from which on the loss is a line.
    power : float, default 1.5
        For ``"tweedie"``: the power of the mean that the variance grows with, between 1 and 2.
    """

    quantile: float | Sequence[float] = allowing(
        0.5, Interval(Real, 0, 1, closed="neither"), ARRAY_LIKE
    )
    delta: float = allowing(1.0, POSITIVE)
    power: float = allowing(1.5, Interval(Real, 1, 2, closed="neither"))

    if TYPE_CHECKING:  # The subclasses have it, each in its order of arguments.
        loss: str = "squared_error"

    def _numeric_loss(self) -> NumericLoss:
        """Return the loss with its numbers. Raises InputError for levels that do not rise between 0
        and 1.
        """
        if self.loss != "quantile":
            numbers = {"huber": (float(self.delta),), "tweedie": (float(self.power),)}
            return NumericLoss(self.loss, numbers.get(self.loss, ()))
        levels = tuple(numpy.ravel(self.quantile).tolist())
        if not levels or not all(low < high for low, high in pairwise((0, *levels, 1))):
            raise InputError(
                f"The 'quantile' parameter of {type(self).__name__} must hold levels that rise "
                f"between 0 and 1; got {levels}. Sort them, and leave out repeated levels."
            )
        return NumericLoss("quantile", levels)

    def _loss_numbers(self) -> tuple[float, ...]:
        """Return the numbers that the loss takes."""
        return self._numeric_loss().numbers
