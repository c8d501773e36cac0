"""The classifier."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Self

import numpy
from scipy import sparse
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer, label_binarize
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import unique_labels

from xpnet.backend.spec import Loss
from xpnet.distributed import Ranks
from xpnet.errors import InputError
from xpnet.estimators.fitted import like_input
from xpnet.estimators.inputs import FitInputs, Rows, balanced_weights
from xpnet.estimators.libraries import with_callbacks
from xpnet.estimators.mlp import MLP, is_stochastic
from xpnet.estimators.parameters import Parameters, with_documentation_of
from xpnet.models.inputs import check_label_types, on_host, to_host
from xpnet.ops import Array


@with_documentation_of(Parameters=Parameters, Attributes=MLP)
@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, MLP):
    """A multi-layer perceptron that classifies: scikit-learn's MLPClassifier, faster, and with more to set.

    It minimises cross-entropy plus an L2 penalty. With the same ``random_state`` it finds the same parameters as
    scikit-learn's. Arrays of any library are computed on where they live, and come back as arrays of that library.

    Parameters
    ----------
    <parameters of both estimators>
    class_weight : dict, "balanced" or None, default None
        Weights by label, or rows / (classes * rows of the class); they multiply ``sample_weight``.

    Attributes
    ----------
    classes_ : numpy.ndarray, shape (classes,)
        The labels, in the order of the columns of ``predict_proba``.
    <attributes of both estimators>

    See Also
    --------
    xpnet.MLPRegressor : Predict numbers.
    xpnet.FeedforwardNeuralNet : The network without scikit-learn's contract.
    xpnet.LossCurveDisplay : Draw the loss by epoch.

    Notes
    -----
    A fit that is refused leaves the estimator as it was. Ctrl-C ends ``fit`` with a warning, and with all epochs that
    were made.

    Examples
    --------
    >>> import xpnet
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = xpnet.MLPClassifier(solver="lbfgs", alpha=0.1, max_iter=1000, random_state=0).fit(X, y)
    >>> model.predict(X[:2])
    array([0, 0])
    >>> model.score(X, y) > 0.95
    True
    """

    hidden_layer_sizes: Any = (100,)
    activation: str | Sequence[str] = "relu"
    _: KW_ONLY
    class_weight: Mapping[Any, float] | str | None = None

    loss: ClassVar[str] = "log_loss"
    _numeric_targets: ClassVar[bool] = False
    _sparse_labels = False
    _allowed: ClassVar[dict[str, Sequence[Any]]] = {**MLP._allowed, "class_weight": [{"balanced"}, Mapping, None]}

    @available_if(is_stochastic)
    @with_callbacks
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train for one epoch over these rows.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows, of any array library; a data frame or lists, too.
        y : array, shape (rows,) or (rows, classes)
            Labels, of the same library or on the host.
        sample_weight : array, shape (rows,), optional
            Weights of the rows, not negative.
        classes : array, shape (classes,), optional
            Every label there will ever be; needed at the first call.
        X_val : array or scipy sparse matrix, shape (rows, features), optional
            Rows to measure ``validation_loss_curve_`` on after each epoch.
        y_val : array, optional
            Their targets.
        sample_weight_val : array, shape (rows,), optional
            Their weights.

        Returns
        -------
        MLPClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            For data that does not fit, for labels that are not among the classes, and with ``early_stopping``.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit, which never sees all rows. Compute weights "
                "with sklearn.utils.class_weight.compute_class_weight and pass them as a dictionary."
            )
        self._train(FitInputs(X, y, sample_weight, X_val, y_val, sample_weight_val, classes), incremental=True)
        return self

    def predict(self, X: Any) -> Any:
        """Predict the most probable label of each row; for several labels a row, those more probable than not.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows; a data frame or lists, too.

        Returns
        -------
        array, shape (rows,) or (rows, classes)
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
        outputs, backend = self._outputs(X)
        xp, columns = backend.xp, outputs.shape[1]
        if columns > 1 and self.out_activation_ == "logistic":
            return self._indicators(like_input(xp.astype(outputs > 0.5, xp.int64), X, backend))
        chosen = xp.argmax(outputs, axis=1) if columns > 1 else xp.astype(outputs[:, 0] > 0.5, xp.int64)
        if type(X) is numpy.ndarray or on_host(X) or self.classes_.dtype.kind not in "iufb":
            # With a single class there is an output for another, which was never seen.
            return self.classes_[numpy.minimum(backend.to_numpy(chosen), len(self.classes_) - 1)]
        return xp.take(backend.asarray(self.classes_), chosen)

    def predict_proba(self, X: Any) -> Any:
        """Predict the probability of each class.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows; a data frame or lists, too.

        Returns
        -------
        array, shape (rows, classes)
            In the order of ``classes_``, of X's library.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        ValueError
            For other features, and for values that are not finite.
        MixedArraysError
            For arrays of another library than those of ``fit``.
        """
        outputs, backend = self._outputs(X)
        if self.n_outputs_ == 1:
            positive = outputs[:, 0]
            outputs = backend.xp.stack([1 - positive, positive], axis=1)
        return like_input(outputs, X, backend)

    def predict_log_proba(self, X: Any) -> Any:
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows; a data frame or lists, too.

        Returns
        -------
        array, shape (rows, classes)
            In the order of ``classes_``, of X's library.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        ValueError
            For other features, and for values that are not finite.
        MixedArraysError
            For arrays of another library than those of ``fit``.
        """
        probabilities = self.predict_proba(X)
        return numpy.log(probabilities) if on_host(X) else self._fitted.backend.xp.log(probabilities)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Measure the accuracy of the predictions.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows.
        y : array, shape (rows,) or (rows, classes)
            What is true of them.
        sample_weight : array, shape (rows,), optional
            Weights of the rows.

        Returns
        -------
        float
            The share of rows whose labels are all right, at most 1.
        """
        true, found = to_host(y), to_host(self.predict(X))
        plain = _are_whole_numbers(true) and _are_whole_numbers(found) and true.shape == found.shape
        if plain and sample_weight is None:
            return float((true == found).mean())  # accuracy_score takes as long as many epochs of a small network
        return accuracy_score(true, found, sample_weight=to_host(sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = tags.input_tags.sparse = True
        return tags

    def _learn_targets(self, y: Any, classes: Any, *, first: bool, incremental: bool) -> None:
        if incremental:
            self._learn_classes(classes)
        if first:
            self._sparse_labels = sparse.issparse(y)
        elif (y.ndim == 2) != self._several_labels():
            raise ValueError("The object was not fitted with multilabel input.")
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self.classes_ = _classes_of(y)
            return
        labels = unique_labels(y)
        if self.warm_start and set(labels) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {labels}"
            )
        self._check_known(labels)

    def _learn_classes(self, classes: Any) -> None:
        """Note all labels there will be at the first ``partial_fit``. Raises ValueError for others later on."""
        known = getattr(self, "classes_", None)
        if classes is None:
            if known is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            return
        check_label_types(classes, "classes")
        found = unique_labels(classes)
        if known is not None and not numpy.array_equal(known, found):
            raise ValueError(f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {known!r}")
        self.classes_ = found

    def _check_known(self, y: Any) -> None:
        labels = unique_labels(y)
        if len(numpy.setdiff1d(labels, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {labels}."
            )

    def _encode(self, y: Any) -> Any:
        if y.ndim == 2:
            return label_binarize(y, classes=self.classes_) if y.shape[0] else y
        # classes_ is sorted, and holds every label of y.
        indices = numpy.searchsorted(self.classes_, y)
        return indices if len(self.classes_) > 2 else indices[:, None]

    def _row_weights(self, given: FitInputs, targets: Any) -> Any:
        weight = None if given.sample_weight is None else super()._row_weights(given, targets)
        if self.class_weight is None:
            return weight
        weights = self._weights_by_class(targets, given.ranks)
        by_class = compute_sample_weight(weights, given.y) if len(targets) else numpy.zeros(0)
        return by_class if weight is None else weight * by_class

    def _weights_by_class(self, targets: Any, ranks: Ranks) -> Any:
        """Return ``class_weight``, as numbers where ranks with rows of their own must agree on what is balanced."""
        if self.class_weight != "balanced" or not ranks.own_data:
            return self.class_weight
        if targets.ndim == 2 and targets.shape[1] > 1:
            raise InputError(
                "Ranks with rows of their own do not balance several labels a row. Pass class_weight as a dictionary."
            )
        return balanced_weights(targets.ravel(), self.classes_, ranks)

    def _count_outputs(self, targets: Any) -> int:
        return len(self.classes_) if targets.ndim == 1 else targets.shape[1]

    def _output_activation(self, targets: Any) -> str:
        return "softmax" if targets.ndim == 1 else "logistic"

    def _loss_name(self) -> Loss:
        return "softmax_cross_entropy" if self.out_activation_ == "softmax" else "logistic_cross_entropy"

    def _several_labels(self) -> bool:
        """Say whether a row may have several labels, or none."""
        return self.out_activation_ == "logistic" and self.n_outputs_ > 1

    def _indicators(self, labels: Array) -> Any:
        """Make an indicator matrix, sparse where the one of ``fit`` was."""
        if not self._sparse_labels:
            return labels
        known = sparse.eye_array(self.n_outputs_, dtype=int, format="csr")
        return LabelBinarizer().fit(known).inverse_transform(labels)

    def _score_encoded(self, targets: Any, outputs: Any, sample_weight: Any) -> float:
        if self.out_activation_ == "softmax":
            right = outputs.argmax(axis=1) == targets
        else:
            right = ((outputs > 0.5) == (targets > 0.5)).all(axis=1)
        return float(numpy.average(right, weights=sample_weight))

    def _decode(self, targets: Any) -> Any:
        if targets.ndim == 2 and targets.shape[1] > 1:
            return targets.astype(int)
        return self.classes_[targets.reshape(len(targets)).astype(int)]

    def _strata(self, rows: Rows) -> Any:
        return to_host(rows.Y) > 0.5 if self.n_outputs_ == 1 else None


def _classes_of(y: Any) -> Any:
    """Find the distinct labels, sorted. Raises ValueError for what are no labels of a classifier.

    Whole numbers that repeat always are, without scikit-learn's look at them, which takes as long as many epochs of a
    small network.
    """
    if _are_whole_numbers(y) and 2 * len(found := numpy.unique(y)) < len(y):
        return found
    return LabelBinarizer().fit(y).classes_


def _are_whole_numbers(labels: Any) -> bool:
    """Say whether labels are a NumPy array of whole numbers, one for each of some rows."""
    return type(labels) is numpy.ndarray and labels.ndim == 1 and labels.size > 0 and labels.dtype.kind in "iu"
