"""Models as ONNX graphs, which other runtimes open (https://onnx.ai/onnx/operators).

A graph has the encoder of a table, layers with activations, and the output activation of the loss.
The package ``onnx`` (the extra ``onnx``) writes it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy

from xpnet.backend import NetworkSpec
from xpnet.backend.spec import NUMERIC_LOSSES, OUTPUT_ACTIVATIONS
from xpnet.errors import InputError, ModelFileError
from xpnet.modelfile.column_inputs import ColumnInput, column_inputs
from xpnet.modelfile.disk import write_whole
from xpnet.modelfile.networks import Exported, parameter_count
from xpnet.modelfile.values import check_unicode
from xpnet.ops import ACTIVATIONS
from xpnet.ops.activations import OnnxOperand
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.encodings.kinds import indices_by_class

if TYPE_CHECKING:
    from onnx import GraphProto

OPSET, ML_OPSET, IR_VERSION = 17, 3, 8
"""Versions of the operators, of those for machine learning, and of the format: of 2022, so that
runtimes in use read them."""
MAX_FILE_BYTES = 2**31 - 2**20
"""Maximum size of an ONNX file in bytes; its format holds 2 GiB."""
MAX_INT64 = 2**63 - 1
METADATA_KEY = "xpnet_columns"
"""Name of the entry of a file's metadata that describes the columns of the table, in JSON."""
RESULT_KEY = "xpnet_result"
"""Name of the entry that says what a result means for rows with exposures or offsets."""
_INNER = "xpnet/"
"""Prefix of the names of inner tensors."""

_FUNCTIONS = "IsNaN", "Where", "Abs", "Clip", "Sqrt", "Sin", "Cos"
"""Operators that are NumPy's functions in lower case, which ``encode_numbers`` calls."""

TINY = 1e-44
"""Absolute value below which a constant is subtracted as -(constant - x): onnxruntime removes
x - constant where the constant is 0 in float32, however small x is.
"""

_OUTPUTS = {"softmax": "Softmax", "logistic": "Sigmoid", "identity": "Identity", "exp": "Exp"}


Operand: TypeAlias = "Value | numpy.ndarray | float"
"""An input of a node: a tensor of the graph, or a constant."""


@dataclass(frozen=True)
class Value:
    """A tensor of a graph under construction; arithmetic with it adds nodes to the graph.

    ``encode_numbers`` and ``parts_of_timestamps`` compute with it as with NumPy's arrays, and so
    write their formulas into the graph.
    """

    graph: "Graph"
    name: str

    def __add__(self, other: Operand) -> "Value":
        return self.graph.add("Add", self, other)

    def __sub__(self, other: Operand) -> "Value":
        if not isinstance(other, Value) and numpy.any((other != 0) & (numpy.abs(other) < TINY)):
            return self.graph.add("Neg", self.graph.add("Sub", other, self))
        return self.graph.add("Sub", self, other)

    def __mul__(self, other: Operand) -> "Value":
        return self.graph.add("Mul", self, other)

    def __truediv__(self, other: Operand) -> "Value":
        return self.graph.add("Div", self, other)

    def __gt__(self, other: Operand) -> "Value":
        return self.graph.add("Greater", self, other)

    def __floordiv__(self, other: Operand) -> "Value":
        return self.graph.add("Floor", self / other)

    def __getitem__(self, rows_and_columns: tuple[slice, numpy.ndarray]) -> "Value":
        """Return some columns of all rows."""
        return self.graph.add("Gather", self, rows_and_columns[1], axis=1)

    def to(self, dtype: str) -> "Value":
        """Return the tensor in another dtype."""
        return self.graph.add("Cast", self, to=self.graph.kind(dtype))


