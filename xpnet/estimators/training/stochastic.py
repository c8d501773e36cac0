"""Training by epochs of minibatches, with scikit-learn's rules."""

from collections.abc import Sequence
from functools import partial

import numpy
from numpy.random import RandomState
from sklearn.exceptions import ConvergenceWarning

from xpnet.distributed import distributed_batches
from xpnet.distributed.ranks import using
from xpnet.estimators.fit import Fit
from xpnet.estimators.fitted import FittedMLP
from xpnet.estimators.settings import FitSettings
from xpnet.estimators.training.epochs import Score, Validation, run_epoch, run_epochs
from xpnet.estimators.training.resume import Checkpoints
from xpnet.estimators.training.stopping import (
    AdaptiveLearningRate,
    Counters,
    Improvement,
    LearningRateState,
    Measure,
    StopWhenStalled,
    negative_training_loss,
    negative_validation_loss,
)
from xpnet.estimators.training.verbose import Verbose
from xpnet.estimators.training.warnings import warn_caller
from xpnet.models.network import trainable_on
from xpnet.training import (
    Batches,
    Callback,
    InMemory,
    TimeLimit,
    Training,
    TrainingState,
    train,
)
from xpnet.training.callbacks import CallbackLike
from xpnet.training.orders import ChainedOrders
from xpnet.training.streamed import SourceRows, Streamed
from xpnet.typing import RandomGenerator

AUTO_BATCH_SIZE = 200
"""Rows of a minibatch with ``batch_size="auto"``, as in scikit-learn."""


def train_by_epochs(
    fit: Fit,
    score: Score,
    *,
    callbacks: Sequence[CallbackLike],
    resume_from: TrainingState | None,
) -> None:
    """Train until scikit-learn's rules, a callback or ``max_iter`` end the fit.

    score : measures outputs of the network on validation rows
    callbacks, resume_from : of the user
    """
    settings = fit.settings
    network = fit.fitted.network
    progress = fit.fitted.progress
    ranks = fit.split.ranks
    is_main_process = ranks.rank == 0
    progress.begin_epochs(scored=settings.stops_early, parameters=network.values)
    progress.n_iter_ = 0
    with using(ranks), network.lock.training():
        validation = None
        if fit.split.validation is not None:
            validation = Validation(fit.split.validation, network, ranks, score)
        batches = make_batches(fit, validation)
        measure = choose_measure(settings, validation)
        rules = make_rules(
            settings, fit.fitted, measure, fit.checkpoints, silent=not is_main_process
        )
        early_end = EarlyEnd()
        try:
            train(
                trainable_on(network, fit.split.training),
                batches,
                epochs=1 if settings.incremental else settings.max_iter,
                schedule=fit.fitted.learning_rate,
                callbacks=[*rules, early_end, *callbacks, *fit.checkpoints.writers],
                history=network.history,
                lock=network.lock,
                resume_from=fit.checkpoints.latest or resume_from,
            )
        except KeyboardInterrupt:
            if ranks.several or callbacks:
                raise
            warn_caller("Training interrupted by user.")
        else:
            if is_main_process and not (early_end.is_early or settings.incremental or callbacks):
                warn_of_no_convergence(settings.max_iter)
    draw_orders_of_one_batch(fit)
    if settings.stops_early:
        network.load_values(progress.best_parameters)


def draw_orders_of_one_batch(fit: Fit) -> None:
    """Draw an order for each epoch where one batch has all rows, which needs none.

    scikit-learn draws them, so that a generator that several fits share gives the same numbers to
    the fits after this one.
    """
    settings = fit.settings
    random_state = fit.fitted.random_state
    training = fit.split.training
    is_shared = settings.seed is None or isinstance(settings.seed, RandomState)
    if not (is_shared and settings.shuffle) or isinstance(training, SourceRows):
        return
    count = fit.split.ranks.count(training.count)
    if (settings.batch_size or AUTO_BATCH_SIZE) < count:
        return
    assert random_state is not None
    order = numpy.arange(count)
    for _ in range(fit.fitted.progress.n_iter_):
        random_state.shuffle(order)


def make_batches(fit: Fit, validation: Validation | None) -> Batches:
    """Return the batches of an epoch, over all processes."""
    settings = fit.settings
    training = fit.split.training
    random_state = fit.fitted.random_state
    assert random_state is not None
    count = fit.split.ranks.count(training.count)
    size = settings.batch_size or AUTO_BATCH_SIZE
    if size > count and settings.batch_size is not None:
        warn_caller(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
        )
    kind = InMemory
    rng: RandomGenerator = ChainedOrders(random_state, count)
    if isinstance(training, SourceRows):
        kind = Streamed
        rng = training.orders(random_state)
    runs_epochs_singly = training.weight is not None or settings.max_grad_norm is not None
    batches = kind(
        training,
        batch_size=min(size, count),
        shuffle=settings.shuffle,
        rng=rng,
        measure=None if validation is None else validation.loss,
        run_epoch=partial(run_epoch, max_grad_norm=settings.max_grad_norm),
        run_epochs=None if runs_epochs_singly else run_epochs,
    )
    return distributed_batches(batches)


def make_rules(
    settings: FitSettings,
    fitted: FittedMLP,
    measure: Measure,
    checkpoints: Checkpoints,
    *,
    silent: bool,
) -> list[Callback]:
    """Make the callbacks that apply scikit-learn's rules.

    silent : whether another process prints
    """
    progress = fitted.progress
    learning_rate = fitted.learning_rate
    improvement = Improvement(
        progress,
        measure,
        tol=settings.tol,
        patience=settings.patience,
        parameters=fitted.network.values,
    )
    adaptive = None
    stopping: Callback = StopWhenStalled(improvement)
    if learning_rate.schedule == "adaptive":
        adaptive = AdaptiveLearningRate(improvement, learning_rate)
        stopping = adaptive
    rules: list[Callback] = [
        improvement,
        stopping,
        Counters(progress),
        LearningRateState(learning_rate, progress),
    ]
    # With checkpoints these are always there: a fit that goes on has the callbacks that it began
    # with.
    keeps_state = checkpoints.start is not None
    if settings.time_limit is not None or keeps_state:
        rules.append(TimeLimit(settings.time_limit))
    if settings.verbose or keeps_state:
        rules.append(Verbose(improvement, adaptive, silent=silent or not settings.verbose))
    if checkpoints.start is not None:
        rules.append(checkpoints.start)
    return rules


def choose_measure(settings: FitSettings, validation: Validation | None) -> Measure:
    """Return the function that measures how good an epoch is."""
    if settings.monitored == "training loss":
        return negative_training_loss
    if settings.monitored == "validation loss":
        return negative_validation_loss
    assert validation is not None
    return validation.score


def warn_of_no_convergence(max_iter: int) -> None:
    """Warn, as scikit-learn does, that the epochs have ended before the training stalled."""
    warn_caller(
        f"Stochastic Optimizer: Maximum iterations ({max_iter}) reached and the "
        "optimization hasn't converged yet.",
        ConvergenceWarning,
    )


class EarlyEnd(Callback):
    """Notes whether a callback has ended a training before its last epoch.

    Attributes: is_early, whether one has
    """

    transactional = True

    def __init__(self) -> None:
        self.is_early: bool = False

    def train_end(self, training: Training) -> None:
        """Note whether a callback has stopped the training."""
        self.is_early = training.stop
