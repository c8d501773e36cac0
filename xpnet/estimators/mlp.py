"""Both estimators share this: a fit from top to bottom."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy
from scipy.sparse import issparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer

from xpnet.backend import NetworkSpec, floating_dtype
from xpnet.backend.spec import OUTPUT_ACTIVATIONS, Loss
from xpnet.data.sources import Source
from xpnet.dispatch import Choice, choose, get_backend
from xpnet.distributed import ALONE, Ranks
from xpnet.distributed.ranks import owning
from xpnet.errors import InputError
from xpnet.estimators.epochs import (
    Checkpoints,
    EpochEnd,
    LearningRate,
    initial_values,
    random_state_of,
    resuming,
)
from xpnet.estimators.fitted import FittedNetwork
from xpnet.estimators.inputs import (
    FitInputs,
    Rows,
    check_rows,
    check_validation_rows,
    check_weights,
)
from xpnet.estimators.lbfgs import fit_lbfgs
from xpnet.estimators.libraries import Convertible, warn_caller
from xpnet.estimators.parameters import STOCHASTIC, check_parameters, hidden_sizes
from xpnet.estimators.streaming import SourceRows
from xpnet.models import Network
from xpnet.models.inputs import bring, is_host, require, to_host
from xpnet.models.network import by_rows
from xpnet.training import Callback, Training, TrainingState, run
from xpnet.training.streams import broadcast_stream

Prepared = tuple[Rows, Rows | None, Checkpoints]
"""The rows to train on, those to validate on, if there are any, and the checkpoints."""


@dataclass(eq=False, repr=False)
class MLP(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Convertible, FittedNetwork):
    """A multi-layer perceptron that scikit-learn can drive. Subclasses say what its targets and outputs mean.

    Attributes
    ----------
    coefs_ : list of numpy.ndarray, shapes (fan_in, fan_out)
        Weights, layer by layer. Assigning others changes the predictions. Of several members the hidden layers' are
        those that they share, before the factors of each, and the last is (members, fan_in, fan_out).
    intercepts_ : list of numpy.ndarray, shapes (fan_out,)
        Biases, layer by layer; (members, fan_out) of several members.
    loss_ : float
        The loss of the last epoch.
    best_loss_ : float or None
        The lowest one; None with ``early_stopping``.
    loss_curve_ : list of float
        The loss of each epoch.
    validation_scores_ : list of float or None
        The score on the rows held out, after each epoch; None without ``early_stopping``.
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
    _watchers: ClassVar[Sequence[Callback]] = ()
    _resume_from: ClassVar[TrainingState | None] = None

    def _learn_targets(self, y: Any, classes: Any, *, first: bool, incremental: bool) -> None:
        """Learn what labels there are. Raises ValueError where they do not fit those seen before, or the classes."""

    def _check_known(self, y: Any, *, every: bool = False) -> None:
        """Raise ValueError for labels that were not learned. every : whether all of those must be there"""

    @abstractmethod
    def _encode(self, y: Any) -> Any:
        """Return targets as the loss takes them: class indices (rows,) or numbers (rows, out), NumPy's."""

    @abstractmethod
    def _loss_on(self, targets: Any) -> Loss:
        """Return the name of the loss that the network is trained on, with encoded targets."""

    @abstractmethod
    def _decode(self, targets: Any) -> Any:
        """Return encoded targets as scorers of scikit-learn take them, NumPy's."""

    def _trained_on(self, rows: Rows) -> Rows:
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
    ) -> Self:
        """Train on rows.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows, of any array library; a data frame or lists, too.
        y : array, shape (rows,) or (rows, outputs)
            Labels or numbers, of several targets a column for each; for several labels a row an indicator matrix,
            sparse or dense; of the same library or on the host.
        sample_weight : array, shape (rows,), optional
            Weights of the rows, not negative.
        X_val : array, scipy sparse matrix or source, shape (rows, features), optional
            Rows to measure ``validation_loss_curve_`` on after each epoch; with ``early_stopping`` they take the place
            of a part of X.
        y_val : array, optional
            Their targets.
        sample_weight_val : array, shape (rows,), optional
            Their weights.

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
            FitInputs(X, y, sample_weight, X_val, y_val, sample_weight_val), incremental=False
        )

    def transform(self, X: Any, layer: int = -1) -> Any:
        """Compute what a hidden layer makes of rows: features that the network has learned, for another model.

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
            A column of ``predict_proba``, or of ``predict`` of a regressor; of two classes -1 is the second.

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

    def watch(
        self, callbacks: Sequence[Callback], *, resume_from: TrainingState | None = None
    ) -> Self:
        """Let callbacks of :mod:`xpnet.training` see the epochs of the next ``fit``.

        They see when it ends, and why: it warns of nothing then, and Ctrl-C is raised behind a whole update.

        Parameters
        ----------
        callbacks : sequence of Callback
            Told of each epoch; one that sets ``training.stop`` ends the training.
        resume_from : TrainingState, optional
            The state of a fit that was cut off, with the same data and settings but for ``max_iter``.

        Returns
        -------
        Self
            The estimator itself.
        """
        self.__dict__.update(_watchers=list(callbacks), _resume_from=resume_from)
        return self

    def _train(self, given: FitInputs, *, incremental: bool) -> Self:
        """Check everything and have a network, then find its parameters; return the estimator."""
        check_parameters(self)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        self._warn_of_settings_without_effect()
        if self.scoring is not None:
            get_scorer(self.scoring)  # raises for a name that is none
        before = self.__dict__.copy()
        try:
            prepared = self._prepare(given, incremental=incremental)
        except BaseException:
            self.__dict__ = before
            raise
        try:
            if self.solver == "lbfgs":
                with self._fitted.lock.training():
                    fit_lbfgs(self, self._trained_on(prepared[0]), given.ranks)
            else:
                self._fit_stochastic(prepared, given.ranks, incremental=incremental)
        finally:
            self._hide()
            for name in ("_watchers", "_resume_from"):
                self.__dict__.pop(name, None)
        if not all(numpy.isfinite(array).all() for array in (*self.coefs_, *self.intercepts_)):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to "
                "be preprocessed."
            )
        return self

    def _prepare(self, given: FitInputs, *, incremental: bool) -> Prepared:
        """Check data and targets, make or renew the network, and bring everything to where it lives."""
        hidden = hidden_sizes(self.hidden_layer_sizes)
        first = not ("coefs_" in self.__dict__ or self._network) or not (
            self.warm_start or incremental
        )
        renewed = self._network is not None and not first
        if renewed:
            self._fitted.check_home(given.X)
        X, known = check_rows(self, given, reset=first)
        self._learn_targets(known, given.classes, first=first, incremental=incremental)
        targets = self._encode(given.y)
        weight = self._row_weights(given, targets)
        self.n_outputs_ = targets.shape[1] if targets.ndim == 2 else len(vars(self)["classes_"])
        loss = self._loss_on(targets)
        self.out_activation_ = OUTPUT_ACTIVATIONS[loss]
        held_out = check_validation_rows(self, given)
        self._random_state = random_state_of(self.random_state)
        checkpoints: Checkpoints = [], None, None
        if self.checkpoint is not None and not incremental and self.solver in STOCHASTIC:
            start = () if first else (*self.coefs_, *self.intercepts_)
            checkpoints = resuming(self, (X, targets, weight), held_out, start, given.ranks)
        broadcast_stream(self._random_state, given.ranks)
        widths = X.shape[1], *hidden, self.n_outputs_
        if renewed:
            network = self._renewed_network(X, widths, loss, incremental)
        else:
            network = self._new_network(X, widths, loss, drawn=first)
        rows = _rows(network, X, targets, weight, given.ranks)
        # Rows that all ranks have are divided among them; of its own, a rank measures all.
        shared = ALONE if given.ranks.own_data else given.ranks
        validation = None if held_out is None else _rows(network, *held_out, shared)
        self._network = network
        self._hide()
        return rows, validation, checkpoints

    def _row_weights(self, given: FitInputs, targets: Any) -> Any:
        """Return the weight of each training row, (rows,) float64 or None."""
        return (
            None
            if given.sample_weight is None
            else check_weights(given.sample_weight, len(targets))
        )

    def _new_network(self, X: Any, widths: tuple[int, ...], loss: Loss, *, drawn: bool) -> Network:
        """Make a network with weights that are drawn for it, or that the user has set; what was fitted is forgotten."""
        choice = choose(X, backend=self.backend)
        if issparse(X) and not is_host(choice.backend):
            choice = Choice(get_backend("numpy"), "X is sparse, which NumPy and SciPy multiply")
        # On the host L-BFGS computes in float64, as SciPy does, whatever the data.
        precise = self.solver == "lbfgs" and is_host(choice.backend)
        dtype = self.dtype or ("float64" if precise else floating_dtype(X, choice.backend))
        spec = self._network_spec(widths, loss, dtype)
        if drawn:
            values = initial_values(spec, self._random_state)
        elif spec.members > 1:
            raise InputError(
                "coefs_ and intercepts_ make one network; members must be 1 to begin with them."
            )
        else:
            names, arrays = (
                (*spec.weight_names, *spec.bias_names),
                (*self.coefs_, *self.intercepts_),
            )
            values = dict(zip(names, arrays, strict=True))
        self._optimizer = LearningRate(self)
        network = Network(
            self._with_seed(spec), values, self._optimizer, backend=choice, dtype=spec.dtype
        )
        network.named = self.backend is not None
        self.n_layers_ = len(spec.widths)
        self.n_iter_ = self.t_ = 0
        return network

    def _renewed_network(
        self, X: Any, widths: tuple[int, ...], loss: Loss, incremental: bool
    ) -> Network:
        """Return the network there is, with the settings of now; ``partial_fit`` goes on with its optimizer."""
        network = self._current()
        if issparse(X) and not is_host(network.backend):
            network.to("numpy")
        spec = self._network_spec(widths, loss, network.spec.dtype)
        keep = incremental and self._optimizer.solver == self.solver
        if keep:
            spec = replace(spec, rule=network.spec.rule, seed=network.spec.seed)
        else:
            self._optimizer, spec = LearningRate(self), self._with_seed(spec)
        network.renew(spec, keep=keep)
        return network

    def _with_seed(self, spec: NetworkSpec) -> NetworkSpec:
        """Draw the seed of a network's dropout masks, which is a draw that scikit-learn does not make."""
        return replace(spec, seed=int(self._random_state.randint(2**31))) if spec.dropout else spec

    def _expect_scores_or_losses(self, network: Network) -> None:
        """Be ready to note scores, or losses, whichever decides when training ends."""
        scored = bool(self.early_stopping)
        if (
            getattr(self, "loss_curve_", None) is not network.history.loss
        ):  # the network has made no epochs
            self.loss_curve_ = network.history.loss
            self.validation_loss_curve_ = network.history.validation_loss
            self._no_improvement_count = 0
        elif scored == (self.validation_scores_ is not None):
            return
        self.validation_scores_: list[float] | None = [] if scored else None
        self.best_validation_score_: float | None = -numpy.inf if scored else None
        self.best_loss_: float | None = None if scored else numpy.inf
        if scored:
            self._best = network.values()

    def _fit_stochastic(self, prepared: Prepared, ranks: Ranks, *, incremental: bool) -> None:
        """Train by epochs of minibatches, until the rules of early stopping or ``max_iter`` end it."""
        network, owners, (rows, held_out, checkpoints) = self._fitted, None, prepared
        if held_out is None and self.early_stopping:
            two = hasattr(self, "classes_") and self.n_outputs_ == 1
            strata = (
                to_host(rows.Y) > 0.5 if two else None
            )  # scikit-learn keeps the proportions of two classes alone
            rows, held_out, owners = rows.split(
                self.validation_fraction, self._random_state, network, strata, ranks
            )
        rows = self._trained_on(rows)
        self._expect_scores_or_losses(network)
        self.n_iter_ = 0
        count = ranks.count(rows.count)
        with owning(owners), network.lock.training():
            epochs, orders = (
                1 if incremental else self.max_iter,
                rows.orders(self._random_state, count),
            )
            step = network.trainable(sparse=issparse(rows.X))
            training = Training(step, count, epochs, network.history, orders, lock=network.lock)
            try:
                self._run(training, (rows, held_out, checkpoints), ranks)
            except KeyboardInterrupt:
                if ranks.several or self._watchers:
                    raise
                warn_caller("Training interrupted by user.")
            else:
                if not (training.stop or incremental or ranks.rank or self._watchers):
                    warn_caller(
                        f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization "
                        "hasn't converged yet.",
                        ConvergenceWarning,
                    )
        if self.early_stopping:
            network.load_values(self._best)

    def _run(self, training: Training, prepared: Prepared, ranks: Ranks) -> None:
        """Make the epochs, with all that is noted after each."""
        rows, held_out, (writers, state, began_with) = prepared
        size = 200 if self.batch_size == "auto" else int(self.batch_size)
        if size > training.rows and self.batch_size != "auto":
            warn_caller(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
            )
        end = EpochEnd(self, held_out, ranks, began_with)
        run(
            training,
            rows.X,
            rows.Y,
            batch_size=min(size, training.rows),
            shuffle=self.shuffle,
            schedule=self._optimizer,
            sample_weight=rows.weight,
            validate=None if held_out is None else end.validation_loss,
            callbacks=[end, *self._watchers, *writers],
            resume_from=state or self._resume_from,
            epoch=rows.epoch(training.step, end.epoch),
        )


def _rows(network: Network, X: Any, targets: Any, weight: Any, ranks: Ranks) -> Rows:
    """Bring everything to where the network lives, in its dtype; targets and weights are copies."""
    backend, dtype, own = network.backend, network.spec.dtype, network.own
    Y = own(bring(targets, backend, None if targets.ndim == 1 else dtype))
    weights = None if weight is None else own(bring(weight, backend, dtype))
    if isinstance(X, Source):
        return SourceRows.whole(X, Y, weights, ranks)
    return Rows(by_rows(bring(X, backend, dtype)), Y, weights)


def is_stochastic(estimator: Any) -> bool:
    """Say whether ``partial_fit`` exists. Raises AttributeError, which says why it does not."""
    if estimator.solver not in STOCHASTIC:
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
        )
    return True
