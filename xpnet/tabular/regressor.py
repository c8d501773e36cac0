"""The regressor of tables."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_array

from xpnet.backend.spec import NUMERIC_LOSSES
from xpnet.errors import InputError
from xpnet.learning.exposure import Exposures
from xpnet.learning.labels import check_numbers
from xpnet.learning.losses import LossParameters
from xpnet.learning.parameters import (
    FRACTION,
    allowing,
    documented_as,
    with_documentation_of,
)
from xpnet.learning.regressor import LossRegressor
from xpnet.learning.split import InputRows
from xpnet.models.inputs import like_rows, require, to_host
from xpnet.tabular.base import Tabular
from xpnet.tabular.ensemble.ensemble import TrainedNetworks
from xpnet.tabular.ensemble.validation.validation_predictions import ValidationPredictions
from xpnet.tabular.ensemble.watching import Callbacks
from xpnet.tabular.fit import TableFit
from xpnet.tabular.fitted import FittedRegressor, row_count
from xpnet.tabular.parameters import TabularParameters
from xpnet.tabular.refinement import Refinement
from xpnet.tabular.rows.target_coding import NumberCoding
from xpnet.typing import ArrayLike, TableLike, TargetsLike

if TYPE_CHECKING:
    from sklearn.utils import Tags

MAX_TARGET = 1e140
"""Largest absolute value of a target: the squares of larger ones overflow, and with them the
standard deviation."""


@with_documentation_of(Parameters=TabularParameters, Attributes=Tabular, Loss=LossParameters)
@dataclass(eq=False, repr=False, kw_only=True)
class TabularRegressor(LossRegressor[TableLike], Tabular):
    """Predict numbers for the rows of a table, without settings that have to be chosen.

    A `TableEncoder` encodes the table as numbers. A few networks are trained on them and on the
    standardised target, each with its own validation rows, which end its training. Each network has
    several members, and the mean of all members' predictions is limited to the range of the
    training targets. The ``delta`` of Huber's loss is in standard deviations of the target.

    Parameters
    ----------
    <parameters of both estimators>
    <loss of both estimators>
    loss : str, default "squared_error"
        The loss; `xpnet.MLPRegressor` says what each loss is for. Outer quantiles of ``"quantile"``
        lie too close together for new rows: `predict_interval` holds the share that it is asked
        for.

    Attributes
    ----------
    target_ : numpy.ndarray, shape (4, outputs), float64
        Centre, scale, minimum and maximum of the training targets: a prediction is an output of a
        network times the scale, plus the centre.
    residuals_ : numpy.ndarray, shape (validation rows, outputs), float64
        Targets minus predictions by networks that were not trained on these rows; for
        ``"poisson"``, ``"gamma"`` and ``"tweedie"`` divided by the root of the variance that the
        loss assumes, up to a factor.
    residual_weights_ : numpy.ndarray, shape (validation rows,), float64, or None
        Weights of these rows; None for equal ones.
    <attributes of both estimators>

    See Also
    --------
    xpnet.TabularClassifier : The same for classes.
    xpnet.MLPRegressor : One network on numbers, with scikit-learn's parameters and results.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> rng = numpy.random.default_rng(0)
    >>> table = {"size": rng.normal(size=300), "colour": rng.choice(["red", "blue"], 300)}
    >>> price = 1000 * table["size"] * (table["colour"] == "red")
    >>> regressor = xpnet.TabularRegressor(random_state=0).fit(table, price)
    >>> regressor.score(table, price) > 0.9
    True
    >>> mean, spread = regressor.predict(table, return_std=True)
    >>> mean.shape, spread.shape
    ((300,), (300,))
    >>> low, high = regressor.predict_interval(table, 0.9).T
    >>> bool(((low <= price) & (price <= high)).mean() > 0.8)
    True
    """

    dropout: float = allowing(0.0, FRACTION)
    loss: str = allowing("squared_error", set(NUMERIC_LOSSES))

    _task = "regression"

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _checked_targets(self, y: TargetsLike, name: str) -> numpy.ndarray:
        y = to_host(y)
        check_numbers(y, name, type(self))
        numbers = check_array(y, ensure_2d=False, dtype=numpy.float64, input_name=name)
        largest = numpy.abs(numbers).max()
        if largest > MAX_TARGET:
            raise InputError(
                f"`{name}` must hold numbers from {-MAX_TARGET:g} to {MAX_TARGET:g}; got "
                f"{largest:g}. Scale the targets."
            )
        is_column = numbers.ndim == 2 and numbers.shape[1] == 1
        return column_or_1d(numbers, warn=True) if is_column else numbers

    def _learned_targets(self, y: numpy.ndarray, passed: object) -> NumberCoding:
        columns = self._numeric_loss().repeat(y.reshape(len(y), -1))
        low, high = columns.min(axis=0), columns.max(axis=0)
        centre, scale = columns.mean(axis=0), columns.std(axis=0)
        if self._numeric_loss().power is not None:  # positive means are scaled and not moved
            if not high.all():
                raise InputError(
                    f"`y` must hold a number above 0 for loss={self.loss!r}; got zeros only. "
                    "Look at how y was made."
                )
            centre, scale = numpy.zeros_like(low), centre
        target = numpy.stack([centre, numpy.where(scale > 0, scale, 1.0), low, high])
        return NumberCoding(target, y.ndim == 1, self.dtype, self._numeric_loss().repeat)

    def _coding_of(
        self, fitted: FittedRegressor, rows: InputRows
    ) -> tuple[NumberCoding, FittedRegressor]:
        columns = self._numeric_loss().repeat(rows.y.reshape(len(rows.y), -1))
        centre, scale, low, high = fitted.target
        if columns.shape[1] == len(low):  # others are refused when they are encoded
            low = numpy.minimum(low, columns.min(axis=0))
            high = numpy.maximum(high, columns.max(axis=0))
        target = numpy.stack([centre, scale, low, high])
        coding = NumberCoding(target, fitted.flat, self.dtype, self._numeric_loss().repeat)
        predicts_rates = fitted.predicts_rates or rows.have_offsets
        return coding, replace(fitted, target=target, predicts_rates=predicts_rates)

    def _record(self, fit: TableFit, trained: TrainedNetworks) -> FittedRegressor:
        coding = fit.coding
        assert isinstance(coding, NumberCoding)
        return FittedRegressor(
            encoder=fit.encoder,
            networks=trained.networks,
            best_epochs=trained.best_epochs,
            n_iter=trained.n_iter,
            target=coding.target,
            flat=coding.flat,
            residuals=numpy.empty((0, coding.outputs)),
            residual_weights=None,
            predicts_rates=fit.has_offsets,
        )

    def _calibrated(
        self, fitted: FittedRegressor, validation: ValidationPredictions
    ) -> FittedRegressor:
        return fitted.with_residuals(
            validation.outputs,
            validation.Y,
            validation.weight,
            validation.groups,
            validation.inverse_variance,
        )

    @documented_as(Tabular.fit)
    def fit(
        self,
        X: TableLike,
        y: TargetsLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: TableLike | None = None,
        y_val: Any = None,
        sample_weight_val: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        time: ArrayLike | str | None = None,
        exposure: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        exposure_val: ArrayLike | None = None,
        offset_val: ArrayLike | None = None,
        callbacks: Callbacks = (),
    ) -> Self:
        """Encode a table and train on it.

        Parameters
        ----------
        y : array, shape (rows,) or (rows, targets)
            The targets.
        y_val : array, shape (validation rows,) or (validation rows, targets), optional
            Their targets.
        exposure : array, shape (rows,), optional
            With a loss of logarithms (``"poisson"``, ``"gamma"``, ``"tweedie"``): numbers above 0
            that the mean of a row is proportional to, such as years insured or minutes observed.
            The networks learn rates, the means for an exposure of 1.
        offset : array, shape (rows,), optional
            With these losses: numbers that are added to the logarithm of the mean; log(exposure)
            means the same as the exposure.
        exposure_val : array, shape (validation rows,), optional
            The exposures of the validation rows that are passed.
        offset_val : array, shape (validation rows,), optional
            Their offsets.

        Returns
        -------
        TabularRegressor
            Itself.

        Raises
        ------
        ValueError
            For targets, weights, exposures, groups or times that do not fit the rows, and for
            tables that `TableEncoder.fit` refuses.

        Notes
        -----
        A fit with exposures e is the fit of the targets y / e with the weights ``e^(2 - p)``, where
        p is the power of the loss. The widths of its intervals are for exposures of the rows that
        are predicted.
        """
        rows, validation = self._rows_as_rates(
            InputRows(X, y, sample_weight),
            Exposures(exposure, offset),
            InputRows(X_val, y_val, sample_weight_val),
            Exposures(exposure_val, offset_val, "_val"),
        )
        return self._fit(rows, validation, groups=groups, time=time, callbacks=callbacks)

    @documented_as(Tabular.refine)
    def refine(
        self,
        X: TableLike,
        y: TargetsLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: TableLike | None = None,
        y_val: TargetsLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        time: ArrayLike | str | None = None,
        exposure: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        exposure_val: ArrayLike | None = None,
        offset_val: ArrayLike | None = None,
        learning_rate_share: float = 0.03,
        max_iter: int = 30,
    ) -> Refinement:
        """Go on with new rows: the encoder stays, and the networks train on with a smaller rate.

        Parameters
        ----------
        y : array, shape (rows,) or (rows, targets)
            Their targets.
        y_val : array, shape (validation rows,) or (validation rows, targets), optional
            Their targets.
        exposure : array, shape (rows,), optional
            Exposures of the rows, as for `fit`, after which they are needed.
        offset : array, shape (rows,), optional
            Offsets of the rows, as for `fit`.
        exposure_val : array, shape (validation rows,), optional
            The exposures of the validation rows that are passed.
        offset_val : array, shape (validation rows,), optional
            Their offsets.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        ValueError
            For targets of another shape, for fewer than 16 rows, for groups or times that do not
            fit them, and for columns that are not those of the training. The estimator is then what
            it was before.

        Examples
        --------
        >>> import numpy
        >>> import xpnet
        >>> rng = numpy.random.default_rng(0)
        >>> x = rng.normal(size=(400, 2))
        >>> regressor = xpnet.TabularRegressor(quality=1, random_state=0).fit(x, x[:, 0])
        >>> new = rng.normal(size=(200, 2))
        >>> refinement = regressor.refine(new, new[:, 0] + 0.3)
        >>> refinement.loss_after < refinement.loss_before
        True
        """
        exposures = Exposures(exposure, offset)
        if self.get_fitted_state().predicts_rates and exposures.is_empty:
            raise InputError(
                "Rows must have exposures, since those that the model has learned from had them "
                "and its predictions are rates; got none. Pass exposure= or offset=; where all "
                "exposures are 1, exposure=numpy.ones."
            )
        rows, validation = self._rows_as_rates(
            InputRows(X, y, sample_weight),
            exposures,
            InputRows(X_val, y_val, sample_weight_val),
            Exposures(exposure_val, offset_val, "_val"),
        )
        return self._refine(
            rows,
            validation,
            groups=groups,
            time=time,
            learning_rate_share=learning_rate_share,
            max_iter=max_iter,
        )

    @property
    def target_(self) -> numpy.ndarray:
        """Return centre, scale, minimum and maximum of the targets: (4, outputs), float64."""
        return self._attribute("target")

    @property
    def residuals_(self) -> numpy.ndarray:
        """Return targets minus predictions of the validation rows: (rows, outputs), float64.

        Up to 1,000 validation rows are predicted with the epoch, the penalty and the weight of the
        linear baseline that other validation rows choose.
        """
        return self._attribute("residuals")

    @property
    def residual_weights_(self) -> numpy.ndarray | None:
        """Return the weights of the validation rows, (rows,) float64; None for equal ones."""
        return self._attribute("residual_weights")

    def predict(
        self,
        X: TableLike,
        *,
        return_std: bool = False,
        exposure: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> Any:
        """Predict the number of each row: the mean over the members, within the range of y.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table.
        return_std : bool, default False
            Whether to return the standard deviation over the members as well.
        exposure : array, shape (rows,), optional
            Exposures, by which the predicted rates are multiplied; None for 1.
        offset : array, shape (rows,), optional
            Offsets, whose exp the rates are multiplied by; None for 0.

        Returns
        -------
        numpy.ndarray, shape (rows,) or (rows, outputs), float64
            Predictions, limited to the range of the training targets; of several quantiles a column
            for each, in rising order. With ``return_std`` a tuple of them and of the standard
            deviations over the members. Where X is a tensor or an array of a device, they are of
            its library, on its device.

        Raises
        ------
        InputError
            For columns that are not those of the training.
        """
        fitted = self.get_fitted_state()
        numbers = fitted.predictions(X)
        factors = self._factors(Exposures(exposure, offset), len(numbers))
        mean = fitted.shaped(numbers * factors)
        if not return_std:
            return like_rows(mean, X)
        spread = (fitted.member_outputs(X).std(axis=0) * factors).reshape(mean.shape)
        return like_rows(mean, X), like_rows(spread, X)

    def _factors(self, exposures: Exposures, rows: int) -> numpy.ndarray | int:
        """Return the known factors of the means as a column, (rows, 1), or 1 for none."""
        if exposures.is_empty:
            return 1
        return exposures.factors(rows, self._numeric_loss())[:, None]

    def predict_interval(
        self,
        X: TableLike,
        coverage: float = 0.9,
        *,
        predictions: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> numpy.ndarray:
        """Predict for each row an interval that holds its target with a probability.

        The interval is the prediction minus and plus a margin, a quantile of the residuals of the
        validation rows (split conformal prediction). It has one width for all rows; for
        ``"poisson"``, ``"gamma"`` and ``"tweedie"`` the width grows with the prediction. With
        ``loss="quantile"`` and levels on both sides, such as ``quantile=[0.05, 0.5, 0.95]`` for a
        coverage of 0.9, the interval lies between the predictions of the levels next to the
        coverage, and its width differs between rows (Romano, Patterson, Candes, Conformalized
        Quantile Regression, 2019). Where no training target was negative, no interval begins below
        0.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table.
        coverage : float, default 0.9
            The share of new targets that the intervals hold, in (0, 1).
        predictions : array, shape (rows,) or (rows, outputs), optional
            The result of `predict` for these rows, with the same exposures and offsets, which are
            then not predicted again.
        exposure : array, shape (rows,), optional
            Exposures of the rows, for whose targets the intervals are; None for 1.
        offset : array, shape (rows,), optional
            Offsets of the rows; None for 0.

        Returns
        -------
        numpy.ndarray, shape (rows, 2) or (rows, targets, 2), float64
            Low and high end of each interval.

        Raises
        ------
        InputError
            For a coverage outside (0, 1), for too few validation rows, for predictions of another
            shape, and for columns that are not those of the training.
        """
        fitted = self.get_fitted_state()
        require(0 < coverage < 1, "`coverage` must lie between 0 and 1", coverage)
        exposures = Exposures(exposure, offset)
        rows = 0 if exposures.is_empty else row_count(X, fitted.encoder)
        factors = self._factors(exposures, rows)
        return like_rows(fitted.interval(X, coverage, to_host(predictions), factors), X)

    def _targets_to_score(self, y: ArrayLike) -> numpy.ndarray:
        numbers = self._checked_targets(y, "y")
        return numbers.reshape(len(numbers), -1)
