"""The classifier."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy
from scipy import sparse
from sklearn.metrics import accuracy_score
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if

from xpnet.backend import Backend, on_device
from xpnet.data.sources import Source
from xpnet.dispatch import get_backend
from xpnet.distributed.coordinator import Coordinator
from xpnet.estimators.fit_inputs import FitInputs, RawRows
from xpnet.estimators.fitted import like_input
from xpnet.estimators.mlp import MLP
from xpnet.estimators.parameters import EstimatorParameters
from xpnet.estimators.stochastic import is_stochastic
from xpnet.learning.labels import check_class_weights
from xpnet.learning.parameters import ARRAY_LIKE, COUNT, FRACTION, allowing, with_documentation_of
from xpnet.learning.scikit_learn import ClassifierMixin
from xpnet.learning.targets import ClassTargets, Targets, classes_of, declared_classes
from xpnet.models.inputs import is_on_host, to_host
from xpnet.ops import ACTIVATIONS
from xpnet.ops.losses import smoothed
from xpnet.ops.rows import targets_of
from xpnet.training import Callback, LabeledRows, Training
from xpnet.typing import Array, ArrayLike, Rows

if TYPE_CHECKING:
    from sklearn.utils import Tags


@with_documentation_of(Parameters=EstimatorParameters, Attributes=MLP)
@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, MLP):
    """A multi-layer perceptron classifier with the parameters of scikit-learn's, and more.

    It minimises cross-entropy plus an L2 penalty. With the same ``random_state`` it finds the same
    parameters as scikit-learn's. Several targets of any number of classes, a column of ``y`` for
    each, are learned by one network that minimises the sum of their cross-entropies. Arrays of any
    library are computed on where they live, and come back as arrays of that library.

    Parameters
    ----------
    <parameters of both estimators>
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
        those of each.
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
    _numeric_targets: ClassVar[bool] = False
    _sparse_labels = False

    @available_if(is_stochastic)
    def partial_fit(
        self,
        X: ArrayLike | Source,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        *,
        X_val: ArrayLike | Source | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        callbacks: Sequence[Callback | Callable[[Training], None]] = (),
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
        inputs = FitInputs(
            RawRows(X, y, sample_weight),
            RawRows(X_val, y_val, sample_weight_val),
            classes,
        )
        return self._train(inputs, callbacks=list(callbacks), incremental=True)

    def predict(self, X: ArrayLike | Source) -> Rows:
        """Predict the most probable label of each row and target.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows; a data frame or lists, too.

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
        outputs, backend = self._outputs(X, "predict")
        with on_device(backend):
            if outputs.shape[1] > 1 and self.out_activation_ == "logistic":
                labels = like_input(backend.xp.astype(outputs > 0.5, backend.xp.int64), X, backend)
                return sparse.csr_matrix(labels) if self._sparse_labels else labels
            return self._labels(outputs, backend, host=type(X) is numpy.ndarray or is_on_host(X))

    def predict_proba(self, X: ArrayLike | Source) -> Array | list[Array]:
        """Predict the probability of each class.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows; a data frame or lists, too.

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
        return self._probabilities(X, "predict_proba")

    def _probabilities(self, X: ArrayLike | Source, method: str) -> Array | list[Array]:
        """Return the result of `predict_proba`, for a public method of this name."""
        outputs, backend = self._outputs(X, method)
        if isinstance(self.classes_, list):
            return [like_input(outputs[:, columns], X, backend) for columns in self._targets()]
        if self.n_outputs_ == 1:
            with on_device(backend):
                outputs = backend.xp.concat([1 - outputs, outputs], axis=1)
        return like_input(outputs, X, backend)

    def predict_log_proba(self, X: ArrayLike | Source) -> Array | list[Array]:
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows; a data frame or lists, too.

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
        probabilities = self._probabilities(X, "predict_log_proba")
        log: Any = numpy.log if is_on_host(X) else self._fitted.backend.xp.log
        with self._fitted.on_device():
            if isinstance(probabilities, list):
                return [log(of_one) for of_one in probabilities]
            return log(probabilities)

    def score(
        self, X: ArrayLike | Source, y: ArrayLike, sample_weight: ArrayLike | None = None
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

        Returns
        -------
        float
            The share of rows whose labels are all right, at most 1.
        """
        labels = to_host(y)
        predicted = to_host(self.predict(X))
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

    def _learn_targets(
        self, y: numpy.ndarray, classes: ArrayLike | None, *, begins_anew: bool, incremental: bool
    ) -> Targets:
        learned = getattr(self, "classes_", None)
        if incremental:
            learned = declared_classes(classes, learned)
        if begins_anew:
            sparse_labels = sparse.issparse(y)
        elif (y.ndim == 2) != (self.n_outputs_ > 1 and self.out_activation_ != "softmax"):
            raise ValueError("The object was not fitted with multilabel input.")
        else:
            sparse_labels = self._sparse_labels
        if learned is None or not (self.warm_start or incremental):
            return ClassTargets(classes_of(y), sparse_labels)
        targets = ClassTargets(learned, sparse_labels)
        if self.warm_start:
            targets.check_same(y)
        else:
            targets.check_known(y)
        return targets

    def _adopt_targets(self, targets: Targets) -> None:
        assert isinstance(targets, ClassTargets)
        self.classes_: numpy.ndarray | list[numpy.ndarray] = targets.classes
        self._sparse_labels = targets.sparse_labels

    def _targets(self) -> list[slice]:
        """Return which outputs belong to each of several targets."""
        return targets_of(self._loss_numbers(), self.n_outputs_)

    def _labels(self, outputs: Array, backend: Backend, *, host: bool) -> Array:
        """Return the most probable label of each row, (rows,), or of each of several targets,
        (rows, targets).

        host : whether they are NumPy's; labels that are not numbers are in any case
        """
        xp = backend.xp
        if not isinstance(self.classes_, list):
            if outputs.shape[1] > 1:
                indices = xp.argmax(outputs, axis=1)
            else:  # the probability of the second of two classes
                indices = xp.astype(outputs[:, 0] > 0.5, xp.int64)
            return labels_at(indices, self.classes_, backend, host=host)
        labels = [
            labels_at(xp.argmax(outputs[:, columns], axis=1), classes, backend, host=host)
            for classes, columns in zip(self.classes_, self._targets(), strict=True)
        ]
        namespace: Any = numpy if isinstance(labels[0], numpy.ndarray) else xp
        return namespace.stack(labels, axis=1)

    def _row_weights(
        self,
        sample_weight: ArrayLike | None,
        y: numpy.ndarray,
        encoded: numpy.ndarray,
        targets: Targets,
        coordinator: Coordinator,
    ) -> numpy.ndarray | None:
        weight = super()._row_weights(sample_weight, y, encoded, targets, coordinator)
        if self.class_weight is None:
            return weight
        class_weight: object = self.class_weight
        assert isinstance(targets, ClassTargets)
        if not isinstance(targets.classes, list):
            check_class_weights(class_weight, targets.classes)
        if class_weight == "balanced" and not coordinator.has_all_rows:
            counts = coordinator.class_counts(encoded, len(targets.classes))
            balanced = counts.sum() / (len(counts) * counts)
            class_weight = dict(zip(targets.classes, balanced, strict=True))
        by_class = compute_sample_weight(class_weight, y) if len(encoded) else numpy.zeros(0)
        return by_class if weight is None else weight * by_class

    def _loss_numbers(self) -> tuple[float, ...]:
        return ClassTargets(self.classes_).loss_numbers if hasattr(self, "classes_") else ()

    def _rows_for_loss(self, rows: LabeledRows) -> LabeledRows:
        """Return rows with smoothed labels, where there is ``label_smoothing``."""
        if not self.label_smoothing:
            return rows
        backend = self._fitted.backend
        outputs = self.n_outputs_
        like = backend.asarray(numpy.empty((0, outputs)), dtype=self._fitted.spec.dtype)
        if isinstance(self.classes_, list):
            counts = [len(classes) for classes in self.classes_ for _ in classes]
        else:
            counts = {"logistic": [2], "softmax": [outputs]}[self.out_activation_]
        with on_device(backend):
            return replace(rows, Y=smoothed(rows.Y, like, self.label_smoothing, counts))

    def _decode(self, targets: numpy.ndarray) -> Array:
        if isinstance(self.classes_, list):
            return self._labels(targets, get_backend("numpy"), host=True)
        if targets.ndim == 2 and targets.shape[1] > 1:
            return targets.astype(int)
        return self.classes_[targets.reshape(len(targets)).astype(int)]


def labels_at(indices: Array, classes: numpy.ndarray, backend: Backend, *, host: bool) -> Array:
    """Return the labels of classes by their indices, (rows,).

    host : whether they are NumPy's; labels that are not numbers are in any case
    """
    if host or classes.dtype.kind not in "iufb":
        # With a single class there is an output for another, which was never seen.
        return classes[numpy.minimum(backend.to_numpy(indices), len(classes) - 1)]
    return backend.xp.take(backend.asarray(classes), indices)
