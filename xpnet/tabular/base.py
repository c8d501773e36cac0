"""The parameters and the fit that both tabular estimators share."""

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import signature
from math import inf
from numbers import Integral, Real
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy
from joblib import effective_n_jobs
from numpy.random import RandomState
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length

from xpnet.backend import Backend
from xpnet.data.sources import Source
from xpnet.errors import InputError
from xpnet.estimators.parameters import (
    ARRAY_LIKE,
    COUNT,
    FLAG,
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    RANDOM_STATE,
    Interval,
    allowing,
    check_parameters,
    check_together,
)
from xpnet.estimators.scikit_learn import BaseEstimator
from xpnet.optimizers import OPTIMIZERS
from xpnet.tabular.cross_fit import CrossFit, needs_cross_fit
from xpnet.tabular.division import (
    DividedRows,
    Fold,
    RowLinks,
    group_folds,
    joined,
    latest_fold,
    latest_rows,
    links_of,
    random_folds,
)
from xpnet.tabular.encoder import CATEGORICAL_FEATURES, TableEncoder
from xpnet.tabular.ensemble import TrainedNetworks
from xpnet.tabular.fit_rows import (
    PredictedRows,
    TargetCoding,
    WeightedTargets,
    check_row_weights,
    counted,
    counted_table,
    predicted_rows,
    select,
    unequal,
)
from xpnet.tabular.fitted import FittedAttributes, FittedTable, dense
from xpnet.tabular.importance import importances_of
from xpnet.tabular.recipe import (
    DEFAULT_QUALITY,
    QUALITIES,
    Recipe,
    Watch,
    make_recipe,
    network_counts,
)
from xpnet.tabular.search import make_ensemble
from xpnet.tabular.watching import Callbacks, PrintedLines, Say, Watching
from xpnet.training import Interrupts, LabeledRows
from xpnet.typing import Array, ArrayLike, TableLike, Transformer

if TYPE_CHECKING:
    from numpy.random import RandomState
    from sklearn.utils import Tags


