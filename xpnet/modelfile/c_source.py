"""Models as one file of C99 without dependencies: the program ``predict.c`` and the model's data.

The preprocessor leaves out the functions of ``predict.c`` that a model does not use, and only the
operators of its activations are written, so that no compiler warns of unused code.
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import numpy

from xpnet.backend import NetworkSpec
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.errors import InputError
from xpnet.modelfile.column_inputs import ColumnInput, column_inputs
from xpnet.modelfile.disk import write_whole
from xpnet.modelfile.networks import Exported
from xpnet.modelfile.values import check_unicode
from xpnet.ops import ACTIVATIONS
from xpnet.ops.activations import OnnxOperand
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.encodings.encoding import Encoding
from xpnet.tabular.encodings.kinds import indices_by_class

MAX_STRING_BYTES = 4095
"""Length in bytes of the longest string literal that each compiler of C99 must take; longer text is
an array of numbers."""

COMMENT_WIDTH = 97
"""Maximum number of characters of a line of a comment, with which its lines have at most 100."""

_OPERATORS = {
    "Identity": "static float Identity(float x) { return x; }",
    "Relu": "static float Relu(float x) { return fmaxf(x, 0); }",
    "Tanh": "static float Tanh(float x) { return tanhf(x); }",
    "Abs": "static float Abs(float x) { return fabsf(x); }",
    "Exp": "static float Exp(float x) { return expf(x); }",
    "Log": "static float Log(float x) { return logf(x); }",
    "Max": "static float Max(float a, float b) { return fmaxf(a, b); }",
    "Min": "static float Min(float a, float b) { return fminf(a, b); }",
    "Add": "static float Add(float a, float b) { return a + b; }",
    "Sub": "static float Sub(float a, float b) { return a - b; }",
    "Mul": "static float Mul(float a, float b) { return a * b; }",
    "Div": "static float Div(float a, float b) { return a / b; }",
    "Sigmoid": """static float Sigmoid(float x) {
  const float e = expf(-fabsf(x));
  return (x < 0 ? e : 1) / (1 + e);
}""",
}
"""Functions for the operators of ONNX in which activations are described."""


def write_c(path: str | Path, exported: Exported) -> None:
    """Write a model as a C file.

    Raises InputError for parameters that are not finite in float32 and for text that C cannot
    hold, ModelFileError where the file cannot be written.
    """
    source = Path(__file__).with_name("predict.c").read_text(encoding="utf-8")
    columns = [] if exported.encoder is None else column_inputs(exported.encoder)
    source = source.replace(" * COLUMNS", _described_columns(columns))
    source = source.replace(" * KNOWN PARTS\n", _comment_lines(exported.known_parts))
    source = source.replace("/* SIZES */", size_definitions(exported))
    source = source.replace("/* OPERATORS */", _activations(exported.spec))
    tables = _encoding_tables(exported.encoder)
    source = source.replace("/* ENCODINGS */", "\n".join(table.code for table in tables))
    source = source.replace("/* DATA */", _data(exported, tables, columns))
    source = source.replace("/* ENCODE */", "\n".join(table.loop for table in tables))
    write_whole(path, source.encode())


def size_definitions(exported: Exported) -> str:
    """Return the definitions of the model's sizes, and of the steps that it has."""
    spec = exported.spec
    classes = exported.classes
    encoder = exported.encoder
    outputs = spec.widths[-1]
    has_logistic_output = spec.loss == "logistic_cross_entropy"
    is_binary = has_logistic_output and classes is not None and len(classes) <= 2
    sizes: dict[str, object] = {
        "XPNET_COLUMNS": spec.widths[0] if encoder is None else encoder.n_features_in_,
        "XPNET_RESULTS": 2 if is_binary else outputs,
        "ENCODED": int(encoder is not None),
        "OUTPUTS": outputs,
        "OUTPUT": f"'{OUTPUT_ACTIVATIONS[spec.loss][0]}'",
        "LAYERS": spec.layers,
        "WIDEST": max(spec.widths),
        "NETWORKS": len(exported.networks),
        "MEMBERS": spec.members,
        "CALIBRATED": int(exported.temperature != 1.0),
        "TEMPERATURE": literal(float(exported.temperature)),
        "SCALED": int(exported.target is not None),
        "SORTED": int(exported.rises),
    }
    for encoding_class, encodings in _encodings_by_class(encoder).items():
        sizes |= encoding_class.c_sizes(encodings)
    return "\n".join(f"#define {name} {value}" for name, value in sizes.items())


