"""Estimators in skl2onnx: how it converts them, alone or in a pipeline."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from xpnet.errors import InputError


class Convertible:
    """An estimator that skl2onnx converts, also at the end of a pipeline, without registration."""

    def onnx_parser(self) -> Callable[..., None]:
        """Name the outputs for skl2onnx, which then knows the estimator's options.

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
        shapes = self.onnx_shape_calculator()
        convert = self.onnx_converter()
        update_registered_converter(kind, f"Xpnet{kind.__name__}", shapes, convert, options=options)
        return lambda scope=None, inputs=None: None

    def onnx_shape_calculator(self) -> Callable[..., None]:
        """Name the function that finds the shapes of the outputs.

        Returns
        -------
        callable
            Skl2onnx's function for scikit-learn's estimator of that name.
        """
        from skl2onnx.common import shape_calculator

        kind = type(self).__name__.removeprefix("MLP").lower()
        return getattr(shape_calculator, f"calculate_linear_{kind}_output_shapes")

    def onnx_converter(self: Any) -> Callable[..., None]:
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

        convertible = ("relu", "tanh", "logistic", "identity")
        targets = self._record_of_fit().targets
        own_loss = self.out_activation_ == "exp" or len(targets.loss_numbers) > 1
        if self.activation not in convertible or own_loss or self.members > 1:
            raise InputError(
                f"A network must have one of {', '.join(convertible)} in all layers, "
                "scikit-learn's losses and one member for skl2onnx; got another one. Call "
                "export_onnx, which writes all networks but those of several targets of classes."
            )
        kind = type(self).__name__.removeprefix("MLP").lower()
        return getattr(multilayer_perceptron, f"convert_sklearn_mlp_{kind}")

    @property
    def _label_binarizer(self: Any) -> SimpleNamespace:
        """Return the kind of the labels, as skl2onnx reads it from scikit-learn's classifier."""
        several = self.n_outputs_ > 1 and self.out_activation_ == "logistic"
        return SimpleNamespace(y_type_="multilabel-indicator" if several else "multiclass")