class Graph:
    """An ONNX graph under construction: nodes in the order of execution, and their constants.

    described_columns : of the table, for the file's metadata; empty without a table
    """

    def __init__(self, onnx: ModuleType) -> None:
        self.onnx = onnx
        self.described_columns: list[dict[str, object]] = []
        self.proto: GraphProto = onnx.GraphProto(name="xpnet")

    def kind(self, dtype: str) -> int:
        """Return ONNX's number for a dtype: float32, float64, int64, or object for text."""
        return self.onnx.helper.np_dtype_to_tensor_dtype(numpy.dtype(dtype))

    def input(self, name: str, columns: int, dtype: str, description: str = "") -> "Value":
        """Add an input (rows, columns). Names that the graph uses itself get the prefix ``x_``."""
        is_output = name in ("", "label", "probabilities", "predictions")
        is_taken = is_output or name.startswith((_INNER, "x_"))
        value = Value(self, f"x_{name}" if is_taken else name)
        described = self.onnx.helper.make_tensor_value_info(
            value.name, self.kind(dtype), ["rows", columns], description
        )
        self.proto.input.append(described)
        return value

    def output(self, value: Value, name: str, dtype: str, *columns: int) -> None:
        """Make a tensor (rows,) or (rows, columns) an output of the model."""
        self.proto.node.append(self.onnx.helper.make_node("Identity", [value.name], [name]))
        self.proto.output.append(
            self.onnx.helper.make_tensor_value_info(name, self.kind(dtype), ["rows", *columns])
        )

    def add(
        self,
        operator: str,
        *operands: Operand,
        domain: str = "",
        results: int = 1,
        **attributes: object,
    ) -> "Value":
        """Add a node and return the first of its results.

        Numbers and arrays among its operands become constants.
        """
        inputs = [
            value.name if isinstance(value, Value) else self.constant(value).name
            for value in operands
        ]
        node = f"{_INNER}{operator}{len(self.proto.node)}"
        outputs = [f"{node}{'_' * k}" for k in range(results)]
        self.proto.node.append(
            self.onnx.helper.make_node(operator, inputs, outputs, domain=domain, **attributes)
        )
        return Value(self, outputs[0])

    def constant(self, value: Operand) -> "Value":
        """Add a constant; a number of Python is a float64."""
        name = f"{_INNER}constant{len(self.proto.initializer)}"
        self.proto.initializer.append(self.onnx.numpy_helper.from_array(numpy.asarray(value), name))
        return Value(self, name)


def write_onnx(path: str | Path, exported: Exported) -> None:
    """Write a model as an ONNX file.

    The output is ``probabilities`` (rows, classes) or ``predictions`` (rows, out), of the spec's
    dtype; scaled predictions are float64. With labels, which are integers or text, a second output
    ``label`` is the predicted one; for logistic cross-entropy with several outputs it is
    (rows, out) of 0 and 1. Without an encoder there is one input ``X`` (rows, in) of the spec's
    dtype.

    Raises ModelFileError where onnx is missing, or the file cannot be written or would be too
    large, InputError for labels of other types.
    """
    try:
        import onnx
    except ImportError as error:
        raise ModelFileError(
            "ONNX files need the package onnx; it is not installed. "
            "Install it: pip install 'xpnet[onnx]'."
        ) from error
    spec = exported.spec
    networks = exported.networks
    weight_bytes = parameter_count(spec) * numpy.dtype(spec.dtype).itemsize
    if len(networks) * weight_bytes > MAX_FILE_BYTES:
        raise ModelFileError(
            f"An ONNX file must have at most 2 GiB; {path} would be larger. Use save."
        )
    graph = Graph(onnx)
    if exported.encoder is None:
        x = graph.input("X", spec.widths[0], spec.dtype, "The inputs of the network.")
    else:
        x = encode_table(graph, exported.encoder).to(spec.dtype)
    outputs = [_network(graph, x, spec, params) for params in networks]
    mean = graph.add("Sum", *outputs) / numpy.asarray(len(networks), spec.dtype)
    result = _finish(graph, mean, exported)
    if exported.classes is None:
        name = "predictions" if spec.loss in NUMERIC_LOSSES else "probabilities"
        dtype = spec.dtype if exported.target is None else "float64"
        graph.output(result, name, dtype, spec.widths[-1])
    else:
        _add_labels(graph, result, exported)
    write_graph(path, graph, exported.known_parts)


