"""The constructor's parameters, what each may be, and the settings that a fit gets of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from math import inf
from numbers import Integral, Real
from os import PathLike
from typing import TYPE_CHECKING, Any

from numpy.random import RandomState
from sklearn.metrics import get_scorer

from xpnet.backend import Backend, UpdateRule
from xpnet.estimators.settings import STOCHASTIC, FitSettings, Monitored
from xpnet.estimators.training.warnings import warn_caller
from xpnet.learning.parameters import (
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
    hidden_sizes,
)
from xpnet.learning.scikit_learn import BaseEstimator
from xpnet.optimizers import OPTIMIZERS, Schedule
from xpnet.typing import ArrayLike

DECAYING = tuple(name for name in OPTIMIZERS if "weight_decay" in OPTIMIZERS[name].numbers())
"""Solvers with decoupled weight decay."""


IRRELEVANT = {"checkpoint", "verbose", "backend", "time_limit"}
"""Parameters that do not change the numbers of an epoch."""

RATES = {"constant", "invscaling", "adaptive", "cosine", "one_cycle"}
"""Names of learning rates that follow a rule."""


@dataclass(eq=False, repr=False)
class EstimatorParameters(BaseEstimator):
    """The parameters of both estimators, with scikit-learn's names and defaults; those at the end
    are xpnet's own.

    The constructor only stores; ``fit`` checks.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        Units of each hidden layer, or of the only one.
    activation : str or sequence of str, default "relu"
        A name in ``xpnet.ops.ACTIVATIONS`` (``"relu"``, ``"tanh"``, ...): one for all hidden
        layers, or one for each. Functions are not accepted, since each activation is compiled
        together with its gradient.
    solver : str, default "adam"
        How the loss is minimised: a name in ``xpnet.optimizers.OPTIMIZERS``, or ``"lbfgs"``, which
        takes all rows at once, in memory. ``"sgd"`` is gradient descent with momentum.
    alpha : float, default 1e-4
        Strength of the L2 penalty, alpha / 2 sum ||W||^2 / (rows of a batch).
    batch_size : int or "auto", default "auto"
        Rows of a minibatch; ``"auto"`` is min(200, rows). Not for ``"lbfgs"``.
    learning_rate : str or Schedule, default "constant"
        ``"cosine"`` falls to 0 over ``max_iter`` epochs, ``"one_cycle"`` rises first. A schedule of
        ``xpnet.optimizers``, or a function, takes the place of ``learning_rate_init``: before each
        epoch it is called as ``learning_rate(epoch, losses)``, with the number of epochs that this
        fit has made, 0 for the first, and the list of their training losses, and returns the
        learning rate of the epoch, as ``lambda epoch, losses: 0.01 * 0.9**epoch`` does. For
        ``"sgd"`` alone: ``"invscaling"`` is learning_rate_init / t ** power_t, t the rows seen;
        ``"adaptive"`` divides by 5 whenever ``n_iter_no_change`` epochs bring no improvement.
    learning_rate_init : float, default 1e-3
        The learning rate of the first epoch. Not for ``"lbfgs"``.
    power_t : float, default 0.5
        Exponent of ``"invscaling"``.
    max_iter : int, default 200
        Epochs at most; iterations for ``"lbfgs"``.
    shuffle : bool, default True
        Whether each epoch has a new order of the rows.
    random_state : int, numpy.random.RandomState or None, default None
        Where weights, validation split, orders and dropout are drawn from. An int gives the same
        fit each time.
    tol : float, default 1e-4
        Training ends once ``n_iter_no_change`` epochs in a row improve by less than this.
    verbose : bool, default False
        Print the loss of each epoch. A program that has set up logging gets the lines from the
        logger ``xpnet.fit``.
    warm_start : bool, default False
        Begin ``fit`` with the parameters of the last one. With ``early_stopping``, a fit that finds
        no better validation score returns to the best parameters of the fits before; scikit-learn
        changes those in place, and so has other numbers from there on.
    momentum : float, default 0.9
        Momentum of ``"sgd"``, in [0, 1].
    nesterovs_momentum : bool, default True
        Look ahead along the velocity (Nesterov), with ``"sgd"``.
    early_stopping : bool or "loss", default False
        Hold out rows and end training by the score on them, or by the loss; the best parameters are
        kept. With ``"loss"`` the scores are losses with a minus sign.
    validation_fraction : float, default 0.1
        The share of the rows that ``early_stopping`` holds out, in (0, 1), unless ``fit`` is given
        ``X_val``.
    beta_1 : float, default 0.9
        Decay of the mean of the gradients, in [0, 1), for solvers that have one.
    beta_2 : float, default 0.999
        Decay of the mean of their squares, in [0, 1); of Lion's mean of the gradients. 0.99 is
        usual with ``"rmsprop"`` and ``"lion"``.
    epsilon : float, default 1e-8
        Added to the root of the mean of squares, which divides a step.
    n_iter_no_change : int, default 10
        Epochs without improvement before training ends, or the adaptive learning rate falls.
    max_fun : int, default 15000
        Evaluations of the loss at most, for ``"lbfgs"``.
    dropout : float or sequence of float, default 0.0
        Probability with which a hidden unit is left out in training; one for all hidden layers, or
        one for each.
    weight_decay : float, default 0.01
        With solvers other than ``"sgd"``, ``"adam"`` and ``"lbfgs"`` every update shrinks all
        parameters by learning rate times this; ``alpha`` stays.
    max_grad_norm : float or None, default None
        Gradients with a larger Euclidean norm are scaled down to it (Pascanu, Mikolov, Bengio,
        2013).
    members : int, default 1
        How many networks are trained as one: they share the weights of the hidden layers, and each
        has its own factors for the inputs and the outputs of these layers, and its own last layer.
        The mean of their losses is trained, and the mean of their outputs predicted
        (Gorishniy, Kotelnikov, Babenko, TabM, ICLR 2025).
    scoring : str, callable or None, default None
        What ``early_stopping=True`` measures: a name of a scorer of scikit-learn's, such as
        ``"roc_auc"``, or a scorer; None for ``score``.
    time_limit : float or None, default None
        Seconds after which training ends behind a whole epoch. With ``checkpoint`` those of a fit
        that was cut off count, and a fit with more time goes on where less has ended it.
    backend : str, Backend or None, default None
        What computes; None computes where the arrays of ``fit`` live.
    dtype : {"float32", "float64"} or None, default None
        The dtype of parameters and results; None takes that of the data.
    checkpoint : str, Path or None, default None
        A folder. A fit that was killed goes on when ``fit`` is called again with the same data and
        parameters, to the bits it would have had. Fits with other data or parameters may share the
        folder.
    monotonic_cst : dict of str to int, array of int or None, default None
        1 for a column with which no prediction falls, -1 with which none rises, 0 for others; by
        name, or for each column. It is guaranteed by the signs of weights: for numbers, quantiles,
        counts, the second of two classes, and ordered classes; of finite numbers.
        Activations must be among those that never fall, such as relu and tanh.
    """

    _: KW_ONLY
    solver: str = allowing("adam", {"lbfgs", *STOCHASTIC})
    alpha: float = allowing(0.0001, NOT_NEGATIVE)
    batch_size: int | str = allowing("auto", {"auto"}, COUNT)
    learning_rate: str | Schedule = allowing("constant", RATES, Callable)
    learning_rate_init: float = allowing(0.001, POSITIVE)
    power_t: float = allowing(0.5, NOT_NEGATIVE)
    max_iter: int = allowing(200, COUNT)
    shuffle: bool = allowing(True, *FLAG)
    random_state: RandomState | int | None = allowing(None, *RANDOM_STATE)
    tol: float = allowing(1e-4, NOT_NEGATIVE)
    verbose: bool | int = allowing(False, Interval(Integral, 0), *FLAG)
    warm_start: bool = allowing(False, *FLAG)
    momentum: float = allowing(0.9, Interval(Real, 0, 1, closed="both"))
    nesterovs_momentum: bool = allowing(True, *FLAG)
    early_stopping: bool | str = allowing(False, *FLAG, {"loss"})
    validation_fraction: float = allowing(0.1, FRACTION)
    beta_1: float = allowing(0.9, FRACTION)
    beta_2: float = allowing(0.999, FRACTION)
    epsilon: float = allowing(1e-8, POSITIVE)
    n_iter_no_change: float = allowing(10, COUNT, {inf})
    max_fun: int = allowing(15000, COUNT)
    dropout: float | Sequence[float] = allowing(0.0, FRACTION, ARRAY_LIKE)
    weight_decay: float = allowing(0.01, NOT_NEGATIVE)
    max_grad_norm: float | None = allowing(None, POSITIVE, None)
    members: int = allowing(1, COUNT)
    scoring: str | Callable[..., float] | None = allowing(None, str, Callable, None)
    time_limit: float | None = allowing(None, POSITIVE, None)
    backend: str | Backend | None = None
    dtype: str | None = allowing(None, {"float32", "float64"}, None)
    checkpoint: str | PathLike[str] | None = allowing(None, str, PathLike, None)
    monotonic_cst: Mapping[str, int] | ArrayLike | None = allowing(None, Mapping, ARRAY_LIKE, None)

    if TYPE_CHECKING:  # The subclasses have these, each in scikit-learn's order of arguments.
        hidden_layer_sizes: Sequence[int] | int = (100,)
        activation: str | Sequence[str] = "relu"

    def _settings(self, *, incremental: bool = False) -> FitSettings:
        """Return the settings of a fit.

        incremental : whether this is ``partial_fit``

        Raises InputError or ValueError for parameters that are not allowed.
        """
        check_parameters(self)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if self.scoring is not None:
            get_scorer(self.scoring)  # raises for an unknown name
        keeps_state = self.checkpoint is not None and self.solver in STOCHASTIC and not incremental
        return FitSettings(
            kind=type(self),
            incremental=incremental,
            solver=self.solver,
            hidden=hidden_sizes(self.hidden_layer_sizes),
            activation=self.activation,
            dropout=self.dropout,
            members=int(self.members),
            alpha=float(self.alpha),
            rule=self._update_rule(),
            learning_rate=self.learning_rate,
            learning_rate_init=float(self.learning_rate_init),
            power_t=self.power_t,
            batch_size=None if self.batch_size == "auto" else int(self.batch_size),
            shuffle=bool(self.shuffle),
            max_grad_norm=self.max_grad_norm,
            max_iter=int(self.max_iter),
            max_fun=int(self.max_fun),
            tol=self.tol,
            monitored=self._monitored(),
            patience=self.n_iter_no_change,
            validation_fraction=self.validation_fraction,
            scoring=self.scoring,
            time_limit=self.time_limit,
            verbose=bool(self.verbose),
            warm_start=bool(self.warm_start),
            seed=self.random_state,
            backend=self.backend,
            dtype=self.dtype,
            checkpoint=self.checkpoint if keeps_state else None,
            monotonic_cst=self.monotonic_cst,
            params=self._params_of_numbers() if keeps_state else {},
        )

    def _monitored(self) -> Monitored:
        """Return the number by which an epoch counts as better than another."""
        if not self.early_stopping:
            return "training loss"
        return "validation loss" if self.early_stopping == "loss" else "score"

    def _params_of_numbers(self) -> dict[str, object]:
        """Return the parameters that change the numbers of an epoch, by name."""
        params = self.get_params()
        if self.monotonic_cst is None:  # checkpoints of earlier releases do not name it
            del params["monotonic_cst"]
        return {name: value for name, value in params.items() if name not in IRRELEVANT}

    def _update_rule(self) -> UpdateRule:
        """Return the update rule of the solver, with the numbers of these parameters."""
        if self.solver == "lbfgs":
            return UpdateRule()
        optimizer = OPTIMIZERS[self.solver]
        numbers: dict[str, Any] = {
            "momentum": float(self.momentum),
            "nesterov": bool(self.nesterovs_momentum and self.momentum),
            "beta1": float(self.beta_1),
            "beta2": float(self.beta_2),
            "epsilon": float(self.epsilon),
            "weight_decay": float(self.weight_decay),
        }
        used = {name: numbers[name] for name in optimizer.numbers()}
        return UpdateRule(optimizer.update, epsilon_hat=self.solver == "adam", **used)

    def _warn_of_settings_without_effect(self) -> None:
        """Warn of each parameter that was set and that the solver does not read."""
        ignored = {} if self.solver in DECAYING else {"weight_decay": DECAYING}
        if self.solver not in STOCHASTIC:
            ignored |= dict.fromkeys(("checkpoint", "max_grad_norm", "time_limit"), STOCHASTIC)
        for name, solvers in ignored.items():
            if getattr(self, name) != getattr(EstimatorParameters, name):
                warn_caller(
                    f"`{name}` must be left at its default with solver={self.solver!r}, which does "
                    f"not read it; the solvers that do are {', '.join(solvers)}."
                )
        if self.scoring is not None and self.early_stopping in (False, "loss"):
            warn_caller("scoring has an effect with early_stopping=True alone.")
