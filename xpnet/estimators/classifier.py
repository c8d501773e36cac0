"""The classifier."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar, Self

import numpy
from scipy import sparse
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer, label_binarize
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from xpnet.backend import Backend
from xpnet.backend.spec import Loss
from xpnet.dispatch import get_backend
from xpnet.errors import InputError
from xpnet.estimators.fitted import like_input
from xpnet.estimators.inputs import FitInputs, Rows
from xpnet.estimators.mlp import MLP, is_stochastic
from xpnet.estimators.parameters import (
    ARRAY_LIKE,
    COUNT,
    FRACTION,
    Parameters,
    allowing,
    with_documentation_of,
)
from xpnet.models.inputs import check_label_types, on_host, to_host
from xpnet.ops import ACTIVATIONS, Array
from xpnet.ops.losses import smoothed
from xpnet.ops.rows import targets_of


@with_documentation_of(Parameters=Parameters, Attributes=MLP)
@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, MLP):
    """A multi-layer perceptron that classifies: scikit-learn's MLPClassifier, faster, and with more to set.

    It minimises cross-entropy plus an L2 penalty. With the same ``random_state`` it finds the same parameters as
    scikit-learn's. Several targets of any number of classes, a column of ``y`` for each, are learned by one network
    that minimises the sum of their cross-entropies. Arrays of any library are computed on where they live, and come
    back as arrays of that library.

    Parameters
    ----------
    <parameters of both estimators>
    class_weight : dict, list of dict, "balanced" or None, default None
        Weights by label, or rows / (classes * rows of the class); they multiply ``sample_weight``. Of several targets a
        dict for each.
    label_smoothing : float, default 0.0
        The share of a label that is spread over all classes in training, in [0, 1); of an indicator matrix each number
        goes towards 1/2 by it. Scores and validation losses are measured on the labels as they are.

    Attributes
    ----------
    classes_ : numpy.ndarray, shape (classes,), or list of them
        The labels, in the order of the columns of ``predict_proba``; of several targets a list with those of each.
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

    hidden_layer_sizes: Any = allowing((100,), ARRAY_LIKE, COUNT)
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
        y : array, shape (rows,), (rows, classes) or (rows, targets)
            Labels, of the same library or on the host.
        sample_weight : array, shape (rows,), optional
            Weights of the rows, not negative.
        classes : array, shape (classes,), or list of them, optional
            Every label there will ever be; needed at the first call. Of several targets a list with those of each.
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
        return self._train(
            FitInputs(X, y, sample_weight, X_val, y_val, sample_weight_val, classes),
            incremental=True,
        )

    def predict(self, X: Any) -> Any:
        """Predict the most probable label of each row, of each target; of several labels a row those likelier than not.

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
        outputs, backend = self._outputs(X)
        if outputs.shape[1] > 1 and self.out_activation_ == "logistic":
            labels = like_input(backend.xp.astype(outputs > 0.5, backend.xp.int64), X, backend)
            return sparse.csr_matrix(labels) if self._sparse_labels else labels
        return self._labels(outputs, backend, host=type(X) is numpy.ndarray or on_host(X))

    def predict_proba(self, X: Any) -> Any:
        """Predict the probability of each class.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows; a data frame or lists, too.

        Returns
        -------
        array, shape (rows, classes), or list of them
            In the order of ``classes_``, of X's library; of several targets a list with those of each.

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
        if isinstance(self.classes_, list):
            return [like_input(outputs[:, one], X, backend) for one in self._targets()]
        if self.n_outputs_ == 1:
            outputs = backend.xp.concat([1 - outputs, outputs], axis=1)
        return like_input(outputs, X, backend)

    def predict_log_proba(self, X: Any) -> Any:
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows; a data frame or lists, too.

        Returns
        -------
        array, shape (rows, classes), or list of them
            In the order of ``classes_``, of X's library; of several targets a list with those of each.

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
        log = numpy.log if on_host(X) else self._fitted.backend.xp.log
        return (
            [log(of_one) for of_one in probabilities]
            if isinstance(probabilities, list)
            else log(probabilities)
        )

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Measure the accuracy of the predictions.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows.
        y : array, shape (rows,), (rows, classes) or (rows, targets)
            What is true of them.
        sample_weight : array, shape (rows,), optional
            Weights of the rows.

        Returns
        -------
        float
            The share of rows whose labels are all right, at most 1.
        """
        true, found, weight = to_host(y), to_host(self.predict(X)), to_host(sample_weight)
        plain = (
            type(true) is type(found) is numpy.ndarray
            and true.size > 0
            and true.shape == found.shape
        )
        if isinstance(self.classes_, list) or (
            plain and true.dtype.kind == found.dtype.kind in "biuU"
        ):
            right = (
                numpy.asarray(true) == found
            )  # accuracy_score takes as long as many epochs of a small network
            return float(
                numpy.average(right if right.ndim == 1 else right.all(axis=1), weights=weight)
            )
        return accuracy_score(true, found, sample_weight=weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = tags.input_tags.sparse = (
            tags.target_tags.multi_output
        ) = True
        return tags

    def _learn_targets(self, y: Any, classes: Any, *, first: bool, incremental: bool) -> None:
        if incremental:
            self._learn_classes(classes)
        if first:
            self._sparse_labels = sparse.issparse(y)
        elif (y.ndim == 2) != (self.n_outputs_ > 1 and self.out_activation_ != "softmax"):
            raise ValueError("The object was not fitted with multilabel input.")
        if hasattr(self, "classes_") and (self.warm_start or incremental):
            self._check_known(y, every=self.warm_start)
        else:
            self.classes_: Any = _classes_of(y)

    def _learn_classes(self, classes: Any) -> None:
        """Note all labels there will be at the first ``partial_fit``. Raises ValueError for others later on."""
        if classes is None:
            if not hasattr(self, "classes_"):
                raise ValueError("classes must be passed on the first call to partial_fit.")
            return
        several = isinstance(classes, list) and len(classes) > 0 and numpy.ndim(classes[0]) == 1
        for labels in classes if several else [classes]:
            check_label_types(labels, "classes")
        found = [unique_labels(labels) for labels in classes] if several else unique_labels(classes)
        known = getattr(self, "classes_", found)
        same = type(known) is type(found) and len(known) == len(found)
        if not same or not all(map(numpy.array_equal, known, found)):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {known!r}"
            )
        self.classes_ = found

    def _check_known(self, y: Any, *, every: bool = False) -> None:
        several = isinstance(self.classes_, list)
        if several and (sparse.issparse(y) or y.shape[1:] != (len(self.classes_),)):
            targets, received = len(self.classes_), f"{type(y).__name__} of shape {tuple(y.shape)}"
            raise InputError(
                f"y is an array with a column for each of {targets} targets; received {received}."
            )
        found = (
            [numpy.unique(y[:, k]) for k in range(y.shape[1])] if several else [unique_labels(y)]
        )
        for classes, labels in zip(
            self.classes_ if several else [self.classes_], found, strict=True
        ):
            if every and set(labels) != set(classes):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {classes}, `y` has {labels}"
                )
            if len(numpy.setdiff1d(labels, classes, assume_unique=True)):
                raise ValueError(
                    f"`y` has classes not in `self.classes_`. `self.classes_` has {classes}. 'y' has {labels}."
                )

    def _targets(self) -> list[slice]:
        """Return which outputs belong to each of several targets."""
        return targets_of(self._loss_numbers(), self.n_outputs_)

    def _labels(self, outputs: Array, backend: Backend, *, host: bool) -> Any:
        """Return the most probable label of each row, (rows,), or of each of several targets, (rows, targets).

        host : whether NumPy's are wanted; labels that are no numbers are in any case
        """
        xp, several, labels = backend.xp, isinstance(self.classes_, list), []
        parts = [outputs[:, one] for one in self._targets()] if several else [outputs]
        for classes, part in zip(self.classes_ if several else [self.classes_], parts, strict=True):
            best = several or part.shape[1] > 1
            chosen = xp.argmax(part, axis=1) if best else xp.astype(part[:, 0] > 0.5, xp.int64)
            if host or classes.dtype.kind not in "iufb":
                # With a single class there is an output for another, which was never seen.
                labels.append(classes[numpy.minimum(backend.to_numpy(chosen), len(classes) - 1)])
            else:
                labels.append(xp.take(backend.asarray(classes), chosen))
        if not several:
            return labels[0]
        return (numpy if isinstance(labels[0], numpy.ndarray) else xp).stack(labels, axis=1)

    def _encode(self, y: Any) -> Any:
        if isinstance(self.classes_, list):
            return numpy.hstack([y[:, [k]] == classes for k, classes in enumerate(self.classes_)])
        if y.ndim == 2:
            return label_binarize(y, classes=self.classes_) if y.shape[0] else y
        # classes_ is sorted, and holds every label of y.
        return (
            numpy.searchsorted(self.classes_, y)
            if len(self.classes_) > 2
            else (y != self.classes_[0])[:, None]
        )

    def _row_weights(self, given: FitInputs, targets: Any) -> Any:
        weight = super()._row_weights(given, targets)
        if self.class_weight is None:
            return weight
        weights: Any = self.class_weight
        if weights == "balanced" and given.ranks.own_data:  # of the rows of all ranks
            if targets.ndim == 2 and targets.shape[1] > 1:
                raise InputError(
                    "Ranks with rows of their own do not balance several labels a row. Pass class_weight as a "
                    "dictionary."
                )
            classes = self.classes_
            counts = sum(
                given.ranks.allgather(numpy.bincount(targets.ravel(), minlength=len(classes)))
            )
            weights = dict(zip(classes, counts.sum() / (len(classes) * counts), strict=True))
        by_class = compute_sample_weight(weights, given.y) if len(targets) else numpy.zeros(0)
        return by_class if weight is None else weight * by_class

    def _loss_on(self, targets: Any) -> Loss:
        if targets.ndim == 1:
            return "softmax_cross_entropy"
        return (
            "multi_softmax_cross_entropy"
            if isinstance(self.classes_, list)
            else "logistic_cross_entropy"
        )

    def _loss_numbers(self) -> tuple[float, ...]:
        classes = getattr(self, "classes_", None)
        return (
            tuple(float(k) for k, c in enumerate(classes) for _ in c)
            if isinstance(classes, list)
            else ()
        )

    def _trained_on(self, rows: Rows) -> Rows:
        """Return rows with smoothed labels, where there is ``label_smoothing``."""
        if not self.label_smoothing:
            return rows
        backend, spec = self._fitted.backend, self._fitted.spec
        like = backend.asarray(numpy.empty((0, spec.widths[-1])), dtype=spec.dtype)
        sizes = {"logistic": [2], "softmax": [spec.widths[-1]]}
        counts = (
            [len(c) for c in self.classes_ for _ in c] if isinstance(self.classes_, list) else []
        )
        return replace(
            rows,
            Y=smoothed(rows.Y, like, self.label_smoothing, sizes.get(self.out_activation_, counts)),
        )

    def _decode(self, targets: Any) -> Any:
        if isinstance(self.classes_, list):
            return self._labels(targets, get_backend("numpy"), host=True)
        if targets.ndim == 2 and targets.shape[1] > 1:
            return targets.astype(int)
        return self.classes_[targets.reshape(len(targets)).astype(int)]


def _classes_of(y: Any) -> Any:
    """Find the distinct labels, sorted; of several targets a list with those of each.

    Raises ValueError for what are no labels of a classifier. Whole numbers that repeat always are, without
    scikit-learn's look at them, which takes as long as many epochs of a small network.
    """
    whole = type(y) is numpy.ndarray and y.ndim == 1 and y.dtype.kind in "iu"
    if whole and 2 * len(found := numpy.unique(y)) < len(y):
        return found
    if not sparse.issparse(y) and y.ndim == 2:
        check_classification_targets(y)
        if type_of_target(y) == "multiclass-multioutput":
            return [numpy.unique(labels) for labels in y.T]
    return LabelBinarizer().fit(y).classes_
