"""Models as one file of C99 without dependencies: the program ``predict.c`` and the model's data.

The preprocessor leaves out the functions of ``predict.c`` that a model does not use, and only the
operators of its activations are written, so that no compiler warns of unused code.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from xpnet.backend import NetworkSpec
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.errors import InputError
from xpnet.modelfile.disk import write_whole
from xpnet.modelfile.networks import Exported
from xpnet.modelfile.values import check_unicode
from xpnet.ops import ACTIVATIONS
from xpnet.ops.activations import OnnxOperand
from xpnet.tabular.category_encoding import CategoryEncoding
from xpnet.tabular.level_encoding import LevelEncoding
from xpnet.tabular.number_encoding import PARTS, PERIODS, Difference, NumberEncoding

MAX_STRING_BYTES = 4095
"""Length in bytes of the longest string literal that each compiler of C99 must take; longer text is
an array of numbers."""

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
    source = source.replace("/* SIZES */", _sizes(exported))
    source = source.replace("/* OPERATORS */", _activations(exported.spec))
    source = source.replace("/* DATA */", _data(exported))
    write_whole(path, source.encode())


def _sizes(exported: Exported) -> str:
    """Return the definitions of the model's sizes, and of the steps that it has."""
    spec = exported.spec
    classes = exported.classes
    encoder = exported.encoder
    outputs = spec.widths[-1]
    has_logistic_output = spec.loss == "logistic_cross_entropy"
    is_binary = has_logistic_output and classes is not None and len(classes) <= 2
    encodings = [] if encoder is None else encoder.encodings_
    numbers = [encoding for encoding in encodings if isinstance(encoding, NumberEncoding)]
    sizes: dict[str, object] = {
        "XPNET_COLUMNS": spec.widths[0] if encoder is None else encoder.n_features_in_,
        "XPNET_RESULTS": 2 if is_binary else outputs,
        "NUMBERS": len(numbers),
        "TIMESTAMPS": sum(bool(number.part) for number in numbers),
        "DIFFERENCES": sum(number.difference is not None for number in numbers),
        "LEVELS": sum(isinstance(encoding, LevelEncoding) for encoding in encodings),
        "CATEGORIES": sum(isinstance(encoding, CategoryEncoding) for encoding in encodings),
        "OUTPUTS": outputs,
        "OUTPUT": f"'{OUTPUT_ACTIVATIONS[spec.loss][0]}'",
        "LAYERS": spec.layers,
        "WIDEST": max(spec.widths),
        "NETWORKS": len(exported.networks),
        "MEMBERS": spec.members,
        "CALIBRATED": int(exported.temperature != 1.0),
        "TEMPERATURE": _literal(float(exported.temperature)),
        "SCALED": int(exported.target is not None),
        "SORTED": int(exported.rises),
    }
    return "\n".join(f"#define {name} {value}" for name, value in sizes.items())


def _data(exported: Exported) -> str:
    """Return the tables of the model: those that it has."""
    encodings = _encodings(exported.encoder)
    target = exported.target
    tables = {
        "static const number numbers[]": encodings.numbers,
        "static const level levels[]": encodings.levels,
        "static const category categories[]": encodings.categories,
        "static const layer layers[]": _layers(exported.spec, exported.networks),
        "static const double target[4][OUTPUTS]": [] if target is None else target.tolist(),
    }
    if exported.classes is not None:
        labels = [str(label) for label in numpy.asarray(exported.classes).tolist()]
        tables["const char *const xpnet_classes[]"] = labels
    return "\n".join(f"{name} = {_literal(rows)};" for name, rows in tables.items() if rows)


class _EncodingTables(NamedTuple):
    """A row for each encoding of a sort, with the fields of the structures in C."""

    numbers: list[list[object]]
    levels: list[list[object]]
    categories: list[list[object]]


def _encodings(encoder: Any) -> _EncodingTables:
    """Return the tables of an encoder; empty ones for None."""
    tables = _EncodingTables([], [], [])
    first_output = 0
    for encoding in [] if encoder is None else encoder.encodings_:
        if isinstance(encoding, NumberEncoding):
            tables.numbers.append(_number(encoding, first_output))
        elif isinstance(encoding, LevelEncoding):
            tables.levels.append(_level(encoding, first_output))
        else:
            tables.categories.append(_category(encoding, first_output))
        first_output += len(encoding.labels)
    return tables


def _number(number: NumberEncoding, first_output: int) -> list[object]:
    """Return the fields of a number."""
    part = ("", *PARTS).index(number.part)
    period = PERIODS.get(number.part, (0.0, 1.0))
    scaling = [number.fill, number.low, number.high, number.centre, number.scale]
    flags = [number.clip, number.gaps, number.cycle]
    bins = len(number.edges[1:])
    difference = number.difference or Difference(-1, 0.0, False)
    subtracted = [difference.minus, difference.is_clock_number, difference.period]
    fields = [first_output, number.column, part, *subtracted, *scaling, *flags, *period]
    return [*fields, bins, number.edges]


def _level(encoding: LevelEncoding, first_output: int) -> list[object]:
    """Return the fields of a number with levels."""
    sizes = [len(encoding.levels), len(encoding.detail_labels)]
    return [first_output, encoding.column, *sizes, encoding.levels, encoding.details]


def _category(category: CategoryEncoding, first_output: int) -> list[object]:
    """Return the fields of a category."""
    sizes = [len(category.values), category.hot, category.gaps, len(category.detail_labels)]
    names = numpy.array(category.values, dtype=object)
    return [first_output, category.column, *sizes, names, category.details]


def _layers(spec: NetworkSpec, networks: Sequence[dict[str, numpy.ndarray]]) -> list[list[object]]:
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
        return _literal(numpy.float32(expression))
    operator, *operands = expression
    return f"{operator}({', '.join(map(_call, operands))})"


def _literal(value: Any) -> str:
    """Return a value in C, which reads back the same.

    A list is in braces, an array of NumPy is a pointer to its values, None is NULL.

    Raises InputError for numbers that are not finite, and for text that C cannot hold.
    """
    if value is None:
        return "NULL"
    if isinstance(value, numpy.ndarray):
        kind = {"float32": "float", "float64": "double"}.get(value.dtype.name, "char *const")
        return f"(const {kind}[]){_literal(list(value.ravel()) or [0])}"
    if isinstance(value, list):
        return f"{{{', '.join(map(_literal, value))}}}"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, float | numpy.float32) and not numpy.isfinite(value):
        raise InputError(f"Numbers of a C file must be finite; got {value}. Train the model again.")
    if isinstance(value, numpy.float32):
        return f"{value:.9e}f"
    return f"{value:.17e}" if isinstance(value, float) else str(int(value))


def _string(text: str) -> str:
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