def _described_columns(columns: Sequence[ColumnInput]) -> str:
    """Return the lines of a comment that say how each column is passed."""
    if not columns:
        return " * The columns are numbers, in the order of the training."
    lines = (
        f"{_in_comment(json.dumps(column.name))}: {_in_comment(column.how)} ({column.holds})"
        for column in columns
    )
    return "\n".join(f" *   {place} {line}" for place, line in enumerate(lines))


def _comment_lines(text: str) -> str:
    """Return the lines of a comment with a text; "" for none."""
    lines = wrap(text, COMMENT_WIDTH)
    return "".join(f" * {line}\n" for line in lines)


def _in_comment(text: str) -> str:
    """Return text in ASCII that neither begins nor ends a comment."""
    ascii_text = text.encode("ascii", "backslashreplace").decode()
    return ascii_text.replace("*/", "*\\u002f").replace("/*", "\\u002f*")


def _data(
    exported: Exported, encodings: Sequence["_EncodingTable"], columns: Sequence[ColumnInput]
) -> str:
    """Return the tables of the model: those that it has. encodings : a table for each kind"""
    target = exported.target
    tables: dict[str, Sequence[object]] = {
        "static const column columns[]": list(map(_column_fields, columns)),
        **{f"static const {table.kind} {table.kind}_rows[]": table.rows for table in encodings},
        "static const layer layers[]": layer_rows(exported.spec, exported.networks),
        "static const double target[4][OUTPUTS]": [] if target is None else target.tolist(),
    }
    if exported.classes is not None:
        labels = [str(label) for label in numpy.asarray(exported.classes).tolist()]
        tables["const char *const xpnet_classes[]"] = labels
    return "\n".join(f"{name} = {literal(list(rows))};" for name, rows in tables.items() if rows)


def _column_fields(column: ColumnInput) -> list[object]:
    """Return the fields of the structure of a column: its type and its gaps."""
    kind = 0 if not column.is_used else 2 if column.is_text else 1
    numbers = numpy.array(column.gap_numbers, numpy.float64) if column.gap_numbers else None
    texts = numpy.array(column.gap_texts, object) if column.gap_texts else None
    return [kind, len(column.gap_numbers), len(column.gap_texts), numbers, texts]


class _EncodingTable(NamedTuple):
    """The encodings of one kind in C.

    code : the structure and the functions of the kind
    rows : the fields of the structure for each encoding
    loop : the statement that encodes a row
    """

    kind: str
    code: str
    rows: list[list[object]]

    @property
    def loop(self) -> str:
        """Return the statement that encodes a row by all encodings of the kind."""
        row = f"{self.kind}_rows[k]"
        call = f"encode_{self.kind}(&{row}, row, x + {row}.start);"
        return f"  for (int k = 0; k < {len(self.rows)}; k++) {call}"


def _encodings_by_class(encoder: TableEncoder | None) -> dict[type[Encoding], list[Encoding]]:
    """Return the encodings of an encoder by their classes; none for None."""
    encodings = [] if encoder is None else encoder.encodings_
    return {
        encoding_class: [encodings[k] for k in indices]
        for encoding_class, indices in indices_by_class(encodings).items()
    }


def _encoding_tables(encoder: TableEncoder | None) -> list[_EncodingTable]:
    """Return a table for each kind of encoding that an encoder has; none for None."""
    encodings = [] if encoder is None else encoder.encodings_
    starts = numpy.cumsum([0, *(len(encoding.labels) for encoding in encodings)]).tolist()
    return [
        _EncodingTable(
            encoding_class.kind,
            encoding_class.c_code,
            [[starts[k], *encodings[k].c_fields()] for k in indices],
        )
        for encoding_class, indices in indices_by_class(encodings).items()
    ]


