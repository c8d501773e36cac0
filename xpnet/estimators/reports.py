"""scikit-learn's callbacks (``set_callbacks``), told of a fit and of each of its iterations."""

from typing import Any


class Reports:
    """The fit is a task; each epoch, or each iteration of L-BFGS, is a task within it.

    X, y : as the user gave them, so that a monitor can score on them
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, max_iter: int) -> None:
        self.estimator = estimator
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        self.given = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.wanted = bool(getattr(estimator, "_skl_callbacks", None))
        # One more than there are iterations: L-BFGS only knows afterwards that one was the last.
        self.fit = estimator._init_callback_context(max_subtasks=max_iter + (estimator.solver == "lbfgs"))
        self.iteration: Any = None

    def begin(self) -> None:
        """The fit and its first iteration begin."""
        self.fit.call_on_fit_task_begin(**self.given)
        if self.wanted:
            self._next()

    def iteration_ends(self, *, last: bool = False) -> bool:
        """An iteration is done, and unless it is the last one the next begins; returns whether a callback says stop."""
        if not self.wanted:
            return False
        stop = self.iteration.call_on_fit_task_end(**self.given, reconstruction_attributes=self._fitted)
        self.iteration = None
        if not (stop or last):
            self._next()
        return stop

    def end(self) -> None:
        """The fit is done; an iteration that was begun and not made ends as an empty task."""
        if self.iteration is not None:
            self.iteration.call_on_fit_task_end(estimator=self.estimator)
        self.fit.call_on_fit_task_end(**self.given, reconstruction_attributes={})

    def _next(self) -> None:
        self.iteration = self.fit.subcontext(task_name="iteration")
        self.iteration.call_on_fit_task_begin(**self.given)

    def _fitted(self) -> dict[str, Any]:
        """What makes a copy of the estimator predict as if training ended here."""
        self.estimator._export()
        return {
            "coefs_": [array.copy() for array in self.estimator.coefs_],
            "intercepts_": [array.copy() for array in self.estimator.intercepts_],
        }
