"""The regressor."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy
from sklearn.utils.metaestimators import available_if

from xpnet.backend import dtype_name, on_device
from xpnet.backend.spec import NUMERIC_LOSSES
from xpnet.data.sources import RowsLike
from xpnet.estimators.checks import check_targets
from xpnet.estimators.mlp import MLP
from xpnet.estimators.outputs import like_input
from xpnet.estimators.parameters import EstimatorParameters
from xpnet.estimators.settings import FitSettings
from xpnet.learning.exposure import Exposures
from xpnet.learning.losses import LossParameters, NumericLoss
from xpnet.learning.parameters import (
    ARRAY_LIKE,
    COUNT,
    allowing,
    documented_as,
    with_documentation_of,
)
from xpnet.learning.regressor import LossRegressor
from xpnet.learning.split import InputRows
from xpnet.learning.targets import HostTargets, NumberTargets, Targets, dense
from xpnet.models.inputs import to_host
from xpnet.ops import ACTIVATIONS
from xpnet.training import TrainingState
from xpnet.training.callbacks import CallbackLike
from xpnet.typing import Array, ArrayLike, TargetsLike

if TYPE_CHECKING:
    from sklearn.utils import Tags


@with_documentation_of(Parameters=EstimatorParameters, Attributes=MLP, Loss=LossParameters)
@dataclass(eq=False, repr=False)
class MLPRegressor(LossRegressor[RowsLike], MLP):
    """A multi-layer perceptron regressor with the parameters of scikit-learn's, and more.

    It minimises half the squared error, or another loss of numbers, plus an L2 penalty. With the
    same ``random_state`` it finds the same parameters as scikit-learn's. Arrays of any library are
    computed on where they live, and come back as arrays of that library.

    Parameters
    ----------
    loss : str, default "squared_error"
        What is minimised. ``"squared_error"`` leads to means, ``"absolute_error"`` to medians,
        ``"huber"`` to means that outliers move little, ``"quantile"`` to quantiles. ``"poisson"``,
        for counts, ``"tweedie"``, for amounts of which some are 0, and ``"gamma"``, for positive
        ones, are deviances of the prediction exp(o).
    <parameters of both estimators>
    <loss of both estimators>

    Attributes
    ----------
    <attributes of both estimators>

    See Also
    --------
    xpnet.MLPClassifier : Predict labels.
    xpnet.LossCurveDisplay : Draw the loss by epoch.

    Notes
    -----
    A fit that is refused leaves the estimator as it was. Ctrl-C ends ``fit`` with a warning, and
    with all epochs that were made.

    Examples
    --------
    >>> import xpnet
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> settings = {"solver": "lbfgs", "alpha": 1.0, "max_iter": 2000, "random_state": 0}
    >>> model = xpnet.MLPRegressor(hidden_layer_sizes=10, **settings)
    >>> model.fit(X, y).predict(X[:2]).shape
    (2,)
    >>> model.score(X, y) > 0.5
    True
    """

    loss: str = allowing("squared_error", set(NUMERIC_LOSSES))
    hidden_layer_sizes: Sequence[int] | int = allowing((100,), ARRAY_LIKE, COUNT)
    activation: str | Sequence[str] = allowing("relu", set(ACTIVATIONS), ARRAY_LIKE)

    @documented_as(MLP.fit)
    def fit(
        self,
        X: RowsLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: RowsLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        exposure_val: ArrayLike | None = None,
        offset_val: ArrayLike | None = None,
        callbacks: Sequence[CallbackLike] = (),
        resume_from: TrainingState | None = None,
    ) -> Self:
        """Train on rows.

        Parameters
        ----------
        y : array, shape (rows,) or (rows, outputs)
            Numbers, of several targets a column for each; of the same library or on the host.
        exposure : array, shape (rows,), optional
            With a loss of logarithms (``"poisson"``, ``"gamma"``, ``"tweedie"``): numbers above 0
            that the mean of a row is proportional to, such as years insured or minutes observed.
            The network learns rates, the means for an exposure of 1.
        offset : array, shape (rows,), optional
            With these losses: numbers that are added to the logarithm of the mean; log(exposure)
            means the same as the exposure.
        exposure_val : array, shape (validation rows,), optional
            The exposures of the validation rows.
        offset_val : array, shape (validation rows,), optional
            Their offsets.

        Returns
        -------
        MLPRegressor
            The estimator itself.

        Notes
        -----
        A fit with exposures e is the fit of the targets y / e with the weights ``e^(2 - p)``, where
        p is the power of the loss: 1 for ``"poisson"`` and 2 for ``"gamma"``. The deviances are the
        same up to a term that does not depend on the network.

        Examples
        --------
        >>> import numpy
        >>> import xpnet
        >>> rng = numpy.random.default_rng(0)
        >>> years = rng.uniform(0.1, 2.0, 4000)
        >>> claims = rng.poisson(0.5 * years)
        >>> model = xpnet.MLPRegressor("poisson", (), solver="lbfgs", random_state=0)
        >>> model = model.fit(numpy.ones((4000, 1)), claims, exposure=years)
        >>> model.predict([[1.0]]).round(1), model.predict([[1.0]], exposure=[3.0]).round(1)
        (array([0.5]), array([1.5]))
        """
        rows, validation = self._rows_as_rates(
            InputRows(X, y, sample_weight),
            Exposures(exposure, offset),
            InputRows(X_val, y_val, sample_weight_val),
            Exposures(exposure_val, offset_val, "_val"),
        )
        return self._train(
            rows,
            validation,
            callbacks=list(callbacks),
            resume_from=resume_from,
        )

    def _checked_targets(self, y: TargetsLike, name: str) -> numpy.ndarray:
        return dense(check_targets(to_host(y), type(self), numeric=True, name=name))

    @available_if(MLP._has_partial_fit)
    def partial_fit(
        self,
        X: RowsLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: RowsLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        exposure_val: ArrayLike | None = None,
        offset_val: ArrayLike | None = None,
        callbacks: Sequence[CallbackLike] = (),
    ) -> Self:
        """Train for one epoch over these rows.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows, of any array library; a data frame or lists, too.
        y : array, shape (rows,) or (rows, outputs)
            Numbers, of the same library or on the host.
        sample_weight : array, shape (rows,), optional
            Weights of the rows, not negative.
        X_val : array or scipy sparse matrix, shape (rows, features), optional
            Rows to measure ``validation_loss_curve_`` on after each epoch.
        y_val : array, optional
            Their targets.
        sample_weight_val : array, shape (rows,), optional
            Their weights.
        exposure : array, shape (rows,), optional
            Exposures, as for ``fit``.
        offset : array, shape (rows,), optional
            Offsets, as for ``fit``.
        exposure_val : array, shape (validation rows,), optional
            The exposures of the validation rows.
        offset_val : array, shape (validation rows,), optional
            Their offsets.
        callbacks : sequence of Callback or of functions, default ()
            Callbacks of `xpnet.training`, as for ``fit``.

        Returns
        -------
        MLPRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            For data that does not fit, and with ``early_stopping``.
        """
        rows, validation = self._rows_as_rates(
            InputRows(X, y, sample_weight),
            Exposures(exposure, offset),
            InputRows(X_val, y_val, sample_weight_val),
            Exposures(exposure_val, offset_val, "_val"),
        )
        return self._train(
            rows,
            validation,
            callbacks=list(callbacks),
            incremental=True,
        )

    def predict(
        self,
        X: RowsLike,
        *,
        exposure: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> Array:
        """Predict numbers.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows; a data frame or lists, too.
        exposure : array, shape (rows,), optional
            Exposures, by which the predicted rates are multiplied; None for 1.
        offset : array, shape (rows,), optional
            Offsets, whose exp the rates are multiplied by; None for 0.

        Returns
        -------
        array, shape (rows,) or (rows, outputs)
            The predictions, of X's library; of several quantiles a column for each, in rising
            order.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        ValueError
            For other features, and for values that are not finite.
        MixedArraysError
            For arrays of another library than those of ``fit``.
        """
        outputs, backend = self._outputs(X, "predict")
        with on_device(backend):
            outputs = self._record_of_fit().targets.in_order(outputs, backend.xp)
            exposures = Exposures(exposure, offset)
            if not exposures.is_empty:
                factors = exposures.factors(outputs.shape[0], self._numbers().numeric_loss)
                dtype = dtype_name(outputs.dtype)
                outputs = outputs * backend.asarray(factors.astype(dtype)[:, None])
        return like_input(outputs[:, 0] if outputs.shape[1] == 1 else outputs, X, backend)

    def _targets_to_score(self, y: ArrayLike) -> numpy.ndarray:
        return self._numbers().encode(to_host(y))

    def _loss_to_score(self) -> NumericLoss:
        return self._numbers().numeric_loss

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.array_api_support = True
        return tags

    def _input_gradient(self, X: Array, output: int) -> Array:
        targets = self._numbers()
        outputs = targets.outputs
        if not targets.numeric_loss.has_several_levels or not -outputs <= output < outputs:
            return super()._input_gradient(X, output)
        network = self._record_of_fit().network
        backend = network.backend
        # Where quantiles cross, the column of a quantile differs from row to row.
        column = backend.xp.argsort(network.predict(X), axis=1)[:, output % outputs]
        columns = set(backend.to_numpy(column).tolist())
        gradients = {k: network.input_gradient(X, k) for k in columns}
        zeros = backend.xp.zeros_like(next(iter(gradients.values())))
        return sum(  # type: ignore[return-value]  # there is an array
            backend.xp.where((column == k)[:, None], gradient, zeros)
            for k, gradient in gradients.items()
        )

    def _numbers(self) -> NumberTargets:
        """Return the meaning of the targets."""
        targets = self._record_of_fit().targets
        assert isinstance(targets, NumberTargets)
        return targets

    def _learn_targets(
        self,
        y: HostTargets,
        classes: ArrayLike | None,
        settings: FitSettings,
        earlier: Targets | None,
    ) -> Targets:
        return NumberTargets(self._numeric_loss(), 1 if y.ndim == 1 else y.shape[1])

    def _with_loss_parameters(self, targets: Targets) -> Targets:
        assert isinstance(targets, NumberTargets)
        return replace(targets, numeric_loss=NumericLoss(targets.loss, self._loss_numbers()))
