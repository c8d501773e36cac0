"""Models as one file of C99 that needs neither Python nor a library: the program in ``predict.c``, with their data."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy

from xpnet.backend import NetworkSpec
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.modelfile.disk import write_whole
from xpnet.modelfile.networks import Exported
from xpnet.ops import ACTIVATIONS

_OPERATORS = {
    "Identity": "{0}",
    "Relu": "fmaxf({0}, 0.0f)",
    "Tanh": "tanhf({0})",
    "Sigmoid": "sigmoid({0})",
    "Abs": "fabsf({0})",
    "Exp": "expf({0})",
    "Log": "logf({0})",
    "Max": "fmaxf({0}, {1})",
    "Min": "fminf({0}, {1})",
    "Add": "({0} + {1})",
    "Sub": "({0} - {1})",
    "Mul": "({0} * {1})",
    "Div": "({0} / {1})",
}
"""ONNX's operators, in which activations are described, as C."""


def write_c(path: str | Path, exported: Exported) -> None:
    """Write a model as a C file.

    Raises ModelFileError where the file cannot be written.
    """
    spec, classes, target = exported.spec, exported.classes, exported.target
    data = [_encodings(exported.encoder, spec.widths[0]), _activations(spec), _networks(spec, exported.networks)]
    out = spec.widths[-1]
    two = spec.loss == "logistic_cross_entropy" and classes is not None and len(classes) <= 2
    facts = {
        "XPNET_RESULTS": 2 if two else out,
        "OUTPUTS": out,
        "OUTPUT": f"'{OUTPUT_ACTIVATIONS[spec.loss][0]}'",
        "LAYERS": spec.layers,
        "WIDEST": max(spec.widths),
        "NETWORKS": len(exported.networks),
        "MEMBERS": spec.members,
        "TEMPERATURE": f"{exported.temperature!r}",
        "SCALED": int(target is not None),
        "SORTED": int(exported.rises),
    }
    rows = numpy.zeros((4, out)) if target is None else target
    data.append(f"static const double target[4][{out}] = {{{', '.join(_braced(row) for row in rows)}}};")
    if classes is not None:
        names = ", ".join(_string(str(label)) for label in numpy.asarray(classes).tolist())
        data.append(f"const char *const xpnet_classes[] = {{{names}}};")
    head = [f"#define {name} {value}" for name, value in facts.items()]
    source = Path(__file__).with_name("predict.c").read_text(encoding="utf-8")
    write_whole(path, source.replace("/* DATA */", "\n".join([*head, *data])).encode())


def _encodings(encoder: Any, inputs: int) -> str:
    """Return the tables by which rows are encoded, and how many columns these have."""
    from xpnet.tabular.encodings import PARTS, PERIODS, Number

    encodings, columns = ([], inputs) if encoder is None else (encoder.encodings_, encoder.n_features_in_)
    arrays, numbers, categories, start = [], ["{0}"], ["{0}"], 0
    for k, encoding in enumerate(encodings):
        if isinstance(encoding, Number):
            part = 1 + PARTS.index(encoding.part) if encoding.part else 0
            first, length = PERIODS.get(encoding.part, (0.0, 1.0))
            floats = (encoding.fill, encoding.low, encoding.high, encoding.centre, encoding.scale)
            flags = (int(encoding.clip), int(encoding.gaps), int(encoding.cycle))
            arrays.append(_array("double", f"edges{k}", encoding.edges))
            fields = (start, encoding.column, part, *map(_number, floats), *flags, _number(first), _number(length))
            numbers.append(f"{{{', '.join(map(str, fields))}, {max(0, len(encoding.edges) - 1)}, edges{k}}}")
        else:
            names = ", ".join(map(_string, encoding.values))
            arrays.append(f"static const char *const names{k}[] = {{{names}}};")
            arrays.append(_array("float", f"details{k}", encoding.details))
            fields = (start, encoding.column, len(encoding.values), f"names{k}", encoding.hot, int(encoding.gaps))
            categories.append(f"{{{', '.join(map(str, fields))}, {encoding.details.shape[1]}, details{k}}}")
        start += len(encoding.labels)
    facts = {
        "XPNET_COLUMNS": columns,
        "ENCODED": int(encoder is not None),
        "NUMBERS": len(numbers) - 1,
        "CATEGORIES": len(categories) - 1,
    }
    tables = [
        f"static const {kind} {name}[] = {{{', '.join(rows[1:] or rows)}}};"
        for kind, name, rows in (("number", "numbers", numbers), ("category", "categories", categories))
    ]
    return "\n".join([*(f"#define {name} {value}" for name, value in facts.items()), *arrays, *tables])


def _activations(spec: NetworkSpec) -> str:
    """Return a function for each activation."""
    names = sorted({*spec.activations, "identity"})
    return "\n".join(
        f"static float activate_{name}(float x) {{ return {_expression(ACTIVATIONS[name].onnx)}; }}"  # type: ignore[index]
        for name in names
    )


def _expression(part: Any) -> str:
    """Return an expression of ONNX's operators as one of C."""
    if isinstance(part, str):
        return part
    if isinstance(part, float):
        return _number(part, "f")
    operator, *operands = part
    return _OPERATORS[operator].format(*map(_expression, operands))


def _networks(spec: NetworkSpec, networks: Sequence[dict[str, Any]]) -> str:
    """Return the parameters, and the layers that they make."""
    arrays, rows = [], []
    for n, params in enumerate(networks):
        layers = []
        for k, names in enumerate(spec.layer_names):
            for role, name in names.items():
                arrays.append(_array("float", f"{role}_{n}_{k}", params[name]))
            roles = "weight", "bias", "scale_in", "scale_out"
            found = [f"{role}_{n}_{k}" if role in names else "NULL" for role in roles]
            own = int(params[names["weight"]].ndim == 3), int(params[names["bias"]].ndim == 2)
            activation = (*spec.activations, "identity")[k]
            fields = (*spec.widths[k : k + 2], *found, *own, f"activate_{activation}")
            layers.append(f"{{{', '.join(map(str, fields))}}}")
        rows.append(f"{{{', '.join(layers)}}}")
    table = f"static const layer networks[{len(networks)}][{spec.layers}] = {{{', '.join(rows)}}};"
    return "\n".join([*arrays, table])


def _array(kind: str, name: str, values: Any) -> str:
    numbers = numpy.asarray(values).ravel()
    return f"static const {kind} {name}[] = {_braced(numbers if numbers.size else [0.0], 'f' * (kind == 'float'))};"


def _braced(values: Iterable[Any], ending: str = "") -> str:
    return f"{{{', '.join(_number(value, ending) for value in values)}}}"


def _number(value: Any, ending: str = "") -> str:
    """Return a number that reads back the same, in the float or double that it stands for."""
    return f"{float(value):.{9 if ending else 17}e}{ending}"


def _string(text: str) -> str:
    """Return a string of C with the bytes of UTF-8, of which all but letters and digits are escaped."""
    return '"' + "".join(chr(b) if chr(b).isalnum() and b < 128 else f"\\{b:03o}" for b in text.encode()) + '"'
