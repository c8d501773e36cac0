"""What both estimators share: fitting, from checked data to the parameters found, and predicting."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy
from scipy.sparse import issparse
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted

from xpnet.backend import NetworkSpec, Step, dtype_name, floating_dtype
from xpnet.dispatch import Choice
from xpnet.errors import InputError
from xpnet.estimators.files import Files, network_of
from xpnet.estimators.forward import LOSSES, network_logits, outputs
from xpnet.estimators.inputs import Rows, bring, check_X, check_X_y
from xpnet.estimators.parameters import STOCHASTIC, each_activation
from xpnet.estimators.placement import is_host, on_host, to_host
from xpnet.estimators.private import check_sample_weight, fit_context
from xpnet.estimators.reports import Reports
from xpnet.estimators.solvers import Solvers
from xpnet.ops import Array
from xpnet.steps import make_step

MANY = 2048
"""Rows from which on making a step for one prediction is worth it."""


@dataclass
class Given:
    """What the user passed to ``fit`` or ``partial_fit``; labels and weights are on the host."""

    X: Any
    y: Any
    sample_weight: Any = None
    X_val: Any = None
    y_val: Any = None
    sample_weight_val: Any = None

    def __post_init__(self) -> None:
        self.y, self.y_val = to_host(self.y), to_host(self.y_val)
        self.sample_weight, self.sample_weight_val = to_host(self.sample_weight), to_host(self.sample_weight_val)


def check_validation(given: Given, solver: str) -> None:
    """Raise InputError for validation rows without targets, targets without rows, and rows that nothing would read."""
    if given.X_val is None and given.y_val is None and given.sample_weight_val is None:
        return
    if given.X_val is None or given.y_val is None:
        missing = "X_val" if given.X_val is None else "y_val"
        raise InputError(f"Validation takes X_val and y_val together; {missing} is missing. Pass both, or neither.")
    if solver not in STOCHASTIC:
        raise InputError(
            f"Validation rows are measured after each epoch, and solver={solver!r} makes none. Leave X_val and y_val "
            f"out, or choose a solver of {', '.join(STOCHASTIC)}."
        )


def is_stochastic(estimator: Any) -> bool:
    """Whether ``partial_fit`` exists. Raises AttributeError, which says why it does not."""
    if estimator.solver not in STOCHASTIC:
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
        )
    return True


@dataclass(eq=False, repr=False)
class MLP(Files, Solvers):
    """A multi-layer perceptron that scikit-learn can drive. Subclasses say what its targets and outputs mean."""

    _numeric_targets: ClassVar[bool]

    @abstractmethod
    def _learn_targets(self, y: Any, *, incremental: bool) -> None:
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

        X : (rows, features), any array library, a SciPy sparse matrix, a data frame or lists
        y : (rows,) or (rows, outputs), of the same library or on the host
        sample_weight : (rows,)
        X_val, y_val, sample_weight_val : rows to measure ``validation_loss_curve_`` on after each epoch; with
            ``early_stopping`` they take the place of a part of X
        returns the estimator itself

        Raises ValueError for data or parameters that do not fit.
        """
        self._train(Given(X, y, sample_weight, X_val, y_val, sample_weight_val), incremental=False)
        return self

    @abstractmethod
    def predict(self, X: Any) -> Any:
        """See the subclass."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _train(self, given: Given, *, incremental: bool) -> None:
        self._warn_of_settings_without_effect()
        check_validation(given, self.solver)
        hidden = self._hidden_sizes()
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        home = self._find_home(given.X, settle=first)
        X, given.y = check_X_y(self, given.X, given.y, reset=first, numeric=self._numeric_targets)
        self._learn_targets(given.y, incremental=incremental)
        targets = self._encode(given.y)
        weight = self._row_weights(given, targets)
        self.n_outputs_ = self._count_outputs(targets)
        self._random_state = check_random_state(self.random_state)
        if first:
            self.out_activation_ = self._output_activation(targets)
        dtype = self._computing_dtype(X, home) if first else str(self.coefs_[0].dtype)
        spec = self._spec((X.shape[1], *hidden, self.n_outputs_), LOSSES[self.out_activation_], dtype)
        if first:
            self._begin(spec)
        self._home = home
        self._solve(spec, self._rows(X, targets, weight, dtype), given, incremental=incremental)

    def _solve(self, spec: NetworkSpec, rows: Rows, given: Given, *, incremental: bool) -> None:
        """Find the parameters, and tell scikit-learn's callbacks."""
        reports = Reports(self, given.X, given.y, given.sample_weight, 1 if incremental else self.max_iter)
        reports.begin()
        if self.solver == "lbfgs":
            self._fit_lbfgs(spec, rows, reports)
        else:
            held_out = self._given_validation(given, spec.dtype)
            self._fit_stochastic(spec, rows, held_out, reports, incremental=incremental)
        self._check_finite()
        reports.end()

    def _row_weights(self, given: Given, targets: Any) -> Any:
        """The weight of each training row, (rows,) float64 or None."""
        if given.sample_weight is None:
            return None
        return check_sample_weight(given.sample_weight, targets, dtype=numpy.float64)

    def _computing_dtype(self, X: Any, home: Choice) -> str:
        """float32 or float64. On the host L-BFGS computes in float64, as SciPy does, whatever the data."""
        if self.dtype is not None:
            return self.dtype
        return "float64" if self.solver == "lbfgs" and is_host(home) else floating_dtype(X, home.backend)

    def _rows(self, X: Any, targets: Any, weight: Any, dtype: str) -> Rows:
        """Everything at home, in the dtype of the network."""
        home = self._here
        Y = home.backend.asarray(targets if targets.ndim == 1 else targets.astype(dtype))
        weight = None if weight is None else home.backend.asarray(weight.astype(dtype))
        return Rows(bring(X, dtype, home), Y, weight)

    def _given_validation(self, given: Given, dtype: str) -> Rows | None:
        """The user's own validation rows."""
        if given.X_val is None:
            return None
        X = check_X(self, given.X_val)
        y = check_array(given.y_val, accept_sparse="csr", ensure_2d=False, dtype=None, input_name="y_val")
        self._check_known(y)
        targets = self._encode(y)
        check_consistent_length(X, targets)
        weight = given.sample_weight_val
        weight = None if weight is None else check_sample_weight(weight, targets, dtype=numpy.float64)
        return self._rows(X, targets, weight, dtype)

    def _outputs(self, X: Any) -> tuple[Array, Choice]:
        """Network outputs (rows, out) at home, and the home."""
        check_is_fitted(self)
        home = self._find_home(X)
        if (checked := self._checked_outputs(X, home)) is not None:
            return checked, home
        X = check_X(self, X)
        # On the host NumPy promotes dtypes, and lets rows of float64 have predictions in float64.
        if not (is_host(home) and on_host(X)):
            X = bring(X, str(self.coefs_[0].dtype), home)
        if (step := self._predictor(X, home)) is not None:
            return step.forward(X), home
        coefs, intercepts = self._weights(home)
        activations = each_activation(self.activation, len(coefs) - 1)
        logits = network_logits(home.ops, X, coefs, intercepts, activations)
        return outputs(home.ops, logits, LOSSES[self.out_activation_]), home

    def _checked_outputs(self, X: Any, home: Choice) -> Array | None:
        """Outputs for many rows, where a step looks at the values on its way; None where it cannot, or found NaN."""
        if type(X) is not numpy.ndarray or X.ndim != 2 or (step := self._predictor(X, home)) is None:
            return None
        forward = getattr(step, "forward_finite", None)
        return None if forward is None else forward(check_X(self, X, finite=False))

    def _predictor(self, X: Any, home: Choice) -> Step | None:
        """For many rows, a compiled step: the one that trained, or a new one."""
        # By the rows alone, so that an estimator and its copy, which has no step, predict the same bits.
        if X.shape[0] < MANY or issparse(X) or not hasattr(home.backend, "compile_step"):
            return None
        if dtype_name(X.dtype) != str(self.coefs_[0].dtype):
            return None
        spec = network_of(self)
        own = self._own_step(home)
        if own is not None and replace(own.spec, rule=spec.rule, seed=spec.seed) == spec:
            return own
        step = make_step(spec, home.backend)
        values = [array for pair in zip(*self._weights(home), strict=True) for array in pair]
        step.params.update(zip(spec.parameter_names, values, strict=True))
        return step

    def _check_finite(self) -> None:
        if not all(numpy.isfinite(array).all() for array in (*self.coefs_, *self.intercepts_)):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                "preprocessed."
            )
