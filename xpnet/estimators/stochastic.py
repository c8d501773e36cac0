"""Training by epochs of minibatches, with scikit-learn's rules."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from numpy.random import RandomState
from sklearn.exceptions import ConvergenceWarning

from xpnet.distributed import distributed_batches
from xpnet.estimators.epochs import Validation, run_epoch, run_epochs
from xpnet.estimators.fit_data import FitData
from xpnet.estimators.parameters import STOCHASTIC
from xpnet.estimators.resume import Checkpoints
from xpnet.estimators.stopping import (
    AdaptiveLearningRate,
    Counters,
    Improvement,
    LearningRateState,
    Measure,
    StopWhenStalled,
    training_loss,
    validation_loss,
)
from xpnet.estimators.verbose import Verbose
from xpnet.estimators.warnings import warn_caller
from xpnet.training import (
    Batches,
    Callback,
    InMemory,
    TimeLimit,
    Training,
    TrainingState,
    train,
)
from xpnet.training.orders import ChainedOrders
from xpnet.training.streamed import SourceRows, Streamed
from xpnet.typing import RandomGenerator

if TYPE_CHECKING:
    from xpnet.estimators.mlp import MLP

AUTO_BATCH_SIZE = 200
"""Rows of a minibatch with ``batch_size="auto"``, as in scikit-learn."""


def is_stochastic(estimator: "MLP") -> bool:
    """Tell whether ``partial_fit`` exists; raise AttributeError, with the reason, where it does
    not.
    """
    if estimator.solver not in STOCHASTIC:
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. "
            f"{estimator.solver} is not stochastic."
        )
    return True


def fit_by_epochs(
    estimator: "MLP",
    data: FitData,
    random_state: RandomState,
    checkpoints: Checkpoints,
    *,
    callbacks: Sequence[Callback | Callable[[Training], None]],
    resume_from: TrainingState | None,
    incremental: bool,
) -> None:
    """Train until scikit-learn's rules, a callback or ``max_iter`` end the fit.

    callbacks, resume_from : of the user
    incremental : whether this is one epoch of ``partial_fit``
    """
    network = estimator._fitted
    record = estimator._record
    coordinator = data.coordinator
    is_scored = bool(estimator.early_stopping)
    record.begin_epochs(network.history, scored=is_scored, parameters=network.values)
    record.n_iter_ = 0
    with coordinator.active(), network.lock.training():
        validation = None
        if data.validation is not None:
            validation = Validation(estimator, data.validation, coordinator)
        batches = make_batches(estimator, data, random_state, validation)
        rules = make_rules(estimator, validation, checkpoints, silent=not coordinator.leads)
        early_end = EarlyEnd()
        try:
            train(
                network.trainable(sparse=data.is_sparse),
                batches,
                epochs=1 if incremental else estimator.max_iter,
                schedule=estimator._optimizer,
                callbacks=[*rules, early_end, *callbacks, *checkpoints.writers],
                history=network.history,
                lock=network.lock,
                resume_from=checkpoints.latest or resume_from,
            )
        except KeyboardInterrupt:
            if not coordinator.trains_alone or callbacks:
                raise
            warn_caller("Training interrupted by user.")
        else:
            if coordinator.leads and not (early_end.early or incremental or callbacks):
                warn_of_no_convergence(estimator)
    if is_scored:
        network.load_values(record.best_parameters)


def make_batches(
    estimator: "MLP", data: FitData, random_state: RandomState, validation: Validation | None
) -> Batches:
    """Return the batches of an epoch, over all processes."""
    training = data.training
    count = data.coordinator.count(training.count)
    size = AUTO_BATCH_SIZE if estimator.batch_size == "auto" else int(estimator.batch_size)
    if size > count and estimator.batch_size != "auto":
        warn_caller(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
        )
    kind = InMemory
    rng: RandomGenerator = ChainedOrders(random_state, count)
    if isinstance(training, SourceRows):
        kind = Streamed
        rng = training.orders(random_state)
    runs_epochs_singly = training.weight is not None or estimator.max_grad_norm is not None
    batches = kind(
        training,
        batch_size=min(size, count),
        shuffle=estimator.shuffle,
        rng=rng,
        measure=None if validation is None else validation.loss,
        run_epoch=partial(run_epoch, max_grad_norm=estimator.max_grad_norm),
        run_epochs=None if runs_epochs_singly else run_epochs,
    )
    return distributed_batches(batches)


def make_rules(
    estimator: "MLP", validation: Validation | None, checkpoints: Checkpoints, *, silent: bool
) -> list[Callback]:
    """Make the callbacks that apply scikit-learn's rules.

    silent : whether another process prints
    """
    record = estimator._record
    learning_rate = estimator._optimizer
    improvement = Improvement(
        record,
        make_measure(estimator, validation),
        tol=estimator.tol,
        patience=estimator.n_iter_no_change,
        parameters=estimator._fitted.values,
    )
    adaptive = None
    stopping: Callback = StopWhenStalled(improvement)
    if learning_rate.schedule == "adaptive":
        adaptive = AdaptiveLearningRate(improvement, learning_rate)
        stopping = adaptive
    rules: list[Callback] = [
        improvement,
        stopping,
        Counters(record),
        LearningRateState(learning_rate, record),
    ]
    # With checkpoints these are always there: a fit that goes on has the callbacks that it began
    # with.
    keeps_state = estimator.checkpoint is not None
    if estimator.time_limit is not None or keeps_state:
        rules.append(TimeLimit(estimator.time_limit))
    if estimator.verbose or keeps_state:
        rules.append(Verbose(improvement, adaptive, silent=silent or not estimator.verbose))
    if keeps_state:
        rules.append(checkpoints.start)
    return rules


def make_measure(estimator: "MLP", validation: Validation | None) -> Measure:
    """Return the function that tells how good an epoch is."""
    if not estimator.early_stopping:
        return training_loss
    if estimator.early_stopping == "loss":
        return validation_loss
    assert validation is not None
    return validation.score


def warn_of_no_convergence(estimator: "MLP") -> None:
    """Warn, as scikit-learn does, that the epochs have ended before the training stalled."""
    warn_caller(
        f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the "
        "optimization hasn't converged yet.",
        ConvergenceWarning,
    )


class EarlyEnd(Callback):
    """Notes whether a callback has ended a training before its last epoch.

    Attributes: early, whether one has
    """

    transactional = True

    def __init__(self) -> None:
        self.early: bool = False

    def train_end(self, training: Training) -> None:
        """Note whether a callback has stopped the training."""
        self.early = training.stop
