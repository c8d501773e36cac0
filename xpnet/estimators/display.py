"""The loss curve as a picture, in the manner of scikit-learn's displays."""

from collections.abc import Sequence
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from xpnet.estimators.private import check_matplotlib_support


class LossCurveDisplay:
    """Training loss, and validation loss where there is one, epoch by epoch.

    loss_curve, validation_loss_curve : one number an epoch
    name : of the estimator, for the legend

    After ``plot``: ``ax_``, ``figure_`` and ``lines_`` (matplotlib's).
    """

    def __init__(
        self, *, loss_curve: Sequence[float], validation_loss_curve: Sequence[float] = (), name: str | None = None
    ) -> None:
        self.loss_curve, self.validation_loss_curve, self.name = loss_curve, validation_loss_curve, name

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the curves of a fitted estimator with ``loss_curve_``, xpnet's or scikit-learn's.

        ax : axes to draw on; None for new ones
        name : for the legend; None for the estimator's class
        kwargs : for matplotlib's ``plot``
        returns the display

        Raises NotFittedError before ``fit``, AttributeError for an estimator that was fitted without epochs (L-BFGS),
        ImportError without matplotlib.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        display = cls(
            loss_curve=estimator.loss_curve_,
            validation_loss_curve=getattr(estimator, "validation_loss_curve_", ()),
            name=type(estimator).__name__ if name is None else name,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the curves.

        ax : axes to draw on; None for new ones; name : for the legend; kwargs : for matplotlib's ``plot``
        returns the display itself

        Raises ImportError without matplotlib.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        from matplotlib import pyplot

        self.ax_ = pyplot.subplots()[1] if ax is None else ax
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
