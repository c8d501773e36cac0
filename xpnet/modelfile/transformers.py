"""Fitted pipelines of scikit-learn's as numbers and strings, and back; nothing is ever unpickled.

A tree has a node for each transformer, with its parameters and what ``fit`` learned that the documentation names
(``mean_``, ``categories_``, ``statistics_``). What scikit-learn keeps beside that for itself is not in the file: it is
made anew by fitting on a few rows that lead to the same attributes, so that a file outlives a release of scikit-learn.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any

import numpy
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.utils.validation import check_is_fitted

from xpnet.errors import InputError
from xpnet.modelfile.values import from_json, to_json

Node = dict[str, Any]

_LEARNED: dict[type, tuple[str, ...]] = {
    StandardScaler: ("mean_", "var_", "scale_", "n_samples_seen_"),
    MinMaxScaler: ("min_", "scale_", "data_min_", "data_max_", "data_range_", "n_samples_seen_"),
    OneHotEncoder: ("categories_", "infrequent_categories_"),
    OrdinalEncoder: ("categories_", "infrequent_categories_"),
    SimpleImputer: ("statistics_", "indicator_"),
}
"""What each transformer learns, by the documented name."""

_KINDS: dict[str, type] = {kind.__name__: kind for kind in _LEARNED}
KNOWN = (*_KINDS, "ColumnTransformer", "Pipeline", "TransformedTargetRegressor")
_DEEPEST = 16  # transformers within transformers
_COLUMN_PARAMS = ("sparse_threshold", "transformer_weights", "verbose_feature_names_out")
_SPARE_COLUMNS = 4096  # columns beyond those that a ColumnTransformer names; each takes memory when a file is opened
_MOST_NAMES = 2**15  # of a ColumnTransformer: scikit-learn finds each name by looking through all of them
_SPARE_CELLS = 2**20  # cells of the rows that an encoder is fitted anew on, beyond so many for each of its categories
_CELLS_PER_CATEGORY = 64
_WORDS = ("drop", "passthrough")  # that stand for a transformer
_DTYPES = ("float32", "float64", "int32", "int64")  # that encoders may give


def to_tree(model: Any, is_estimator: Callable[[Any], bool]) -> Node:
    """A fitted pipeline as a tree of JSON values; the estimator in it is a node without content.

    Raises InputError for a transformer or a parameter that a file cannot hold, NotFittedError before ``fit``.
    """
    if is_estimator(model):
        return {"kind": "estimator"}
    if type(model) is Pipeline:
        return {"kind": "Pipeline", "steps": [[name, _step(step, is_estimator)] for name, step in model.steps]}
    check_is_fitted(model)
    if type(model) is ColumnTransformer:
        return _columns_to_tree(model, is_estimator)
    if type(model) is TransformedTargetRegressor:
        return _target_to_tree(model, is_estimator)
    if type(model) not in _LEARNED:
        raise InputError(
            f"A model file holds pipelines of {', '.join(KNOWN)} around an estimator of xpnet's; received a "
            f"{type(model).__name__}."
        )
    return _leaf_to_tree(model)


def _step(step: Any, is_estimator: Callable[[Any], bool]) -> Any:
    return "passthrough" if step is None or step == "passthrough" else to_tree(step, is_estimator)


def _leaf_to_tree(model: Any) -> Node:
    params = model.get_params(deep=False)
    if "dtype" in params:
        params["dtype"] = numpy.dtype(params["dtype"]).name
    return {
        "kind": type(model).__name__,
        "params": _as_json(model, params),
        "learned": _as_json(model, {name: _learned(model, name) for name in _LEARNED[type(model)]}),
        **_inputs(model),
    }


def _learned(model: Any, name: str) -> Any:
    if name == "infrequent_categories_":
        groups = _infrequent(model)
        for categories, group in zip(model.categories_, groups, strict=True):
            if group is not None and len(group) == len(categories):
                raise InputError("A model file holds encoders with a frequent category in each column; one has none.")
        return groups
    if name == "indicator_":
        return None if model.indicator_ is None else model.indicator_.features_
    return getattr(model, name)


def _infrequent(encoder: Any) -> list[Any]:
    """The categories of each column that are taken together; None for none."""
    groups = encoder.min_frequency is not None or encoder.max_categories is not None
    return list(encoder.infrequent_categories_) if groups else [None] * len(encoder.categories_)


def _inputs(model: Any) -> Node:
    names = getattr(model, "feature_names_in_", None)
    return {"inputs": int(model.n_features_in_), "names": None if names is None else [str(name) for name in names]}


def _as_json(model: Any, values: dict[str, Any]) -> Any:
    try:
        return to_json({name: _plain(value) for name, value in values.items()})
    except TypeError as error:
        raise InputError(f"A {type(model).__name__} in a model file has numbers and strings only; {error}.") from error


def _plain(value: Any) -> Any:
    """The value without NumPy's scalars in lists, and arrays as they are."""
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _columns_to_tree(model: ColumnTransformer, is_estimator: Callable[[Any], bool]) -> Node:
    params = {name: getattr(model, name) for name in _COLUMN_PARAMS}
    rest = [entry for entry in model.transformers_ if entry[0] == "remainder"]
    given = [entry for entry in model.transformers_ if entry[0] != "remainder"]
    return {
        "kind": "ColumnTransformer",
        "params": _as_json(model, params),
        "transformers": [[name, *_entry(model, part, columns, is_estimator)] for name, part, columns in given],
        "remainder": _entry(model, rest[0][1], rest[0][2], is_estimator)[0] if rest else "drop",
        "sparse": bool(model.sparse_output_),
        **_inputs(model),
    }


