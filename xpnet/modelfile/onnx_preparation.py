"""What stands before a network, and behind it, as ONNX: scikit-learn's fitted transformers.

Everything is computed in float64, and becomes the network's dtype last. Empty text is a missing value, as there is no
other in ONNX. A category that an encoder does not know gets what it gives for one; where it would raise, zeros.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

from xpnet.errors import InputError
from xpnet.modelfile.onnx_graph import ML, Graph, Value
from xpnet.modelfile.transformers import column_entries, text_columns


class Names:
    """A graph whose tensors are told by their names. dtype : of the network"""

    def __init__(self, graph: Graph, dtype: str) -> None:
        self.graph, self.dtype, self.double = graph, dtype, "float64"

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node with one output; returns its name."""
        return self.graph.add(operator, *(Value(self.graph, name) for name in inputs), **attributes).name

    def constant(self, name: str, value: Any) -> str:
        """Add a constant; returns its name."""
        return self.graph.constant(value).name

    def cast(self, name: str, dtype: str) -> str:
        """A tensor in another dtype."""
        return Value(self.graph, name).to(dtype).name


@dataclass(frozen=True)
class Block:
    """Some columns of a table under preparation: (rows, width) float64, or text.

    filled : for text, what stands for a missing value in each column, None where nothing does
    """

    name: str
    width: int
    text: bool = False
    filled: tuple[Any, ...] = ()


def add_preparation(onnx_graph: Graph, steps: Sequence[Any], width: int, dtype: str) -> Value:
    """Put fitted transformers before a network.

    A table of numbers is one input ``X`` (rows, features). Where some columns hold text, or have names and are not
    used, each column that is used is an input (rows, 1) by its name. Raises InputError for what cannot be told in ONNX.
    """
    graph = Names(onnx_graph, dtype)
    parts = _inputs(graph, steps[0], width)
    for step in steps:
        parts = _transformed(graph, step, parts)
    return Value(onnx_graph, _joined(graph, parts).name)


def _inputs(graph: Names, first: Any, width: int) -> list[Block]:
    """The model's inputs, as blocks; one for each column where a column holds text."""
    names = getattr(first, "feature_names_in_", None)
    text = text_columns(first)
    width = getattr(first, "n_features_in_", width)
    used = _used_columns(first)
    if not text and (names is None or len(used) == width):
        X = graph.graph.input("X", width, graph.dtype).name
        return [Block(graph.cast(X, graph.double), width)]
    parts = []
    for place in range(width):
        if place not in used:
            parts.append(Block("", 1))
            continue
        is_text = place in text
        name = f"x{place}" if names is None else str(names[place])
        name = graph.graph.input(name, 1, "str" if is_text else graph.dtype).name
        parts.append(Block(name, 1, True, (None,)) if is_text else Block(graph.cast(name, graph.double), 1))
    return parts


def _used_columns(model: Any) -> set[int]:
    if isinstance(model, ColumnTransformer):
        return {k for part, at in column_entries(model) if part != "drop" for k in at}
    return set(range(model.n_features_in_))


def _transformed(graph: Names, step: Any, parts: list[Block]) -> list[Block]:
    """What a transformer makes of blocks."""
    if step is None or step == "passthrough" or (isinstance(step, FunctionTransformer) and step.func is None):
        return parts
    if isinstance(step, Pipeline):
        for _, inner in step.steps:
            parts = _transformed(graph, inner, parts)
        return parts
    if isinstance(step, ColumnTransformer):
        return _by_columns(graph, step, parts)
    if isinstance(step, SimpleImputer):
        return _imputed(graph, step, parts)
    if isinstance(step, OneHotEncoder | OrdinalEncoder):
        return _encoded(graph, step, parts)
    if isinstance(step, StandardScaler | MinMaxScaler):
        return [_scaled(graph, step, _joined(graph, parts))]
    raise InputError(f"A {type(step).__name__} has no form in ONNX here. Export the estimator alone.")


def _by_columns(graph: Names, model: ColumnTransformer, parts: list[Block]) -> list[Block]:
    found = []
    weights = model.transformer_weights or {}
    for (name, _, _), (part, at) in zip(model.transformers_, column_entries(model), strict=True):
        if part == "drop" or not at:
            continue
        blocks = _transformed(graph, part, _selected(graph, parts, at))
        if name in weights:
            joined = _joined(graph, blocks)
            weight = graph.constant("weight", numpy.asarray(float(weights[name])))
            blocks = [replace(joined, name=graph.add("Mul", [joined.name, weight], "weighted"))]
        found += blocks
    return found


