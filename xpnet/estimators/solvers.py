"""The two ways to train: epochs of minibatches, and L-BFGS."""

import warnings
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from xpnet.backend import NetworkSpec, Step
from xpnet.estimators.epochs import epoch_of
from xpnet.estimators.initial import Orders, initial_weights
from xpnet.estimators.inputs import Rows
from xpnet.estimators.lbfgs import Objective, minimise
from xpnet.estimators.optimizer import Optimizer
from xpnet.estimators.parameters import Parameters
from xpnet.estimators.placement import Placement
from xpnet.estimators.private import check_optimize_result
from xpnet.estimators.reports import Reports
from xpnet.estimators.stopping import EpochEnd, Validation
from xpnet.training import Training, run


@dataclass(eq=False, repr=False)
class Solvers(Placement, Parameters):
    """An estimator's training, once its rows are ready."""

    @abstractmethod
    def _score_encoded(self, targets: Any, outputs: Any, sample_weight: Any) -> float:
        """The estimator's score from encoded targets and network outputs, NumPy's."""

    @abstractmethod
    def _strata(self, rows: Rows) -> Any:
        """What the validation split keeps in proportion: (rows, ...), NumPy's, or None."""

    def _begin(self, spec: NetworkSpec) -> None:
        """Forget what was fitted before and draw weights."""
        self.coefs_, self.intercepts_ = initial_weights(spec, self._random_state)
        self.n_layers_ = len(spec.widths)
        self.n_iter_ = self.t_ = 0
        self._moved = False
        if self.solver != "lbfgs":
            self._count_anew()

    def _count_anew(self) -> None:
        """No epochs have been made."""
        self.loss_curve_: list[float] = []
        self.validation_loss_curve_: list[float] = []
        self._no_improvement_count = 0
        self.validation_scores_: list[float] | None = None
        self.best_loss_: float | None = None
        self.best_validation_score_: float | None = None

    def _expect(self) -> None:
        """Be ready to note scores, or losses, whichever decides when training ends."""
        if not hasattr(self, "loss_curve_"):
            self._count_anew()
        if self.early_stopping and getattr(self, "validation_scores_", None) is None:
            self.validation_scores_, self.best_validation_score_, self.best_loss_ = [], -numpy.inf, None
            self._keep_best()
        elif not self.early_stopping and self.best_loss_ is None:
            self.best_loss_, self.validation_scores_, self.best_validation_score_ = numpy.inf, None, None

    def _prepare(self, spec: NetworkSpec, rows: Rows, *, keep: bool) -> Step:
        """A step at home that holds the estimator's parameters. keep : go on with the optimizer there is."""
        home = self._here
        if not (keep and hasattr(self, "_optimizer") and self._optimizer.solver == self.solver):
            self._optimizer = self._new_optimizer(spec)
        step = self._optimizer.ready(spec, home.backend, sparse=issparse(rows.X))
        self._optimizer.load(self.coefs_, self.intercepts_)
        self._export()
        self.why_ = f"backend {home.backend.name} ({home.reason}); {step.why}"
        self._note_home()
        return step

    def _new_optimizer(self, spec: NetworkSpec) -> Optimizer:
        # A draw that scikit-learn does not make: only where dropout has made the numbers others already.
        seed = int(self._random_state.randint(2**31)) if spec.dropout else 0
        schedule = self.learning_rate if self.solver == "sgd" else "constant"
        return Optimizer(self.solver, spec.rule, seed, self.learning_rate_init, schedule, self.power_t)

    def _fit_stochastic(
        self, spec: NetworkSpec, rows: Rows, held_out: Rows | None, reports: Reports, *, incremental: bool
    ) -> None:
        step = self._prepare(spec, rows, keep=incremental)
        if held_out is None and self.early_stopping:
            rows, held_out = self._split(rows)
        self._expect()
        validation = None if held_out is None else Validation(held_out, self._here, step, self._score_encoded)
        self.n_iter_ = 0
        epochs = 1 if incremental else self.max_iter
        training = Training(step, rows.count, epochs, rng=Orders(self._random_state))
        try:
            self._run(training, rows, validation, EpochEnd(self, reports, validation))
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
        else:
            if not (training.stop or incremental):
                self._warn_of_max_iter()
        if self.early_stopping and (training.stop or not incremental):
            self._optimizer.load(*self._best)
        self._export()

    def _run(self, training: Training, rows: Rows, validation: Validation | None, epoch_end: EpochEnd) -> None:
        batchwise = rows.weight is not None or issparse(rows.X)
        run(
            training,
            rows.X,
            rows.Y,
            batch_size=self._batch_rows(rows.count),
            shuffle=self.shuffle,
            schedule=lambda epoch, losses: self._optimizer.learning_rate,
            sample_weight=rows.weight,
            validate=None if validation is None else validation.loss,
            callbacks=[epoch_end],
            epoch=epoch_of(training.step, self._here, max_grad_norm=self.max_grad_norm, batchwise=batchwise),
        )

    def _split(self, rows: Rows) -> tuple[Rows, Rows]:
        """Rows to train on and rows held out, as scikit-learn splits them."""
        trained, held_out = train_test_split(
            numpy.arange(rows.count),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._strata(rows),
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return rows.take(trained, self._here), rows.take(held_out, self._here)

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

    def _fit_lbfgs(self, spec: NetworkSpec, rows: Rows, reports: Reports) -> None:
        step = self._prepare(spec, rows, keep=False)
        objective = Objective(step, self._here.backend, rows)

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

    def _export(self) -> None:
        """Make ``coefs_`` and ``intercepts_`` what the step holds now."""
        self.coefs_, self.intercepts_ = self._optimizer.export(self._here.backend)

    def _keep_best(self) -> None:
        self._export()
        self._best = [array.copy() for array in self.coefs_], [array.copy() for array in self.intercepts_]
