"""Both estimators share this: a fit from top to bottom."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self

import numpy
from scipy.sparse import issparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer

from xpnet.backend import Backend, NetworkSpec, floating_dtype
from xpnet.backend.spec import OUTPUT_ACTIVATIONS, Loss
from xpnet.data.sources import Source
from xpnet.dispatch import Choice, choose, get_backend
from xpnet.distributed import distributed_batches
from xpnet.distributed.coordinator import Coordinator
from xpnet.errors import InputError
from xpnet.estimators.conversion import Convertible
from xpnet.estimators.epochs import Validation, run_epoch
from xpnet.estimators.fitted import FittedNetwork
from xpnet.estimators.initial import initial_values, random_state_of
from xpnet.estimators.lbfgs import fit_lbfgs
from xpnet.estimators.learning_rate import LearningRate
from xpnet.estimators.parameters import STOCHASTIC, check_parameters, hidden_sizes
from xpnet.estimators.record import TrainingRecord
from xpnet.estimators.resume import Checkpoints, FitContents, open_checkpoints
from xpnet.estimators.stopping import (
    AdaptiveLearningRate,
    Counters,
    Improvement,
    LearningRateState,
    StopWhenStalled,
    training_loss,
    validation_loss,
)
from xpnet.estimators.targets import Targets
from xpnet.estimators.validation import (
    CheckedRows,
    CheckedValidation,
    FitInputs,
    check_rows,
    check_validation_rows,
    check_weights,
    weights_in_dtype,
)
from xpnet.estimators.verbose import Verbose
from xpnet.estimators.warnings import warn_caller
from xpnet.models import Network
from xpnet.models.inputs import bring, is_host, require, to_host
from xpnet.models.network import by_rows
from xpnet.training import (
    Callback,
    InMemory,
    LabeledRows,
    TimeLimit,
    Training,
    TrainingState,
    train,
)
from xpnet.training.orders import ChainedOrders
from xpnet.training.streamed import SourceRows, Streamed

AUTO_BATCH_SIZE = 200
"""Rows of a minibatch with ``batch_size="auto"``, as in scikit-learn."""


@dataclass(frozen=True)
class CheckedData:
    """The arguments of a fit that were checked, and what follows from them.

    rows : to train on; targets : what y means; encoded : y as the loss takes it; weight : (rows,)
    or None validation : the user's own rows to measure on, or None
    """

    rows: CheckedRows
    targets: Targets
    encoded: Any
    weight: Any
    validation: CheckedValidation | None

    @property
    def loss(self) -> Loss:
        """Return the name of the loss."""
        return self.targets.loss(self.encoded)

    @property
    def outputs(self) -> int:
        """Return the number of outputs of the network."""
        return self.targets.outputs(self.encoded)


@dataclass(frozen=True)
class NetworkPlan:
    """The network that a fit trains.

    network : the network; spec : how one goes on that has been trained before; None for a new one
    learning_rate : of the fit; keeps_optimizer : whether ``partial_fit`` goes on with the optimizer
    """

    network: Network
    spec: NetworkSpec | None
    learning_rate: LearningRate
    keeps_optimizer: bool


@dataclass(frozen=True)
class FitPlan:
    """A fit that is ready to begin. Making it changes nothing; the estimator adopts it as a whole.

    data : the arguments of the fit; learns_columns : whether the estimator learns the columns of X
    random_state : where the fit draws from; network : what is trained
    rows : to train on, and validation : to measure on, or None, where the network lives
    checkpoints : those of the fit
    """

    data: CheckedData
    learns_columns: bool
    random_state: numpy.random.RandomState
    network: NetworkPlan
    rows: LabeledRows
    validation: LabeledRows | None
    checkpoints: Checkpoints


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

    @abstractmethod
    def _learn_targets(self, y: Any, classes: Any, *, first: bool, incremental: bool) -> Targets:
        """Return what the targets mean. Raises ValueError where they do not fit those seen before,
        or the classes.
        """

    @abstractmethod
    def _decode(self, targets: Any) -> Any:
        """Return encoded targets as scorers of scikit-learn take them, NumPy's."""

    def _adopt_targets(self, targets: Targets) -> None:
        """Set the attributes that say what targets mean."""

    def _trained_on(self, rows: LabeledRows) -> LabeledRows:
        """Return training rows as the loss takes them."""
        return rows

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
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
            X,
            y,
            sample_weight,
            X_val,
            y_val,
            sample_weight_val,
            callbacks=callbacks,
            resume_from=resume_from,
        )
        return self._train(inputs, incremental=False)

    def transform(self, X: Any, layer: int = -1) -> Any:
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
        return self._asked(X, lambda network, X: network.hidden(X, layer))

    @property
    def _n_features_out(self) -> int:
        """Columns of ``transform``, by which scikit-learn names them."""
        return self._fitted.spec.widths[-2] * self._fitted.spec.members

    def input_gradient(self, X: Any, output: int = -1) -> Any:
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
            The gradient of that output by the features, at each row, of X's library.

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
        return self._asked(X, lambda _, X: self._input_gradient(X, output))

    def _input_gradient(self, X: Any, output: int) -> Any:
        """Compute what ``input_gradient`` does of rows that are checked, where the network lives."""
        network, two = self._current(), hasattr(self, "classes_") and self.n_outputs_ == 1
        columns = 2 if two else self.n_outputs_
        require(
            -columns <= output < columns,
            f"output is a column of the predictions, 0 to {columns - 1}",
            output,
        )
        gradient = network.input_gradient(X, 0 if two else output % columns)
        return -gradient if two and output % 2 == 0 else gradient

    def _train(self, inputs: FitInputs, *, incremental: bool) -> Self:
        """Plan a fit, which checks everything, adopt the plan, and find the parameters; return the
        estimator.
        """
        self._check_settings(incremental=incremental)
        plan = self._plan(inputs, incremental=incremental)
        self._make_step(plan, inputs.coordinator)
        self._adopt(plan)
        try:
            if self.solver == "lbfgs":
                with self._fitted.lock.training():
                    fit_lbfgs(self, self._trained_on(plan.rows), inputs.coordinator)
            else:
                self._fit_by_epochs(plan, inputs, incremental=incremental)
        finally:
            self._hide()
        if not all(numpy.isfinite(array).all() for array in (*self.coefs_, *self.intercepts_)):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to "
                "be preprocessed."
            )
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

    def _plan(self, inputs: FitInputs, *, incremental: bool) -> FitPlan:
        """Check data and targets, choose or make the network, and bring the rows to where it lives."""
        hidden = hidden_sizes(self.hidden_layer_sizes)
        coordinator = inputs.coordinator
        has_parameters = "coefs_" in self.__dict__ or self._network is not None
        first = not has_parameters or not (self.warm_start or incremental)
        if self._network is not None and not first:
            self._fitted.check_home(inputs.X)
        data = self._check_data(inputs, first=first, incremental=incremental)
        random_state = random_state_of(self.random_state)
        checkpoints = Checkpoints()
        if self.checkpoint is not None and not incremental and self.solver in STOCHASTIC:
            start = () if first else (*self.coefs_, *self.intercepts_)
            contents = _contents(data, start)
            checkpoints = open_checkpoints(self, random_state, contents, coordinator)
        coordinator.begin_alike(random_state)
        widths = (data.rows.X.shape[1], *hidden, data.outputs)
        if self._network is None or first:
            plan = self._new_network(data, widths, random_state, drawn=first)
        else:
            plan = self._renewed_network(data, widths, random_state, incremental=incremental)
        place = partial(_placed, plan.network)
        rows = place(data.rows.X, data.encoded, data.weight, coordinator.source_rows)
        validation = None
        if data.validation is not None:
            validation = place(*data.validation, coordinator.validation_source_rows)
        return FitPlan(data, first, random_state, plan, rows, validation, checkpoints)

    def _check_data(self, inputs: FitInputs, *, first: bool, incremental: bool) -> CheckedData:
        """Check the arguments of a fit. first : whether it does not go on with a fit before"""
        rows = check_rows(self, inputs, numeric=self._numeric_targets, known_columns=not first)
        targets = self._learn_targets(
            rows.known_targets, inputs.classes, first=first, incremental=incremental
        )
        encoded = targets.encode(rows.y)
        weight = self._row_weights(inputs, rows, targets, encoded)
        validation = check_validation_rows(self, inputs, rows, targets)
        return CheckedData(rows, targets, encoded, weight, validation)

    def _new_network(
        self,
        data: CheckedData,
        widths: tuple[int, ...],
        random_state: numpy.random.RandomState,
        *,
        drawn: bool,
    ) -> NetworkPlan:
        """Make a network. drawn : whether its first weights are drawn, not set by the user"""
        choice = self._choose_backend(data.rows.X)
        dtype = self._choose_dtype(data.rows.X, choice.backend)
        spec = self._network_spec(widths, data.loss, dtype, data.targets.loss_numbers)
        values = self._first_values(spec, random_state, drawn=drawn)
        learning_rate = LearningRate(self)
        seeded = _with_seed(spec, random_state)
        network = Network(seeded, values, learning_rate, backend=choice, dtype=dtype)
        network.named = self.backend is not None
        return NetworkPlan(network, None, learning_rate, keeps_optimizer=False)

    def _renewed_network(
        self,
        data: CheckedData,
        widths: tuple[int, ...],
        random_state: numpy.random.RandomState,
        *,
        incremental: bool,
    ) -> NetworkPlan:
        """Plan how the network that has been trained before goes on; ``partial_fit`` keeps its
        optimizer.
        """
        network = self._current()
        if issparse(data.rows.X) and not is_host(network.backend):
            network.to("numpy")
        spec = self._network_spec(widths, data.loss, network.spec.dtype, data.targets.loss_numbers)
        if incremental and self._optimizer.solver == self.solver:
            spec = replace(spec, rule=network.spec.rule, seed=network.spec.seed)
            return NetworkPlan(network, spec, self._optimizer, keeps_optimizer=True)
        seeded = _with_seed(spec, random_state)
        return NetworkPlan(network, seeded, LearningRate(self), keeps_optimizer=False)

    def _make_step(self, plan: FitPlan, coordinator: Coordinator) -> None:
        """Make the training step of a new network, so that lack of memory and Ctrl-C while it
        compiles leave the estimator as it was.
        """
        network = plan.network.network
        is_new = plan.network.spec is None
        if is_new and coordinator.trains_alone and self.solver in STOCHASTIC:
            with network.lock.training():
                network.trainable(sparse=issparse(plan.rows.X))

    def _adopt(self, plan: FitPlan) -> None:
        """Become the estimator of a planned fit."""
        data = plan.data
        if plan.learns_columns:
            self.n_features_in_ = data.rows.columns.count
            self.__dict__.pop("feature_names_in_", None)
            if data.rows.columns.names is not None:
                self.feature_names_in_ = data.rows.columns.names
        self._adopt_targets(data.targets)
        self.n_outputs_ = data.outputs
        self.out_activation_ = OUTPUT_ACTIVATIONS[data.loss]
        self._random_state = plan.random_state
        self._optimizer = plan.network.learning_rate
        network = plan.network.network
        if plan.network.spec is None:
            self.n_layers_ = len(network.spec.widths)
            self._record = TrainingRecord()
            self._record.n_iter_ = 0
            self._record.t_ = 0
        else:
            network.renew(plan.network.spec, keep=plan.network.keeps_optimizer)
        self._network = network
        self._hide()

    def _row_weights(
        self, inputs: FitInputs, rows: CheckedRows, targets: Targets, encoded: Any
    ) -> Any:
        """Return the weight of each training row, (rows,) float64 or None."""
        if inputs.sample_weight is None:
            return None
        return check_weights(inputs.sample_weight, len(encoded))

    def _choose_backend(self, X: Any) -> Choice:
        """Choose where a new network lives."""
        choice = choose(X, backend=self.backend)
        if issparse(X) and not is_host(choice.backend):
            return Choice(get_backend("numpy"), "X is sparse, which NumPy and SciPy multiply")
        return choice

    def _choose_dtype(self, X: Any, backend: Backend) -> str:
        """Choose the dtype of a new network. On the host L-BFGS computes in float64, as SciPy does,
        whatever X is.
        """
        if self.dtype:
            return self.dtype
        precise = self.solver == "lbfgs" and is_host(backend)
        return "float64" if precise else floating_dtype(X, backend)

    def _first_values(
        self, spec: NetworkSpec, random_state: numpy.random.RandomState, *, drawn: bool
    ) -> dict[str, Any]:
        """Return the first parameters of a new network, drawn for it or set by the user."""
        if drawn:
            return initial_values(spec, random_state)
        if spec.members > 1:
            raise InputError(
                "`members` must be 1 to begin with `coefs_` and `intercepts_`, which make one network; "
                f"got {spec.members}."
            )
        names = (*spec.weight_names, *spec.bias_names)
        return dict(zip(names, (*self.coefs_, *self.intercepts_), strict=True))

    def _fit_by_epochs(self, plan: FitPlan, inputs: FitInputs, *, incremental: bool) -> None:
        """Train by epochs of minibatches, until scikit-learn's rules, a callback or ``max_iter``
        end the fit.
        """
        network = plan.network.network
        record = self._record
        coordinator = inputs.coordinator
        rows = plan.rows
        validation_rows = plan.validation
        if validation_rows is None and self.early_stopping:
            rows, validation_rows, coordinator = self._split(plan, coordinator)
        rows = self._trained_on(rows)
        record.expect(network.history, scored=bool(self.early_stopping), parameters=network.values)
        record.n_iter_ = 0
        epochs = 1 if incremental else self.max_iter
        with coordinator.active(), network.lock.training():
            validation = (
                None
                if validation_rows is None
                else Validation(self, validation_rows, inputs.coordinator)
            )
            callbacks = self._callbacks(plan, validation, silent=not inputs.coordinator.leads)
            ended = _Ended()
            try:
                train(
                    network.trainable(sparse=issparse(rows.X)),
                    self._batches(rows, plan.random_state, validation, coordinator),
                    epochs=epochs,
                    schedule=self._optimizer,
                    callbacks=[*callbacks, ended, *inputs.callbacks, *plan.checkpoints.writers],
                    history=network.history,
                    lock=network.lock,
                    resume_from=plan.checkpoints.latest or inputs.resume_from,
                )
            except KeyboardInterrupt:
                if not coordinator.trains_alone or inputs.callbacks:
                    raise
                warn_caller("Training interrupted by user.")
            else:
                quiet = incremental or not coordinator.leads or inputs.callbacks
                if not (ended.early or quiet):
                    warn_caller(
                        f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization "
                        "hasn't converged yet.",
                        ConvergenceWarning,
                    )
        if self.early_stopping:
            network.load_values(record.best_parameters)

    def _split(
        self, plan: FitPlan, coordinator: Coordinator
    ) -> tuple[LabeledRows, LabeledRows, Coordinator]:
        """Split the rows for training and validation; return both, and the coordinator that knows
        the first.
        """
        network = plan.network.network
        if isinstance(plan.rows, SourceRows):
            training, validation = plan.rows.split(
                self.validation_fraction, plan.random_state, network.backend, network.spec.dtype
            )
            return training, validation, coordinator
        # scikit-learn keeps the proportions of two classes, and of no other targets.
        two_classes = plan.data.targets.has_classes and plan.data.outputs == 1
        strata = to_host(plan.rows.Y) > 0.5 if two_classes else None
        split = coordinator.split(
            plan.rows, self.validation_fraction, plan.random_state, strata, network.backend
        )
        return split.training, split.validation, split.coordinator

    def _callbacks(
        self, plan: FitPlan, validation: Validation | None, *, silent: bool
    ) -> list[Callback]:
        """Make the callbacks that apply scikit-learn's rules; `open_checkpoints` finds two by their
        places.

        silent : whether another process prints
        """
        if not self.early_stopping:
            measure = training_loss
        elif self.early_stopping == "loss":
            measure = validation_loss
        else:
            assert validation is not None
            measure = validation.score
        improvement = Improvement(
            self._record,
            measure,
            tol=self.tol,
            patience=self.n_iter_no_change,
            parameters=plan.network.network.values,
        )
        adaptive = None
        stopping: Callback = StopWhenStalled(improvement)
        if self._optimizer.schedule == "adaptive":
            adaptive = AdaptiveLearningRate(improvement, self._optimizer)
            stopping = adaptive
        callbacks: list[Callback] = [
            improvement,
            stopping,
            Counters(self._record),
            LearningRateState(self._optimizer, self._record),
        ]
        # With checkpoints these are always there: a fit that goes on has the callbacks that it
        # began with.
        if self.time_limit is not None or self.checkpoint is not None:
            callbacks.append(TimeLimit(self.time_limit))
        if self.verbose or self.checkpoint is not None:
            callbacks.append(Verbose(improvement, adaptive, silent=silent or not self.verbose))
        if self.checkpoint is not None:
            callbacks.append(plan.checkpoints.start)
        return callbacks

    def _batches(
        self,
        rows: LabeledRows,
        random_state: numpy.random.RandomState,
        validation: Validation | None,
        coordinator: Coordinator,
    ) -> Any:
        """Return the batches of an epoch, over all processes."""
        count = coordinator.count(rows.count)
        size = AUTO_BATCH_SIZE if self.batch_size == "auto" else int(self.batch_size)
        if size > count and self.batch_size != "auto":
            warn_caller(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
            )
        kind = InMemory
        rng: Any = ChainedOrders(random_state, count)
        if isinstance(rows, SourceRows):
            kind = Streamed
            rng = rows.orders(random_state)
        batches = kind(
            rows,
            batch_size=min(size, count),
            shuffle=self.shuffle,
            rng=rng,
            measure=None if validation is None else validation.loss,
            run_epoch=partial(run_epoch, max_grad_norm=self.max_grad_norm),
        )
        return distributed_batches(batches)


