"""What skl2onnx asks of an estimator that is not scikit-learn's: its converters read the same fitted attributes."""

from collections.abc import Callable
from typing import Any

import numpy
from sklearn.preprocessing import LabelBinarizer

from xpnet.errors import InputError

_KNOWN = ("relu", "tanh", "logistic", "identity")  # activations that its converters have, one for all layers

_OPTIONS = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False]}
"""What can be asked of the conversion of a classifier."""


class Convertible:
    """An estimator that skl2onnx converts, alone or at the end of a pipeline, without being told of it."""

    activation: Any

    def onnx_parser(self) -> Callable[..., Any]:
        """What names the outputs: skl2onnx does, as for its own kinds. From here on it knows the estimator's options.

        Returns
        -------
        callable
            A parser that leaves the names to skl2onnx.
        """
        from skl2onnx import update_registered_converter

        kind = type(self)
        options = _OPTIONS if kind.__name__ == "MLPClassifier" else {}
        shapes, convert = self.onnx_shape_calculator(), self.onnx_converter()
        update_registered_converter(kind, f"Xpnet{kind.__name__}", shapes, convert, options=options)
        return lambda scope=None, inputs=None: None

    def onnx_shape_calculator(self) -> Callable[..., Any]:
        """What finds the shapes of the outputs.

        Returns
        -------
        callable
            Skl2onnx's function for scikit-learn's estimator of that name.
        """
        from skl2onnx.common._registration import get_shape_calculator

        return get_shape_calculator(f"Sklearn{type(self).__name__}")

    def onnx_converter(self) -> Callable[..., Any]:
        """What makes operators of the estimator.

        Returns
        -------
        callable
            Skl2onnx's converter for scikit-learn's estimator of that name.

        Raises
        ------
        InputError
            For activations and losses that it does not know.
        """
        from skl2onnx.common._registration import get_converter

        if self.activation not in _KNOWN or getattr(self, "out_activation_", None) == "exp":
            raise InputError(
                f"skl2onnx converts networks with one of {', '.join(_KNOWN)} in all layers and scikit-learn's losses; "
                "export_onnx writes any network."
            )
        own = get_converter(f"Sklearn{type(self).__name__}")

        def convert(scope: Any, operator: Any, container: Any) -> None:
            operator.raw_operator, model = _twin(operator.raw_operator), operator.raw_operator
            own(scope, operator, container)
            operator.raw_operator = model

        return convert


def _twin(model: Any) -> Any:
    """scikit-learn's estimator with the same fitted attributes, of which skl2onnx reads some that are private."""
    import sklearn.neural_network

    twin = getattr(sklearn.neural_network, type(model).__name__)(activation=model.activation)
    for name in ("coefs_", "intercepts_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        setattr(twin, name, getattr(model, name))
    if hasattr(model, "classes_"):
        twin.classes_ = model.classes_
        several = model.out_activation_ == "logistic" and model.n_outputs_ > 1
        labels = numpy.eye(model.n_outputs_, dtype=int) if several else model.classes_
        twin._label_binarizer = LabelBinarizer().fit(labels)
    return twin
