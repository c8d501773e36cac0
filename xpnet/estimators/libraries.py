"""Other libraries meet the estimators here: scikit-learn's callbacks and warnings, skl2onnx, matplotlib.

What scikit-learn keeps private, or has in its newest versions only, is used here alone, and may be missing.
"""

import inspect
import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, Self

import numpy
from sklearn.utils.validation import check_is_fitted

from xpnet.errors import InputError
from xpnet.training import Callback, Training

CALLING = ("xpnet", "sklearn", "joblib")
"""Packages whose modules call estimators for their caller."""

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """An estimator without callbacks."""

    def with_callbacks(method: Any) -> Any:
        """Return the method as it is."""
        return method


class Reports(Callback):
    """Tells scikit-learn's callbacks (``set_callbacks``) of a fit and its iterations; they may stop the training.

    The fit is a task. Each epoch, or each iteration of L-BFGS, is a task within it.

    given : X, y and sample_weight as the user passed them, so that a monitor can score on them
    """

    def __init__(self, estimator: Any, given: tuple[Any, Any, Any], iterations: int) -> None:
        X, y, sample_weight = given
        self.estimator, metadata = estimator, {} if sample_weight is None else {"sample_weight": sample_weight}
        self.given = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        # One more than there are iterations: L-BFGS only knows afterwards that one was the last.
        self.fit = estimator._init_callback_context(max_subtasks=iterations + 1)
        self.fit.call_on_fit_task_begin(**self.given)
        self.iteration: Any = None
        self._begin_iteration()

    def epoch_end(self, training: Training) -> None:
        """End an iteration, and begin the next unless this was the last."""
        last = training.stop or self.estimator.n_iter_ == training.epochs
        training.stop = self.iteration_ends(last=last) or training.stop

    def iteration_ends(self, *, last: bool = False) -> bool:
        """End an iteration, and begin the next unless this was the last; returns whether a callback says stop."""
        stop = self.iteration.call_on_fit_task_end(**self.given, reconstruction_attributes=self._parameters)
        self.iteration = None
        if not (stop or last):
            self._begin_iteration()
        return bool(stop)

    def fit_ends(self) -> None:
        """End the fit; an iteration that was begun and not made ends as an empty task."""
        if self.iteration is not None:
            self.iteration.call_on_fit_task_end(estimator=self.estimator)
        self.fit.call_on_fit_task_end(**self.given, reconstruction_attributes={})

    def _parameters(self) -> dict[str, Any]:
        """Return attributes that make a copy of the estimator predict as if training ended here."""
        self.estimator._hide()
        return deepcopy({name: getattr(self.estimator, name) for name in ("coefs_", "intercepts_")})

    def _begin_iteration(self) -> None:
        self.iteration = self.fit.subcontext(task_name="iteration")
        self.iteration.call_on_fit_task_begin(**self.given)


def reports_for(estimator: Any, given: tuple[Any, Any, Any], iterations: int) -> Reports | None:
    """Make reports for the callbacks that an estimator has; None where it has none."""
    watched = getattr(estimator, "_skl_callbacks", None) and hasattr(estimator, "_init_callback_context")
    return Reports(estimator, given, iterations) if watched else None


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn with the line that called xpnet, in the name of scikit-learn's module.

    Filters that silence scikit-learn's own networks (``module="sklearn"``) silence this, too.
    """
    frame: Any = inspect.currentframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in CALLING:
        frame = frame.f_back
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(
        message, category, frame.f_code.co_filename, frame.f_lineno, "sklearn.neural_network", registry
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
        labels = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False]}
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

    def onnx_converter(self) -> Callable[..., Any]:
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

        model: Any = self
        known = ("relu", "tanh", "logistic", "identity")
        own_loss = getattr(model, "out_activation_", None) == "exp" or len(model._loss_numbers()) > 1
        if model.activation not in known or own_loss or model.members > 1:
            raise InputError(
                f"skl2onnx converts networks with one of {', '.join(known)} in all layers, scikit-learn's losses and "
                "one member; export_onnx writes any network but those of several targets of classes."
            )
        kind = type(self).__name__.removeprefix("MLP").lower()
        own = getattr(multilayer_perceptron, f"convert_sklearn_mlp_{kind}")

        def convert(scope: Any, operator: Any, container: Any) -> None:
            operator.raw_operator, model = _twin(operator.raw_operator), operator.raw_operator
            own(scope, operator, container)
            operator.raw_operator = model

        return convert


def _twin(model: Any) -> Any:
    """Make scikit-learn's estimator with the parameters of this one, fitted to each kind of target once."""
    import sklearn.neural_network

    labels = numpy.arange(2) if not hasattr(model, "classes_") else model.classes_
    several = model.n_outputs_ > 1 and model.out_activation_ in ("logistic", "identity")
    targets = numpy.eye(model.n_outputs_, dtype=int) if several else labels
    widths = tuple(len(biases) for biases in model.intercepts_[:-1])
    settings = {"hidden_layer_sizes": widths, "activation": model.activation, "max_iter": 1}
    twin = getattr(sklearn.neural_network, type(model).__name__)(**settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twin.fit(numpy.zeros((len(targets), model.n_features_in_)), targets)
    twin.coefs_, twin.intercepts_ = model.coefs_, model.intercepts_
    return twin


def axes_for(ax: Any) -> Any:
    """Return the axes that a display draws on: those given, or new ones. Raises ImportError without matplotlib."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("Curves and bars are drawn by matplotlib. Install it: pip install matplotlib") from error
    return pyplot.subplots(layout="constrained")[1]


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
        self.ax_ = axes_for(ax)
        self.figure_ = self.ax_.figure
        name = self.name if name is None else name
        curves = {"training": self.loss_curve, "validation": self.validation_loss_curve}
        self.lines_ = []
        for what, curve in curves.items():
            if len(curve):
                drawn = {"label": what if name is None else f"{name} ({what})", **kwargs}
                self.lines_ += self.ax_.plot(range(1, len(curve) + 1), curve, **drawn)
        self.ax_.set(xlabel="Epoch", ylabel="Loss")
        self.ax_.legend()
        return self
