"""Losses of numbers, as the parameters of a regressor describe them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise
from numbers import Real
from typing import TYPE_CHECKING

import numpy
from sklearn.metrics import d2_pinball_score, r2_score

from xpnet.errors import InputError
from xpnet.learning.parameters import ARRAY_LIKE, POSITIVE, Interval, allowing
from xpnet.models.inputs import require
from xpnet.typing import Array, ArrayLike, Namespace


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
        low = float(y.min()) if y.size else 1.0
        if self.name == "gamma":
            require(low > 0, "`y` must be greater than 0 with loss='gamma'", low)
        elif self.name in ("poisson", "tweedie"):
            require(low >= 0, f"`y` must not be negative with loss={self.name!r}", low)
        return y.repeat(len(self.numbers), axis=1) if self.has_several_levels else y

    def in_order(self, outputs: Array, xp: Namespace) -> Array:
        """Return outputs (..., out) as they are predicted: several quantiles in rising order."""
        return xp.sort(outputs, axis=-1) if self.has_several_levels else outputs

    def score(
        self, y: numpy.ndarray, outputs: numpy.ndarray, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return R^2; of quantiles D^2 of the pinball loss, the mean over the levels.

        y, outputs : (rows, out)
        """
        if self.name != "quantile":
            return r2_score(y, outputs, sample_weight=sample_weight)
        columns = zip(
            cycle(self.numbers), numpy.broadcast_to(y, outputs.shape).T, outputs.T, strict=False
        )
        scores = [
            d2_pinball_score(t, o, alpha=q, sample_weight=sample_weight) for q, t, o in columns
        ]
        return float(numpy.mean(scores))


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
