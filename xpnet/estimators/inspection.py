"""What a prediction is made of: shares of features, and how much a model needs each of them."""

from collections.abc import Sequence
from typing import Any, Self

import numpy
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from xpnet.estimators.inputs import check_X
from xpnet.estimators.libraries import axes_for
from xpnet.models.inputs import to_host

MOST_BARS = 20


def expected_gradients(
    estimator: Any,
    X: Any,
    background: Any,
    *,
    output: int = -1,
    samples: int = 100,
    random_state: Any = None,
) -> numpy.ndarray:
    """Divide predictions among the features: each row's shares add up to its prediction minus the background's mean.

    Gradients are averaged on straight ways from rows of the background to each row, and multiplied by the way (Erion,
    Janizek, Sturmfels, Lundberg, Lee, Improving performance of deep learning models with axiomatic attribution priors
    and expected gradients, 2021). They are what SHAP's GradientExplainer estimates.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Fitted.
    X : array, shape (rows, features)
        The rows whose predictions are explained.
    background : array, shape (background rows, features)
        Rows to compare with, such as some of the training.
    output : int, default -1
        A column of ``predict_proba``, or of ``predict`` of a regressor; of two classes -1 is the second.
    samples : int, default 100
        Ways for each row. The error of a share falls with the root of their number.
    random_state : int, numpy.random.RandomState or None, default None
        Where ways are drawn from.

    Returns
    -------
    numpy.ndarray, shape (rows, features), float64
        The shares of the features.

    Examples
    --------
    >>> import xpnet
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = xpnet.MLPRegressor(hidden_layer_sizes=10, solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0)
    >>> shares = xpnet.expected_gradients(model.fit(X, y), X[:3], X, samples=500, random_state=0)
    >>> bool(abs(shares.sum(axis=1) - (model.predict(X[:3]) - model.predict(X).mean())).max() < 10)
    True
    """
    check_is_fitted(estimator)
    X, background = (
        numpy.asarray(to_host(check_X(estimator, rows)), numpy.float64) for rows in (X, background)
    )
    stream, shares = check_random_state(random_state), numpy.zeros(X.shape)
    for _ in range(samples):
        way = X - background[stream.randint(len(background), size=len(X))]
        points = X - stream.uniform(size=(len(X), 1)) * way
        shares += way * to_host(estimator._input_gradient(points, output))
    return shares / samples


class ImportanceDisplay:
    """How much worse a model is with the values of a feature shuffled, as a picture: a bar for each feature.

    Parameters
    ----------
    importances : array, shape (features, repeats)
        How much the score falls, for each feature and each time its values were shuffled.
    feature_names : sequence of str
        Names of the features.
    score_name : str, default "score"
        What falls, for the axis.

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
        self.importances, self.feature_names, self.score_name = (
            importances,
            list(feature_names),
            score_name,
        )

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, ax: Any = None, **kwargs: Any
    ) -> Self:
        """Measure the importances on rows, and draw them.

        Parameters
        ----------
        estimator : estimator
            Any fitted estimator of scikit-learn's kind.
        X : array or data frame, shape (rows, features)
            Rows that it was not trained on.
        y : array, shape (rows,)
            What is true of them.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; None for new ones.
        **kwargs : dict
            What scikit-learn's ``permutation_importance`` takes, such as ``n_repeats`` and ``random_state``.

        Returns
        -------
        ImportanceDisplay
            The display.
        """
        from sklearn.inspection import permutation_importance  # which is slow to import

        found = permutation_importance(estimator, X, y, **kwargs)
        names = list(getattr(X, "columns", [f"x{k}" for k in range(len(found.importances))]))
        return cls(found.importances, names).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw a bar for each feature, the most important at the top; of many, the 20 most important.

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
        self.ax_ = axes_for(ax)
        self.figure_ = self.ax_.figure
        means, spread = self.importances.mean(axis=1), self.importances.std(axis=1)
        shown = numpy.argsort(means, kind="stable")[-MOST_BARS:]
        names = [
            str(self.feature_names[k]).replace("$", r"\$") for k in shown
        ]  # a dollar would begin a formula
        self.bars_ = self.ax_.barh(range(len(shown)), means[shown], xerr=spread[shown])
        self.ax_.set_yticks(range(len(shown)), names)
        self.ax_.set(xlabel=f"fall of the {self.score_name} where the column is shuffled")
        return self
