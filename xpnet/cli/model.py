"""The model in a file, of whichever kind, as predict and evaluate use it."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy
import pyarrow

import xpnet
from xpnet.cli.scores import class_scores, number_scores
from xpnet.errors import InputError
from xpnet.models import Network


class TableModel:
    """A model that takes tables.

    features : names of the columns that it needs, None where it takes any so many; width : how many
    text : those that are read as text
    classes : the labels, in the order of the probabilities' columns; None for a model that predicts numbers
    several : whether a row has several labels or numbers
    target : the labels' column in the file it was trained on, or None; ids : columns to carry along
    levels : of the quantiles that it predicts, if these are several
    coverage : of the intervals whose ends stand behind the numbers; None for no intervals
    """

    features: list[str] | None = None
    text: tuple[str, ...] = ()
    several = False
    coverage: float | None = None

    def __init__(self, model: Any) -> None:
        self.model = model
        classes = getattr(self.model, "classes_", None)
        self.classes: list[Any] | None = None if classes is None else list(classes.tolist())
        extra = self.model.extra
        self.target = extra.get("target") if isinstance(extra.get("target"), str) else None
        ids = extra.get("ids")
        self.ids = tuple(i for i in ids if isinstance(i, str)) if isinstance(ids, list) else ()
        self.levels = tuple(getattr(model, "quantile", ())) if _predicts_several_quantiles(model) else ()
        self._learn_columns()

    @property
    def outputs_count(self) -> int:
        """Return the number of outputs of a row."""
        return len(self.model.target_[0])

    def _learn_columns(self) -> None:
        encoder = self.model.encoder_
        names = getattr(encoder, "feature_names_in_", None)
        self.width = encoder.n_features_in_
        if names is None:
            return
        encodings = encoder.get_state()[0]["encodings"]
        used = {encoding["column"] for encoding in encodings}
        self.features = [name for place, name in enumerate(names.tolist()) if place in used]
        self.text = tuple({names[one["column"]] for one in encodings if one["kind"] == "category"})
        self.several = len(getattr(self.model, "target_", [[0]])[0]) > 1 and not self.levels

    def outputs(self, table: pyarrow.Table) -> numpy.ndarray:
        """Probabilities (rows, classes), or numbers (rows,) or (rows, outputs), on the host."""
        predict = self.model.predict if self.classes is None else self.model.predict_proba
        with warnings.catch_warnings():
            # Columns have been taken by name already; scikit-learn cannot know, and would warn.
            warnings.filterwarnings("ignore", message="X (has feature names|does not have valid feature names)")
            try:
                given = self._given(table)
                if self.coverage is None:
                    return numpy.asarray(predict(given))
                both = predict(given), self.model.predict_interval(given, self.coverage)
                return numpy.hstack([part.reshape(len(table), -1) for part in both])
            except InputError:
                raise
            except ValueError as error:
                raise InputError(f"The model does not take these values: {error}") from error

    def _given(self, table: pyarrow.Table) -> Any:
        """The table as the model takes it."""
        return table if self.features is not None else _matrix(table)


class EstimatorModel(TableModel):
    """An estimator on numbers."""

    def _learn_columns(self) -> None:
        names = getattr(self.model, "feature_names_in_", None)
        softmax = self.model.out_activation_ == "softmax"
        self.several = self.model.n_outputs_ > 1 and (self.classes is None or not softmax) and not self.levels
        self.features, self.width = (None if names is None else names.tolist()), int(self.model.n_features_in_)

    @property
    def outputs_count(self) -> int:
        """See :class:`TableModel`."""
        return int(self.model.n_outputs_)

    def _given(self, table: pyarrow.Table) -> Any:
        return _matrix(table)


class NetworkModel(TableModel):
    """A network, which knows nothing but numbers."""

    def _learn_columns(self) -> None:
        spec = self.model.spec
        self.width, classify = spec.widths[0], spec.loss == "softmax_cross_entropy"
        self.classes = list(range(spec.widths[-1])) if classify else None
        self.several = self.classes is None and spec.widths[-1] > 1

    @property
    def outputs_count(self) -> int:
        """See :class:`TableModel`."""
        return int(self.model.spec.widths[-1])

    def outputs(self, table: pyarrow.Table) -> numpy.ndarray:
        """See :class:`TableModel`."""
        X = numpy.asarray(_matrix(table)).astype(self.model.spec.dtype, copy=False)
        return self.model.backend.to_numpy(self.model.predict(X))


def _predicts_several_quantiles(model: Any) -> bool:
    """Say whether a model predicts several numbers for one target."""
    return getattr(model, "loss", None) == "quantile" and numpy.size(model.quantile) > 1


def _matrix(table: pyarrow.Table) -> numpy.ndarray:
    """Columns of numbers as a matrix, of objects where some hold text; gaps are NaN."""
    columns = [column.to_numpy() for column in table.columns]
    if any(column.dtype.kind not in "biuf" for column in columns):
        return numpy.asarray([column.to_pylist() for column in table.columns], dtype=object).T
    return numpy.column_stack(columns)


def open_model(path: Path, backend: str | None) -> TableModel:
    """Return the model in a file.

    Raises ModelFileError for a file that holds none.
    """
    model = xpnet.load(path, backend=backend)
    if isinstance(model, Network):
        return NetworkModel(model)
    return TableModel(model) if hasattr(model, "encoder_") else EstimatorModel(model)


def predictions(
    model: TableModel, tables: Iterable[pyarrow.Table], tell: Callable[[str], None]
) -> Iterator[numpy.ndarray]:
    """The outputs of some rows after the other. tell : called with how far it is"""
    done = 0
    for table in tables:
        yield model.outputs(table)
        done += len(table)
        tell(f"{done:,} rows")


def measured(
    model: TableModel,
    tables: Iterable[pyarrow.Table],
    y: numpy.ndarray,
    classes: Any,
    tell: Callable[[str], None],
) -> tuple[dict[str, Any], numpy.ndarray]:
    """Scores, and the probabilities or numbers that were predicted. y : (rows,) class indices, or numbers"""
    blocks, done = predictions(model, tables, tell), 0
    first = next(blocks)
    outputs = numpy.empty((len(y), *first.shape[1:]), first.dtype)
    for block in chain([first], blocks):
        outputs[done : done + len(block)] = block
        done += len(block)
    if classes is None:
        columns = outputs.reshape(len(y), -1)
        numbers = columns[:, columns.shape[1] // 2]  # of several quantiles the middle one
        return number_scores(y, numbers), numbers
    return class_scores(y, outputs), outputs


def shuffled(
    model: TableModel,
    table: pyarrow.Table,
    y: numpy.ndarray,
    repeats: int,
    rng: numpy.random.Generator,
    tell: Callable[[str], None],
) -> numpy.ndarray:
    """How much worse predictions are with each column shuffled, by log loss or R2: (columns, repeats)."""
    key, sign = ("r2", -1) if model.classes is None else ("log_loss", 1)

    def badness(some: pyarrow.Table) -> float:
        return sign * float(measured(model, [some], y, model.classes, lambda told: None)[0][key])

    whole, found = badness(table), numpy.empty((table.num_columns, repeats))
    for place, name in enumerate(table.column_names):
        for turn in range(repeats):
            column = table.column(place).take(pyarrow.array(rng.permutation(len(y))))
            found[place, turn] = badness(table.set_column(place, name, column)) - whole
        tell(f"{place + 1} of {table.num_columns} columns")
    return found
