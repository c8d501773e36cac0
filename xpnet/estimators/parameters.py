"""The constructor's parameters: their names and defaults are scikit-learn's, those at the end are ours."""

import warnings
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from inspect import signature
from numbers import Integral, Real
from operator import attrgetter
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_args

import numpy
from sklearn.base import BaseEstimator

from xpnet.backend import Backend, NetworkSpec, UpdateRule
from xpnet.backend.spec import Activation, Loss
from xpnet.estimators.private import CallbackSupportMixin, Interval, Options, StrOptions
from xpnet.models.checks import one_each

Estimator = TypeVar("Estimator")

STOCHASTIC = ("sgd", "adam", "adamw")

MOST_REMEMBERED = 1000
_LASTING = {bool, int, float, str, tuple, type(None), numpy.float64, numpy.int64}
"""Types of values that stay what they are."""

_found_right: set[tuple[Any, ...]] = set()
"""Parameters that have been checked: the class, the types of the values, and the values."""

_POSITIVE = Interval(Real, 0, None, closed="neither")
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
_COUNT = Interval(Integral, 1, None, closed="left")
_FRACTION = Interval(Real, 0, 1, closed="left")
_ACTIVATIONS = StrOptions(set(get_args(Activation)))


def with_kept_signature(estimator: type[Estimator]) -> type[Estimator]:
    """Class decorator: keep the constructor's signature, which scikit-learn asks for each time it clones."""
    constructor: Any = estimator.__init__
    constructor.__signature__ = signature(constructor)
    return estimator


@dataclass(eq=False, repr=False)
class Parameters(CallbackSupportMixin, BaseEstimator):
    """What both estimators can be told. The constructor only stores; ``fit`` checks.

    Each parameter is documented where ``help`` and editors look, in :class:`~xpnet.estimators.MLPClassifier`.
    """

    _: KW_ONLY
    solver: str = "adam"
    alpha: float = 0.0001
    batch_size: int | str = "auto"
    learning_rate: str = "constant"
    learning_rate_init: float = 0.001
    power_t: float = 0.5
    max_iter: int = 200
    shuffle: bool = True
    random_state: Any = None
    tol: float = 1e-4
    verbose: bool | int = False
    warm_start: bool = False
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    early_stopping: bool = False
    validation_fraction: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: float = 10
    max_fun: int = 15000
    dropout: float | Sequence[float] = 0.0
    weight_decay: float = 0.01
    max_grad_norm: float | None = None
    backend: str | Backend | None = None
    dtype: str | None = None
    checkpoint: str | PathLike[str] | None = None

    if TYPE_CHECKING:  # The subclasses have these, each in scikit-learn's order of arguments.
        hidden_layer_sizes: Any = (100,)
        activation: Any = "relu"

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", _COUNT],
        "activation": [_ACTIVATIONS, "array-like"],
        "solver": [StrOptions({"lbfgs", *STOCHASTIC})],
        "alpha": [_NOT_NEGATIVE],
        "batch_size": [StrOptions({"auto"}), _COUNT],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [_POSITIVE],
        "power_t": [_NOT_NEGATIVE],
        "max_iter": [_COUNT],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [_NOT_NEGATIVE],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [_FRACTION],
        "beta_1": [_FRACTION],
        "beta_2": [_FRACTION],
        "epsilon": [_POSITIVE],
        "n_iter_no_change": [_COUNT, Options(Real, {numpy.inf})],
        "max_fun": [_COUNT],
        "dropout": [_FRACTION, "array-like"],
        "weight_decay": [_NOT_NEGATIVE],
        "max_grad_norm": [_POSITIVE, None],
        "backend": "no_validation",
        "dtype": [StrOptions({"float32", "float64"}), None],
        "checkpoint": [str, PathLike, None],
    }

    def _validate_params(self) -> None:
        """Check every parameter, as scikit-learn does. What was found right is not checked again: a search fits many
        estimators that differ in little, and the check takes as long as some epochs of a small network.
        """
        values = attrgetter(*self._parameter_constraints)(self)
        kinds = tuple(map(type, values))
        key = type(self), kinds, values
        lasting = _LASTING.issuperset(kinds) and _hashable(values)
        if lasting and key in _found_right:
            return
        super()._validate_params()
        if lasting:
            if len(_found_right) >= MOST_REMEMBERED:
                _found_right.clear()
            _found_right.add(key)

    def _hidden_sizes(self) -> tuple[int, ...]:
        """Widths of the hidden layers. Raises ValueError unless all are positive."""
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if sizes and min(sizes) <= 0:
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return tuple(map(int, sizes))

    def _spec(self, widths: tuple[int, ...], loss: Loss, dtype: str) -> NetworkSpec:
        """The network these parameters describe."""
        hidden = len(widths) - 2
        none = isinstance(self.dropout, Real) and not self.dropout
        rates = () if none else one_each("dropout", self.dropout, hidden)
        return NetworkSpec(
            widths=widths,
            activations=one_each("activation", self.activation, hidden),
            loss=loss,
            rule=self._rule(),
            dtype=dtype,
            l2=float(self.alpha),
            l2_over_batch=True,
            dropout=rates if any(rates) else (),
        )

    def _warn_of_settings_without_effect(self) -> None:
        """A UserWarning for each number that was set and that the solver does not read."""
        stochastic = "'sgd', 'adam' or 'adamw'"
        epochs = self.solver in STOCHASTIC
        ignored = {
            "weight_decay": (self.weight_decay != Parameters.weight_decay and self.solver != "adamw", "'adamw'"),
            "checkpoint": (self.checkpoint is not None and not epochs, stochastic),
            "max_grad_norm": (self.max_grad_norm is not None and not epochs, stochastic),
        }
        for name, (told, solvers) in ignored.items():
            if told:
                reads = f"{name} has an effect with solver={solvers} alone; solver={self.solver!r} ignores it."
                warnings.warn(reads, stacklevel=4)

    def _rule(self) -> UpdateRule:
        if self.solver == "sgd":
            momentum = float(self.momentum)
            return UpdateRule("sgd", momentum=momentum, nesterov=bool(self.nesterovs_momentum and momentum))
        if self.solver == "lbfgs":
            return UpdateRule()
        decoupled = self.solver == "adamw"
        return UpdateRule(
            "adam",
            beta1=float(self.beta_1),
            beta2=float(self.beta_2),
            epsilon=float(self.epsilon),
            weight_decay=float(self.weight_decay) if decoupled else 0.0,
            epsilon_hat=not decoupled,
        )


def _hashable(values: tuple[Any, ...]) -> bool:
    """Whether there is no list, say, within a tuple."""
    try:
        hash(values)
    except TypeError:
        return False
    return True
