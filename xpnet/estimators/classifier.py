"""The classifier."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy
from scipy import sparse
from sklearn.metrics import accuracy_score
from sklearn.utils.metaestimators import available_if

from xpnet.backend import Backend, dtype_name, on_device
from xpnet.data.sources import RowsLike
from xpnet.estimators.mlp import MLP
from xpnet.estimators.outputs import like_input
from xpnet.estimators.parameters import EstimatorParameters
from xpnet.estimators.settings import FitSettings
from xpnet.learning.class_offsets import offsets_of_logits
from xpnet.learning.exposure import check_passed_with_validation
from xpnet.learning.fitted.record import FittedAttribute, in_copy
from xpnet.learning.ordered import (
    OrderedTargets,
    OrderParameters,
    learn_ordered,
    order_before,
    order_of,
)
from xpnet.learning.parameters import (
    ARRAY_LIKE,
    COUNT,
    FRACTION,
    allowing,
    documented_as,
    with_documentation_of,
)
from xpnet.learning.scikit_learn import ClassifierMixin
from xpnet.learning.split import InputRows
from xpnet.learning.targets import ClassTargets, HostTargets, Targets, learn_classes, learn_shares
from xpnet.models.inputs import is_on_host, to_host
from xpnet.ops import ACTIVATIONS
from xpnet.ops.offsets import with_offsets
from xpnet.training import TrainingState
from xpnet.training.callbacks import CallbackLike
from xpnet.typing import Array, ArrayLike, SparseMatrix

if TYPE_CHECKING:
    from sklearn.utils import Tags


@with_documentation_of(Parameters=EstimatorParameters, Attributes=MLP, Order=OrderParameters)
@dataclass(eq=False, repr=False)
class MLPClassifier(OrderParameters, ClassifierMixin, MLP):
    """A multi-layer perceptron classifier with the parameters of scikit-learn's, and more.

    It minimises cross-entropy plus an L2 penalty. With the same ``random_state`` it finds the same
    parameters as scikit-learn's. Several targets of any number of classes, a column of ``y`` for
    each, are learned by one network that minimises the sum of their cross-entropies. Arrays of any
    library are computed on where they live, and come back as arrays of that library.

    Parameters
    ----------
    <parameters of both estimators>
    <order of both estimators>
    class_weight : dict, list of dict, "balanced" or None, default None
        Weights by label, or rows / (classes * rows of the class); they multiply ``sample_weight``.
        Of several targets a dict for each.
    label_smoothing : float, default 0.0
        The share of a label that is spread over all classes in training, in [0, 1); of an indicator
        matrix each number goes towards 1/2 by it. Scores and validation losses are measured on the
        labels as they are.

    Attributes
    ----------
    classes_ : numpy.ndarray, shape (classes,), or list of them
        The labels, in the order of the columns of ``predict_proba``; of several targets a list with
        those of each. Ordered classes are in rising order, others are sorted.
    <attributes of both estimators>

    See Also
    --------
    xpnet.MLPRegressor : Predict numbers.
    xpnet.FeedforwardNeuralNet : The network without scikit-learn's contract.
    xpnet.LossCurveDisplay : Draw the loss by epoch.

    Notes
    -----
    A fit that is refused leaves the estimator as it was. Ctrl-C ends ``fit`` with a warning, and
    with all epochs that were made.

    Examples
    --------
    >>> import xpnet
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = xpnet.MLPClassifier(solver="lbfgs", alpha=0.1, max_iter=1000, random_state=0)
    >>> model = model.fit(X, y)
    >>> model.predict(X[:2])
    array([0, 0])
    >>> model.score(X, y) > 0.95
    True
    """

    hidden_layer_sizes: Sequence[int] | int = allowing((100,), ARRAY_LIKE, COUNT)
    activation: str | Sequence[str] = allowing("relu", set(ACTIVATIONS), ARRAY_LIKE)
    _: KW_ONLY
    class_weight: Mapping[Any, float] | list[Mapping[Any, float]] | str | None = allowing(
        None, {"balanced"}, Mapping, list, None
    )
    label_smoothing: float = allowing(0.0, FRACTION)

    loss: ClassVar[str] = "log_loss"
    classes_ = FittedAttribute[numpy.ndarray | list[numpy.ndarray]](
        "targets.classes", in_copy, doc="The labels, in the order of ``predict_proba``."
    )
    _sparse_labels = FittedAttribute[bool](
        "targets.are_sparse", doc="Whether labels come as a sparse indicator matrix."
    )

    @documented_as(MLP.fit)
    def fit(
        self,
        X: RowsLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        classes: ArrayLike | None = None,
        X_val: RowsLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        offset_val: ArrayLike | None = None,
        callbacks: Sequence[CallbackLike] = (),
        resume_from: TrainingState | None = None,
    ) -> Self:
        """Train on rows.

        Parameters
        ----------
        y : array, shape (rows,), (rows, targets) or (rows, classes)
            Labels, of several targets a column for each; for several labels a row an indicator
            matrix, sparse or dense; with ``classes`` soft labels, the probability of each class. Of
            the same library or on the host.
        classes : array, shape (classes,), optional
            The label of each column of soft labels. One-hot rows train as labels do.
        y_val : array, optional
            Their targets; labels or soft labels.
        offset : array, shape (rows,) or (rows, classes), optional
            Known parts of the logits, from -80 to 80: of two classes a number that is added to the
            logarithm of the odds of the second, such as a prior or the result of an earlier model;
            of more classes one for each, in the order of ``classes_``. The network learns the rest.
        offset_val : array, shape (validation rows,) or (validation rows, classes), optional
            The offsets of the validation rows.

        Returns
        -------
        MLPClassifier
            The estimator itself.

        Notes
        -----
        Predictions without offsets are those of an offset of 0, also of exported files. With
        several members each learns beside the offsets, and the odds of the mean of their
        probabilities are multiplied by exp(offset).

        Examples
        --------
        >>> import numpy
        >>> import xpnet
        >>> rng = numpy.random.default_rng(0)
        >>> prior = rng.normal(size=4000)
        >>> y = rng.uniform(size=4000) < 1 / (1 + numpy.exp(-(prior + 1)))
        >>> model = xpnet.MLPClassifier((), solver="lbfgs", alpha=0.0, random_state=0)
        >>> model = model.fit(numpy.zeros((4000, 1)), y, offset=prior)
        >>> float(model.intercept_.round(1)[0])
        1.0
        """
        check_passed_with_validation("offset", offset, offset_val, X_val)
        return self._train(
            InputRows(X, y, sample_weight, offset),
            InputRows(X_val, y_val, sample_weight_val, offset_val),
            classes=classes,
            callbacks=list(callbacks),
            resume_from=resume_from,
        )

    @available_if(MLP._has_partial_fit)
    def partial_fit(
        self,
        X: RowsLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        *,
        X_val: RowsLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        callbacks: Sequence[CallbackLike] = (),
    ) -> Self:
        """Train for one epoch over these rows.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows, of any array library; a data frame or lists, too.
        y : array, shape (rows,), (rows, classes) or (rows, targets)
            Labels, of the same library or on the host.
        sample_weight : array, shape (rows,), optional
            Weights of the rows, not negative.
        classes : array, shape (classes,), or list of them, optional
            Every label there will ever be; needed at the first call. Of several targets a list with
            those of each.
        X_val : array or scipy sparse matrix, shape (rows, features), optional
            Rows to measure ``validation_loss_curve_`` on after each epoch.
        y_val : array, optional
            Their targets.
        sample_weight_val : array, shape (rows,), optional
            Their weights.
        callbacks : sequence of Callback or of functions, default ()
            Callbacks of `xpnet.training`, as for ``fit``.

        Returns
        -------
        MLPClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            For data that does not fit, for labels that are not among the classes, and with
            ``early_stopping``.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit, which never sees all "
                "rows. Compute weights with sklearn.utils.class_weight.compute_class_weight and "
                "pass them as a dictionary."
            )
        return self._train(
            InputRows(X, y, sample_weight),
            InputRows(X_val, y_val, sample_weight_val),
            classes=classes,
            callbacks=list(callbacks),
            incremental=True,
        )

    def predict(self, X: RowsLike, *, offset: ArrayLike | None = None) -> Array | SparseMatrix:
        """Predict the most probable label of each row and target; of ordered classes the median.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows; a data frame or lists, too.
        offset : array, shape (rows,) or (rows, classes), optional
            Offsets, which are added to the logits, as for `fit`; None for 0.

        Returns
        -------
        array, shape (rows,), (rows, targets) or (rows, classes)
            Labels, or an indicator matrix; of X's library where labels are numbers.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        ValueError
            For other features, and for values that are not finite.
        MixedArraysError
            For arrays of another library than those of ``fit``.
        """
        outputs, backend = self._outputs_with(X, "predict", offset)
        targets = self._classes()
        on_host = type(X) is numpy.ndarray or is_on_host(X)
        with on_device(backend):
            labels = targets.labels(outputs, backend, on_host=on_host)
            if not targets.are_indicators:
                return labels
            labels = like_input(labels, X, backend)
            return sparse.csr_matrix(labels) if targets.are_sparse else labels

    def predict_proba(self, X: RowsLike, *, offset: ArrayLike | None = None) -> Array | list[Array]:
        """Predict the probability of each class.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows; a data frame or lists, too.
        offset : array, shape (rows,) or (rows, classes), optional
            Offsets, which are added to the logits, as for `fit`; None for 0.

        Returns
        -------
        array, shape (rows, classes), or list of them
            In the order of ``classes_``, of X's library; of several targets a list with those of
            each.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        ValueError
            For other features, and for values that are not finite.
        MixedArraysError
            For arrays of another library than those of ``fit``.
        """
        return self._probabilities(X, "predict_proba", offset)

    def _outputs_with(
        self, X: RowsLike, method: str, offset: ArrayLike | None
    ) -> tuple[Array, Backend]:
        """Return outputs (rows, out) of rows with offsets, and their backend, for a method."""
        outputs, backend = self._outputs(X, method)
        if offset is None:
            return outputs, backend
        targets = self._classes()
        offsets = offsets_of_logits(offset, outputs.shape[0], targets.loss, targets.outputs)
        with on_device(backend), numpy.errstate(divide="ignore"):  # of probabilities of 0
            on_backend = backend.asarray(offsets, dtype=dtype_name(outputs.dtype))
            return with_offsets(outputs, on_backend), backend

    def _probabilities(
        self, X: RowsLike, method: str, offset: ArrayLike | None
    ) -> Array | list[Array]:
        """Return the result of `predict_proba`, for a public method of this name."""
        outputs, backend = self._outputs_with(X, method, offset)
        targets = self._classes()
        if isinstance(targets.classes, list):
            return [like_input(outputs[:, columns], X, backend) for columns in targets.columns]
        if targets.outputs == 1:
            with on_device(backend):
                outputs = backend.xp.concat([1 - outputs, outputs], axis=1)
        return like_input(outputs, X, backend)

    @documented_as(predict_proba)
    def predict_log_proba(
        self, X: RowsLike, *, offset: ArrayLike | None = None
    ) -> Array | list[Array]:
        """Predict the logarithm of the probability of each class."""
        probabilities = self._probabilities(X, "predict_log_proba", offset)
        network = self._record_of_fit().network
        log: Any = numpy.log if is_on_host(X) else network.backend.xp.log
        with network.on_device():
            if isinstance(probabilities, list):
                return [log(of_one) for of_one in probabilities]
            return log(probabilities)

    def score(
        self,
        X: RowsLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        offset: ArrayLike | None = None,
    ) -> float:
        """Measure the accuracy of the predictions.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows.
        y : array, shape (rows,), (rows, classes) or (rows, targets)
            Their true labels.
        sample_weight : array, shape (rows,), optional
            Weights of the rows.
        offset : array, shape (rows,) or (rows, classes), optional
            Offsets of the rows, of which ``predict`` is asked.

        Returns
        -------
        float
            The share of rows whose labels are all right, at most 1.
        """
        labels = to_host(y)
        predicted = to_host(self.predict(X, offset=offset))
        weight = to_host(sample_weight)
        comparable = (
            type(labels) is type(predicted) is numpy.ndarray
            and labels.size > 0
            and labels.shape == predicted.shape
            and labels.dtype.kind == predicted.dtype.kind in "biuU"
        )
        if not (isinstance(self.classes_, list) or comparable):
            return accuracy_score(labels, predicted, sample_weight=weight)
        # accuracy_score takes as long as many epochs of a small network.
        correct = numpy.asarray(labels) == predicted
        correct = correct if correct.ndim == 1 else correct.all(axis=1)
        return float(numpy.average(correct, weights=weight))

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        tags.array_api_support = True
        return tags

    def _classes(self) -> ClassTargets:
        """Return the meaning of the targets."""
        targets = self._record_of_fit().targets
        assert isinstance(targets, ClassTargets)
        if isinstance(targets, OrderedTargets):
            return replace(targets, choice=self.ordered_prediction)
        return targets

    def _settings_for(self, training: InputRows, *, incremental: bool) -> FitSettings:
        settings = super()._settings_for(training, incremental=incremental)
        order = order_of(self.ordered, training.y)
        if order is None and settings.incremental and self._fitted is not None:
            order = order_before(self._fitted.targets)
        return settings if order is None else replace(settings, order=order)

    def _settings(self, *, incremental: bool = False) -> FitSettings:
        """See `EstimatorParameters._settings`."""
        return replace(
            super()._settings(incremental=incremental),
            class_weight=self.class_weight,
            label_smoothing=float(self.label_smoothing),
        )

    def _params_of_numbers(self) -> dict[str, object]:
        """See `EstimatorParameters._params_of_numbers`. What checkpoints of earlier releases do not
        name is left out where it is as it was for them.
        """
        params = super()._params_of_numbers()
        if self.ordered is None:
            del params["ordered"], params["ordered_prediction"]
        return params

    def _learn_targets(
        self,
        y: HostTargets,
        classes: ArrayLike | None,
        settings: FitSettings,
        earlier: Targets | None,
    ) -> Targets:
        assert isinstance(earlier, ClassTargets | None)
        if settings.order is not None:
            return learn_ordered(
                y,
                settings.order,
                earlier,
                columns=None if settings.incremental else classes,
                incremental=settings.incremental,
                must_be_same=settings.warm_start,
            )
        if classes is not None and not settings.incremental:
            return learn_shares(y, classes, earlier, must_be_same=settings.warm_start)
        return learn_classes(
            y,
            classes,
            earlier,
            incremental=settings.incremental,
            must_be_same=settings.warm_start,
        )
