"""The fit that both tabular estimators share."""

from abc import abstractmethod
from dataclasses import replace
from time import monotonic
from typing import Any, Self

import numpy
from sklearn.utils import check_random_state

from xpnet.learning.parameters import check_parameters, check_together
from xpnet.learning.split import InputRows, select
from xpnet.learning.weights import nonzero_rows
from xpnet.models.inputs import check_holds_rows, like_rows
from xpnet.tabular.columns.reading import ReadingRules
from xpnet.tabular.ensemble.ensemble import TrainedNetworks
from xpnet.tabular.ensemble.recipe import Watch
from xpnet.tabular.ensemble.validation.validation_predictions import (
    ValidationPredictions,
    note_of_few_rows,
    predict_validation_rows,
)
from xpnet.tabular.ensemble.watching import Callbacks, Watching
from xpnet.tabular.fit import BegunFit, TableFit, prepare_fit
from xpnet.tabular.fitted import FittedTable
from xpnet.tabular.importance import importances_of
from xpnet.tabular.preparation import passed_targets
from xpnet.tabular.refinement import Refinable
from xpnet.tabular.rows.coded_labels import CheckedTargets
from xpnet.tabular.rows.division import links_of
from xpnet.tabular.rows.encode_and_divide import encode_and_divide
from xpnet.tabular.rows.table_rows import check_row_weights
from xpnet.tabular.rows.target_coding import TargetCoding
from xpnet.tabular.settings import TableSettings
from xpnet.training import Interrupts
from xpnet.typing import ArrayLike, TableLike, TargetsLike