def _finish(graph: Graph, mean: Value, exported: Exported) -> "Value":
    """Sort, scale and calibrate the mean outputs of the networks, as far as the model does."""
    spec = exported.spec
    result = mean
    if exported.rises:
        count = numpy.array([spec.widths[-1]])
        result = graph.add("TopK", result, count, results=2, axis=1, largest=0)
    if exported.target is not None:
        offset, factor, low, high = exported.target
        scaled = result.to("float64") * factor + offset
        result = graph.add("Min", graph.add("Max", scaled, low), high)
    if exported.temperature != 1.0:
        tiny = numpy.asarray(numpy.finfo(spec.dtype).tiny, spec.dtype)
        temperature = numpy.asarray(exported.temperature, spec.dtype)
        logits = graph.add("Log", graph.add("Max", result, tiny)) / temperature
        result = graph.add("Softmax", logits, axis=1)
    return result


def write_graph(path: str | Path, graph: Graph, known_parts: str = "") -> None:
    """Check a whole graph, and write it to a file with the description of its columns.

    known_parts : what a result means for rows whose mean or odds are known in part; "" for nothing
    """
    onnx = graph.onnx
    domains = sorted({node.domain for node in graph.proto.node})
    opset = [onnx.helper.make_opsetid(domain, ML_OPSET if domain else OPSET) for domain in domains]
    model = onnx.helper.make_model(
        graph.proto, opset_imports=opset, ir_version=IR_VERSION, producer_name="xpnet"
    )
    described = {}
    if graph.described_columns:
        described[METADATA_KEY] = json.dumps(graph.described_columns)
    if known_parts:
        described[RESULT_KEY] = known_parts
    if described:
        onnx.helper.set_model_props(model, described)
    onnx.checker.check_model(model, full_check=True)
    write_whole(path, model.SerializeToString(deterministic=True))


def _network(
    graph: Graph, x: Value, spec: NetworkSpec, params: dict[str, numpy.ndarray]
) -> "Value":
    """Add a network and return its outputs; the mean output of several members."""
    for k, names in enumerate(spec.layer_names):
        x = _layer(graph, x, **{role: params[name] for role, name in names.items()})
        if k < len(spec.activations):
            x = _express(graph, ACTIVATIONS[spec.activations[k]].onnx, x, spec.dtype)
    activation = OUTPUT_ACTIVATIONS[spec.loss]
    x = _ordered(graph, x, spec) if activation == "ordered" else graph.add(_OUTPUTS[activation], x)
    return x if spec.members == 1 else graph.add("ReduceMean", x, axes=[0], keepdims=0)


def _ordered(graph: Graph, x: Value, spec: NetworkSpec) -> "Value":
    """Add the probabilities of ordered classes, by the formulas of ``xpnet.ops.ordered``.

    x : (..., rows, classes)
    """
    last = spec.widths[-1] - 1

    def columns(value: Value, *places: int) -> Value:
        """Return some columns."""
        return graph.add("Gather", value, numpy.array(places, numpy.int64), axis=-1)

    gaps = columns(x, *range(1, last)) if last > 1 else None
    steps = columns(x, 0)
    if gaps is not None:
        falls = graph.add("Neg", graph.add("Softplus", gaps))
        steps = graph.add("Concat", steps, falls, axis=-1)
    logits = graph.add("CumSum", steps, numpy.asarray(-1))
    above, below = graph.add("Sigmoid", logits), graph.add("Sigmoid", graph.add("Neg", logits))
    parts = [columns(below, 0), columns(above, last - 1)]
    if gaps is not None:
        between = columns(above, *range(last - 1)) * columns(below, *range(1, last))
        parts.insert(1, between * graph.add("Sigmoid", gaps))
    return graph.add("Concat", *parts, axis=-1)


def _layer(
    graph: Graph,
    x: Value,
    weight: numpy.ndarray,
    bias: numpy.ndarray,
    scale_in: numpy.ndarray | None = None,
    scale_out: numpy.ndarray | None = None,
) -> "Value":
    """Add an affine layer, of members as ``xpnet.layers.MemberAffine`` has it."""
    if scale_in is not None:
        x = x * scale_in[:, None, :]
    x = graph.add("MatMul", x, weight)
    if scale_out is not None:
        x = x * scale_out[:, None, :]
    return x + (bias[:, None, :] if bias.ndim == 2 else bias)


