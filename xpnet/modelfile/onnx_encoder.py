"""A fitted ``TableEncoder`` as a part of an ONNX graph: float64 and text in, float32 out."""

from collections.abc import Sequence
from typing import Any

import numpy

from xpnet.modelfile.onnx_graph import ML, Graph, Value
from xpnet.tabular.encodings import DAY, FARTHEST, LARGEST, PERIODS, Category, Number

_GAP = "NaN is a gap"
_SAYS = {"str": "empty text is a gap", "float64": _GAP, "moment": f"seconds since 1970; {_GAP}"}
"""A graph says this of its inputs, by their kind."""


def encode_table(graph: Graph, encoder: Any) -> Value:
    """Return the outputs (rows, outputs) of a fitted ``TableEncoder``, from inputs that are added to the graph.

    A table of numbers is one input ``X`` (rows, columns), in float64. Where columns hold text, dates or times, or have
    names and are left out, each column that is used is an input (rows, 1) by its name: text, numbers, or seconds since
    1970.
    """
    encodings = encoder.encodings_
    starts = numpy.cumsum([0, *(len(encoding.labels) for encoding in encodings)]).tolist()
    sources = _sources(graph, encoder)
    parts: list[Value] = []
    places: list[int] = []  # of the parts' columns among the outputs
    numbers = [k for k, encoding in enumerate(encodings) if isinstance(encoding, Number)]
    if numbers:
        x = graph.add("Concat", *(sources[k] for k in numbers), axis=1)
        for part, at in _numbers(x, [encodings[k] for k in numbers], [starts[k] for k in numbers]):
            parts.append(part)
            places += at
    for encoding, start, source in zip(encodings, starts, sources, strict=False):
        if isinstance(encoding, Category):
            parts.append(_category(source, encoding))
            places += range(start, start + len(encoding.labels))
    return graph.add("Concat", *parts, axis=1).columns(numpy.argsort(places))


def _sources(graph: Graph, encoder: Any) -> list[Value]:
    """Return what each encoding encodes: (rows, 1) of the table, or a part of its moments."""
    encodings, columns = encoder.encodings_, encoder.n_features_in_
    names = getattr(encoder, "feature_names_in_", [f"x{column}" for column in range(columns)])
    apart = hasattr(encoder, "feature_names_in_") and encoder.left_out_
    if not apart and not any(isinstance(encoding, Category) or encoding.part for encoding in encodings):
        table = graph.input("X", columns, "float64", _GAP)
        return [table.columns([encoding.column]) for encoding in encodings]
    inputs: dict[int, Value] = {}
    parts: dict[int, dict[str, Value]] = {}
    sources = []
    for encoding in encodings:
        dtype, part = ("str", "") if isinstance(encoding, Category) else ("float64", encoding.part)
        column = encoding.column
        if column not in inputs:
            inputs[column] = graph.input(names[column], 1, dtype, _SAYS["moment" if part else dtype])
        if part and column not in parts:
            parts[column] = _parts_of_moments(inputs[column])
        sources.append(parts[column][part] if part else inputs[column])
    return sources


def _parts_of_moments(seconds: Value) -> dict[str, Value]:
    """Return the parts of moments, as ``xpnet.tabular.encodings.parts_of_moments`` has them; NaN and infinity give NaN.

    (The calendar from days: Hinnant, chrono-Compatible Low-Level Date Algorithms, 2013, ``civil_from_days``.)
    """
    days = seconds // DAY
    from_march = days + 719468.0  # days since 1 March of the year 0, the first of an era of 400 years
    era = from_march // 146097.0
    day_of_era = from_march - era * 146097.0
    years = (day_of_era - day_of_era // 1460.0 + day_of_era // 36524.0 - day_of_era // 146096.0) // 365.0
    day_of_year = day_of_era - (years * 365.0 + years // 4.0 - years // 100.0)
    month_from_march = (day_of_year * 5.0 + 2.0) // 153.0
    after_december = month_from_march // 10.0  # 1 in January and February, whose year began in March
    return {
        "trend": seconds,
        "year": years + era * 400.0 + after_december,
        "month": month_from_march + 3.0 - after_december * 12.0,
        "day": day_of_year - (month_from_march * 153.0 + 2.0) // 5.0 + 1.0,
        "weekday": days + 3.0 - (days + 3.0) // 7.0 * 7.0,
        "hour": (seconds - days * DAY) / 3600.0,
    }


def _numbers(x: Value, numbers: Sequence[Any], starts: Sequence[int]) -> list[tuple[Value, list[int]]]:
    """Return what ``Number.write`` writes, in float32: parts with the places of their columns among the outputs.

    x : (rows, numbers) float64; starts : the place of the first output of each number
    """
    graph = x.graph

    def row(name: str) -> numpy.ndarray:
        return numpy.array([getattr(number, name) for number in numbers])

    missing = graph.add("IsNaN", x)
    x = graph.add("Where", missing, row("fill"), x)
    within = graph.add("Min", graph.add("Max", x, row("low")), row("high"))
    x = graph.add("Where", graph.add("Greater", graph.add("Abs", x), LARGEST), within, x)
    z = graph.add("Clip", (x - row("centre")) * row("scale"), -FARTHEST, FARTHEST)
    z = graph.add("Where", row("clip"), z / graph.add("Sqrt", z * z / 9.0 + 1.0), z)
    places: dict[str, list[tuple[int, int]]] = {}
    for index, (number, start) in enumerate(zip(numbers, starts, strict=True)):
        ways = ["scaled"] * (number.scale != 0) + ["gap"] * number.gaps + ["Sin", "Cos"] * number.cycle
        for place, way in enumerate(ways + ["bin"] * max(0, len(number.edges) - 1), start):
            places.setdefault(way, []).append((index, place))
    found = []
    for way, entries in places.items():
        at = [index for index, _ in entries]
        if way == "bin":
            left = numpy.concatenate([number.edges[:-1] for number in numbers])
            right = numpy.concatenate([number.edges[1:] for number in numbers])
            value = graph.add("Clip", (x.columns(at) - left) / (right - left), 0.0, 1.0)
        elif way in ("Sin", "Cos"):
            first, length = numpy.array([PERIODS[numbers[index].part] for index in at]).T
            value = graph.add(way, (x.columns(at) - first) * (2 * numpy.pi / length))
        else:
            value = (z if way == "scaled" else missing).columns(at)
        found.append((value.to("float32"), [place for _, place in entries]))
    return found


def _category(text: Value, category: Category) -> Value:
    """Look up a category's outputs in a table with a row for each value, for unknown ones and for gaps."""
    values = list(category.values)
    unknown, gap = len(values), len(values) + 1
    rows = numpy.empty((len(values) + 2, len(category.labels)), numpy.float32)
    category.write(numpy.array([*range(len(values)), -1, -2]), rows)
    keys = {"": gap} | {value: index for index, value in enumerate(values)}
    code = text.graph.add(
        "LabelEncoder",
        text,
        domain=ML,
        keys_strings=list(keys),
        values_int64s=list(keys.values()),
        default_int64=unknown,
    )
    return text.graph.add("Gather", rows, text.graph.add("Squeeze", code, numpy.array([1])), axis=0)
