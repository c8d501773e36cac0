"""What both estimators share: fitting, from checked data to the parameters found."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy
from scipy.sparse import issparse
from sklearn.utils.validation import check_array, check_consistent_length

from xpnet.backend import NetworkSpec, floating_dtype
from xpnet.backend.spec import OUTPUT_ACTIVATIONS, Loss
from xpnet.data.sources import LARGE, Source, as_source
from xpnet.dispatch import Choice, current_ranks
from xpnet.errors import InputError
from xpnet.estimators.conversion import Convertible
from xpnet.estimators.initial import initial_values, random_state_of
from xpnet.estimators.inputs import Given, Rows, check_X, check_X_y
from xpnet.estimators.parameters import STOCHASTIC
from xpnet.estimators.private import check_sample_weight, fit_context
from xpnet.estimators.ranks import agreed_rows, agreed_targets
from xpnet.estimators.rates import LearningRate
from xpnet.estimators.reports import Reports
from xpnet.estimators.resuming import Resuming, contents
from xpnet.estimators.solvers import Prepared, Solvers
from xpnet.estimators.streaming import SourceRows
from xpnet.models import Network
from xpnet.models.network import by_rows
from xpnet.models.placement import is_host
from xpnet.training import share_stream

LOSSES: dict[str, Loss] = {activation: loss for loss, activation in OUTPUT_ACTIVATIONS.items()}
"""The loss that belongs to an output activation, which estimators name as scikit-learn does."""


def is_stochastic(estimator: Any) -> bool:
    """Whether ``partial_fit`` exists. Raises AttributeError, which says why it does not."""
    if estimator.solver not in STOCHASTIC:
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
        )
    return True


@dataclass(eq=False, repr=False)
class MLP(Convertible, Solvers):
    """A multi-layer perceptron that scikit-learn can drive. Subclasses say what its targets and outputs mean."""

    _numeric_targets: ClassVar[bool]

    @abstractmethod
    def _learn_targets(self, y: Any, *, first: bool, incremental: bool) -> None:
        """See what the targets are. Raises ValueError where they do not fit those seen before."""

    @abstractmethod
    def _check_known(self, y: Any) -> None:
        """Raise ValueError for labels that were not learned."""

    @abstractmethod
    def _encode(self, y: Any) -> Any:
        """Targets as the loss takes them: class indices (rows,) or numbers (rows, out), NumPy's."""

    @abstractmethod
    def _count_outputs(self, targets: Any) -> int:
        """How many outputs encoded targets are for."""

    @abstractmethod
    def _output_activation(self, targets: Any) -> str:
        """scikit-learn's name of it, for encoded targets."""

    @fit_context(prefer_skip_nested_validation=True)
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
            Labels or numbers; for several labels a row an indicator matrix, sparse or dense, of the same library or on
            the host.
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
        self._train(Given(X, y, sample_weight, X_val, y_val, sample_weight_val), incremental=False)
        return self

    def _refuse_early_stopping(self) -> None:
        """Raise ValueError where ``partial_fit`` is called with ``early_stopping``, as scikit-learn does."""
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")

    def _train(self, given: Given, *, incremental: bool) -> None:
        self._warn_of_settings_without_effect()
        given.check_validation(self.solver, STOCHASTIC)
        before = vars(self).copy()
        try:
            prepared = self._prepare(given, incremental=incremental)
        except BaseException:
            self.__dict__ = before
            raise
        self._solve(prepared, given, incremental=incremental)

    def _prepare(self, given: Given, *, incremental: bool) -> Prepared:
        """Check everything, and have a network."""
        if type(given.X) is not numpy.ndarray:
            given.X = self._in_memory_or_source(given.X)
        if given.X_val is not None:
            given.X_val = self._in_memory_or_source(given.X_val)
        hidden = self._hidden_sizes()
        first = not ("coefs_" in vars(self) or self._network) or not (self.warm_start or incremental)
        if not first and self._network is not None:
            self._check_home(given.X)
        X, given.y = check_X_y(self, given.X, given.y, reset=first, numeric=self._numeric_targets)
        known, ranks = given.y, current_ranks()
        if ranks.own_data:
            X = agreed_rows(X)
            given.y, known = agreed_targets(given.y, numeric=self._numeric_targets)
        self._learn_targets(known, first=first, incremental=incremental)
        targets = self._encode(given.y)
        weight = self._row_weights(given, targets)
        self.n_outputs_ = self._count_outputs(targets)
        self._random_state = random_state_of(self.random_state)
        if first:
            self.out_activation_ = self._output_activation(targets)
        held_out = None if given.X_val is None else self._given_validation(given)
        resuming = None
        if self.checkpoint is not None and not incremental and self.solver in STOCHASTIC:
            start = () if first else self._shown[1]
            arrays = (X, targets, weight, *(held_out or ()), *start)
            resuming = Resuming(self.checkpoint, contents(self, arrays), self._random_state)
        if ranks.several:
            share_stream(self._random_state)
        network = self._new_network(X, hidden) if first else self._renewed(X, hidden, keep=incremental)
        rows = self._rows(network, X, targets, weight)
        validation = None if held_out is None else self._rows(network, *held_out)
        self._network = network
        self._hide()
        return Prepared(rows, validation, resuming)

    def _in_memory_or_source(self, X: Any) -> Any:
        """X as it is, or where its blocks must be read, the source; one that fits a buffer is loaded.

        Raises InputError for what a source cannot be trained with.
        """
        several, checkpoint = current_ranks().several, self.checkpoint is not None
        if (several or checkpoint) and isinstance(X, numpy.memmap) and X.nbytes <= LARGE:
            return X
        source = as_source(X, dtype=self.dtype, copied=self.early_stopping or self.solver == "lbfgs")
        if source is None:
            return X
        if not len(source):
            raise InputError("A source has one row at least; received none.")
        if len(source) <= source.buffer_rows(self.dtype or numpy.result_type(source.dtype, numpy.float32)):
            return source.whole()
        if checkpoint:
            raise InputError("A checkpoint is named after rows in memory; received a source. Leave checkpoint out.")
        if several:
            raise InputError("Several ranks share rows that lie in memory; received a source. Give each rank its part.")
        return source

    def _new_network(self, X: Any, hidden: tuple[int, ...]) -> Network:
        """A network with weights that are drawn for it; what was fitted before is forgotten."""
        choice = self._choice_for(X)
        spec = self._network_spec(X, hidden, self._computing_dtype(X, choice))
        values = initial_values(spec, self._random_state)
        network = self._network_of(spec, values, choice)
        self.n_layers_ = len(spec.widths)
        self.n_iter_ = self.t_ = 0
        if self.solver != "lbfgs":
            self._count_anew(network)
        return network

    def _renewed(self, X: Any, hidden: tuple[int, ...], *, keep: bool) -> Network:
        """The network there is, with the settings of now. keep : go on with the optimizer there is"""
        if self._network is None:  # the user has set coefs_ and intercepts_
            spec = self._network_spec(X, hidden, str(self.coefs_[0].dtype))
            arrays = [array for pair in zip(self.coefs_, self.intercepts_, strict=True) for array in pair]
            return self._network_of(spec, dict(zip(spec.parameter_names, arrays, strict=True)), self._choice_for(X))
        network = self._current()
        if issparse(X) and not is_host(network.backend):
            network.to("numpy")
        spec = self._network_spec(X, hidden, network.spec.dtype)
        keep = keep and self._optimizer.solver == self.solver
        if keep:
            spec = replace(spec, rule=network.spec.rule, seed=network.spec.seed)
        else:
            self._optimizer, spec = self._new_rate(), self._with_seed(spec) if spec.dropout else spec
        network.renew(spec, keep=keep)
        return network

    def _network_of(self, spec: NetworkSpec, values: dict[str, Any], choice: Choice) -> Network:
        """A network with these parameters and an optimizer at its beginning."""
        self._optimizer = self._new_rate()
        if spec.dropout:
            spec = self._with_seed(spec)
        named = self.backend is not None
        return Network(spec, values, self._optimizer, backend=choice, named=named, dtype=spec.dtype)

    def _network_spec(self, X: Any, hidden: tuple[int, ...], dtype: str) -> NetworkSpec:
        return self._spec((X.shape[1], *hidden, self.n_outputs_), LOSSES[self.out_activation_], dtype)

    def _new_rate(self) -> LearningRate:
        schedule = self.learning_rate if self.solver == "sgd" else "constant"
        return LearningRate(self.solver, float(self.learning_rate_init), schedule, self.power_t)

    def _with_seed(self, spec: NetworkSpec) -> NetworkSpec:
        """A network with dropout, and the seed of its masks: a draw that scikit-learn does not make."""
        return replace(spec, seed=int(self._random_state.randint(2**31)))

    def _solve(self, prepared: Prepared, given: Given, *, incremental: bool) -> None:
        """Find the parameters, and tell scikit-learn's callbacks."""
        reports = Reports(self, given.X, given.y, given.sample_weight, 1 if incremental else self.max_iter)
        reports.begin()
        if self.solver == "lbfgs":
            self._fit_lbfgs(prepared.rows, reports)
        else:
            self._fit_stochastic(prepared, reports, incremental=incremental)
        self._check_finite()
        reports.end()

    def _row_weights(self, given: Given, targets: Any) -> Any:
        """The weight of each training row, (rows,) float64 or None."""
        if given.sample_weight is None:
            return None
        if not len(targets):
            return numpy.zeros(0)
        return check_sample_weight(given.sample_weight, targets, dtype=numpy.float64)

    def _computing_dtype(self, X: Any, choice: Choice) -> str:
        """float32 or float64. On the host L-BFGS computes in float64, as SciPy does, whatever the data."""
        if self.dtype is not None:
            return self.dtype
        backend = choice.backend
        return "float64" if self.solver == "lbfgs" and is_host(backend) else floating_dtype(X, backend)

    def _rows(self, network: Network, X: Any, targets: Any, weight: Any) -> Rows:
        """Everything where the network lives, in its dtype; targets and weights are copies."""
        dtype, bring, own = network.spec.dtype, network.bring, network.own
        Y = bring(targets, None if targets.ndim == 1 else dtype)
        if isinstance(X, Source):
            weights = None if weight is None else own(bring(weight, dtype))
            return SourceRows(X, own(Y), weights, numpy.arange(X.blocks))
        return Rows(by_rows(bring(X, dtype)), own(Y), None if weight is None else own(bring(weight, dtype)))

    def _given_validation(self, given: Given) -> tuple[Any, Any, Any]:
        """The user's own validation rows: X, encoded targets and weights."""
        X = check_X(self, given.X_val)
        y = check_array(given.y_val, accept_sparse="csr", ensure_2d=False, dtype=None, input_name="y_val")
        self._check_known(y)
        targets = self._encode(y)
        check_consistent_length(X, targets)
        weight = given.sample_weight_val
        return X, targets, None if weight is None else check_sample_weight(weight, targets, dtype=numpy.float64)

    def _check_finite(self) -> None:
        for array in self._shown[1]:
            if not numpy.isfinite(array).all():
                raise ValueError(
                    "Solver produced non-finite parameter weights. The input data may contain large values and need to "
                    "be preprocessed."
                )