def _entry(model: ColumnTransformer, part: Any, columns: Any, is_estimator: Callable[[Any], bool]) -> tuple[Any, Any]:
    """A transformer and its columns, as JSON."""
    chosen = _chosen(model, columns)
    if isinstance(part, FunctionTransformer) and part.func is None:
        return "passthrough", chosen
    if isinstance(part, str) or not (isinstance(chosen, str | int) or chosen):
        return part if isinstance(part, str) else "drop", chosen
    return to_tree(part, is_estimator), chosen


def _chosen(model: ColumnTransformer, columns: Any) -> Any:
    """Columns by name or number; a mask or a slice as the numbers it stands for."""
    if isinstance(columns, slice):
        columns = _sliced(model, columns)
    if isinstance(columns, str) or (isinstance(columns, int | numpy.integer) and not isinstance(columns, bool)):
        return columns if isinstance(columns, str) else int(columns)
    array = numpy.asarray(columns)
    if array.dtype == bool:
        return numpy.flatnonzero(array).tolist()
    if array.size and array.dtype.kind not in "iuUO":
        raise InputError(
            f"A ColumnTransformer in a model file names its columns, or numbers them; received {columns!r}."
        )
    return [str(c) if isinstance(c, str) else int(c) for c in array.tolist()]


def _sliced(model: ColumnTransformer, columns: slice) -> list[int]:
    names = list(getattr(model, "feature_names_in_", []))
    start, stop = columns.start, columns.stop
    if isinstance(start, str) or isinstance(stop, str):
        start = names.index(start) if isinstance(start, str) else start
        stop = names.index(stop) + 1 if isinstance(stop, str) else stop
    return list(range(model.n_features_in_))[slice(start, stop, columns.step)]


def _target_to_tree(model: TransformedTargetRegressor, is_estimator: Callable[[Any], bool]) -> Node:
    if model.func is not None or model.inverse_func is not None or model.transformer is None:
        raise InputError("A TransformedTargetRegressor in a model file has a transformer, and no functions.")
    return {
        "kind": "TransformedTargetRegressor",
        "transformer": to_tree(model.transformer_, is_estimator),
        "regressor": to_tree(model.regressor_, is_estimator),
    }


def from_tree(node: Any, estimator: Any) -> Any:
    """The fitted pipeline of a tree, around an estimator.

    Raises ValueError for what is no such tree.
    """
    try:
        return _from_tree(node, estimator, 0)
    except Exception as error:  # a file may come from anyone, and scikit-learn raises many kinds for what it refuses
        raise ValueError(
            f"its pipeline cannot be put together: {' '.join(str(error).split()) or repr(error)}"
        ) from error


def _from_tree(node: Any, estimator: Any, depth: int) -> Any:
    kind = node["kind"]
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    if kind == "estimator":
        return estimator
    if kind == "Pipeline":
        steps = [(_name(name), _part(step, estimator, depth)) for name, step in node["steps"]]
        return Pipeline(steps)
    if kind == "ColumnTransformer":
        return _columns_from_tree(node, estimator, depth)
    if kind == "TransformedTargetRegressor":
        return _target_from_tree(node, estimator, depth)
    return _leaf_from_tree(node)


