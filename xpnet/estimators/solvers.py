"""The two ways to train: epochs of minibatches, and L-BFGS."""

import warnings
from abc import abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from xpnet.dispatch import current_ranks
from xpnet.dispatch.groups import Owners, owning
from xpnet.estimators.epochs import epoch_of
from xpnet.estimators.holding import HoldsNetwork
from xpnet.estimators.initial import Orders
from xpnet.estimators.inputs import Rows
from xpnet.estimators.lbfgs import Objective, minimise
from xpnet.estimators.parameters import Parameters
from xpnet.estimators.private import check_optimize_result
from xpnet.estimators.ranks import owned, strata_of_all
from xpnet.estimators.reports import Reports
from xpnet.estimators.resuming import Resuming
from xpnet.estimators.stopping import EpochEnd, ReportEnd, Validation
from xpnet.estimators.streaming import BlockOrders, BufferedEpoch, SourceRows
from xpnet.estimators.watching import Watched
from xpnet.models import Network
from xpnet.models.placement import is_host
from xpnet.training import Callback, Training, run


class Prepared(NamedTuple):
    """All that a training needs beside its network.

    rows : to train on; held_out : the user's own, to validate on; resuming : the checkpoints, if there are to be any
    """

    rows: Rows
    held_out: Rows | None
    resuming: Resuming | None


@dataclass(eq=False, repr=False)
class Solvers(Watched, HoldsNetwork, Parameters):
    """An estimator's training, once its rows are ready."""

    @abstractmethod
    def _score_encoded(self, targets: Any, outputs: Any, sample_weight: Any) -> float:
        """The estimator's score from encoded targets and network outputs, NumPy's."""

    @abstractmethod
    def _strata(self, rows: Rows) -> Any:
        """What the validation split keeps in proportion: (rows, ...), NumPy's, or None."""

    def _count_anew(self, network: Network) -> None:
        """No epochs have been made."""
        self.loss_curve_ = network.history.loss
        self.validation_loss_curve_ = network.history.validation_loss
        self._no_improvement_count = 0
        self.validation_scores_: list[float] | None = None
        self.best_loss_: float | None = None
        self.best_validation_score_: float | None = None

    def _expect(self) -> None:
        """Be ready to note scores, or losses, whichever decides when training ends."""
        if not hasattr(self, "loss_curve_"):
            self._count_anew(self._fitted)
        if self.early_stopping and getattr(self, "validation_scores_", None) is None:
            self.validation_scores_, self.best_validation_score_, self.best_loss_ = [], -numpy.inf, None
            self._keep_best()
        elif not self.early_stopping and self.best_loss_ is None:
            self.best_loss_, self.validation_scores_, self.best_validation_score_ = numpy.inf, None, None

    def _keep_best(self) -> None:
        self._best = self._fitted.values()

    def _fit_stochastic(self, prepared: Prepared, reports: Reports, *, incremental: bool) -> None:
        network, (rows, held_out, resuming) = self._network or self._fitted, prepared
        ranks, owners = current_ranks(), None
        if held_out is None and self.early_stopping:
            rows, held_out, owners = self._split(rows) if not isinstance(rows, SourceRows) else self._hold_out(rows)
        self._expect()
        self.n_iter_ = 0
        count = ranks.count(rows.count)
        with owning(owners) if owners else nullcontext(), network.changing():
            epochs, orders = 1 if incremental else self.max_iter, self._orders(rows, count)
            training = Training(network.trainable(sparse=issparse(rows.X)), count, epochs, network.history, orders, lock=network.lock)
            self._export()
            try:
                self._run(training, Prepared(rows, held_out, resuming), reports)
            except KeyboardInterrupt:
                if ranks.several or self._watchers:
                    raise
                warnings.warn("Training interrupted by user.", stacklevel=2)
            else:
                if not (training.stop or incremental or ranks.rank or self._watchers):
                    self._warn_of_max_iter()
            finally:
                if "_watchers" in vars(self):
                    self._unwatch()
        if self.early_stopping:
            network.load_values(self._best)
        if not is_host(network.backend):  # else what is shown are the network's own arrays
            self._export()

    def _run(self, training: Training, prepared: Prepared, reports: Reports) -> None:
        network, (rows, held_out, resuming) = self._network or self._fitted, prepared
        validation = None
        if held_out is not None:
            validation = Validation(held_out, network.step_for(held_out.X), self._score_encoded)
        began_with, resume_from = (resuming.began_with, resuming.state) if resuming else (None, None)
        callbacks: list[Callback] = [EpochEnd(self, validation, began_with=began_with)]
        if reports.wanted:
            callbacks.append(ReportEnd(self, reports))
        callbacks += self._watchers
        if resuming:
            callbacks.append(resuming.callback())
        weighted = rows.weight is not None
        epoch = epoch_of(training.step, max_grad_norm=self.max_grad_norm, weighted=weighted)
        if isinstance(rows, SourceRows):
            epoch = BufferedEpoch(rows, epoch, network.backend, network.spec.dtype)
        run(
            training,
            rows.X,
            rows.Y,
            batch_size=self._batch_rows(training.rows),
            shuffle=self.shuffle,
            schedule=self._optimizer,
            sample_weight=rows.weight,
            validate=None if validation is None else validation.loss,
            callbacks=callbacks,
            resume_from=resume_from or self._resume_from,
            epoch=epoch,
        )

    def _split(self, rows: Rows) -> tuple[Rows, Rows, Owners | None]:
        """Rows to train on and rows held out, as scikit-learn splits them, and who has the first if not all do."""
        ranks, owners = current_ranks(), None
        trained, held_out = train_test_split(
            numpy.arange(ranks.count(rows.count)),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=strata_of_all(self._strata(rows)),
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        backend = self._fitted.backend
        if ranks.own_data:
            trained, owners = owned(trained, rows.count)
            held_out, _ = owned(held_out, rows.count)
        return rows.take(trained, backend), rows.take(held_out, backend), owners

    def _hold_out(self, rows: SourceRows) -> tuple[SourceRows, Rows, None]:
        """Rows of a source to train on, and rows of whole blocks that are held out."""
        network = self._fitted
        share = self.validation_fraction
        return *rows.hold_out(share, self._random_state, network.backend, network.spec.dtype), None

    def _orders(self, rows: Rows, count: int) -> Orders | BlockOrders:
        """Where the order of each epoch is drawn from."""
        if isinstance(rows, SourceRows):
            return BlockOrders(self._random_state, rows.X, rows.blocks)
        return Orders(self._random_state, count)

    def _batch_rows(self, rows: int) -> int:
        if self.batch_size == "auto":
            return min(200, rows)
        size = int(self.batch_size)
        if size > rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=2
            )
        return min(size, rows)

    def _warn_of_max_iter(self) -> None:
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't converged "
            "yet.",
            ConvergenceWarning,
            stacklevel=2,
        )

    def _fit_lbfgs(self, rows: Rows, reports: Reports) -> None:
        network = self._fitted
        with network.changing():
            objective = Objective(network, network.trainable(sparse=issparse(rows.X)), rows)

            def iteration_ends(vector: Any) -> None:
                objective.write(vector)
                if reports.iteration_ends():
                    raise StopIteration

            found = minimise(
                objective,
                max_iter=self.max_iter,
                max_fun=self.max_fun,
                tol=self.tol,
                callback=iteration_ends if reports.wanted else None,
            )
        self.n_iter_ = check_optimize_result("lbfgs", found, self.max_iter)
        self.loss_ = found.fun
        self._export()
