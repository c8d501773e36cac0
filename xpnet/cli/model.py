"""The model in a file, of whichever kind, as predict and evaluate use it."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline

import xpnet
from xpnet.data import Request, Table, read_table
from xpnet.data.large import Frames, read_large
from xpnet.data.sources import Source
from xpnet.data.table import Kind
from xpnet.errors import DataFileError, InputError
from xpnet.modelfile.pipelines import estimator_of
from xpnet.modelfile.transformers import text_columns
from xpnet.models import Network

ROWS, VALUES, PRODUCTS = 2**15, 2**22, 2**33
"""The most rows that are predicted at a time, values of a layer in them, and products."""


class Model(ABC):
    """What predict and evaluate need.

    classes : the labels, in the order of the probabilities' columns; None for a model that predicts numbers
    features : names of the columns it takes, or None where it was trained without names; width : how many
    kinds : what each named column holds
    target : the labels' column in the file it was trained on, or None; ids : columns to pass through
    gaps : whether it takes missing values; several : whether a row has several labels or numbers
    """

    classes: list[Any] | None = None
    features: list[str] | None = None
    width: int
    kinds: Mapping[str, Kind] | None = None
    target: str | None = None
    ids: tuple[str, ...] = ()
    gaps = False
    several = False
    dtype: str

    @property
    @abstractmethod
    def widths(self) -> list[int]:
        """How many inputs the network has, and units each of its layers."""

    @abstractmethod
    def _outputs(self, X: Any) -> numpy.ndarray:
        """The outputs of some rows."""

    def outputs(self, X: Any, tell: Callable[[str], None]) -> Iterator[numpy.ndarray]:
        """Probabilities (rows, classes), or numbers (rows, outputs), on the host, of some rows at a time.

        X : of a table; tell : called with how far it is
        """
        done = 0
        for part in some_rows(X, rows_at_a_time(self.widths)):
            yield self._outputs(part)
            done += len(part)
            tell(f"{done:,} of {X.shape[0]:,} rows")

    def read(self, data: str, request: Request, tell: Callable[[str], None]) -> Table:
        """The columns of a file that the model takes. tell : called with how far it is

        Raises DataFileError where they are not there, and where cells hold something else.
        """
        table = read_large(data, request, tell) or read_table(data, request)
        width = table.X.shape[1]
        if width != self.width:
            raise DataFileError(
                f"{table.name}: this model takes {self.width} columns; received {width}. Give it the columns it was "
                "trained on."
            )
        return table


def rows_at_a_time(widths: Sequence[int]) -> int:
    """How many rows a network of these widths predicts in less than a second, without much memory."""
    products = sum(fan_in * fan_out for fan_in, fan_out in pairwise(widths))
    return max(1, min(ROWS, VALUES // max(widths), PRODUCTS // products))


def some_rows(X: Any, most: int) -> Iterator[Any]:
    """X of a table, or a source, at most so many rows at a time."""
    if isinstance(X, Source | Frames):
        for block in range(X.blocks):
            for part in X.parts(block):
                yield from some_rows(part, most)
    else:
        rows = X.shape[0]
        yield from (X[start : min(start + most, rows)] for start in range(0, rows, most))


class NetworkModel(Model):
    """A model of ``xpnet.models``, which takes numbers and gives the numbers of its classes."""

    def __init__(self, network: Network) -> None:
        self.network, self.width, self.dtype = network, network.spec.widths[0], network.spec.dtype
        self.classes = list(range(network.spec.widths[-1]))

    @property
    def widths(self) -> list[int]:
        """See :class:`Model`."""
        return list(self.network.spec.widths)

    def _outputs(self, X: Any) -> numpy.ndarray:
        return self.network.backend.to_numpy(self.network.predict(X.astype(self.network.spec.dtype, copy=False)))


class EstimatorModel(Model):
    """An estimator, or a pipeline that ends in one."""

    def __init__(self, model: Any) -> None:
        self.model, self.estimator = model, estimator_of(model)
        first = model.steps[0][1] if isinstance(model, Pipeline) else model
        names = getattr(first, "feature_names_in_", None)
        self.by_name = isinstance(first, ColumnTransformer) and names is not None
        self.classes = _classes(self.estimator)
        softmax = getattr(self.estimator, "out_activation_", "softmax") == "softmax"
        self.several = self.estimator.n_outputs_ > 1 and (self.classes is None or not softmax)
        self.width = int(first.n_features_in_)
        self.dtype = self.estimator.dtype_
        self.gaps = any(isinstance(step, SimpleImputer) for step in _every_step(model))
        if names is not None:
            text = text_columns(first)
            self.features = names.tolist()
            self.kinds = {name: "text" if k in text else "number" for k, name in enumerate(names.tolist())}
        kept = self.estimator.extra
        self.target = kept.get("target") if isinstance(kept.get("target"), str) else None
        ids = kept.get("ids", [])
        self.ids = tuple(i for i in ids if isinstance(i, str)) if isinstance(ids, list) else ()

    @property
    def widths(self) -> list[int]:
        """See :class:`Model`."""
        return [self.estimator.n_features_in_, *(len(bias) for bias in self.estimator.intercepts_)]

    def _outputs(self, X: Any) -> numpy.ndarray:
        predict = self.model.predict if self.classes is None else self.model.predict_proba
        with warnings.catch_warnings():
            # Columns have been taken by name already; scikit-learn cannot know, and would warn.
            warnings.filterwarnings("ignore", message="X (has feature names|does not have valid feature names)")
            try:
                return numpy.asarray(predict(self._given(X)))
            except InputError:
                raise
            except ValueError as error:
                raise InputError(f"The model does not take these values: {error}") from error

    def _given(self, X: Any) -> Any:
        """X as the first step takes it: by name, or by number."""
        if isinstance(X, numpy.ndarray):
            return self._table_of(X) if self.by_name else X
        if self.features is None:
            rows = numpy.empty(X.shape, dtype=object)
            for place, column in enumerate(X.columns):
                rows[:, place] = column.to_pylist()
            return rows
        return X if self._knows_none() or not any(column.null_count for column in X.columns) else _with_nan(X)

    def _table_of(self, X: numpy.ndarray) -> Any:
        import pyarrow

        return pyarrow.table({name: X[:, place] for place, name in enumerate(self.features or [])})

    def _knows_none(self) -> bool:
        """Whether it learned from frames in which a missing text is None, as pyarrow and polars have it."""
        encoders = [step for step in _every_step(self.model) if hasattr(step, "categories_")]
        imputers = [step for step in _every_step(self.model) if isinstance(step, SimpleImputer)]
        nones = [None in categories.tolist() for step in encoders for categories in step.categories_]
        return any(nones) or any(step.missing_values is None for step in imputers)


def _with_nan(X: Any) -> Any:
    """The table as a frame of pandas', in which a missing text is NaN.

    Raises DataFileError without pandas.
    """
    try:
        import pandas
    except ImportError:
        raise DataFileError(
            "This model learned from a frame of pandas' with gaps among text; it needs pandas. pip install pandas."
        ) from None
    frame = X.to_pandas().astype(object)
    return frame.where(frame.notna(), numpy.nan).infer_objects() if not frame.empty else pandas.DataFrame(frame)


def _classes(estimator: Any) -> list[Any] | None:
    classes = getattr(estimator, "classes_", None)
    return None if classes is None else classes.tolist()


def _every_step(model: Any) -> list[Any]:
    """The transformers of a pipeline, those within others too."""
    if isinstance(model, Pipeline):
        return [inner for _, step in model.steps for inner in _every_step(step)]
    if isinstance(model, ColumnTransformer):
        return [inner for _, part, _ in model.transformers_ for inner in _every_step(part)]
    return [model]


def open_model(path: Path, backend: str | None) -> Model:
    """The model in a file.

    Raises ModelFileError for a file that holds none.
    """
    model = xpnet.load(path, backend=backend)
    return NetworkModel(model) if isinstance(model, Network) else EstimatorModel(model)