def _part(node: Any, estimator: Any, depth: int) -> Any:
    return node if node in _WORDS else _from_tree(node, estimator, depth + 1)


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise ValueError("a step has no name")
    return name


def _leaf_from_tree(node: Node) -> Any:
    kind = _KINDS[node["kind"]]
    params, learned = from_json(node["params"]), from_json(node["learned"])
    if set(learned) != set(_LEARNED[kind]):
        raise ValueError(f"it is not what a {kind.__name__} learns")
    if "dtype" in params:
        if params["dtype"] not in _DTYPES:
            raise ValueError("an encoder gives no such numbers")
        params["dtype"] = numpy.dtype(params["dtype"]).type
    model = kind(**params)
    model._validate_params()
    if kind is SimpleImputer:
        model.fit(_imputer_rows(model, **learned))
    elif kind in (OneHotEncoder, OrdinalEncoder):
        _fit_encoder(model, **learned)
    else:
        _check_widths(learned, node["inputs"])
        vars(model).update(learned)
    return _named(model, node)


def _check_widths(learned: dict[str, Any], inputs: int) -> None:
    for name, value in learned.items():
        if isinstance(value, numpy.ndarray) and (value.shape != (inputs,) or value.dtype.kind not in "iuf"):
            raise ValueError(f"{name} does not have a number for each of {inputs} columns")


def _named(model: Any, node: Node) -> Any:
    """The transformer with the names of its columns."""
    names, inputs = node["names"], node["inputs"]
    if getattr(model, "n_features_in_", inputs) != inputs or (names is not None and len(names) != inputs):
        raise ValueError("a transformer has other columns than it learned from")
    model.n_features_in_ = inputs
    if names is not None:
        model.feature_names_in_ = numpy.asarray([_name(name) for name in names], dtype=object)
    return model


def _imputer_rows(model: SimpleImputer, statistics_: Any, indicator_: Any) -> numpy.ndarray:
    """Two rows that an imputer learns the same from: its statistics, then what is missing where a flag is raised."""
    rows = numpy.asarray([statistics_, statistics_])
    missing = numpy.zeros(len(statistics_), dtype=bool)
    missing[[] if indicator_ is None else indicator_] = True
    if statistics_.dtype.kind == "f":
        rows[:, numpy.isnan(statistics_)] = model.missing_values
    rows[1, missing] = model.missing_values
    return rows


def _fit_encoder(model: Any, categories_: list[Any], infrequent_categories_: list[Any]) -> None:
    """Fit on rows with every category, the infrequent ones once and the others at least twice."""
    groups = [set() if group is None else set(group.tolist()) for group in infrequent_categories_]
    grouped = any(groups)
    rows = max(len(c) + (len(c) - len(g)) * grouped for c, g in zip(categories_, groups, strict=True))
    if rows * len(categories_) > _SPARE_CELLS + _CELLS_PER_CATEGORY * sum(map(len, categories_)):
        raise ValueError("an encoder has too many categories for its many columns")
    X = numpy.empty((rows, len(categories_)), dtype=object)
    for place, (categories, group) in enumerate(zip(categories_, groups, strict=True)):
        values = categories.tolist()
        frequent = [value for value in values if value not in group]
        X[:, place] = [*values, *islice(cycle(frequent), rows - len(values))]
    asked = {name: getattr(model, name) for name in ("min_frequency", "max_categories")}
    if any(value is not None for value in asked.values()):
        model.set_params(min_frequency=2 if grouped else 1, max_categories=None)
    model.fit(X)
    model.set_params(**asked)
    if [len(c) for c in model.categories_] != [len(c) for c in categories_]:
        raise ValueError("an encoder's categories are not all different")
    model.categories_ = categories_


def _columns_from_tree(node: Node, estimator: Any, depth: int) -> ColumnTransformer:
    """A ColumnTransformer around transformers that are fitted already."""
    _check_inputs(node)
    params = from_json(node["params"])
    if set(params) != set(_COLUMN_PARAMS):
        raise ValueError("the parameters of a ColumnTransformer are others")
    parts = [
        (_name(name), _column_part(part, _names(node, columns), estimator, depth), columns)
        for name, part, columns in node["transformers"]
    ]
    rest = _column_part(node["remainder"], _left(node), estimator, depth)
    model = ColumnTransformer(
        [(name, _frozen(part), columns) for name, part, columns in parts], remainder=_frozen(rest), **params
    )
    model.fit(_example(node, parts, rest))
    fitted = {name: part for name, part, _ in parts} | {"remainder": rest}
    model.set_params(transformers=parts, remainder=rest)
    model.transformers_ = [
        (name, fitted[name] if isinstance(part, FrozenEstimator) else part, columns)
        for name, part, columns in model.transformers_
    ]
    model.sparse_output_ = bool(node["sparse"])
    return model


