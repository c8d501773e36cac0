"""Both estimators share this: a fit from top to bottom."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy
from numpy.random import RandomState
from sklearn.metrics import get_scorer

from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.data.sources import Source
from xpnet.distributed.coordinator import Coordinator, current_coordinator
from xpnet.estimators.conversion import Convertible
from xpnet.estimators.fit_data import FitData, prepare_fit_data
from xpnet.estimators.fit_inputs import FitInputs, RawRows
from xpnet.estimators.fit_network import NetworkPlan, new_network, renewed_network
from xpnet.estimators.fitted import FittedNetwork
from xpnet.estimators.initial import random_state_of
from xpnet.estimators.lbfgs import fit_lbfgs
from xpnet.estimators.parameters import STOCHASTIC
from xpnet.estimators.record import TrainingRecord
from xpnet.estimators.resume import Checkpoints, open_checkpoints
from xpnet.estimators.stochastic import fit_by_epochs
from xpnet.learning.parameters import check_parameters, hidden_sizes
from xpnet.learning.scikit_learn import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from xpnet.learning.targets import Targets
from xpnet.learning.weights import check_weights
from xpnet.models.inputs import require
from xpnet.training import Callback, LabeledRows, Training, TrainingState
from xpnet.typing import Array, ArrayLike


@dataclass(eq=False, repr=False)
class MLP(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Convertible, FittedNetwork):
    """A multi-layer perceptron that scikit-learn can drive. Subclasses say what its targets and
    outputs mean.

    Attributes
    ----------
    coefs_ : list of numpy.ndarray, shapes (fan_in, fan_out)
        Weights, layer by layer. Assigning others changes the predictions. Of several members the
        hidden layers' are those that they share, before the factors of each, and the last is
        (members, fan_in, fan_out).
    intercepts_ : list of numpy.ndarray, shapes (fan_out,)
        Biases, layer by layer; (members, fan_out) of several members.
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
        Where the network lives, and its precision.
    why_ : str
        Which backend and which training step run, and why.
    """

    _numeric_targets: ClassVar[bool]

    if TYPE_CHECKING:  # The subclasses have it.

        def score(
            self, X: ArrayLike | Source, y: ArrayLike, sample_weight: ArrayLike | None = None
        ) -> float:
            """Measure the predictions."""

    @abstractmethod
    def _learn_targets(
        self, y: numpy.ndarray, classes: ArrayLike | None, *, begins_anew: bool, incremental: bool
    ) -> Targets:
        """Return the meaning of the targets.

        Raises ValueError where they do not fit those seen before, or the classes.
        """

    @abstractmethod
    def _decode(self, targets: numpy.ndarray) -> Array:
        """Return encoded targets as scorers of scikit-learn take them, NumPy's."""

    def _adopt_targets(self, targets: Targets) -> None:
        """Set the attributes that say what targets mean."""

    def _rows_for_loss(self, rows: LabeledRows) -> LabeledRows:
        """Return training rows as the loss takes them."""
        return rows

    def fit(
        self,
        X: ArrayLike | Source,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | Source | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        callbacks: Sequence[Callback | Callable[[Training], None]] = (),
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
        inputs = FitInputs(
            RawRows(X, y, sample_weight),
            RawRows(X_val, y_val, sample_weight_val),
        )
        return self._train(
            inputs, callbacks=list(callbacks), resume_from=resume_from, incremental=False
        )

    def transform(self, X: ArrayLike | Source, layer: int = -1) -> Array:
        """Compute the outputs of a hidden layer: learned features for another model.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows; a data frame or lists, too.
        layer : int, default -1
            Which hidden layer: 0 for the first, -1 for the last.

        Returns
        -------
        array, shape (rows, units)
            Its outputs, activation included, of X's library; of several members side by side.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        ValueError
            For other features, values that are not finite, and a layer that is not there.
        """
        return self._computed_for(X, "transform", lambda network, X: network.hidden(X, layer))

    @property
    def _n_features_out(self) -> int:
        """Columns of ``transform``, by which scikit-learn names them."""
        return self._fitted.spec.widths[-2] * self._fitted.spec.members

    def input_gradient(self, X: ArrayLike | Source, output: int = -1) -> Array:
        """Compute how a prediction changes where a feature changes a little.

        Parameters
        ----------
        X : array, shape (rows, features)
            The rows, dense; a data frame or lists, too.
        output : int, default -1
            A column of ``predict_proba``, or of ``predict`` of a regressor; of two classes -1 is
            the second.

        Returns
        -------
        array, shape (rows, features)
            The gradient of that output with respect to the features, at each row, of X's library.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        ValueError
            For other features, values that are not finite, and an output that is not there.

        See Also
        --------
        expected_gradients : Shares of a prediction, which add up.
        """
        return self._computed_for(X, "input_gradient", lambda _, X: self._input_gradient(X, output))

    def _input_gradient(self, X: Array, output: int) -> Array:
        """Compute ``input_gradient`` for checked rows, on the network's device."""
        network = self._current()
        is_binary = hasattr(self, "classes_") and self.n_outputs_ == 1
        columns = 2 if is_binary else self.n_outputs_
        require(
            -columns <= output < columns,
            f"`output` must be a column of the predictions, 0 to {columns - 1}",
            output,
        )
        gradient = network.input_gradient(X, 0 if is_binary else output % columns)
        return -gradient if is_binary and output % 2 == 0 else gradient

    def _train(
        self,
        inputs: FitInputs,
        *,
        callbacks: Sequence[Callback | Callable[[Training], None]],
        resume_from: TrainingState | None = None,
        incremental: bool,
    ) -> Self:
        """Check the arguments, choose the network, and train it on the rows; return the estimator.

        A refused fit leaves the estimator as it was: the first step that changes it is `_adopt`.

        callbacks, resume_from : of the user
        incremental : whether this is ``partial_fit``
        """
        self._check_settings(incremental=incremental)
        begins_anew = self._begins_anew(incremental=incremental)
        coordinator = current_coordinator()
        data = prepare_fit_data(
            self, inputs, coordinator, begins_anew=begins_anew, incremental=incremental
        )
        random_state = random_state_of(self.random_state)
        checkpoints = self._open_checkpoints(
            data, random_state, begins_anew=begins_anew, incremental=incremental
        )
        coordinator.begin_alike(random_state)
        plan = self._plan_network(
            data, random_state, begins_anew=begins_anew, incremental=incremental
        )
        self._make_step(plan, data)
        self._adopt(data, plan, random_state, learns_columns=begins_anew)
        try:
            if self.solver == "lbfgs":
                fit_lbfgs(self, self._rows_for_loss(data.training), coordinator)
            else:
                data = self._split_validation(data, random_state)
                data = replace(data, training=self._rows_for_loss(data.training))
                fit_by_epochs(
                    self,
                    data,
                    random_state,
                    checkpoints,
                    callbacks=callbacks,
                    resume_from=resume_from,
                    incremental=incremental,
                )
        finally:
            self._hide()
        self._check_finite()
        return self

    def _check_settings(self, *, incremental: bool) -> None:
        """Raise InputError or ValueError for parameters that are not allowed, and warn of those
        without effect.
        """
        check_parameters(self)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        self._warn_of_settings_without_effect()
        if self.scoring is not None:
            get_scorer(self.scoring)  # raises for an unknown name
        hidden_sizes(self.hidden_layer_sizes)  # raises for sizes that are not positive

    def _begins_anew(self, *, incremental: bool) -> bool:
        """Tell whether a fit begins with new parameters, or goes on with those of the estimator."""
        has_parameters = "coefs_" in self.__dict__ or self._network is not None
        return not has_parameters or not (self.warm_start or incremental)

    def _row_weights(
        self,
        sample_weight: ArrayLike | None,
        y: numpy.ndarray,
        encoded: numpy.ndarray,
        targets: Targets,
        coordinator: Coordinator,
    ) -> numpy.ndarray | None:
        """Return the weight of each training row, (rows,) float64, or None.

        y : the targets as the user has them; encoded : as the loss takes them
        """
        return None if sample_weight is None else check_weights(sample_weight, len(encoded))

    def _open_checkpoints(
        self, data: FitData, random_state: RandomState, *, begins_anew: bool, incremental: bool
    ) -> Checkpoints:
        """Return the checkpoints of the fit; ``partial_fit`` and L-BFGS have none."""
        if self.checkpoint is None or incremental or self.solver not in STOCHASTIC:
            return Checkpoints()
        start = () if begins_anew else (*self.coefs_, *self.intercepts_)
        return open_checkpoints(self, data, start, random_state)

    def _plan_network(
        self, data: FitData, random_state: RandomState, *, begins_anew: bool, incremental: bool
    ) -> NetworkPlan:
        """Make the network of the fit, or plan how the one that the estimator has goes on."""
        if begins_anew or self._network is None:
            return new_network(self, data, random_state, drawn=begins_anew)
        return renewed_network(self, data, random_state, incremental=incremental)

    def _make_step(self, plan: NetworkPlan, data: FitData) -> None:
        """Make the training step of a new network, so that lack of memory and Ctrl-C while it
        compiles leave the estimator as it was.
        """
        network = plan.network
        is_new = plan.renewed_spec is None
        if is_new and data.coordinator.trains_alone and self.solver in STOCHASTIC:
            with network.lock.training():
                network.trainable(sparse=data.is_sparse)

    def _adopt(
        self, data: FitData, plan: NetworkPlan, random_state: RandomState, *, learns_columns: bool
    ) -> None:
        """Set the fitted attributes of a fit whose arguments were checked."""
        if learns_columns:
            self.n_features_in_: int = data.columns.count
            self.__dict__.pop("feature_names_in_", None)
            if data.columns.names is not None:
                self.feature_names_in_: numpy.ndarray = data.columns.names
        self._adopt_targets(data.targets)
        self.n_outputs_: int = data.outputs
        self.out_activation_ = OUTPUT_ACTIVATIONS[data.loss]
        self._random_state = random_state
        self._optimizer = plan.learning_rate
        network = plan.network
        if plan.renewed_spec is None:
            self.n_layers_: int = len(network.spec.widths)
            self._record = TrainingRecord()
            self._record.n_iter_ = 0
            self._record.t_ = 0
        else:
            network.renew(plan.renewed_spec, keep=plan.keeps_optimizer)
        self._network = network
        self._hide()

    def _split_validation(self, data: FitData, random_state: RandomState) -> FitData:
        """Split off rows for early stopping, unless the user has passed validation rows."""
        if not self.early_stopping or data.validation is not None:
            return data
        return data.split(self.validation_fraction, random_state)

    def _check_finite(self) -> None:
        """Raise ValueError for parameters that are not finite after training."""
        if not all(numpy.isfinite(array).all() for array in (*self.coefs_, *self.intercepts_)):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )
