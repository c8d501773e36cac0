"""Models as one file of C99 that needs neither Python nor a library: the program in ``predict.c``, with their data."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy

from xpnet.backend import NetworkSpec
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.modelfile.disk import write_whole
from xpnet.modelfile.networks import Exported
from xpnet.ops import ACTIVATIONS
from xpnet.tabular.encodings import PARTS, PERIODS, Number


def write_c(path: str | Path, exported: Exported) -> None:
    """Write a model as a C file.

    Raises ModelFileError where the file cannot be written.
    """
    spec, classes, target, out = (
        exported.spec,
        exported.classes,
        exported.target,
        exported.spec.widths[-1],
    )
    two = spec.loss == "logistic_cross_entropy" and classes is not None and len(classes) <= 2
    numbers, categories = _encodings(exported.encoder)
    facts = {
        "XPNET_COLUMNS": spec.widths[0]
        if exported.encoder is None
        else exported.encoder.n_features_in_,
        "XPNET_RESULTS": 2 if two else out,
        "NUMBERS": len(numbers),
        "CATEGORIES": len(categories),
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
    tables = {
        "number numbers[]": numbers,
        "category categories[]": categories,
        "layer layers[]": _layers(spec, exported.networks),
        "double target[4][OUTPUTS]": [[0.0]] if target is None else target.tolist(),
    }
    head = [f"#define {name} {value}" for name, value in facts.items()]
    data = [f"static const {name} = {_literal(values or [0])};" for name, values in tables.items()]
    if classes is not None:
        labels = [str(label) for label in numpy.asarray(classes).tolist()]
        data.append(f"const char *const xpnet_classes[] = {_literal(labels)};")
    source = Path(__file__).with_name("predict.c").read_text(encoding="utf-8")
    write_whole(
        path, source.replace("/* DATA */", "\n".join([*head, *data, _activations(spec)])).encode()
    )


def _encodings(encoder: Any) -> tuple[list[Any], list[Any]]:
    """Return a row for each number, and one for each category."""
    numbers, categories, start = [], [], 0
    for encoding in [] if encoder is None else encoder.encodings_:
        if isinstance(encoding, Number):
            part, cycle = ("", *PARTS).index(encoding.part), PERIODS.get(encoding.part, (0.0, 1.0))
            scaling = encoding.fill, encoding.low, encoding.high, encoding.centre, encoding.scale
            flags = encoding.clip, encoding.gaps, encoding.cycle
            bins = len(encoding.edges[1:]), encoding.edges
            numbers.append([start, encoding.column, part, *scaling, *flags, *cycle, *bins])
        else:
            sizes = len(encoding.values), encoding.hot, encoding.gaps, len(encoding.detail_labels)
            names = numpy.array(encoding.values, dtype=object)
            categories.append([start, encoding.column, *sizes, names, encoding.details])
        start += len(encoding.labels)
    return numbers, categories


def _layers(spec: NetworkSpec, networks: Sequence[dict[str, Any]]) -> list[Any]:
    """Return a row for each layer of each network."""
    rows = []
    for params in networks:
        for (inputs, outputs), names in zip(pairwise(spec.widths), spec.layer_names, strict=True):
            arrays = {role: params[name].astype(numpy.float32) for role, name in names.items()}
            weight, bias = arrays["weight"], arrays["bias"]
            of_members = inputs * outputs * (weight.ndim == 3), outputs * (bias.ndim == 2)
            scales = arrays.get("scale_in"), arrays.get("scale_out")
            rows.append([inputs, outputs, weight, bias, *scales, *of_members])
    return rows


def _activations(spec: NetworkSpec) -> str:
    """Return a function for each activation, and those of the layers."""
    every = *spec.activations, "identity"
    functions = [
        f"static float activate_{name}(float x) {{ return {_expression(ACTIVATIONS[name].onnx)}; }}"  # type: ignore[index]
        for name in sorted(set(every))
    ]
    pointers = ", ".join(f"activate_{name}" for name in every)
    return "\n".join([*functions, f"static float (*const activate[])(float) = {{{pointers}}};"])


def _expression(part: Any) -> str:
    """Return an expression of ONNX's operators as one of C, where functions have their names."""
    if isinstance(part, str):
        return part
    if isinstance(part, float):
        return _literal(numpy.float32(part))
    operator, *operands = part
    return f"{operator}({', '.join(map(_expression, operands))})"


def _literal(value: Any) -> str:
    """Return a value as C, which reads back the same.

    A list is in braces, an array of NumPy's is a pointer to its values, None is NULL. Text is bytes of UTF-8, of which
    all but letters and digits are escaped.
    """
    if value is None:
        return "NULL"
    if isinstance(value, numpy.ndarray):
        kind = {"float32": "float", "float64": "double"}.get(value.dtype.name, "char *const")
        return f"(const {kind}[]){_literal(list(value.ravel()) or [0])}"
    if isinstance(value, list):
        return f"{{{', '.join(map(_literal, value))}}}"
    if isinstance(value, str):
        return (
            '"'
            + "".join(
                chr(b) if chr(b).isalnum() and b < 128 else f"\\{b:03o}" for b in value.encode()
            )
            + '"'
        )
    if isinstance(value, numpy.float32):
        return f"{value:.9e}f"
    return f"{value:.17e}" if isinstance(value, float) else str(int(value))