def _check_inputs(node: Node) -> None:
    """Raise ValueError where a ColumnTransformer has so many columns that opening it would take long."""
    named = sum(1 if isinstance(columns, str | int) else len(columns) for _, _, columns in node["transformers"])
    names = node["names"]
    if node["inputs"] > _SPARE_COLUMNS + (named if names is None else len(names)):
        raise ValueError(f"a ColumnTransformer takes {node['inputs']} columns and uses {named} of them")
    if names is not None and len(names) > _MOST_NAMES:
        raise ValueError(f"a ColumnTransformer names more than {_MOST_NAMES} columns")


def _column_part(part: Any, columns: list[Any], estimator: Any, depth: int) -> Any:
    """A transformer of some columns. What passes columns through makes a matrix of them, whatever they came in."""
    if part != "passthrough":
        return _part(part, estimator, depth)
    same = FunctionTransformer(validate=True, accept_sparse=True, check_inverse=False, feature_names_out="one-to-one")
    same.fit(numpy.zeros((1, max(len(columns), 1))))
    same.n_features_in_ = len(columns)
    if columns and all(isinstance(column, str) for column in columns):
        same.feature_names_in_ = numpy.asarray(columns, dtype=object)
    return same


def _frozen(part: Any) -> Any:
    return part if isinstance(part, str) else FrozenEstimator(part)


def _names(node: Node, columns: Any) -> list[Any]:
    """Columns by name where there are names, else by number."""
    chosen = [columns] if isinstance(columns, str | int) else columns
    return [node["names"][c] if isinstance(c, int) and node["names"] is not None else c for c in chosen]


def _left(node: Node) -> list[Any]:
    """The columns that no transformer takes."""
    every = list(range(node["inputs"])) if node["names"] is None else node["names"]
    used = {column for _, _, columns in node["transformers"] for column in _names(node, columns)}
    return [column for column in every if column not in used]


def example_rows(tree: Node, model: Any) -> list[Any]:
    """Tables that a fitted pipeline may take: one with a row of values, one with a row of gaps, and both as objects."""
    first, node = model, tree
    while isinstance(first, Pipeline):
        first, node = first.steps[0][1], node["steps"][0][1]
    if isinstance(first, ColumnTransformer):
        every = node["names"] or list(range(node["inputs"]))
        row: dict[Any, Any] = dict.fromkeys(every, 0.0)
        for part, at in column_entries(first):
            row |= dict(zip([every[k] for k in at], example_values(part, len(at)), strict=True))
    else:
        width = model.n_features_in_
        row = dict(zip(getattr(model, "feature_names_in_", range(width)), example_values(first, width), strict=True))
    gaps = {name: None if isinstance(value, str) or value is None else float("nan") for name, value in row.items()}
    if not hasattr(model, "feature_names_in_"):
        return [_table(row, False), _table(gaps, False)]
    if "pandas" not in sys.modules:  # then these columns were a pyarrow table's
        return [_table(row, True), _table(gaps, True)]
    import pandas

    frames = [pandas.DataFrame({name: [value] for name, value in each.items()}) for each in (row, gaps)]
    return frames + [frame.astype(object) for frame in frames]


def _table(row: dict[Any, Any], named: bool) -> Any:
    """A table of one row; a matrix where its columns have no names."""
    if not named:
        text = any(isinstance(value, str) or value is None for value in row.values())
        return numpy.asarray([list(row.values())], dtype=object if text else None)
    import pyarrow

    return pyarrow.table({name: [value] for name, value in row.items()})


def _example(node: Node, parts: Sequence[tuple[str, Any, Any]], rest: Any) -> Any:
    """One row that every transformer takes: with names where the transformer learned names."""
    names = node["names"]
    every = list(range(node["inputs"])) if names is None else names
    row: dict[Any, Any] = dict.fromkeys(every, 0.0)
    left = _left(node)
    for part, chosen in [*((part, _names(node, columns)) for _, part, columns in parts), (rest, left)]:
        row |= dict(zip(chosen, example_values(part, len(chosen)), strict=True))
    return _table(row, names is not None)


