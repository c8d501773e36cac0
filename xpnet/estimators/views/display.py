"""The loss curve as a picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D

    from xpnet.estimators.mlp import MLP


def axes_for(ax: "Axes | None") -> "Axes":
    """Return the axes that a display draws on: those given, or new ones. Raises ImportError without
    matplotlib.
    """
    if ax is None:
        from matplotlib import pyplot

        return pyplot.subplots(layout="constrained")[1]
    return ax


class LossCurveDisplay:
    """A plot of the training loss, and of the validation loss if there is one, by epoch.

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
        self,
        *,
        loss_curve: Sequence[float],
        validation_loss_curve: Sequence[float] = (),
        name: str | None = None,
    ) -> None:
        self.loss_curve: Sequence[float] = loss_curve
        self.validation_loss_curve: Sequence[float] = validation_loss_curve
        self.name: str | None = name

    @classmethod
    def from_estimator(
        cls, estimator: "MLP", *, ax: "Axes | None" = None, name: str | None = None, **kwargs: Any
    ) -> Self:
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
        return cls(
            loss_curve=estimator.loss_curve_,
            validation_loss_curve=getattr(estimator, "validation_loss_curve_", ()),
            name=type(estimator).__name__ if name is None else name,
        ).plot(ax=ax, **kwargs)

    def plot(self, ax: "Axes | None" = None, *, name: str | None = None, **kwargs: Any) -> Self:
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
        self.ax_: Axes = axes_for(ax)
        self.figure_: Figure | SubFigure = self.ax_.figure
        name = self.name if name is None else name
        self.lines_: list[Line2D] = []
        for what, curve in (
            ("training", self.loss_curve),
            ("validation", self.validation_loss_curve),
        ):
            if len(curve):
                drawn = {"label": what if name is None else f"{name} ({what})", **kwargs}
                self.lines_ += self.ax_.plot(range(1, len(curve) + 1), curve, **drawn)
        self.ax_.set(xlabel="Epoch", ylabel="Loss")
        self.ax_.legend()
        return self