def layer_rows(
    spec: NetworkSpec, networks: Sequence[dict[str, numpy.ndarray]]
) -> list[list[object]]:
    """Return the fields of each layer of each network."""
    rows: list[list[object]] = []
    for params in networks:
        for (inputs, outputs), names in zip(pairwise(spec.widths), spec.layer_names, strict=True):
            arrays = {role: _float32(name, params[name]) for role, name in names.items()}
            weight, bias = arrays["weight"], arrays["bias"]
            weight_stride = inputs * outputs if weight.ndim == 3 else 0
            bias_stride = outputs if bias.ndim == 2 else 0
            scales = [arrays.get("scale_in"), arrays.get("scale_out")]
            rows.append([inputs, outputs, weight, bias, *scales, weight_stride, bias_stride])
    return rows


def _float32(name: str, values: numpy.ndarray) -> numpy.ndarray:
    """Return a parameter in float32. Raises InputError where it is not finite there."""
    with numpy.errstate(over="ignore"):
        converted = values.astype(numpy.float32)
    is_finite = numpy.isfinite(converted)
    if not is_finite.all():
        raise InputError(
            f"Parameters of a C file must be finite in float32; got {values[~is_finite][0]:g} in "
            f"{name}. Train the model again, for example with a smaller learning rate."
        )
    return converted


def _activations(spec: NetworkSpec) -> str:
    """Return the operators in use, a function for each activation, and the table of them."""
    names = [*spec.activations, "identity"]
    operators: set[str] = {"Sigmoid"} if OUTPUT_ACTIVATIONS[spec.loss] == "logistic" else set()
    functions = []
    for name in sorted(set(names)):
        expression = ACTIVATIONS[name].onnx  # type: ignore[index]
        operators |= _operators_of(expression)
        functions.append(f"static float activate_{name}(float x) {{ return {_call(expression)}; }}")
    pointers = ", ".join(f"activate_{name}" for name in names)
    table = f"static float (*const activate[])(float) = {{{pointers}}};"
    used = [source for name, source in _OPERATORS.items() if name in operators]
    return "\n".join([*used, *functions, table])


def _operators_of(expression: OnnxOperand) -> set[str]:
    """Return the names of the operators of an expression."""
    if isinstance(expression, str | float):
        return set()
    operator, *operands = expression
    return {operator}.union(*map(_operators_of, operands))


def _call(expression: OnnxOperand) -> str:
    """Return an expression of ONNX's operators in C, where functions have their names."""
    if isinstance(expression, str):
        return expression
    if isinstance(expression, float):
        return literal(numpy.float32(expression))
    operator, *operands = expression
    return f"{operator}({', '.join(map(_call, operands))})"


def literal(value: Any) -> str:
    """Return a value in C, which reads back the same.

    A list is in braces, an array of NumPy is a pointer to its values, None is NULL.

    Raises InputError for numbers that are not finite, and for text that C cannot hold.
    """
    if value is None:
        return "NULL"
    if isinstance(value, numpy.ndarray):
        kind = {"float32": "float", "float64": "double"}.get(value.dtype.name, "char *const")
        return f"(const {kind}[]){literal(list(value.ravel()) or [0])}"
    if isinstance(value, list):
        return f"{{{', '.join(map(literal, value))}}}"
    if isinstance(value, str):
        return text_literal(value)
    if isinstance(value, float | numpy.float32) and not numpy.isfinite(value):
        raise InputError(f"Numbers of a C file must be finite; got {value}. Train the model again.")
    if isinstance(value, numpy.float32):
        return f"{value:.9e}f"
    return f"{value:.17e}" if isinstance(value, float) else str(int(value))


def text_literal(text: str) -> str:
    """Return text as bytes of UTF-8, in which only letters and digits are not escaped.

    Raises InputError for text that is not valid Unicode or contains NUL, which ends text in C.
    """
    check_unicode(text)
    if "\0" in text:
        raise InputError(
            f"Text of a C file must not contain NUL characters; got {text!r}. Replace them in the "
            "training data, or export the model to ONNX."
        )
    content = text.encode()
    if len(content) > MAX_STRING_BYTES:
        return (
            f"(const char[]){{{', '.join(str(byte - 256 * (byte > 127)) for byte in content)}, 0}}"
        )
    return f'"{"".join(map(_character, content))}"'


def _character(byte: int) -> str:
    """Return a byte in a string of C: a letter or digit as it is, any other byte in octal."""
    letter = chr(byte)
    return letter if letter.isascii() and letter.isalnum() else f"\\{byte:03o}"
