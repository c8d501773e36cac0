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
from xpnet.estimators.parameters import with_kept_signature
from xpnet.estimators.private import StrOptions, fit_context
from xpnet.models.placement import to_host


@with_kept_signature
@dataclass(eq=False, repr=False)
class MLPRegressor(RegressorMixin, MLP):
    """A multi-layer perceptron that predicts numbers: scikit-learn's MLPRegressor, faster, and with more to set.

    It minimises half the squared error, or half the Poisson deviance, plus an L2 penalty. With the same
    ``random_state`` it finds the same parameters as scikit-learn's. Arrays of any library are computed on where they
    live, and come back as arrays of that library.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, default "squared_error"
        What is minimised: half the squared error, or half the deviance of the prediction exp(o), for targets y >= 0.
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

    Attributes
    ----------
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
        R^2 on the rows held out, after each epoch; None without ``early_stopping``.
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
    xpnet.MLPClassifier : Predict labels.
    xpnet.LossCurveDisplay : Draw the loss by epoch.

    Notes
    -----
    A fit that is refused leaves the estimator as it was. Ctrl-C ends ``fit`` with a warning, and with all epochs that
    were made.

    Examples
    --------
    >>> import xpnet
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = xpnet.MLPRegressor(hidden_layer_sizes=10, solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0)
    >>> model.fit(X, y).predict(X[:2]).shape
    (2,)
    >>> model.score(X, y) > 0.5
    True
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

        Returns
        -------
        MLPRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            For data that does not fit, and with ``early_stopping``.
        """
        self._refuse_early_stopping()
        self._train(Given(X, y, sample_weight, X_val, y_val, sample_weight_val), incremental=True)
        return self

    def predict(self, X: Any) -> Any:
        """Predict numbers.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows; a data frame or lists, too.

        Returns
        -------
        array, shape (rows,) or (rows, outputs)
            The predictions, of X's library.

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
        return like_input(outputs[:, 0] if outputs.shape[1] == 1 else outputs, X, backend)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Measure R^2 of the predictions, the mean over outputs.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows.
        y : array, shape (rows,) or (rows, outputs)
            What is true of them.
        sample_weight : array, shape (rows,), optional
            Weights of the rows.

        Returns
        -------
        float
            1 for perfect predictions, 0 for those no better than the mean.
        """
        return r2_score(to_host(y), to_host(self.predict(X)), sample_weight=to_host(sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

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
