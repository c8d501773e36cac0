"""The regressor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if

from xpnet.estimators.base import MLP, is_stochastic
from xpnet.estimators.holding import like_input
from xpnet.estimators.inputs import Given, Rows
from xpnet.estimators.private import StrOptions, fit_context
from xpnet.models.placement import to_host


@dataclass(eq=False, repr=False)
class MLPRegressor(RegressorMixin, MLP):
    """A multi-layer perceptron that predicts numbers: scikit-learn's MLPRegressor, and more.

    With the same ``random_state`` it finds the same parameters. Arrays of any library are computed on where they live.

    loss : ``"squared_error"``, or ``"poisson"`` (half the deviance of the prediction exp(o), for y >= 0)
    hidden_layer_sizes : units of each hidden layer, or a number for one layer
    activation : a name in ``xpnet.ops.ACTIVATIONS`` (``"relu"``, ``"tanh"``, ...), or a sequence, one for each hidden layer

    The other parameters are those of :class:`~xpnet.estimators.parameters.Parameters`, the fitted attributes those of
    :class:`~xpnet.estimators.MLPClassifier` without ``classes_``.
    """

    loss: str = "squared_error"
    hidden_layer_sizes: Any = (100,)
    activation: str | Sequence[str] = "relu"

    _numeric_targets: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **MLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    @available_if(is_stochastic)
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """One epoch over these rows.

        X, y, sample_weight, X_val, y_val, sample_weight_val : as for ``fit``
        returns the estimator itself

        With ``early_stopping`` each call notes a validation score; when it has not improved for ``n_iter_no_change``
        calls the best parameters so far are put back. Raises ValueError for data that does not fit.
        """
        self._train(Given(X, y, sample_weight, X_val, y_val, sample_weight_val), incremental=True)
        return self

    def predict(self, X: Any) -> Any:
        """The predicted numbers.

        X : (rows, features)
        returns (rows,), or (rows, outputs) for several, an array of X's library

        Raises NotFittedError before ``fit``, ValueError for other features, MixedArraysError for another library.
        """
        outputs = self._outputs(X)
        return like_input(outputs[:, 0] if outputs.shape[1] == 1 else outputs, X, self._fitted.backend)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2 of the predictions for X, the mean over outputs.

        X : (rows, features), y : (rows,) or (rows, outputs), sample_weight : (rows,); any library
        """
        return r2_score(to_host(y), to_host(self.predict(X)), sample_weight=to_host(sample_weight))

    def _learn_targets(self, y: Any, *, first: bool, incremental: bool) -> None:
        """Numbers stand for themselves."""

    def _check_known(self, y: Any) -> None:
        """Every number is known."""

    def _encode(self, y: Any) -> Any:
        y = numpy.asarray(y)
        return y[:, None] if y.ndim == 1 else y

    def _count_outputs(self, targets: Any) -> int:
        return targets.shape[1]

    def _output_activation(self, targets: Any) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _score_encoded(self, targets: Any, outputs: Any, sample_weight: Any) -> float:
        if not numpy.isfinite(outputs).all():
            return numpy.nan
        return r2_score(targets, outputs, sample_weight=sample_weight)

    def _strata(self, rows: Rows) -> None:
        return None