def _express(graph: Graph, part: OnnxOperand, x: Value, dtype: str) -> Any:
    """Add an expression of operators and numbers, such as an activation has."""
    if isinstance(part, str):
        return x
    if isinstance(part, float):
        return numpy.asarray(part, dtype)
    operator, *operands = part
    return graph.add(operator, *(_express(graph, operand, x, dtype) for operand in operands))


def _add_labels(graph: Graph, probabilities: Value, exported: Exported) -> None:
    """Add the outputs of a classifier: the predicted labels, and the probabilities."""
    spec = exported.spec
    classes = numpy.asarray(exported.classes)
    _check_labels(classes)
    out = spec.widths[-1]
    one, half = numpy.asarray(1, spec.dtype), numpy.asarray(0.5, spec.dtype)
    if spec.loss == "logistic_cross_entropy" and out > 1:
        graph.output((probabilities > half).to("int64"), "label", "int64", out)
        graph.output(probabilities, "probabilities", spec.dtype, out)
        return
    if out == 1:
        others = graph.add("Sub", one, probabilities)
        probabilities = graph.add("Concat", others, probabilities, axis=1)
    labels = classes.astype(object if classes.dtype.kind in "OU" else numpy.int64)
    if len(labels) == 1:  # all rows of the training had one label: both outputs mean it
        labels = labels.repeat(2)
    rule = exported.rule
    if rule is None or rule == "mode":
        index = graph.add("ArgMax", probabilities, axis=1, keepdims=0)
    elif rule == "median":
        sums = graph.add("CumSum", probabilities, numpy.asarray(1))
        is_below = graph.add("Less", sums[:, numpy.arange(out - 1)], half).to("int64")
        index = graph.add("ReduceSum", is_below, numpy.array([1]), keepdims=0)
    else:
        second = graph.add("Gather", probabilities, numpy.asarray(1), axis=1)
        threshold = numpy.asarray(rule, spec.dtype)
        index = graph.add("GreaterOrEqual", second, threshold).to("int64")
    graph.output(graph.add("Gather", labels, index), "label", labels.dtype.name)
    graph.output(probabilities, "probabilities", spec.dtype, len(labels))


def _check_labels(classes: numpy.ndarray) -> None:
    """Raise InputError for labels that ONNX has no type for."""
    if all(isinstance(label, str) for label in classes):
        for label in classes:
            check_unicode(label)
    elif classes.dtype.kind not in "iub":
        raise InputError(
            f"Labels of an ONNX file must be integers or text; got {classes.dtype}. "
            "Encode the labels before training."
        )
    elif int(classes.max()) > MAX_INT64:
        raise InputError(
            f"Labels of an ONNX file must fit into int64; got {int(classes.max())}. "
            "Use smaller labels, or text."
        )


def encode_table(graph: Graph, encoder: TableEncoder) -> "Value":
    """Add the inputs of a fitted ``TableEncoder``, and return its outputs (rows, outputs).

    A table of numbers is one input ``X`` (rows, columns), in float64. Where columns hold text,
    dates or times, or have names and are left out, each column that is used is an input (rows, 1)
    by its name: text, numbers, or seconds since 1970. Values that the training knows as gaps are
    gaps.
    """
    encodings = encoder.encodings_
    table = _table_of(graph, encoder)
    indices = indices_by_class(encodings)
    blocks = [
        block
        for encoding_class, places in indices.items()
        for block in encoding_class.onnx_all([encodings[k] for k in places], table)
    ]
    # The blocks are in the order of the classes; put them in the order of the encodings.
    encoding_of_output = [
        k for places in indices.values() for k in places for _ in encodings[k].labels
    ]
    return table.joined(blocks)[:, numpy.argsort(encoding_of_output, kind="stable")]


