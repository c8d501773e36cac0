"""The settings of a fit: the constructor's parameters, checked, with nothing left to resolve."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Literal

import numpy
from numpy.random import RandomState

from xpnet.backend import Backend, NetworkSpec, UpdateRule
from xpnet.estimators.checks import Columns
from xpnet.learning.parameters import monotonic_signs
from xpnet.learning.scikit_learn import ClassifierMixin
from xpnet.learning.targets import Targets
from xpnet.models.inputs import one_each
from xpnet.optimizers import OPTIMIZERS, Schedule
from xpnet.typing import ArrayLike

STOCHASTIC = tuple(OPTIMIZERS)
"""Solvers that train by epochs of minibatches: the optimizers."""

Monitored = Literal["training loss", "validation loss", "score"]
"""The number by which an epoch counts as better than another."""


@dataclass(frozen=True, eq=False)
class FitSettings:
    """The settings of a fit. A name that is not explained is that of a parameter.

    kind : the class of the estimator, whose name stands in messages
    incremental : whether this is ``partial_fit``
    hidden : widths of the hidden layers
    rule : the update rule of the solver
    learning_rate : a schedule, or the name of one
    batch_size : None for the default
    monitored : the number by which an epoch counts as better than another
    patience : number of epochs without improvement after which training stalls
    seed : the parameter ``random_state``
    checkpoint : the folder of checkpoints; None where the fit writes none
    order : the classes in rising order; None where they have no order
    params : parameters that change the numbers of an epoch, by name; {} without checkpoints
    """

    kind: type
    incremental: bool
    solver: str
    hidden: tuple[int, ...]
    activation: str | Sequence[str]
    dropout: float | Sequence[float]
    members: int
    alpha: float
    rule: UpdateRule
    learning_rate: str | Schedule
    learning_rate_init: float
    power_t: float
    batch_size: int | None
    shuffle: bool
    max_grad_norm: float | None
    max_iter: int
    max_fun: int
    tol: float
    monitored: Monitored
    patience: float
    validation_fraction: float
    scoring: str | Callable[..., float] | None
    time_limit: float | None
    verbose: bool
    warm_start: bool
    seed: RandomState | int | None
    backend: str | Backend | None
    dtype: str | None
    checkpoint: str | PathLike[str] | None
    params: Mapping[str, object]
    monotonic_cst: Mapping[str, int] | ArrayLike | None = None
    class_weight: object = None
    order: numpy.ndarray | None = None
    label_smoothing: float = 0.0

    @property
    def has_classes(self) -> bool:
        """Return whether targets are classes."""
        return issubclass(self.kind, ClassifierMixin)

    @property
    def makes_epochs(self) -> bool:
        """Return whether the solver trains by epochs of minibatches."""
        return self.solver in STOCHASTIC

    @property
    def stops_early(self) -> bool:
        """Return whether validation rows decide when training ends."""
        return self.monitored != "training loss"

    def network_spec(self, columns: Columns, targets: Targets, dtype: str) -> NetworkSpec:
        """Return the description of the network for the columns of X and the outputs of targets."""
        layers = len(self.hidden)
        rates = one_each("dropout", self.dropout, layers)
        return NetworkSpec(
            widths=(columns.count, *self.hidden, targets.outputs),
            activations=one_each("activation", self.activation, layers),
            loss=targets.loss,
            rule=self.rule,
            dtype=dtype,
            l2=self.alpha,
            l2_over_batch=True,
            dropout=rates if any(rates) else (),
            members=self.members,
            loss_numbers=targets.loss_numbers,
            monotonic=monotonic_signs(
                self.monotonic_cst,
                None if columns.names is None else columns.names.tolist(),
                columns.count,
            ),
        )