class _Ended(Callback):
    """Notes whether a callback has ended a training before its last epoch."""

    brief = True
    early = False

    def train_end(self, training: Training) -> None:
        self.early = training.stop


def _contents(data: CheckedData, start: Sequence[Any]) -> FitContents:
    """Return all that a fit is made from. start : parameters that it goes on from"""
    validation = data.validation
    return FitContents(
        rows=(data.rows.X, data.encoded, data.weight),
        validation=None
        if validation is None
        else (validation.X, validation.targets, validation.weight),
        start=start,
    )


def _with_seed(spec: NetworkSpec, random_state: numpy.random.RandomState) -> NetworkSpec:
    """Draw the seed of a network's dropout masks, which is a draw that scikit-learn does not make."""
    return replace(spec, seed=int(random_state.randint(2**31))) if spec.dropout else spec


def _placed(
    network: Network,
    X: Any,
    targets: Any,
    weight: Any,
    source_rows: Callable[[Source, Any, Any], SourceRows],
) -> LabeledRows:
    """Bring rows to where the network lives, in its dtype; targets and weights are copies.

    source_rows : returns the rows of a source
    """
    backend = network.backend
    dtype = network.spec.dtype
    Y = network.own(bring(targets, backend, None if targets.ndim == 1 else dtype))
    weights = None
    if weight is not None:
        weight = weights_in_dtype(weight, dtype, "sample_weight")
        weights = network.own(bring(weight, backend, dtype))
    if isinstance(X, Source):
        return source_rows(X, Y, weights)
    return LabeledRows(by_rows(bring(X, backend, dtype)), Y, weights)


def is_stochastic(estimator: Any) -> bool:
    """Say whether ``partial_fit`` exists. Raises AttributeError, which says why it does not."""
    if estimator.solver not in STOCHASTIC:
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
        )
    return True
