"""The refinement of a fit by new rows, and what it changes."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from sklearn.utils import check_random_state

from xpnet.learning.parameters import check_parameters, check_together
from xpnet.learning.split import InputRows
from xpnet.models.inputs import require
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.ensemble.ensemble import TrainedNetworks
from xpnet.tabular.ensemble.refined_networks import (
    RefinedNetwork,
    RefinementSettings,
    refine_networks,
)
from xpnet.tabular.ensemble.validation.validation_predictions import (
    ValidationPredictions,
    predict_validation_rows,
)
from xpnet.tabular.fitted import FittedTable
from xpnet.tabular.importance import importances_of
from xpnet.tabular.preparation import PreparesRows, passed_targets
from xpnet.tabular.rows.division import links_of
from xpnet.tabular.rows.encode_and_divide import encode_and_divide_new
from xpnet.tabular.rows.table_rows import with_forms_of
from xpnet.tabular.rows.table_split import TableSplit
from xpnet.tabular.rows.target_coding import TargetCoding
from xpnet.typing import ArrayLike, TableLike, TargetsLike

MIN_NEW_ROWS = 16
"""Minimum number of rows that a model is refined with: fewer say nothing of a better epoch."""
MIN_CALIBRATION_ROWS = 100
"""Number of validation rows from which those of a refinement replace those of the fit in intervals
and temperatures."""


@dataclass(frozen=True)
class Refinement:
    """The changes that `Tabular.refine` has made.

    rows : number of new rows; validation rows are among them unless they were passed
    loss_before, loss_after : mean loss of the networks on new rows that they do not learn from,
        before and after
    epochs : the epochs that each network has made on the new rows and kept, 0 where none was better
    unknowns : by the names of columns, the numbers of new values that are unlike the training's, as
        `TableEncoder.count_unknowns` counts them
    """

    rows: int
    loss_before: float
    loss_after: float
    epochs: tuple[int, ...]
    unknowns: dict[str, dict[str, int]]


class Refinable(PreparesRows):
    """An estimator whose networks can go on with new rows."""

    @abstractmethod
    def _coding_of(self, fitted: Any, rows: InputRows) -> tuple[TargetCoding, FittedTable]:
        """Return the coding of a fit for the targets of new rows, and the record as they change it.

        rows : with checked targets
        """

    @abstractmethod
    def _calibrated(self, fitted: Any, validation: ValidationPredictions) -> FittedTable:
        """Return the fitted record, completed by the errors on validation rows."""

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
        learning_rate_share: float = 0.03,
        max_iter: int = 30,
    ) -> Refinement:
        """Go on with new rows: the encoder stays, and the networks train on with a smaller rate.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The new rows, with the columns of the training. Categories that the training did not
            have stay unknown.
        y : array, shape (rows,) or (rows, targets)
            Their targets; of a classifier labels that the training had.
        sample_weight : array, shape (rows,), optional
            Weights of the rows, not negative. Rows of weight 0 have no part in anything that is
            learned.
        X_val : frame, Arrow table, dict of columns, or array, optional
            Validation rows, in place of a part of X.
        y_val : array, shape (validation rows,), optional
            Their targets.
        sample_weight_val : array, shape (validation rows,), optional
            Their weights.
        groups : array, shape (rows,), optional
            The group of each row, as for `fit`: all rows of a group are for training, or all are
            for validation.
        time : array, shape (rows,), or str, optional
            Numbers or dates, or the name of a column of X that holds them, as for `fit`: the latest
            rows are for validation.
        learning_rate_share : float, default 0.03
            The share of the learning rate of ``fit``, above 0. A smaller one forgets less.
        max_iter : int, default 30
            Maximum number of epochs, at least 1.

        Returns
        -------
        Refinement
            What has changed: ``rows``; ``loss_before`` and ``loss_after`` on new rows that the
            networks do not learn from, the latter of few rows at epochs that other rows have
            chosen, so that it may exceed the former; ``epochs`` that each network has kept, 0 where
            none was better than its parameters before; and ``unknowns``, the values of each column
            that are unlike those of the training, as `TableEncoder.count_unknowns` counts them.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        ValueError
            For targets that the training did not have, for fewer than 16 rows, for groups or times
            that do not fit them, and for columns that are not those of the training. The estimator
            is then what it was before.

        Notes
        -----
        Each network has its own part of the new rows for validation; with ``X_val`` or ``time`` all
        have the same. It keeps the epoch with the lowest loss there. Importances are measured on
        these rows, and so are intervals and temperatures if there are 100 of them or more;
        otherwise those of the fit stay. A saved model can be opened and refined, also several
        times.

        Examples
        --------
        >>> import numpy
        >>> import xpnet
        >>> rng = numpy.random.default_rng(0)
        >>> x = rng.normal(size=(400, 2))
        >>> classifier = xpnet.TabularClassifier(quality=1, random_state=0).fit(x, x[:, 0] > 0)
        >>> new = rng.normal(size=(200, 2))
        >>> refinement = classifier.refine(new, new[:, 0] > 0.3)
        >>> refinement.loss_after < refinement.loss_before
        True
        """
        return self._refine(
            InputRows(X, y, sample_weight),
            InputRows(X_val, y_val, sample_weight_val),
            groups=groups,
            time=time,
            learning_rate_share=learning_rate_share,
            max_iter=max_iter,
        )

    def _refine(
        self,
        rows: InputRows,
        validation: InputRows,
        *,
        groups: ArrayLike | None,
        time: ArrayLike | str | None,
        learning_rate_share: float,
        max_iter: int,
    ) -> Refinement:
        """Go on with new rows. validation : the user's validation rows"""
        fitted = self.get_fitted_state()
        check_parameters(self)
        require(
            learning_rate_share > 0, "`learning_rate_share` must be above 0", learning_rate_share
        )
        require(max_iter >= 1, "`max_iter` must be 1 or more", max_iter)
        X = rows.X
        y = passed_targets(type(self), rows.y)
        check_together(validation.X, validation.y, validation.weight)
        targets = self._checked_targets(y, "y")
        rows = rows._replace(y=targets)
        coding, fitted = self._coding_of(fitted, rows)
        links = links_of(with_forms_of(fitted.encoder, X), groups, time, len(targets))
        new = self._table_rows(coding, rows, "", links)
        count = new.count
        require(count >= MIN_NEW_ROWS, f"`X` must have {MIN_NEW_ROWS} new rows or more", count)
        validation_rows = self._validation_rows(coding, validation)
        random_state = check_random_state(self.random_state)
        settings = self._settings()
        split = encode_and_divide_new(settings, fitted.encoder, new, validation_rows, random_state)
        seeds = random_state.randint(2**31 - 1, size=len(fitted.networks)).tolist()
        of_refinement = RefinementSettings(
            learning_rate=learning_rate_share * settings.learning_rate,
            epochs=max_iter,
            batch_size=settings.batch_size_of(count),
            patience=settings.quality.patience,
            label_smoothing=settings.label_smoothing,
        )
        refined = refine_networks(of_refinement, fitted.networks, split, seeds)
        trained = TrainedNetworks.one_a_fold(
            [one.network for one in refined], [one.nested for one in refined]
        )
        unknowns = {}
        if isinstance(fitted.encoder, TableEncoder):
            unknowns = fitted.encoder.count_unknowns(X)
        refinement = refinement_of(refined, count, unknowns)
        fitted = replace(fitted, validation_loss=refinement.loss_after)
        self._fitted = self._refined_record(fitted, trained, split)
        return refinement

    def _refined_record(
        self, fitted: FittedTable, trained: TrainedNetworks, split: TableSplit
    ) -> FittedTable:
        """Return the record with refined networks, and what their validation rows say."""
        record = replace(
            fitted,
            networks=trained.networks,
            importances=importances_of(fitted.encoder, trained, split, self.time_limit),
            rows=None if fitted.rows is None else fitted.rows + split.rows.count,
        )
        validation = predict_validation_rows(record, trained, split)
        if len(validation.outputs) < MIN_CALIBRATION_ROWS:
            return record
        return self._calibrated(record, validation)


def refinement_of(
    refined: Sequence[RefinedNetwork], rows: int, unknowns: dict[str, dict[str, int]]
) -> Refinement:
    """Return what a refinement by some rows has changed."""
    return Refinement(
        rows=rows,
        loss_before=fmean(one.loss_before for one in refined),
        loss_after=fmean(one.loss_after for one in refined),
        epochs=tuple(one.epochs for one in refined),
        unknowns=unknowns,
    )
