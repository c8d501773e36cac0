"""Models as ONNX graphs, which other runtimes open (https://onnx.ai/onnx/operators): Gemm, activation, Gemm, ..., and
what the loss makes of the last. Needs the package ``onnx`` (the extra ``onnx``)."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy

from xpnet.backend import NetworkSpec
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.errors import ModelFileError
from xpnet.modelfile.disk import write_whole
from xpnet.modelfile.networks import parameter_count
from xpnet.ops import ACTIVATIONS

OPSET, ML_OPSET, IR_VERSION = 17, 3, 8  # of 2022, which every runtime in use reads
LIMIT = 2**31 - 2**20  # bytes; the format that ONNX files are written in holds 2 GiB
_OWN = re.compile(r"(affine|hidden)\d+|chosen|likely|positive|negative|transformed|prepared/.*|x_.*")
"""Names of tensors within a graph, and of inputs that made way for one."""

_OUTPUTS = {
    "softmax": ("Softmax", "probabilities"),
    "logistic": ("Sigmoid", "probabilities"),
    "identity": ("Identity", "predictions"),
    "exp": ("Exp", "predictions"),
}


Prepare = Callable[["Graph"], None]
"""Puts nodes before a network, and says what becomes of its predictions."""


def write_onnx(
    path: str | Path, spec: NetworkSpec, params: dict[str, Any], classes: Any = None, prepare: Prepare | None = None
) -> None:
    """Write a network as an ONNX file.

    params : NumPy arrays by the spec's names
    classes : (classes,) labels, integers or strings, for a second output ``label`` with the most probable; for logistic
        cross-entropy with one output the two classes; with several, ``label`` is (rows, out) of 0 and 1

    The input is ``X`` (rows, in), the output ``probabilities`` (rows, classes) or ``predictions`` (rows, out), of the
    spec's dtype. Raises ModelFileError where onnx is missing, the file cannot be written or would be too large.
    """
    onnx = _onnx()
    if parameter_count(spec) * numpy.dtype(spec.dtype).itemsize > LIMIT:
        raise ModelFileError(f"An ONNX file holds at most 2 GiB; {path} would be larger. Use save.")
    graph = Graph(onnx, spec, params)
    if prepare is not None:
        prepare(graph)
    model = graph.model(classes)
    onnx.checker.check_model(model, full_check=True)
    write_whole(path, model.SerializeToString(deterministic=True))


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ModelFileError(
            "ONNX files are written by the package onnx, which cannot be imported. Install it with "
            "pip install 'xpnet[onnx]'."
        ) from error
    return onnx


class Graph:
    """An ONNX graph under construction: nodes in the order they run, and the constants they take.

    inputs : name, dtype and columns of each input; source : what the first layer reads
    undo : what makes predictions of the network's outputs, from the name of one tensor to that of another
    """

    def __init__(self, onnx: Any, spec: NetworkSpec, params: dict[str, Any]) -> None:
        self.onnx, self.spec = onnx, spec
        self.dtype = onnx.helper.np_dtype_to_tensor_dtype(numpy.dtype(spec.dtype))
        self.double = onnx.TensorProto.DOUBLE
        self.nodes: list[Any] = []
        self.inputs: list[tuple[str, Any, int]] = [("X", self.dtype, spec.widths[0])]
        self.source = "X"
        self.undo: Callable[[str], str] | None = None
        self._used: dict[str, int] = {}
        self.constants = [onnx.numpy_helper.from_array(params[name], name) for name in spec.parameter_names]

    def model(self, classes: Any) -> Any:
        """The whole model, with labels where there are classes."""
        operator, name = _OUTPUTS[OUTPUT_ACTIVATIONS[self.spec.loss]]
        outputs = [(self._network(operator, name), self.dtype, self.spec.widths[-1])]
        if classes is not None:
            outputs = self._labelled(name, numpy.asarray(classes))
        helper = self.onnx.helper
        infos = [helper.make_tensor_value_info(n, kind, ["rows", *([k] if k else [])]) for n, kind, k in outputs]
        given = [helper.make_tensor_value_info(name, kind, ["rows", width]) for name, kind, width in self.inputs]
        graph = helper.make_graph(self.nodes, "xpnet", given, infos, self.constants)
        domains = sorted({node.domain for node in self.nodes})
        opset = [helper.make_opsetid(domain, ML_OPSET if domain else OPSET) for domain in domains]
        return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="xpnet")

    def _network(self, operator: str, name: str) -> str:
        x, names = self.source, self.spec.parameter_names
        for k, (weight, bias) in enumerate(zip(names[::2], names[1::2], strict=True)):
            x = self._add("Gemm", [x, weight, bias], f"affine{k + 1}")
            if k < len(self.spec.activations):
                x = self._express(ACTIVATIONS[self.spec.activations[k]].onnx, x, f"hidden{k + 1}")
        if self.undo is None:
            return self._add(operator, [x], name, **({"axis": 1} if operator == "Softmax" else {}))
        undone = self.undo(self.cast(self._add(operator, [x], "transformed"), self.double))
        return self._add("Cast", [undone], name, to=self.dtype)

    def _labelled(self, name: str, classes: Any) -> list[tuple[str, Any, int]]:
        """Outputs with labels: name, dtype, columns (0 for none)."""
        integer = self.onnx.TensorProto.INT64
        if self.spec.loss == "logistic_cross_entropy" and self.spec.widths[-1] > 1:
            self._add("Greater", [name, self._constant("half", numpy.asarray(0.5, self.spec.dtype))], "likely")
            self._add("Cast", ["likely"], "label", to=integer)
            return [("label", integer, self.spec.widths[-1]), (name, self.dtype, self.spec.widths[-1])]
        if self.spec.widths[-1] == 1:
            self.nodes[-1].output[0] = "positive"
            self._add("Sub", [self._constant("one", numpy.asarray(1, self.spec.dtype)), "positive"], "negative")
            self._add("Concat", ["negative", "positive"], name, axis=1)
        self._add("ArgMax", [name], "chosen", axis=1, keepdims=0)
        labels = classes.astype(object if classes.dtype.kind in "OU" else numpy.int64)
        if len(labels) == 1:  # all rows of the training had one label, and so has whatever is chosen
            labels = labels.repeat(2)
        self._add("Gather", [self._constant("classes", labels), "chosen"], "label")
        kind = self.onnx.TensorProto.STRING if labels.dtype == object else integer
        return [("label", kind, 0), (name, self.dtype, len(labels))]

    def _express(self, expression: Any, x: str, name: str) -> str:
        """Add an expression of operators, such as an activation has; returns the name of its output."""
        if expression == "x":
            return x
        operator, *operands = expression
        return self._add(operator, [self._express(o, x, f"{name}_{i}") for i, o in enumerate(operands)], name)

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _constant(self, name: str, value: Any) -> str:
        self.constants.append(self.onnx.numpy_helper.from_array(value, name))
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """A node with one output, whose name begins as told; returns the name."""
        return self._add(operator, inputs, self._unused(output), **attributes)

    def constant(self, name: str, value: Any) -> str:
        """A constant, whose name begins as told; returns the name."""
        return self._constant(self._unused(name), value)

    def cast(self, name: str, kind: Any) -> str:
        """A tensor in another dtype of ONNX's."""
        return self.add("Cast", [name], "cast", to=kind)

    def input_name(self, name: str) -> str:
        """A name for an input; ``x_label`` for a column called ``label``, which is the name of an output."""
        taken = {*self.spec.parameter_names, "label", "probabilities", "predictions", "X", "", "classes", "half", "one"}
        return f"x_{name}" if name in taken or _OWN.fullmatch(name) else name

    def axis(self) -> str:
        """The axis of columns, as a constant."""
        return self.constant("axis", numpy.asarray([1], dtype=numpy.int64))

    def _unused(self, name: str) -> str:
        self._used[name] = self._used.get(name, 0) + 1
        return f"prepared/{name}{self._used[name]}"