def example_values(part: Any, width: int) -> list[Any]:
    """Values that a fitted transformer takes, one a column."""
    if isinstance(part, Pipeline):
        return example_values(part.steps[0][1], width)
    if isinstance(part, SimpleImputer):
        empty = 0.0 if part.statistics_.dtype.kind == "f" else ""
        return [empty if value is None or value != value else value for value in part.statistics_.tolist()]
    if isinstance(part, OneHotEncoder | OrdinalEncoder):
        return [categories.tolist()[0] for categories in part.categories_]
    if isinstance(part, ColumnTransformer):
        raise ValueError("a ColumnTransformer stands within another")
    return [0.0] * width


def _target_from_tree(node: Node, estimator: Any, depth: int) -> TransformedTargetRegressor:
    """A regressor of transformed targets, put together from its fitted parts."""
    transformer = _from_tree(node["transformer"], estimator, depth + 1)
    regressor = _from_tree(node["regressor"], estimator, depth + 1)
    return scaled_target(regressor, transformer)


def scaled_target(regressor: Any, transformer: Any) -> TransformedTargetRegressor:
    """A TransformedTargetRegressor whose parts are fitted."""
    model = TransformedTargetRegressor(FrozenEstimator(regressor), transformer=transformer, check_inverse=False)
    model.fit(numpy.zeros((2, regressor.n_features_in_)), numpy.asarray([0.0, 1.0]))
    model.set_params(regressor=regressor, check_inverse=True)
    model.regressor_, model.transformer_ = regressor, transformer
    return model


def text_columns(model: Any) -> set[int]:
    """The columns, by number, that a fitted transformer takes as text."""
    if isinstance(model, Pipeline):
        first = next((step for _, step in model.steps if step not in (None, "passthrough")), None)
        return text_columns(first)
    if isinstance(model, SimpleImputer):
        return {k for k, value in enumerate(model.statistics_.tolist()) if isinstance(value, str)}
    if isinstance(model, OneHotEncoder | OrdinalEncoder):
        return {k for k, cats in enumerate(model.categories_) if any(isinstance(c, str) for c in cats.tolist())}
    if isinstance(model, ColumnTransformer):
        return {at[k] for part, at in column_entries(model) if not isinstance(part, str) for k in text_columns(part)}
    return set()


def column_entries(model: ColumnTransformer) -> list[tuple[Any, list[int]]]:
    """Each transformer with the numbers of its columns."""
    names = {name: k for k, name in enumerate(getattr(model, "feature_names_in_", []))}
    entries = []
    for _, part, columns in model.transformers_:
        chosen = range(model.n_features_in_)[columns] if isinstance(columns, slice) else columns
        chosen = numpy.atleast_1d(numpy.asarray(chosen, dtype=object if len(names) else None)).tolist()
        if chosen and all(isinstance(column, bool) for column in chosen):
            chosen = numpy.flatnonzero(chosen).tolist()
        entries.append((part, [names[column] if isinstance(column, str) else int(column) for column in chosen]))
    return entries


def named_steps(settings: dict[str, Any]) -> tuple[list[Any] | None, list[str] | None, list[str]]:
    """Classes, names of features and kinds of transformers, from a file's settings alone; None for what is not there.

    Raises ValueError for settings that are not those of an estimator or a pipeline.
    """
    try:
        fitted = from_json(settings["fitted"])
        classes = fitted.get("classes_")
        nodes = list(_nodes(settings.get("tree") or {"kind": "estimator"}, 0))
        names = fitted.get("feature_names_in_")
        features = next((node["names"] for node in nodes if node.get("names") is not None), names)
        kinds = [node["kind"] for node in nodes if node["kind"] not in ("estimator", "Pipeline")]
        return (
            None if classes is None else list(classes.tolist()),
            None if features is None else [str(name) for name in features],
            list(dict.fromkeys(map(str, kinds))),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("its settings are not those of an estimator") from error


def _nodes(node: Any, depth: int) -> Iterator[Node]:
    """A tree's nodes, from the outermost on."""
    if isinstance(node, str) or depth > _DEEPEST:
        return
    yield node
    for _, step in node.get("steps", []):
        yield from _nodes(step, depth + 1)
    for _, part, _ in node.get("transformers", []):
        yield from _nodes(part, depth + 1)
    for inner in ("transformer", "regressor"):
        if inner in node:
            yield from _nodes(node[inner], depth + 1)