@dataclass(eq=False, repr=False, kw_only=True)
class Tabular(FittedAttributes, BaseEstimator):
    """Fits networks on encoded rows and computes their outputs, for both estimators.

    Parameters
    ----------
    quality : int, default 3
        From 1, for the least CPU time, to 5, for the lowest error. It decides what ``"auto"``
        stands for in the parameters below; those that are set have precedence.
    hidden_layer_sizes : int, sequence of int, or "auto", default "auto"
        Units of each hidden layer; ``()`` for a linear model. ``"auto"`` is two layers of 64, 96
        or 128 units by quality, inputs scaled by the importances of trees, and a linear
        baseline in the outputs where it lowers the validation loss.
    members : int or "auto", default "auto"
        Number of members of each network. They share weights, and have scales and outputs of their
        own; ``"auto"`` is 2 at qualities 1 and 2, else 4.
    networks : int or "auto", default "auto"
        Number of networks, each with its own validation rows. ``"auto"`` is 1, 2, 3 or 8 by quality
        for fewer than 10,000 rows; more rows have fewer networks. Several networks differ in
        dropout, learning rate, weight decay and factors of the inputs, as far as these are not set;
        a single network that predicts numbers has smaller factors of the inputs of bins. At quality
        5, fewer than 10,000 rows have a search for the best of these settings: networks of four
        settings are trained on three folds, those of the best three on four more, and the settings
        whose mean predicts validation rows best are kept.
    encoder : transformer or None, default None
        Encodes the table as numbers; None for a `TableEncoder`. Sparse results are made dense. It
        gets the groups or times of the rows where its ``fit_transform`` has an argument ``groups``
        or ``time``.
    categorical_features : sequence of str, int or bool, "auto" or "from_dtype", default "auto"
        Columns that are categories whatever they hold, for the `TableEncoder`, which describes it.
    date_format : str, dict of str to str, or None, default None
        Format of dates in text, as `TableEncoder` takes it.
    text_features : {"on", "off"}, default "off"
        Whether free text is used, as by `TableEncoder`. Such a model has no form in C or ONNX.
    activation : str or sequence of str, default "relu"
        A name in ``xpnet.ops.ACTIVATIONS``: one for all hidden layers, or one for each.
    solver : str, default "adamw"
        The optimizer, by a name that `xpnet.MLPClassifier` lists; ``"sgd"`` has a momentum of 0.9.
    learning_rate_init : float or "auto", default "auto"
        The learning rate; ``"auto"`` is 0.008 at quality 1, else 0.006 for labels and 0.004 for
        numbers. Where ``max_iter="auto"`` limits the epochs of a large table, it falls linearly in
        the last third of them.
    weight_decay : float or "auto", default "auto"
        Every update shrinks all parameters by learning rate times this, but not with ``"sgd"`` and
        ``"adam"``. ``"auto"`` is 0.01 for numbers, and 0.03 (quality 2) or 0.05 for labels.
    dropout : float, default 0.1 for labels, 0 for numbers
        Probability with which a hidden unit is left out in training.
    batch_size : int or "auto", default "auto"
        Rows of a batch; ``"auto"`` is 64, or 128 from 500 rows of labels and 3,000 of numbers
        (500 at quality 1).
    max_iter : int or "auto", default "auto"
        Maximum number of epochs. ``"auto"`` is 100 to 200 by quality, enough for the validation
        loss to stop falling; from 10,000 rows on it is less where an epoch takes long, and a
        ``ConvergenceWarning`` reports a training that this limit ended.
    n_iter_no_change : int or "auto", default "auto"
        Number of epochs without a lower validation loss after which training ends. The network
        keeps its best epoch. ``"auto"`` is 4, 9, 9 or 12 by quality.
    validation_fraction : float, default 0.125
        The share of the rows on which a network is validated and not trained; each network has
        other rows, with labels in proportion. With 0, training makes ``max_iter`` epochs.
    refit : bool, default True
        Whether each network, after its best epoch, makes a few more epochs on all rows, its
        validation rows included: a fifth as many epochs again, and 3 at least. It does not where
        ``X_val`` is passed, nor where ``max_iter="auto"`` limits the epochs of a large table.
    time_limit : float or None, default None
        Seconds after which ``fit`` ends with the best epochs so far. Each network makes at least
        one epoch.
    random_state : int, numpy.random.RandomState or None, default None
        Source of the initial weights, validation rows, orders and dropout. The same int gives the
        same fit with the same ``n_jobs`` and the same number of threads.
    verbose : bool, default False
        Whether ``fit`` prints the columns that are left out, one line for each network when it is
        trained, and one for a network that takes long every ten seconds.
    n_jobs : int or None, default None
        Number of networks that are trained at the same time, in threads; None for 1, -1 for the
        number of cores.
    backend : str, Backend or None, default None
        The backend that computes; None for the best one for NumPy's arrays.
    dtype : {"float32", "float64"}, default "float32"
        The precision of parameters and results.

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
        1,000 of them, with the values of the column shuffled, as a share of the sum over all
        columns. It is computed when it is first asked for. Columns that tell the same share their
        importance.
    n_iter_ : int
        The largest number of epochs that a network made.
    why_ : str
        What was trained, with which backend, and why.
    """

    quality: int = allowing(DEFAULT_QUALITY, Interval(Integral, 1, max(QUALITIES), closed="both"))
    hidden_layer_sizes: Sequence[int] | int | str = allowing("auto", ARRAY_LIKE, COUNT, {"auto"})
    members: int | str = allowing("auto", COUNT, {"auto"})
    networks: int | str = allowing("auto", COUNT, {"auto"})
    encoder: Transformer | None = None
    categorical_features: Sequence[str] | Sequence[int] | str = allowing(
        "auto", *CATEGORICAL_FEATURES
    )
    date_format: str | dict[str, str] | None = allowing(None, str, dict, None)
    text_features: str = allowing("off", {"on", "off"})
    activation: str | Sequence[str] = allowing("relu", str, ARRAY_LIKE)
    solver: str = allowing("adamw", set(OPTIMIZERS))
    learning_rate_init: float | str = allowing("auto", POSITIVE, {"auto"})
    weight_decay: float | str = allowing("auto", NOT_NEGATIVE, {"auto"})
    dropout: float = allowing(0.1, FRACTION)
    batch_size: int | str = allowing("auto", COUNT, {"auto"})
    max_iter: int | str = allowing("auto", COUNT, {"auto"})
    n_iter_no_change: int | str = allowing("auto", COUNT, {"auto"})
    validation_fraction: float = allowing(0.125, Interval(Real, 0, 0.5, closed="both"))
    refit: bool = allowing(True, *FLAG)
    time_limit: float | None = allowing(None, POSITIVE, None)
    random_state: RandomState | int | None = allowing(None, *RANDOM_STATE)
    verbose: bool | int = allowing(False, NOT_NEGATIVE, *FLAG)
    n_jobs: int | None = allowing(None, Integral, None)
    backend: str | Backend | None = None
    dtype: str = allowing("float32", {"float32", "float64"})

    _task: ClassVar[str]

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags

    @abstractmethod
    def _checked_targets(self, y: ArrayLike, name: str) -> numpy.ndarray:
        """Return targets as an array, if their values are allowed. name : of the argument"""

    @abstractmethod
    def _learned_targets(self, y: numpy.ndarray) -> TargetCoding:
        """Return what the targets of the training rows say."""

    @abstractmethod
    def _record(self, coding: Any, encoder: Transformer, trained: TrainedNetworks) -> FittedTable:
        """Return the fitted record, which knows nothing of validation rows yet."""

    @abstractmethod
    def _calibrated(self, fitted: Any, validation: PredictedRows) -> FittedTable:
        """Return the fitted record, completed by the errors on validation rows."""

    def _loss_numbers(self) -> tuple[float, ...]:
        """Return numbers that the loss takes."""
        return ()

    def _with_class_weights(
        self, coding: Any, Y: numpy.ndarray, weight: numpy.ndarray | None
    ) -> numpy.ndarray | None:
        """Return the weights of rows, those of their classes included."""
        return weight

    def fit(
        self,
        X: TableLike,
        y: ArrayLike,
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
            The table.
        y : array, shape (rows,)
            The targets.
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
        """
        started = monotonic()
        watching = self._watching_with(callbacks)
        check_parameters(self)
        check_together(X_val, y_val, sample_weight_val)
        if y is None:
            name = type(self).__name__
            raise InputError(f"{name} requires y to be passed, but the target y is None.")
        y = self._checked_targets(y, "y")
        links = links_of(X, groups, time, len(y), self.date_format)
        weight = check_row_weights(sample_weight, len(y), self.dtype, "sample_weight")
        coding = self._learned_targets(select(y, counted(weight)))
        targets = self._weighted_targets(coding, y, weight, "y")
        links = links.take(targets.indices)
        later = None
        is_by_time = X_val is None and links.time is not None and self.validation_fraction > 0
        if X_val is not None:
            later = self._validation_targets(coding, y_val, sample_weight_val)
        elif links.time is not None and is_by_time:
            is_later = latest_rows(links.time, self.validation_fraction)
            later = targets.part(is_later)
            targets = targets.part(~is_later)
            links = links.take(~is_later)
            X_val, y_val = X, y
        random_state = check_random_state(self.random_state)
        encoder = self.new_encoder(random_state)
        table = counted_table(X, len(y), encoder, targets)
        rows = self._training_rows(table, encoder, targets, links)
        validation: Sequence[Fold] | LabeledRows | None
        if later is None:
            validation = self._folds(rows, random_state, links.groups)
        else:
            table = counted_table(X_val, len(y_val), encoder, later)
            validation = later_rows = self._rows(encoder.transform(table), encoder, later)
            if is_by_time:
                validation = [latest_fold(len(rows.X), len(later_rows.X))]
                rows = joined(rows, later_rows)
        divided = DividedRows(rows, validation, are_own=isinstance(encoder, TableEncoder))
        return self._train(encoder, coding, divided, random_state, watching, started)

    def fit_encoded(
        self,
        encoder: Transformer,
        X: ArrayLike,
        y: Any,
        *,
        classes: numpy.ndarray | None = None,
        sample_weight: ArrayLike | None = None,
        X_val: Array | Source | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train on rows that a fitted encoder has encoded, such as those of a very large table.

        Parameters
        ----------
        encoder : transformer
            The encoder, fitted on some of the rows.
        X : array or Source, shape (rows, inputs)
            The encoded rows, in ``dtype``.
        y : array, shape (rows,)
            The targets: numbers, or indices into ``classes``.
        classes : array, shape (classes,), optional
            The labels, sorted.
        sample_weight : array, shape (rows,), optional
            Weights of the rows, positive.
        X_val : array or Source, shape (validation rows, inputs), optional
            Validation rows, which end the training. With None, rows of X are taken, unless X is a
            source.
        y_val : array, shape (validation rows,), optional
            Their targets.
        sample_weight_val : array, shape (validation rows,), optional
            Their weights.

        Returns
        -------
        Tabular
            Itself.
        """
        started = monotonic()
        watching = self._watching_with(())
        check_parameters(self)
        coding = self._learned_targets(
            self._checked_targets(y, "y") if classes is None else classes
        )
        encode = classes is None
        validation: Sequence[Fold] | LabeledRows | None = None
        if X_val is not None:
            validation = self._encoded_rows(
                X_val, y_val, sample_weight_val, coding, "_val", encode=encode
            )
        rows = self._encoded_rows(X, y, sample_weight, coding, "", encode=encode)
        random_state = check_random_state(self.random_state)
        if validation is None:
            validation = self._folds(rows, random_state)
        divided = DividedRows(rows, validation)
        return self._train(encoder, coding, divided, random_state, watching, started)

    def _validation_targets(
        self, coding: TargetCoding, y: ArrayLike, weight: ArrayLike | None
    ) -> WeightedTargets:
        """Return the validation rows whose weight is not 0, with their targets."""
        y = self._checked_targets(y, "y_val")
        weight = check_row_weights(weight, len(y), self.dtype, "sample_weight_val")
        return self._weighted_targets(coding, y, weight, "y_val")

    def _weighted_targets(
        self, coding: TargetCoding, y: numpy.ndarray, weight: numpy.ndarray | None, name: str
    ) -> WeightedTargets:
        """Return the rows whose weight is not 0, with their targets as the loss takes them."""
        indices = counted(weight)
        Y = coding.encode(select(y, indices), name)
        weight = self._with_class_weights(coding, Y, select(weight, indices))
        remaining = counted(weight)  # Classes may have weight 0, too.
        if remaining is not None:
            indices = remaining if indices is None else indices[remaining]
        return WeightedTargets(indices, select(Y, remaining), unequal(select(weight, remaining)))

    def _training_rows(
        self, table: ArrayLike, encoder: Transformer, targets: WeightedTargets, links: RowLinks
    ) -> LabeledRows:
        """Fit the encoder, and return encoded rows with their targets and weights.

        An encoder whose ``fit_transform`` has the argument ``groups`` or ``time`` gets it.
        """
        first_target = targets.Y if targets.Y.ndim == 1 else targets.Y[:, 0]
        parameters = signature(encoder.fit_transform).parameters
        divided = {
            name: values
            for name, values in {"groups": links.groups, "time": links.time}.items()
            if name in parameters
        }
        encoded = encoder.fit_transform(table, first_target, **divided)
        return self._rows(encoded, encoder, targets)

    def _rows(
        self, encoded: ArrayLike, encoder: Transformer, targets: WeightedTargets
    ) -> LabeledRows:
        """Return encoded rows with their targets and weights."""
        X = dense(encoded, encoder, self.dtype)
        check_consistent_length(X, targets.Y)
        return LabeledRows(X, targets.Y, targets.weight)

    def _encoded_rows(
        self,
        X: Any,
        y: Any,
        weight: ArrayLike | None,
        coding: TargetCoding,
        ending: str,
        *,
        encode: bool,
    ) -> LabeledRows:
        """Return encoded rows, which may be a source.

        ending : of the names of the arguments; encode : whether y must be encoded
        """
        X = X if isinstance(X, Source) else numpy.ascontiguousarray(X, self.dtype)
        name = f"y{ending}"
        Y = coding.encode(self._checked_targets(y, name), name) if encode else numpy.asarray(y)
        check_consistent_length(X, Y)
        weight = check_row_weights(weight, len(Y), self.dtype, f"sample_weight{ending}")
        return LabeledRows(X, Y, unequal(self._with_class_weights(coding, Y, weight)))

    def _train(
        self,
        encoder: Transformer,
        coding: TargetCoding,
        divided: DividedRows,
        random_state: RandomState,
        watching: Watching,
        started: float,
    ) -> Self:
        """Train the networks, and replace the fitted record as a whole.

        started : the monotonic time when ``fit`` was called
        """
        watching.encoded(encoder)
        minimum, maximum = network_counts(self, len(divided.rows.X))
        recipe = make_recipe(
            self,
            encoder,
            divided.rows,
            outputs=coding.outputs,
            networks=minimum,
            deadline=started + (self.time_limit or inf),
            watch=watching.of_network,
        )
        seeds = random_state.randint(2**31 - 1, size=maximum).tolist()
        jobs = min(effective_n_jobs(self.n_jobs), minimum)
        is_cross_fitted = needs_cross_fit(self, divided)
        if may_reorder(divided, recipe, maximum) and not is_cross_fitted:
            divided = divided.with_training_rows_first()
        rows, validation = divided.rows, divided.validation
        ensemble = make_ensemble(
            self, encoder, recipe, divided, seeds=seeds, jobs=jobs, say=watching.say
        )
        interrupted, predicted = False, None
        with Interrupts() as interrupts:
            try:
                ensemble.train(minimum)
                if is_cross_fitted and isinstance(validation, Sequence):
                    cross_fit = CrossFit(self, encoder, ensemble, rows, validation)
                    predicted = cross_fit.predicted_rows()
            except KeyboardInterrupt:
                if self._fitted is not None or not ensemble.whole_epochs:
                    raise
                interrupted = True
            interrupts.held = True  # What was trained is not lost in the short rest.
            trained = ensemble.finished(interrupted=interrupted)
            fitted = self._record(coding, encoder, trained)
            fitted = replace(
                fitted,
                importances=importances_of(encoder, trained, rows, validation),
                rows=len(rows.X),
                validation_loss=trained.validation_loss,
            )
            predicted = predicted or predicted_rows(fitted, trained, rows, validation)
            fitted = self._calibrated(fitted, predicted)
            interrupted = interrupted or interrupts.pending
            if not interrupted:
                self._warn_of_unfinished_trainings(fitted, recipe.epochs)
        # No function is called after this: what is raised later does not come from this fit.
        if self._fitted is None or not interrupted:
            self._fitted = fitted
        if interrupted:
            raise KeyboardInterrupt
        return self

    def _warn_of_unfinished_trainings(self, fitted: FittedTable, epochs: int) -> None:
        """Warn of networks whose validation loss still fell at the limit of a large table."""
        is_limited = isinstance(self.max_iter, str) and epochs < QUALITIES[self.quality].max_epochs
        unfinished = sum(epoch == epochs for epoch in fitted.best_epochs)
        if is_limited and unfinished:
            warnings.warn(
                f"The validation loss of {unfinished} of {len(fitted.networks)} networks still "
                f"fell at the limit of {epochs} epochs, which the number of rows sets. Raise "
                "`quality`, or set `max_iter`.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _folds(
        self, rows: LabeledRows, random_state: RandomState, groups: numpy.ndarray | None = None
    ) -> Sequence[Fold] | None:
        """Return training and validation rows for each network, by cross-validation."""
        if not self.validation_fraction or isinstance(rows.X, Source):
            return None
        count = min(round(1 / self.validation_fraction), len(rows.X))
        if count < 2:
            return None
        labels = rows.Y if self._task == "classification" else None
        if groups is not None:
            return group_folds(rows.X, groups, labels, count, random_state)
        return random_folds(len(rows.X), labels, count, random_state)

    def new_encoder(
        self, random_state: RandomState | int | None, bins: int | str | None = "auto"
    ) -> Any:
        """Make the encoder that ``fit`` would fit.

        Parameters
        ----------
        random_state : int, numpy.random.RandomState or None
            Source of the encoder's seed, unless it has one.
        bins : int, "auto" or None, default "auto"
            Bins of the default encoder.

        Returns
        -------
        transformer
            Not fitted: a copy of ``encoder``, or a `TableEncoder` with the bins of a tree.
        """
        seed = check_random_state(random_state).randint(2**31 - 1)
        if self.encoder is None:
            return TableEncoder(
                binning="tree",
                bins=bins,
                task=self._task,
                categorical_features=self.categorical_features,
                date_format=self.date_format,
                text_features=self.text_features,
                random_state=seed,
            )
        if not isinstance(self.categorical_features, str):
            raise InputError(
                "`categorical_features` must go with encoder=None; got both. Set "
                "categorical_features of the encoder."
            )
        encoder = clone(self.encoder)
        for name, default in {"date_format": None, "text_features": "off"}.items():
            value = getattr(self, name)
            if value != default and name not in encoder.get_params(deep=False):
                raise InputError(
                    f"`{name}` must go with a TableEncoder; got encoder={self.encoder!r}. "
                    f"Leave {name} out."
                )
            if value != default:
                encoder.set_params(**{name: value})
        if encoder.get_params(deep=False).get("random_state", seed) is None:
            encoder.set_params(random_state=seed)
        return encoder

    def _watching_with(self, callbacks: Callbacks) -> Watching:
        """Return what watches this fit, and forget what `watch` was given for it."""
        watching: Watching = self.__dict__.pop("_watching", Watching())
        say = PrintedLines() if watching.say is None and self.verbose else watching.say
        return replace(watching, say=say, callbacks=callbacks)

    def watch(self, make: Watch, say: Say | None = None, *, every_epoch: bool = False) -> Self:
        """Pass callbacks of :mod:`xpnet.training` to the trainings of the next ``fit``.

        Parameters
        ----------
        make : callable
            A function of the number of a network. It returns the callbacks of its training, and
            the state of an interrupted training that continues, or None.
        say : callable, optional
            A function that is called with the name and the value of each line that ``verbose``
            would print.
        every_epoch : bool, default False
            Whether each epoch has a line; otherwise there is one every ten seconds.

        Returns
        -------
        Tabular
            Itself.
        """
        self._watching = Watching(make, say, every_epoch=every_epoch)
        return self

    def predict_members(self, X: ArrayLike) -> numpy.ndarray:
        """Predict with each member on its own, which shows how far they agree.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table.

        Returns
        -------
        numpy.ndarray, shape (networks * members, rows, outputs)
            Probabilities of classes, or predicted numbers, of several quantiles in rising order.

        Raises
        ------
        InputError
            For columns that are not those of the training.
        """
        return self.get_fitted_state().member_outputs(X)


def may_reorder(divided: DividedRows, recipe: Recipe, networks: int) -> bool:
    """Say whether one network trains on one fold of rows that belong to the fit, and no others."""
    has_folds = isinstance(divided.validation, Sequence)
    return divided.are_own and has_folds and networks == 1 and not recipe.refit