def _table_of(graph: Graph, encoder: TableEncoder) -> "_Table":
    """Add the inputs of a fitted ``TableEncoder``, as ``encode_table`` describes them."""
    columns = column_inputs(encoder)
    encodings = encoder.encodings_
    are_numbers = all(encoding.reads == "number" for encoding in encodings)
    if are_numbers and not (hasattr(encoder, "feature_names_in_") and encoder.left_out_):
        description = (
            "A column for each column of the table of the training, in its order; the metadata "
            f"{METADATA_KEY} describes each. NaN is a gap."
        )
        X = graph.input("X", len(columns), "float64", description)
        graph.described_columns = _described_columns(columns, [X] * len(columns))
        return _Table(graph, _without_codes(X, columns), {})
    used = dict.fromkeys(encoding.column for encoding in encodings)
    inputs = {
        place: graph.input(
            column.name,
            1,
            "object" if column.is_text else "float64",
            f"{column.holds}: {column.how}",
        )
        for place, column in ((place, columns[place]) for place in used)
    }
    graph.described_columns = _described_columns(
        columns, list(map(inputs.get, range(len(columns))))
    )
    return _Table(
        graph,
        None,
        {place: _without_gaps(value, columns[place]) for place, value in inputs.items()},
    )


def _without_gaps(value: Value, column: ColumnInput) -> "Value":
    """Return a column (rows, 1) without the values that stand for gaps."""
    return _without_words(value, column) if column.is_text else _without_codes(value, [column])


def _without_codes(X: Value, columns: Sequence[ColumnInput]) -> "Value":
    """Return numbers (rows, columns) with NaN in place of the codes for gaps of each column."""
    for k in range(max(len(column.gap_numbers) for column in columns)):
        codes = [[*column.gap_numbers, *[numpy.nan] * (k + 1)][k] for column in columns]
        X = X.graph.add("Where", X.graph.add("Equal", X, numpy.array(codes)), numpy.nan, X)
    return X


def _without_words(text: Value, column: ColumnInput) -> "Value":
    """Return text (rows, 1) with empty text in place of a column's words for gaps."""
    if not column.gap_texts:
        return text
    is_word = text.graph.add(
        "LabelEncoder",
        text,
        domain="ai.onnx.ml",
        keys_strings=list(column.gap_texts),
        values_int64s=[1] * len(column.gap_texts),
        default_int64=0,
    )
    return text.graph.add("Where", is_word.to("bool"), numpy.array("", object), text)


def _described_columns(
    columns: Sequence[ColumnInput], inputs: Sequence[Value | None]
) -> list[dict[str, object]]:
    """Return the description of the columns of the table, as the metadata of a file hold it.

    inputs : the input of each column, None for a column that is not used
    """
    return [
        {
            "name": column.name,
            "input": None if value is None else value.name,
            "holds": column.holds,
            "how": column.how,
            "gaps": column.gaps,
        }
        for column, value in zip(columns, inputs, strict=True)
    ]


class _Table:
    """The table of a graph, as ``xpnet.tabular.encodings.encoding.OnnxTable`` describes it.

    X : all columns, which are numbers; None where columns are inputs of their own
    inputs : these inputs, by the index of the column
    """

    def __init__(self, graph: Graph, X: Value | None, inputs: dict[int, Value]) -> None:
        self.graph = graph
        self.X = X
        self.inputs = inputs
        self.xp = SimpleNamespace(
            **{name.lower(): partial(graph.add, name) for name in _FUNCTIONS},
            minimum=partial(graph.add, "Min"),
            maximum=partial(graph.add, "Max"),
        )

    def column(self, index: int) -> Value:
        """Return a column (rows, 1)."""
        return self.inputs[index] if self.X is None else self.columns([index])

    def columns(self, indices: Sequence[int]) -> Value:
        """Return columns of numbers side by side."""
        if self.X is None:
            return self.joined([self.inputs[index] for index in indices])
        return self.X[:, numpy.array(indices)]

    def joined(self, tensors: Sequence[Value]) -> Value:
        """Return tensors (rows, ...) side by side."""
        return self.graph.add("Concat", *tensors, axis=1)

    def add(
        self, operator: str, *operands: Operand, domain: str = "", **attributes: object
    ) -> Value:
        """Add a node of an operator."""
        return self.graph.add(operator, *operands, domain=domain, results=1, **attributes)