class Tabular(Refinable):
    """Fits networks on encoded rows and computes their outputs, for both estimators.

    Attributes
    ----------
    encoder_ : transformer
        The fitted encoder; its ``left_out_`` says which columns are not used, and why.
    networks_ : list of Network
        The networks.
    best_epochs_ : list of int
        The epoch that each network kept.
    feature_importances_ : numpy.ndarray, shape (columns,)
        How much the predictions need each column: the rise of the loss of validation rows, at most
        1,000 of them (50 for each second of a ``time_limit`` below 20), with the values of the
        column shuffled, as a share of the sum over all columns. It is computed when it is first
        asked for, and `save` writes it only then. Columns that tell the same share their
        importance.
    feature_importances_std_ : numpy.ndarray, shape (columns,)
        The standard errors of the importances, which few validation rows make large: an importance
        below twice its standard error may be chance. They do not hold that another fit may use
        another one of columns that tell the same.
    notes_ : list of str
        Sentences on what was left out, and on what is uncertain because of few validation rows. A
        model file does not hold them.
    coef_ : numpy.ndarray, shape (outputs, inputs), of one number (inputs,)
        The coefficients of a linear model, with ``hidden_layer_sizes=()`` alone, in the unit of the
        target, or of the logarithm of the mean or of the odds, of two classes of the second. They
        belong to the inputs, which ``encoder_.get_feature_names_out()`` names. A model of classes,
        counts or amounts must have ``networks=1``, since a mean of several is not linear.
    intercept_ : numpy.ndarray, shape (outputs,), of one number float
        Its intercepts.
    n_iter_ : int
        The largest number of epochs that a network made.
    validation_loss_ : float
        The mean loss of validation rows, which tells the loss of new rows: up to 1,000 rows of a
        network are predicted with the epoch, the penalty and the weight of the linear baseline that
        others of them choose. The minimum of ``validation_loss_curve_`` is lower than that, since
        it is the best of many losses of these rows; with few rows it is much lower. Targets are
        scaled as the networks see them, and probabilities have no temperature. After `refine` it is
        the ``loss_after`` of new rows.
    why_ : str
        What was trained, with which backend, and why.
    """

    @abstractmethod
    def _learned_targets(self, y: CheckedTargets, passed: object) -> TargetCoding:
        """Return the coding of the targets, learned from those of the training rows.

        y : those of the rows that count; passed : those of all rows, as the user passes them
        """

    @abstractmethod
    def _record(self, fit: TableFit, trained: TrainedNetworks) -> FittedTable:
        """Return the fitted record, which knows nothing of validation rows yet."""

    def _settings_for(self, coding: TargetCoding) -> TableSettings:
        """Return the settings of a fit to targets with a coding."""
        return self._settings()

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
        callbacks: Callbacks = (),
    ) -> Self:
        """Encode a table and train on it.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table. Arrays of a device, here and below, are copied to the host.
        y : array, shape (rows,)
            The targets, without which there is no fit.
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
            The group of each row, such as a patient or a customer, where predictions are for new
            groups: all rows of a group are for training, or all are for validation.
        time : array, shape (rows,), or str, optional
            Numbers or dates, or the name of a column of X that holds them, where predictions are
            for later times: the latest rows, ``validation_fraction`` of them, are for validation.
            All networks have the same validation rows. The column stays one of the table.
        callbacks : sequence of Callback or function, or function, default ()
            Callbacks of :mod:`xpnet.training`, which the trainings of all networks call, with
            ``n_jobs`` from several threads; or a function of the number of a network, from 0, that
            returns its callbacks.

        Returns
        -------
        Tabular
            Itself.

        Raises
        ------
        ValueError
            For targets, weights, groups or times that do not fit the rows, and for tables that
            `TableEncoder.fit` refuses.

        Notes
        -----
        A fit is made as a whole or not at all: an exception leaves the estimator as it was. Ctrl-C
        in a first fit is raised, too, but keeps what the networks have learned in their whole
        epochs, if there are any.

        A table of more than 65,536 rows and 64 MB, at 8 bytes for each cell, is encoded some
        thousand rows at a time, by encodings of about 65,000 rows; all networks have the same
        validation rows. ``xpnet train`` does the same, so that a file gives the same model.
        """
        rows = InputRows(X, y, sample_weight)
        validation = InputRows(X_val, y_val, sample_weight_val)
        return self._fit(rows, validation, groups=groups, time=time, callbacks=callbacks)

    def _fit(
        self,
        rows: InputRows,
        validation: InputRows,
        *,
        groups: ArrayLike | None,
        time: ArrayLike | str | None,
        callbacks: Callbacks,
    ) -> Self:
        """Encode the rows of a table and train on them. validation : the user's validation rows"""
        start = self._start(rows, callbacks)
        check_together(validation.X, validation.y, validation.weight)
        check_holds_rows(rows.X)
        y = passed_targets(type(self), rows.y)
        targets = self._checked_targets(y, "y")
        rules = ReadingRules(self.date_format, missing_values=self.missing_values)
        links = links_of(rows.X, groups, time, len(targets), rules)
        coding = self._coding_for(targets, y, rows.weight)
        training = self._table_rows(coding, rows._replace(y=targets), "", links)
        settings = self._settings_for(coding)
        encoder = self.new_encoder(start.random_state)
        validation_rows = self._validation_rows(coding, validation)
        split = encode_and_divide(settings, encoder, training, validation_rows, start.random_state)
        return self._train(prepare_fit(settings, encoder, coding, split, start))

    def _start(self, rows: InputRows, callbacks: Callbacks) -> BegunFit:
        """Check the parameters; return the beginning of a fit."""
        started = monotonic()
        watching = self._watching_with(callbacks)
        check_parameters(self)
        self._settings()  # raises for parameters that do not go together
        random_state = check_random_state(self.random_state)
        return BegunFit(started, watching, random_state, rows.have_offsets)

    def _coding_for(
        self, targets: CheckedTargets, passed: object, weight: ArrayLike | None
    ) -> TargetCoding:
        """Return the coding of targets, learned from those of the rows that count.

        passed : the targets as the user passes them
        """
        checked = check_row_weights(weight, len(targets), self.dtype, "sample_weight")
        return self._learned_targets(select(targets, nonzero_rows(checked)), passed)

    def _train(self, fit: TableFit) -> Self:
        """Train the networks of a fit, and replace the fitted record as a whole."""
        interrupted = False
        predicted = None
        with Interrupts() as interrupts:
            try:
                predicted = fit.train()
            except KeyboardInterrupt:
                if self._fitted is not None or not fit.ensemble.whole_epochs:
                    raise
                interrupted = True
            interrupts.held = True  # What was trained is not lost in the short rest.
            trained = fit.ensemble.finished(interrupted=interrupted)
            fitted = self._whole_record(fit, trained, predicted)
            interrupted = interrupted or interrupts.pending
            if not interrupted:
                fit.warn_of_unfinished_trainings(trained)
        # No function is called after this: what is raised later does not come from this fit.
        if self._fitted is None or not interrupted:
            self._fitted = fitted
        if interrupted:
            raise KeyboardInterrupt
        return self

    def _whole_record(
        self, fit: TableFit, trained: TrainedNetworks, predicted: ValidationPredictions | None
    ) -> FittedTable:
        """Return the fitted record, with importances and the errors on validation rows.

        predicted : validation rows by networks of their own; None for those by networks of the fit
        """
        split = fit.split
        fitted = replace(
            self._record(fit, trained),
            importances=importances_of(fit.encoder, trained, split, self.time_limit),
            rows=split.rows.count,
            validation_loss=trained.validation_loss,
        )
        predicted = predicted or predict_validation_rows(fitted, trained, split)
        few = note_of_few_rows(len(predicted.outputs))
        notes = [*split.notes, *filter(None, [trained.note, few])]
        fitted = replace(fitted, notes=notes)
        return self._calibrated(fitted, predicted)

    def _watching_with(self, callbacks: Callbacks) -> Watching:
        """Return the callbacks and lines of this fit; the argument of `watch` holds for one fit."""
        watching: Watching = self.__dict__.pop("_watching", Watching())
        return replace(watching, callbacks=callbacks, verbose=int(self.verbose))

    def watch(self, make: Watch) -> Self:
        """Pass callbacks of :mod:`xpnet.training` to the trainings of the next ``fit``.

        Parameters
        ----------
        make : callable
            A function of the number of a network. It returns the callbacks of its training, and
            the state of an interrupted training that continues, or None.

        Returns
        -------
        Tabular
            Itself.
        """
        self._watching = Watching(make)
        return self

    def predict_members(self, X: TableLike) -> numpy.ndarray:
        """Predict with each member on its own, which shows how far they agree.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table.

        Returns
        -------
        numpy.ndarray, shape (networks * members, rows, outputs)
            Probabilities of classes, or predicted numbers, of several quantiles in rising order; of
            X's library, as by ``predict``.

        Raises
        ------
        InputError
            For columns that are not those of the training.
        """
        return like_rows(self.get_fitted_state().member_outputs(X), X)
