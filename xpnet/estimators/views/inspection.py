"""The part of each feature in a prediction, and how much a model needs each feature."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy
from numpy.random import RandomState
from sklearn.utils import check_random_state

from xpnet.errors import InputError
from xpnet.estimators.checks import check_X
from xpnet.estimators.views.display import axes_for
from xpnet.learning.scikit_learn import BaseEstimator
from xpnet.models.inputs import to_host
from xpnet.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure, SubFigure

    from xpnet.estimators.mlp import MLP

MAX_BARS = 20
"""Number of features that a plot shows."""


def expected_gradients(
    estimator: "MLP",
    X: ArrayLike,
    background: ArrayLike,
    *,
    output: int = -1,
    samples: int = 100,
    random_state: RandomState | int | None = None,
) -> numpy.ndarray:
    """Divide each prediction among the features.

    The shares of a row add up to its prediction minus the mean prediction of the background.

    Gradients are averaged on straight paths from rows of the background to each row, and multiplied
    by the path (Erion, Janizek, Sturmfels, Lundberg, Lee, Improving performance of deep learning
    models with axiomatic attribution priors and expected gradients, 2021). SHAP's GradientExplainer
    estimates the same numbers.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        The fitted estimator.
    X : array, shape (rows, features)
        The rows whose predictions are explained.
    background : array, shape (background rows, features)
        Rows to compare with, such as some of the training.
    output : int, default -1
        A column of ``predict_proba``, or of ``predict`` of a regressor. With two classes, -1 is the
        second.
    samples : int, default 100
        Number of paths for each row. The error of a share falls with the root of this number.
    random_state : int, numpy.random.RandomState or None, default None
        Source of the paths.

    Returns
    -------
    numpy.ndarray, shape (rows, features), float64
        The shares of the features.

    Raises
    ------
    InputError
        For another estimator. The columns of a table are encoded before they enter a network, so
        that a tabular estimator has no gradient with respect to them.

    Examples
    --------
    >>> import xpnet
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> settings = {"solver": "lbfgs", "alpha": 1.0, "max_iter": 2000, "random_state": 0}
    >>> model = xpnet.MLPRegressor(hidden_layer_sizes=10, **settings)
    >>> shares = xpnet.expected_gradients(model.fit(X, y), X[:3], X, samples=500, random_state=0)
    >>> bool(abs(shares.sum(axis=1) - (model.predict(X[:3]) - model.predict(X).mean())).max() < 10)
    True
    """
    if not hasattr(estimator, "_input_gradient"):
        raise InputError(
            "`estimator` must be an MLPClassifier or an MLPRegressor; got a "
            f"{type(estimator).__name__}. Explain it with shap.KernelExplainer or "
            "ImportanceDisplay.from_estimator."
        )
    fitted = estimator._record_of_fit()
    kind = type(estimator)
    X = numpy.asarray(to_host(check_X(X, kind, fitted.columns)), numpy.float64)
    background = numpy.asarray(to_host(check_X(background, kind, fitted.columns)), numpy.float64)
    rng = check_random_state(random_state)
    shares = numpy.zeros(X.shape)
    for _ in range(samples):
        path = X - background[rng.randint(len(background), size=len(X))]
        points = X - rng.uniform(size=(len(X), 1)) * path
        with fitted.network.on_device():
            shares += path * to_host(estimator._input_gradient(points, output))
    return shares / samples


class ImportanceDisplay:
    """A plot of how much a score falls when the values of a feature are shuffled, as bars.

    Parameters
    ----------
    importances : array, shape (features, repeats)
        The fall of the score, for each feature and each repeat of the shuffling.
    feature_names : sequence of str
        Names of the features.
    score_name : str, default "score"
        Name of the score, for the axis.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        Their figure.
    bars_ : matplotlib.container.BarContainer
        The bars.

    See Also
    --------
    sklearn.inspection.permutation_importance : The numbers.

    Examples
    --------
    >>> import xpnet
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = xpnet.MLPClassifier(max_iter=500, learning_rate_init=0.01, random_state=0).fit(X, y)
    >>> display = xpnet.ImportanceDisplay.from_estimator(model, X, y, random_state=0)
    >>> display.ax_.get_yticklabels()[-1].get_text()
    'petal length (cm)'
    """

    def __init__(
        self, importances: numpy.ndarray, feature_names: Sequence[str], *, score_name: str = "score"
    ) -> None:
        self.importances = importances
        self.feature_names: list[str] = list(feature_names)
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls,
        estimator: "BaseEstimator",
        X: ArrayLike,
        y: ArrayLike,
        *,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> Self:
        """Measure the importances on rows and draw them.

        Parameters
        ----------
        estimator : estimator
            Any fitted estimator of scikit-learn's kind.
        X : array or data frame, shape (rows, features)
            Rows that it was not trained on.
        y : array, shape (rows,)
            The true labels or numbers.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; None for new ones.
        **kwargs : dict
            Arguments of scikit-learn's ``permutation_importance``, such as ``n_repeats`` and
            ``random_state``.

        Returns
        -------
        ImportanceDisplay
            The display.
        """
        from sklearn.inspection import permutation_importance  # slow to import

        result = permutation_importance(estimator, X, y, **kwargs)
        names = list(getattr(X, "columns", [f"x{k}" for k in range(len(result.importances))]))
        return cls(result.importances, names).plot(ax)

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw a bar for each of the 20 most important features, the most important at the top.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; None for new ones.

        Returns
        -------
        ImportanceDisplay
            The display itself.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        self.ax_: Axes = axes_for(ax)
        self.figure_: Figure | SubFigure = self.ax_.figure
        means = self.importances.mean(axis=1)
        spread = self.importances.std(axis=1)
        shown = numpy.argsort(means, kind="stable")[-MAX_BARS:]
        # A dollar begins a formula.
        names = [str(self.feature_names[k]).replace("$", r"\$") for k in shown]
        self.bars_: BarContainer = self.ax_.barh(
            range(len(shown)), means[shown], xerr=spread[shown]
        )
        self.ax_.set_yticks(range(len(shown)), names)
        self.ax_.set(xlabel=f"fall of the {self.score_name} where the column is shuffled")
        return self
