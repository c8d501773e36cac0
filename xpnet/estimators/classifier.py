"""The classifier."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Self

import numpy
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer, label_binarize
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import unique_labels

from xpnet.dispatch import current_ranks
from xpnet.errors import InputError
from xpnet.estimators.base import MLP, is_stochastic
from xpnet.estimators.holding import like_input
from xpnet.estimators.inputs import Given, Rows
from xpnet.estimators.private import StrOptions, check_partial_fit_first_call, fit_context
from xpnet.models.placement import on_host, to_host
from xpnet.estimators.ranks import balanced_weights
from xpnet.ops import Array


@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, MLP):
    """A multi-layer perceptron that classifies, trained on cross-entropy: scikit-learn's MLPClassifier, and more.

    With the same ``random_state`` it finds the same parameters. Arrays of any library are computed on where they live.

    hidden_layer_sizes : units of each hidden layer, or a number for one layer
    activation : a name in ``xpnet.ops.ACTIVATIONS`` (``"relu"``, ``"tanh"``, ...), or a sequence, one for each hidden layer
    class_weight : weights by label, or ``"balanced"`` for rows / (classes * rows of the class); times sample_weight

    The other parameters are those of :class:`~xpnet.estimators.parameters.Parameters`.

    After ``fit``: ``classes_``, ``coefs_``, ``intercepts_``, ``loss_``, ``best_loss_``, ``loss_curve_``,
    ``validation_scores_``, ``best_validation_score_``, ``validation_loss_curve_``, ``n_iter_``, ``t_``, ``n_layers_``,
    ``n_outputs_``, ``out_activation_``, ``n_features_in_``, ``feature_names_in_``, and ``backend_``, ``device_``,
    ``dtype_``, ``why_``. ``coefs_`` and ``intercepts_`` are NumPy arrays wherever the network lives; assigning others
    to them changes the predictions.
    """

    hidden_layer_sizes: Any = (100,)
    activation: str | Sequence[str] = "relu"
    _: KW_ONLY
    class_weight: Mapping[Any, float] | str | None = None

    loss: ClassVar[str] = "log_loss"
    _numeric_targets: ClassVar[bool] = False
    _sparse_labels = None
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **MLP._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), Mapping, None],
    }

    @available_if(is_stochastic)
    @fit_context(prefer_skip_nested_validation=True)
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
        """One epoch over these rows.

        X, y, sample_weight, X_val, y_val, sample_weight_val : as for ``fit``
        classes : (classes,), every label there will ever be; needed at the first call
        returns the estimator itself

        With ``early_stopping`` each call notes a validation score; when it has not improved for ``n_iter_no_change``
        calls the best parameters so far are put back. Raises ValueError for labels that are not among the classes.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit, which never sees all rows. Compute weights "
                "with sklearn.utils.class_weight.compute_class_weight and pass them as a dictionary."
            )
        given = Given(X, y, sample_weight, X_val, y_val, sample_weight_val)
        check_partial_fit_first_call(self, classes)
        self._train(given, incremental=True)
        return self

    def predict(self, X: Any) -> Any:
        """The most probable label of each row; for several labels a row, those more probable than not.

        X : (rows, features)
        returns labels (rows,), or an indicator matrix (rows, classes); an array of X's library where labels are numbers

        Raises NotFittedError before ``fit``, ValueError for other features, MixedArraysError for another library.
        """
        outputs, backend = self._outputs(X), self._fitted.backend
        xp = backend.xp
        if self._several_labels():
            return self._indicators(like_input(xp.astype(outputs > 0.5, xp.int64), X, backend))
        chosen = xp.argmax(outputs, axis=1) if outputs.shape[1] > 1 else xp.astype(outputs[:, 0] > 0.5, xp.int64)
        if on_host(X) or self.classes_.dtype.kind not in "iufb":
            # With a single class there is an output for another, which was never seen.
            return self.classes_[numpy.minimum(backend.to_numpy(chosen), len(self.classes_) - 1)]
        return xp.take(backend.asarray(self.classes_), chosen)

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class.

        X : (rows, features)
        returns (rows, classes), in the order of ``classes_``, an array of X's library; raises as ``predict`` does
        """
        outputs, backend = self._outputs(X), self._fitted.backend
        if self.n_outputs_ == 1:
            positive = outputs[:, 0]
            outputs = backend.xp.stack([1 - positive, positive], axis=1)
        return like_input(outputs, X, backend)

    def predict_log_proba(self, X: Any) -> Any:
        """The logarithm of ``predict_proba``.

        X : (rows, features)
        returns (rows, classes), an array of X's library; raises as ``predict`` does
        """
        probabilities = self.predict_proba(X)
        return numpy.log(probabilities) if on_host(X) else self._fitted.backend.xp.log(probabilities)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy of the predictions for X; for several labels a row, of rows with all of them right.

        X : (rows, features), y : (rows,) or (rows, classes), sample_weight : (rows,); any library
        """
        return accuracy_score(to_host(y), to_host(self.predict(X)), sample_weight=to_host(sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _learn_targets(self, y: Any, *, first: bool, incremental: bool) -> None:
        if first:
            self._sparse_labels = LabelBinarizer().fit(y) if issparse(y) else None
        elif (y.ndim == 2) != self._several_labels():
            raise ValueError("The object was not fitted with multilabel input.")
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self.classes_ = LabelBinarizer().fit(y).classes_
            return
        labels = unique_labels(y)
        if self.warm_start and set(labels) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {labels}"
            )
        self._check_known(labels)

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

    def _row_weights(self, given: Given, targets: Any) -> Any:
        weight = super()._row_weights(given, targets)
        if self.class_weight is None:
            return weight
        weights = self._weights_by_class(targets)
        by_class = compute_sample_weight(weights, given.y) if len(targets) else numpy.zeros(0)
        return by_class if weight is None else weight * by_class

    def _weights_by_class(self, targets: Any) -> Any:
        """``class_weight``, as numbers where ranks with rows of their own must agree on what is balanced."""
        if self.class_weight != "balanced" or not current_ranks().own_data:
            return self.class_weight
        if targets.ndim == 2 and targets.shape[1] > 1:
            raise InputError(
                "Ranks with rows of their own do not balance several labels a row. Pass class_weight as a dictionary."
            )
        return balanced_weights(targets.ravel(), self.classes_)

    def _count_outputs(self, targets: Any) -> int:
        return len(self.classes_) if targets.ndim == 1 else targets.shape[1]

    def _output_activation(self, targets: Any) -> str:
        return "softmax" if targets.ndim == 1 else "logistic"

    def _several_labels(self) -> bool:
        """Whether a row may have several labels, or none."""
        return self.out_activation_ == "logistic" and self.n_outputs_ > 1

    def _indicators(self, labels: Array) -> Any:
        """An indicator matrix, sparse where the one of ``fit`` was."""
        return labels if self._sparse_labels is None else self._sparse_labels.inverse_transform(labels)

    def _score_encoded(self, targets: Any, outputs: Any, sample_weight: Any) -> float:
        if self.out_activation_ == "softmax":
            right = outputs.argmax(axis=1) == targets
        else:
            right = ((outputs > 0.5) == (targets > 0.5)).all(axis=1)
        return float(numpy.average(right, weights=sample_weight))

    def _strata(self, rows: Rows) -> Any:
        return to_host(rows.Y) > 0.5 if self.n_outputs_ == 1 else None
