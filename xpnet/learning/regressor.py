"""What regressors of rows and of tables share: the choice of a loss, exposures, and the score."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy

from xpnet.learning.exposure import Exposures, check_passed_with_validation, rates_of
from xpnet.learning.losses import LossParameters, NumericLoss
from xpnet.learning.scikit_learn import RegressorMixin
from xpnet.learning.split import InputRows
from xpnet.models.inputs import to_host
from xpnet.typing import Array, ArrayLike, TargetsLike

Rows = TypeVar("Rows")
"""The type of the rows that an estimator takes."""


class LossRegressor(LossParameters, RegressorMixin, Generic[Rows]):
    """A regressor that minimises a loss of the user's choice."""

    if TYPE_CHECKING:  # The subclasses have it.

        def predict(
            self,
            X: Rows,
            *,
            exposure: ArrayLike | None = None,
            offset: ArrayLike | None = None,
        ) -> Array:
            """Predict numbers."""

    @abstractmethod
    def _checked_targets(self, y: TargetsLike, name: str) -> numpy.ndarray:
        """Return targets on the host, if they are allowed. name : of the argument"""

    @abstractmethod
    def _targets_to_score(self, y: ArrayLike) -> numpy.ndarray:
        """Return targets as the loss takes them: (rows, targets). Raises InputError for others."""

    def _loss_to_score(self) -> NumericLoss:
        """Return the loss that the predictions are for."""
        return self._numeric_loss()

    def _rows_as_rates(
        self, rows: InputRows, exposures: Exposures, validation: InputRows, exposures_val: Exposures
    ) -> tuple[InputRows, InputRows]:
        """Return training and validation rows whose targets are rates; the same rows where nothing
        is known of their means. validation : the user's validation rows
        """
        check_passed_with_validation(
            "exposure", exposures.exposure, exposures_val.exposure, validation.X
        )
        check_passed_with_validation("offset", exposures.offset, exposures_val.offset, validation.X)
        return self._per_exposure(rows, exposures), self._per_exposure(validation, exposures_val)

    def _per_exposure(self, rows: InputRows, exposures: Exposures) -> InputRows:
        """Return rows whose targets are rates, with their weights and inverse variances."""
        if exposures.is_empty or rows.y is None:
            return rows
        loss = self._numeric_loss()
        y = self._checked_targets(rows.y, f"y{exposures.ending}")
        factors = exposures.factors(len(y), loss)
        rates = rates_of(y, rows.weight, factors, loss, f"sample_weight{exposures.ending}")
        return rows._replace(
            y=rates.y,
            weight=rates.weight,
            inverse_variance=rates.inverse_variance,
            are_rates=True,
        )

    def score(  # type: ignore[override]  # scikit-learn's stub has arrays
        self,
        X: Rows,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        scoring: str | None = None,
        exposure: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> float:
        """Measure R^2, the mean over outputs; for ``loss="quantile"`` D^2 of the pinball loss.

        Parameters
        ----------
        X : frame, table, array or scipy sparse matrix, shape (rows, columns)
            The rows, as ``predict`` takes them.
        y : array, shape (rows,) or (rows, targets)
            The true numbers.
        sample_weight : array, shape (rows,), optional
            Weights of the rows.
        scoring : {"r2", "d2"} or None, default None
            ``"d2"`` measures the share of the loss of the best constant, with exposures of the best
            constant rate, that the predictions do not have, as
            ``sklearn.metrics.d2_tweedie_score``, ``d2_pinball_score`` and
            ``d2_absolute_error_score`` do; it is R^2 for the squared error, and there is none for
            Huber's loss. ``cross_val_score(model, X, y, scoring=partial(xpnet.MLPRegressor.score,
            scoring="d2"))`` measures it by cross-validation.
        exposure : array, shape (rows,), optional
            Exposures of the rows, of which ``predict`` is asked. Without them y is compared with
            rates, the means for an exposure of 1.
        offset : array, shape (rows,), optional
            Offsets of the rows, of which ``predict`` is asked.

        Returns
        -------
        float
            1 for perfect predictions, 0 for those no better than the best constant, negative for
            worse ones.

        Raises
        ------
        InputError
            For another name, and for ``"d2"`` with Huber's loss.
        """
        predictions = to_host(self.predict(X, exposure=exposure, offset=offset))
        targets = self._targets_to_score(y)
        outputs = predictions.reshape(len(predictions), -1)
        loss = self._loss_to_score()
        weight = to_host(sample_weight)
        exposures = Exposures(exposure, offset)
        if scoring == "d2" and not exposures.is_empty:
            return loss.d2_of_rates(targets, outputs, exposures.factors(len(outputs), loss), weight)
        return loss.score(targets, outputs, weight, scoring)
