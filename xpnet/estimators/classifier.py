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
from xpnet.estimators.parameters import with_kept_signature
from xpnet.estimators.private import StrOptions, check_partial_fit_first_call, fit_context
from xpnet.estimators.ranks import balanced_weights
from xpnet.models.placement import on_host, to_host
from xpnet.ops import Array


@with_kept_signature
@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, MLP):
    """A multi-layer perceptron that classifies: scikit-learn's MLPClassifier, faster, and with more to set.

    It minimises cross-entropy plus an L2 penalty. With the same ``random_state`` it finds the same parameters as
    scikit-learn's. Arrays of any library are computed on where they live, and come back as arrays of that library.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        Units of each hidden layer, or of the only one.
    activation : str or sequence of str, default "relu"
        A name in ``xpnet.ops.ACTIVATIONS`` (``"relu"``, ``"tanh"``, ...): one for all hidden layers, or one for each.
    solver : {"adam", "sgd", "adamw", "lbfgs"}, default "adam"
        How the loss is minimised: ``"adam"`` (Kingma, Ba, 2015), ``"sgd"``, gradient descent with momentum,
        ``"adamw"``, Adam with decoupled weight decay (Loshchilov, Hutter, 2019), or ``"lbfgs"``, which takes all rows
        at once.
    alpha : float, default 1e-4
        Strength of the L2 penalty, alpha / 2 sum ||W||^2 / (rows of a batch).
    batch_size : int or "auto", default "auto"
        Rows of a minibatch; ``"auto"`` is min(200, rows). Not for ``"lbfgs"``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        Schedule of ``"sgd"``: ``"invscaling"`` is learning_rate_init / t ** power_t, t the rows seen; ``"adaptive"``
        divides by 5 whenever ``n_iter_no_change`` epochs bring no improvement.
    learning_rate_init : float, default 1e-3
        The learning rate of the first epoch. Not for ``"lbfgs"``.
    power_t : float, default 0.5
        Exponent of ``"invscaling"``.
    max_iter : int, default 200
        Epochs at most; iterations for ``"lbfgs"``.
    shuffle : bool, default True
        Whether each epoch has a new order of the rows.
    random_state : int, numpy.random.RandomState or None, default None
        Where weights, validation split, orders and dropout are drawn from. An int gives the same fit each time.
    tol : float, default 1e-4
        Training ends once ``n_iter_no_change`` epochs in a row improve by less than this.
    verbose : bool, default False
        Print the loss of each epoch.
    warm_start : bool, default False
        Begin ``fit`` with the parameters of the last one.
    momentum : float, default 0.9
        Momentum of ``"sgd"``, in [0, 1].
    nesterovs_momentum : bool, default True
        Look ahead along the velocity (Nesterov), with ``"sgd"``.
    early_stopping : bool, default False
        Hold out rows and end training by the score on them; the best parameters are kept.
    validation_fraction : float, default 0.1
        The share of the rows that ``early_stopping`` holds out, in (0, 1), unless ``fit`` is given ``X_val``.
    beta_1 : float, default 0.9
        Decay of the mean of the gradients in Adam, in [0, 1).
    beta_2 : float, default 0.999
        Decay of the mean of their squares, in [0, 1).
    epsilon : float, default 1e-8
        Keeps Adam's division from zero.
    n_iter_no_change : int, default 10
        Epochs without improvement before training ends, or the adaptive learning rate falls.
    max_fun : int, default 15000
        Evaluations of the loss at most, for ``"lbfgs"``.
    dropout : float or sequence of float, default 0.0
        Probability with which a hidden unit is left out in training; one for all hidden layers, or one for each.
    weight_decay : float, default 0.01
        With ``"adamw"`` every update shrinks all parameters by learning rate times this; ``alpha`` stays.
    max_grad_norm : float or None, default None
        Gradients with a larger Euclidean norm are scaled down to it (Pascanu, Mikolov, Bengio, 2013).
    backend : str, Backend or None, default None
        What computes; None computes where the arrays of ``fit`` live.
    dtype : {"float32", "float64"} or None, default None
        In which precision to compute; None takes that of the data.
    checkpoint : str, Path or None, default None
        A folder. A fit that was killed goes on when ``fit`` is called again with the same data and parameters, to the
        bits it would have had. Fits with other data or parameters may share the folder.
    class_weight : dict, "balanced" or None, default None
        Weights by label, or rows / (classes * rows of the class); they multiply ``sample_weight``.

    Attributes
    ----------
    classes_ : numpy.ndarray, shape (classes,)
        The labels, in the order of the columns of ``predict_proba``.
    coefs_ : list of numpy.ndarray, shapes (fan_in, fan_out)
        Weights, layer by layer. Assigning others changes the predictions.
    intercepts_ : list of numpy.ndarray, shapes (fan_out,)
        Biases, layer by layer.
    loss_ : float
        The loss of the last epoch.
    best_loss_ : float or None
        The lowest one; None with ``early_stopping``.
    loss_curve_ : list of float
        The loss of each epoch.
    validation_scores_ : list of float or None
        Accuracy on the rows held out, after each epoch; None without ``early_stopping``.
    best_validation_score_ : float or None
        The highest one.
    validation_loss_curve_ : list of float
        The loss on validation rows after each epoch, without the penalty.
    n_iter_ : int
        Epochs or iterations made.
    t_ : int
        Rows seen in training.
    n_layers_ : int
        Layers, input and output counted.
    n_outputs_ : int
        Outputs.
    out_activation_ : str
        Name of the output activation.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : numpy.ndarray of str
        Their names, where X was a data frame.
    backend_, device_, dtype_ : str
        Where the network lives, and its precision.
    why_ : str
        Which backend and which training step run, and why.

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
        self._refuse_early_stopping()
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
        if sample_weight is None and _are_whole_numbers(true, found):
            return float((true == found).mean())  # what follows takes as long as some epochs of a small network
        return accuracy_score(true, found, sample_weight=to_host(sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = tags.input_tags.sparse = True
        return tags

    def _learn_targets(self, y: Any, *, first: bool, incremental: bool) -> None:
        if first:
            self._sparse_labels = LabelBinarizer().fit(y) if issparse(y) else None
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
        weight = None if given.sample_weight is None else super()._row_weights(given, targets)
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


def _classes_of(y: Any) -> Any:
    """The distinct labels, sorted. Raises ValueError for what are no labels of a classifier.

    Whole numbers always are. Where there are many, scikit-learn may warn, so that it is asked; where they repeat, that
    would take as long as some epochs of a small network.
    """
    if y.ndim == 1 and y.dtype.kind in "iub":
        found = numpy.unique(y)
        if 2 * len(found) < len(y):
            return found
    return LabelBinarizer().fit(y).classes_


def _are_whole_numbers(true: Any, found: Any) -> bool:
    """Whether these are labels of as many rows that can be compared at once."""
    alike = type(true) is type(found) is numpy.ndarray and true.shape == found.shape and true.ndim == 1
    return alike and true.size > 0 and true.dtype.kind in "iu" and found.dtype.kind in "iu"
