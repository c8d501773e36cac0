"""Both estimators share this: a fit from top to bottom, and its state as data."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy
from sklearn.metrics import get_scorer

from xpnet.backend import Backend, NetworkSpec
from xpnet.data.sources import RowsLike
from xpnet.distributed import current_ranks
from xpnet.errors import InputError
from xpnet.estimators.checks import Columns
from xpnet.estimators.fit import prepare_fit
from xpnet.estimators.fitted import (
    FACTS,
    LABEL_FACTS,
    EarlierFit,
    FittedMLP,
    FittedState,
    targets_of_spec,
)
from xpnet.estimators.learning_rate import LearningRate
from xpnet.estimators.outputs import NetworkOutputs
from xpnet.estimators.parameters import EstimatorParameters
from xpnet.estimators.rows import read_rows
from xpnet.estimators.settings import STOCHASTIC, FitSettings
from xpnet.estimators.training.lbfgs import train_by_lbfgs
from xpnet.estimators.training.stochastic import train_by_epochs
from xpnet.estimators.views.conversion import Convertible
from xpnet.estimators.views.predicted import PredictedEstimator
from xpnet.learning.split import InputRows
from xpnet.learning.targets import ClassTargets, HostTargets, Targets
from xpnet.models import Network
from xpnet.models.inputs import check_spec
from xpnet.ops.offsets import labels_and_offsets, with_offsets
from xpnet.training import TrainingState
from xpnet.training.callbacks import CallbackLike
from xpnet.typing import Array, ArrayLike


@dataclass(eq=False, repr=False)
class MLP(NetworkOutputs, Convertible, EstimatorParameters):
    """A multi-layer perceptron that scikit-learn can drive. Subclasses say what its targets and
    outputs mean.

    Attributes
    ----------
    coefs_ : list of numpy.ndarray, shapes (fan_in, fan_out)
        Weights, layer by layer. Assigning others changes the predictions. With members > 1 the
        weights of the hidden layers are shared, before the factors of each member, and the last
        ones are (members, fan_in, fan_out).
    intercepts_ : list of numpy.ndarray, shapes (fan_out,)
        Biases, layer by layer; (members, fan_out) with members > 1.
    coef_ : numpy.ndarray, shape (outputs, features), of one number (features,)
        The coefficients of a model without hidden layers, as those of scikit-learn's linear models,
        of two classes of the second; of all columns in their order. Only with
        ``hidden_layer_sizes=()`` and one member.
    intercept_ : numpy.ndarray, shape (outputs,), of one number float
        Its intercepts.
    loss_ : float
        The loss of the last epoch.
    best_loss_ : float or None
        The lowest one; None with ``early_stopping``.
    loss_curve_ : list of float
        The loss of each epoch.
    validation_scores_ : list of float or None
        The score on the validation rows after each epoch; None without ``early_stopping``.
    best_validation_score_ : float or None
        The highest one.
    validation_loss_curve_ : list of float
        The loss on validation rows after each epoch, without the penalty.
    n_iter_ : int
        Epochs or iterations made.
    t_ : int
        Rows seen in training.
    n_layers_ : int
        Layers, input and output counted.
    n_outputs_ : int
        Outputs.
    out_activation_ : str
        Name of the output activation.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : numpy.ndarray of str
        Their names, where X was a data frame.
    backend_, device_, dtype_ : str
        Where the network lives, and its dtype.
    why_ : str
        Which backend and which training step run, and why.
    """

    if TYPE_CHECKING:  # The subclasses have it.

        def score(self, X: RowsLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
            """Measure the predictions."""

    @abstractmethod
    def _learn_targets(
        self,
        y: HostTargets,
        classes: ArrayLike | None,
        settings: FitSettings,
        earlier: Targets | None,
    ) -> Targets:
        """Return the meaning of the targets.

        y : rows with each target; classes : the argument of ``partial_fit``
        earlier : the meaning of the targets of the fit that this one goes on with; None for none

        Raises ValueError where they do not fit those seen before, or the classes.
        """

    def _with_loss_parameters(self, targets: Targets) -> Targets:
        """Return the meaning of targets with the numbers of the loss that the constructor got."""
        return targets

    def fit(
        self,
        X: RowsLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: RowsLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        callbacks: Sequence[CallbackLike] = (),
        resume_from: TrainingState | None = None,
    ) -> Self:
        """Train on rows.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows, of any array library; a data frame or lists, too.
        y : array, shape (rows,) or (rows, outputs)
            Labels or numbers, of several targets a column for each; for several labels a row an
            indicator matrix, sparse or dense; of the same library or on the host.
        sample_weight : array, shape (rows,), optional
            Weights of the rows, not negative.
        X_val : array, scipy sparse matrix or source, shape (rows, features), optional
            Rows to measure ``validation_loss_curve_`` on after each epoch; with ``early_stopping``
            they take the place of a part of X.
        y_val : array, optional
            Their targets.
        sample_weight_val : array, shape (rows,), optional
            Their weights.
        callbacks : sequence of Callback or of functions, default ()
            Callbacks of `xpnet.training`, for solvers that make epochs; a function is called with
            the `xpnet.training.Training` after each epoch. One that sets ``training.stop`` ends the
            fit. With callbacks there is no warning about convergence, and Ctrl-C is raised after a
            whole epoch.
        resume_from : TrainingState, optional
            The state of a fit that was cut off, with the same data, callbacks and settings but for
            ``max_iter``.

        Returns
        -------
        MLPClassifier or MLPRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            For data or parameters that do not fit. The estimator is then what it was before.
        """
        return self._train(
            InputRows(X, y, sample_weight),
            InputRows(X_val, y_val, sample_weight_val),
            callbacks=list(callbacks),
            resume_from=resume_from,
        )

    def _train(
        self,
        training: InputRows,
        validation: InputRows,
        *,
        classes: ArrayLike | None = None,
        callbacks: Sequence[CallbackLike],
        resume_from: TrainingState | None = None,
        incremental: bool = False,
    ) -> Self:
        """Train on rows; return the estimator.

        A refused fit leaves the estimator as it was: nothing of it changes before all is prepared.

        classes : the argument of ``partial_fit``; callbacks, resume_from : of the user
        incremental : whether this is ``partial_fit``
        """
        settings = self._settings_for(training, incremental=incremental)
        self._warn_of_settings_without_effect()
        earlier = self._earlier_fit(settings, training.X)
        ranks = current_ranks()
        rows = read_rows(training, settings, earlier.columns, ranks)
        targets = self._learn_targets(rows.known_targets, classes, settings, earlier.targets)
        fit = prepare_fit(settings, earlier, rows, validation, targets, ranks)
        del rows  # The split has its own; a converted copy of X would stay in memory.
        fit.plan.renew_network()
        self._hold(fit.fitted)
        if settings.makes_epochs:
            train_by_epochs(fit, self._score_outputs, callbacks=callbacks, resume_from=resume_from)
        else:
            train_by_lbfgs(fit)
        self._check_finite()
        return self

    def _settings_for(self, training: InputRows, *, incremental: bool) -> FitSettings:
        """Return the settings of a fit on rows. incremental : whether this is ``partial_fit``"""
        return self._settings(incremental=incremental)

    def _earlier_fit(self, settings: FitSettings, X: object) -> EarlierFit:
        """Return what a fit goes on from: the fit before, or what the user has set in its place.

        Raises MixedArraysError for rows X of another library than those of the fit before.
        """
        if not (settings.warm_start or settings.incremental):
            return EarlierFit()
        fitted = self._fitted
        if fitted is not None:
            fitted.network.check_same_namespace(X)
            return EarlierFit(fitted, columns=fitted.columns, targets=fitted.targets)
        if "coefs_" not in self._assigned:
            return EarlierFit()
        count = getattr(self, "n_features_in_", None)
        names = getattr(self, "feature_names_in_", None)
        columns = None if count is None else Columns(count, names)
        classes = getattr(self, "classes_", None)
        targets = None if classes is None else ClassTargets(classes)
        return EarlierFit(None, (*self.coefs_, *self.intercepts_), columns, targets)

    def _score_outputs(
        self, encoded: numpy.ndarray, outputs: numpy.ndarray, weight: numpy.ndarray | None
    ) -> float:
        """Return the score of the network's outputs, as ``scoring`` measures it.

        encoded : the targets as the loss takes them; outputs : (rows, out)
        """
        scorer = type(self).score if self.scoring is None else get_scorer(self.scoring)
        weighted = {} if weight is None else {"sample_weight": weight}
        predicted: Any = PredictedEstimator(self)
        labels, offsets = labels_and_offsets(encoded, outputs.shape[1])
        if offsets is not None:
            outputs = numpy.asarray(with_offsets(outputs, offsets))
        targets = self._record_of_fit().targets.decode(numpy.asarray(labels))
        return float(scorer(predicted, outputs, targets, **weighted))

    def _check_finite(self) -> None:
        """Raise ValueError for parameters that are not finite after training."""
        if not all(numpy.isfinite(array).all() for array in (*self.coefs_, *self.intercepts_)):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )

    def _has_partial_fit(self) -> bool:
        """Return whether ``partial_fit`` exists; raise AttributeError, with the reason, where it
        does not.
        """
        if self.solver not in STOCHASTIC:
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. "
                f"{self.solver} is not stochastic."
            )
        return True

    def to(self, backend: str | Backend | Array) -> Self:
        """Move a fitted estimator and its optimizer state; it then converts its inputs.

        Parameters
        ----------
        backend : str, Backend or array
            A name, a backend, or an array, whose library and device are adopted.

        Returns
        -------
        MLPClassifier or MLPRegressor
            The estimator itself.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        BackendError
            For a backend that is not usable.
        """
        self._record_of_fit().network.to(backend)
        return self

    def get_fitted_state(self) -> FittedState:
        """Return what ``fit`` has learned, as data.

        Returns
        -------
        FittedState
            Copies of the network's description, its parameters, those of the best epoch or None,
            and attributes, from which ``set_fitted_state`` makes an estimator that predicts the
            same.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        """
        fitted = self._record_of_fit()
        network = fitted.network
        spec = self._described(network.spec, fitted.targets, fitted.columns)
        facts = {name: getattr(self, name) for name in FACTS | LABEL_FACTS if hasattr(self, name)}
        scored = facts.get("validation_scores_") is not None
        best = fitted.progress.best_parameters if scored else None
        return FittedState(spec, network.values(), best, facts)

    def set_fitted_state(self, state: FittedState, *, backend: str | Backend | None = None) -> Self:
        """Take over what a ``fit`` with the same parameters of the constructor has learned.

        Parameters
        ----------
        state : FittedState
            What ``get_fitted_state`` has returned.
        backend : str or Backend, optional
            Where to compute; None for where the first arrays lie.

        Returns
        -------
        MLPClassifier or MLPRegressor
            The estimator itself.

        Raises
        ------
        InputError
            For parameters of the constructor that are not allowed, or that describe another
            network.
        """
        spec = state.spec
        columns = Columns(spec.widths[0], state.facts.get("feature_names_in_"))
        described = self._described(spec, targets_of_spec(spec, state.facts), columns)
        if check_spec(described) != spec:
            raise InputError(
                f"The parameters of this {type(self).__name__} must describe its network, {spec}; "
                "got parameters that describe another one."
            )
        learning_rate = LearningRate(self._settings())
        network = Network(spec, state.values, learning_rate, backend=backend, dtype=spec.dtype)
        self._hold(FittedMLP.of_state(state, network, learning_rate))
        return self

    def _described(self, spec: NetworkSpec, targets: Targets, columns: Columns) -> NetworkSpec:
        """Describe the network of some widths and dtype by the parameters of the constructor."""
        _, *hidden, _ = spec.widths
        settings = replace(self._settings(), hidden=tuple(hidden))
        return settings.network_spec(columns, self._with_loss_parameters(targets), spec.dtype)