def _selected(graph: Names, parts: list[Block], at: list[int]) -> list[Block]:
    """These columns; from a table of numbers in one piece."""
    if len(parts) == 1:
        return [Block(_columns(graph, parts[0].name, at), len(at))]
    return [parts[place] for place in at]


def _columns(graph: Names, name: str, at: Sequence[int]) -> str:
    places = graph.constant("columns", numpy.asarray(at, dtype=numpy.int64))
    return graph.add("Gather", [name, places], "selected", axis=1)


def _joined(graph: Names, parts: list[Block]) -> Block:
    """One block of numbers."""
    if any(part.text for part in parts):
        raise InputError("Text reaches a step that takes numbers. Encode it before.")
    if len(parts) == 1:
        return parts[0]
    return Block(graph.add("Concat", [part.name for part in parts], "joined", axis=1), sum(p.width for p in parts))


def _scaled(graph: Names, model: Any, block: Block) -> Block:
    name = block.name
    if isinstance(model, MinMaxScaler):
        name = _with(graph, "Add", _with(graph, "Mul", name, model.scale_), model.min_)
        if model.clip:
            name = _with(graph, "Max", name, numpy.asarray(float(model.feature_range[0])))
            name = _with(graph, "Min", name, numpy.asarray(float(model.feature_range[1])))
        return Block(name, block.width)
    name = _with(graph, "Sub", name, model.mean_) if model.with_mean else name
    return Block(_with(graph, "Div", name, model.scale_) if model.with_std else name, block.width)


def _with(graph: Names, operator: str, name: str, numbers: Any) -> str:
    """A block and numbers, one a column, through an operator."""
    constant = graph.constant("numbers", numpy.asarray(numbers, dtype=numpy.float64))
    return graph.add(operator, [name, constant], operator.lower())


def _imputed(graph: Names, model: SimpleImputer, parts: list[Block]) -> list[Block]:
    if any(part.text for part in parts):
        if model.add_indicator:
            raise InputError("Flags of missing text have no form in ONNX here. Let an encoder make a category of it.")
        return [_filled(part, value) for part, value in zip(parts, model.statistics_.tolist(), strict=True)]
    block = _joined(graph, parts)
    statistics = numpy.asarray(model.statistics_, dtype=numpy.float64)
    missing = _is_missing(graph, block.name, model.missing_values)
    fill = graph.constant("fill", numpy.where(numpy.isnan(statistics), 0.0, statistics))
    name, width = graph.add("Where", [missing, fill, block.name], "imputed"), block.width
    kept = numpy.flatnonzero(~numpy.isnan(statistics))
    if len(kept) < width and not model.keep_empty_features:
        name, width = _columns(graph, name, kept.tolist()), len(kept)
    blocks = [Block(name, width)]
    if model.indicator_ is not None and len(model.indicator_.features_):
        flags = graph.cast(missing, graph.double)
        at = model.indicator_.features_.tolist()
        blocks.append(Block(_columns(graph, flags, at), len(at)))
    return blocks


def _filled(part: Block, value: Any) -> Block:
    """Text whose missing cells are filled; the first imputer decides."""
    return part if part.filled != (None,) else replace(part, filled=(value,))


def _is_missing(graph: Names, name: str, value: Any) -> str:
    if value is None or value != value:
        return graph.add("IsNaN", [name], "missing")
    return _with(graph, "Equal", name, numpy.asarray(float(value)))


def _encoded(graph: Names, model: Any, parts: list[Block]) -> list[Block]:
    """Each column by itself: which category it holds, then what the encoder gives for that category."""
    columns = [_column(graph, part, place) for part in parts for place in range(part.width)]
    codes = _codes(model)
    return [_coded(graph, column, *code) for column, code in zip(columns, codes, strict=True)]


def _column(graph: Names, part: Block, place: int) -> Block:
    return part if part.width == 1 else Block(_columns(graph, part.name, [place]), 1)


def _codes(model: Any) -> list[tuple[list[Any], numpy.ndarray, numpy.ndarray]]:
    """For each column its categories, the encoder's rows for them, and its row for a category it does not know."""
    firsts = [categories.tolist()[0] for categories in model.categories_]
    found, start = [], 0
    for place, categories in enumerate(model.categories_):
        rows = numpy.empty((len(categories), len(firsts)), dtype=object)
        rows[:] = firsts
        rows[:, place] = categories
        width = 1 if isinstance(model, OrdinalEncoder) else _one_hot_width(model, place)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rows without the columns' names
            given = model.transform(rows)
        given = numpy.asarray(given.toarray() if hasattr(given, "toarray") else given, dtype=numpy.float64)
        given = given[:, start : start + width]
        found.append((categories.tolist(), given, _unknown(model, place, given)))
        start += width
    return found


