"""The loss curve as a picture, in the manner of scikit-learn's displays."""

from collections.abc import Sequence
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted


class LossCurveDisplay:
    """The loss curve as a picture: training loss, and validation loss where there is one, epoch by epoch.

    Parameters
    ----------
    loss_curve : sequence of float
        The training loss of each epoch.
    validation_loss_curve : sequence of float, default ()
        The validation loss of each epoch.
    name : str, optional
        The estimator's name, for the legend.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        Their figure.
    lines_ : list of matplotlib.lines.Line2D
        The curves.

    Examples
    --------
    >>> import xpnet
    >>> from sklearn.datasets import load_iris
    >>> model = xpnet.MLPClassifier(learning_rate_init=0.05, max_iter=500, random_state=0)
    >>> display = xpnet.LossCurveDisplay.from_estimator(model.fit(*load_iris(return_X_y=True)))
    >>> [line.get_label() for line in display.lines_]
    ['MLPClassifier (training)']
    """

    def __init__(
        self, *, loss_curve: Sequence[float], validation_loss_curve: Sequence[float] = (), name: str | None = None
    ) -> None:
        self.loss_curve, self.validation_loss_curve, self.name = loss_curve, validation_loss_curve, name

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the curves of a fitted estimator.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
            Xpnet's or scikit-learn's, with ``loss_curve_``.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; None for new ones.
        name : str, optional
            A name for the legend; None for the estimator's class.
        **kwargs : dict
            What matplotlib's ``plot`` takes.

        Returns
        -------
        LossCurveDisplay
            The display.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        AttributeError
            For an estimator that was fitted without epochs (L-BFGS).
        ImportError
            Without matplotlib.
        """
        check_is_fitted(estimator)
        display = cls(
            loss_curve=estimator.loss_curve_,
            validation_loss_curve=getattr(estimator, "validation_loss_curve_", ()),
            name=type(estimator).__name__ if name is None else name,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on; None for new ones.
        name : str, optional
            A name for the legend; None for that of the display.
        **kwargs : dict
            What matplotlib's ``plot`` takes.

        Returns
        -------
        LossCurveDisplay
            The display itself.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        if ax is None:
            try:
                from matplotlib import pyplot
            except ImportError as error:
                raise ImportError("A loss curve is drawn by matplotlib. Install it: pip install matplotlib") from error
            ax = pyplot.subplots()[1]
        self.ax_ = ax
        self.figure_ = self.ax_.figure
        name = self.name if name is None else name
        curves = {"training": self.loss_curve, "validation": self.validation_loss_curve}
        self.lines_ = [self._draw(what, curve, name, kwargs) for what, curve in curves.items() if len(curve)]
        self.ax_.set(xlabel="Epoch", ylabel="Loss")
        self.ax_.legend()
        return self

    def _draw(self, what: str, curve: Sequence[float], name: str | None, kwargs: dict[str, Any]) -> Any:
        label = what if name is None else f"{name} ({what})"
        return self.ax_.plot(range(1, len(curve) + 1), curve, **{"label": label, **kwargs})[0]
