"""Other libraries meet the estimators here: scikit-learn's warnings, skl2onnx, matplotlib."""

import inspect
import warnings
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from xpnet.errors import InputError

CALLING = ("xpnet", "sklearn", "joblib")
"""Packages whose modules call estimators for their caller."""


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn with the line that called xpnet, in the name of scikit-learn's module.

    Filters that silence scikit-learn's own networks (``module="sklearn"``) silence this, too.
    """
    frame: Any = inspect.currentframe()
    while (
        frame.f_back is not None
        and str(frame.f_globals.get("__name__")).partition(".")[0] in CALLING
    ):
        frame = frame.f_back
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        "sklearn.neural_network",
        registry,
    )


class Convertible:
    """An estimator that skl2onnx converts, alone or at the end of a pipeline, without being told of it."""

    def onnx_parser(self) -> Callable[..., Any]:
        """Let skl2onnx name the outputs, as for its own kinds; from here on it knows the estimator's options.

        Returns
        -------
        callable
            A parser that leaves the names to skl2onnx.
        """
        from skl2onnx import update_registered_converter

        kind = type(self)
        labels = {
            "zipmap": [True, False, "columns"],
            "output_class_labels": [False, True],
            "nocl": [True, False],
        }
        options = labels if kind.__name__ == "MLPClassifier" else {}
        shapes, convert = self.onnx_shape_calculator(), self.onnx_converter()
        update_registered_converter(kind, f"Xpnet{kind.__name__}", shapes, convert, options=options)
        return lambda scope=None, inputs=None: None

    def onnx_shape_calculator(self) -> Callable[..., Any]:
        """Name the function that finds the shapes of the outputs.

        Returns
        -------
        callable
            Skl2onnx's function for scikit-learn's estimator of that name.
        """
        from skl2onnx.common import shape_calculator

        kind = type(self).__name__.removeprefix("MLP").lower()
        return getattr(shape_calculator, f"calculate_linear_{kind}_output_shapes")

    def onnx_converter(self: Any) -> Callable[..., Any]:
        """Name the function that makes operators of the estimator.

        Returns
        -------
        callable
            Skl2onnx's converter for scikit-learn's estimator of that name.

        Raises
        ------
        InputError
            For activations and losses that it does not know.
        """
        from skl2onnx.operator_converters import multilayer_perceptron

        known = ("relu", "tanh", "logistic", "identity")
        own_loss = getattr(self, "out_activation_", None) == "exp" or len(self._loss_numbers()) > 1
        if self.activation not in known or own_loss or self.members > 1:
            raise InputError(
                f"skl2onnx converts networks with one of {', '.join(known)} in all layers, scikit-learn's losses and "
                "one member; export_onnx writes any network but those of several targets of classes."
            )
        kind = type(self).__name__.removeprefix("MLP").lower()
        return getattr(multilayer_perceptron, f"convert_sklearn_mlp_{kind}")

    @property
    def _label_binarizer(self: Any) -> SimpleNamespace:
        """What of scikit-learn's classifier skl2onnx reads besides public attributes: of what kind the labels are."""
        several = self.n_outputs_ > 1 and self.out_activation_ == "logistic"
        return SimpleNamespace(y_type_="multilabel-indicator" if several else "multiclass")


def axes_for(ax: Any) -> Any:
    """Return the axes that a display draws on: those given, or new ones. Raises ImportError without matplotlib."""
    if ax is None:
        from matplotlib import pyplot

        return pyplot.subplots(layout="constrained")[1]
    return ax


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
        self,
        *,
        loss_curve: Sequence[float],
        validation_loss_curve: Sequence[float] = (),
        name: str | None = None,
    ) -> None:
        self.loss_curve, self.validation_loss_curve, self.name = (
            loss_curve,
            validation_loss_curve,
            name,
        )

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, name: str | None = None, **kwargs: Any
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
        self.ax_ = axes_for(ax)
        self.figure_ = self.ax_.figure
        name = self.name if name is None else name
        self.lines_ = []
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