def _groups(model: OneHotEncoder) -> list[Any]:
    grouped = model.min_frequency is not None or model.max_categories is not None
    return list(model.infrequent_categories_) if grouped else [None] * len(model.categories_)


def _one_hot_width(model: OneHotEncoder, place: int) -> int:
    group = _groups(model)[place]
    dropped = model.drop_idx_ is not None and model.drop_idx_[place] is not None
    return len(model.categories_[place]) - (0 if group is None else len(group) - 1) - dropped


def _unknown(model: Any, place: int, given: numpy.ndarray) -> numpy.ndarray:
    if isinstance(model, OrdinalEncoder):
        known = model.handle_unknown == "use_encoded_value"
        return numpy.asarray([float(model.unknown_value) if known else 0.0])
    group = _groups(model)[place]
    if model.handle_unknown in ("infrequent_if_exist", "warn") and group is not None:
        return given[model.categories_[place].tolist().index(group.tolist()[0])]
    return numpy.zeros(given.shape[1])


def _coded(graph: Names, column: Block, categories: list[Any], given: numpy.ndarray, unknown: numpy.ndarray) -> Block:
    """The row that belongs to a column's category, taken from a table of them."""
    if column.text:
        categories, given = _with_empty_text(column, categories, given, unknown)
        hits = _text_hits(graph, column.name, categories)
    else:
        hits = _number_hits(graph, column.name, categories)
    # The place of the category; behind all of them where there was none.
    places = graph.constant("places", numpy.arange(len(categories), dtype=numpy.float64)[:, None] - len(categories))
    place = _with(graph, "Add", graph.add("MatMul", [hits, places], "place"), numpy.asarray(float(len(categories))))
    flat = graph.add("Squeeze", [graph.cast(place, "int64"), graph.constant("axis", numpy.asarray([1]))], "flat")
    table = graph.constant("codes", numpy.vstack([given, unknown]))
    return Block(graph.add("Gather", [table, flat], "coded", axis=0), given.shape[1])


def _with_empty_text(
    column: Block, categories: list[Any], given: numpy.ndarray, unknown: numpy.ndarray
) -> tuple[list[str], numpy.ndarray]:
    """Categories as ONNX has them: the empty text stands for what a missing cell was filled with, or for itself."""
    missing = [c is None or c != c for c in categories]
    empty = unknown
    if column.filled != (None,):
        empty = given[categories.index(column.filled[0])] if column.filled[0] in categories else unknown
    elif any(missing):
        empty = given[missing.index(True)]
    named = [(c, row) for c, row, gone in zip(categories, given, missing, strict=True) if not gone and c != ""]
    return [c for c, _ in named] + [""], numpy.vstack([*(row for _, row in named), empty])


def _text_hits(graph: Names, name: str, categories: list[str]) -> str:
    """(rows, categories): 1 where the text is the category."""
    hits = graph.add("OneHotEncoder", [name], "hits", domain=ML, cats_strings=categories, zeros=1)
    flat = graph.constant("flat_shape", numpy.asarray([-1, len(categories)], dtype=numpy.int64))
    return graph.cast(graph.add("Reshape", [hits, flat], "flat_hits"), graph.double)


def _number_hits(graph: Names, name: str, categories: list[Any]) -> str:
    missing = [c is None or c != c for c in categories]
    numbers = [0.0 if gone else float(c) for c, gone in zip(categories, missing, strict=True)]
    hits = graph.cast(_with(graph, "Equal", name, numbers), graph.double)
    if any(missing):
        nan = graph.cast(graph.add("IsNaN", [name], "missing"), graph.double)
        chosen = numpy.asarray(missing, dtype=numpy.float64)
        hits = graph.add("Add", [_with(graph, "Mul", hits, 1 - chosen), _with(graph, "Mul", nan, chosen)], "hits")
    return hits


def finish_target(model: TransformedTargetRegressor) -> Callable[[Value], Value]:
    """What turns the network's predictions into what the transformed targets were.

    Raises InputError for a transformer other than a scaler.
    """
    scaler = model.transformer_
    if isinstance(scaler, StandardScaler):
        scale = scaler.scale_ if scaler.with_std else 1.0
        shift = scaler.mean_ if scaler.with_mean else 0.0
    elif isinstance(scaler, MinMaxScaler) and not scaler.clip:
        scale, shift = 1 / scaler.scale_, -scaler.min_ / scaler.scale_
    else:
        raise InputError(f"A target transformed by {type(scaler).__name__} has no form in ONNX here.")
    return lambda value: value * numpy.asarray(scale, numpy.float64) + numpy.asarray(shift, numpy.float64)
