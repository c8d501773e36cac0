"""Models of every kind, as a command needs to know them."""

from collections.abc import Iterable
from typing import Any

import numpy
import pyarrow

from xpnet.errors import InputError
from xpnet.models import Network
from xpnet.models.inputs import to_host
from xpnet.tabular.category_encoding import CategoryEncoding
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.text_encoding import TextEncoding

_TEXT = CategoryEncoding, TextEncoding


class TableModel:
    """A model of any kind that takes tables.

    features : names of the columns that it needs, none if it takes any of the right number
    text : those that are read as text
    classes : the labels, in the order of the probabilities' columns; None for a model of numbers
    outputs : how many numbers or labels a row has
    levels : of the quantiles that it predicts, if these are several
    several : whether a row has several labels or targets
    target : the labels' column in the training file, if it is known; ids : columns to carry along
    coverage : of the intervals whose ends follow the numbers; None for no intervals
    """

    def __init__(self, model: Any, coverage: float | None = None) -> None:
        self.model: Any = model
        self.coverage: float | None = coverage
        self.features: list[str] = getattr(model, "feature_names_in_", numpy.array([])).tolist()
        self.text: set[str] = set()
        self._use_encoder(getattr(model, "encoder_", None))
        self.outputs: int = _output_count(model)
        self.classes: list[object] | None = _classes_of(model)
        self.levels: list[float] = _levels_of(model)
        self.several: bool = self.outputs > 1 and not self.levels
        # A file from anyone may hold anything here.
        target = model.extra.get("target")
        ids = model.extra.get("ids")
        self.target: str | None = target if isinstance(target, str) else None
        self.ids: list[object] = ids if isinstance(ids, list) else []

    def _use_encoder(self, encoder: TableEncoder | None) -> None:
        """Take the columns that an encoder reads, and those that it reads as text."""
        if encoder is None or not self.features:
            return
        names = self.features
        encodings = encoder.encodings_
        self.text = {
            names[encoding.column] for encoding in encodings if isinstance(encoding, _TEXT)
        }
        self.features = [
            names[place] for place in sorted({encoding.column for encoding in encodings})
        ]

    def outputs_of(self, table: pyarrow.Table) -> numpy.ndarray:
        """Return probabilities (rows, classes), or numbers (rows,) or (rows, outputs), on the host.

        Raises InputError for values that the model does not take.
        """
        model = self.model
        try:
            predict = getattr(model, "predict_proba", model.predict)
            outputs = to_host(predict(table if self.features else numpy.asarray(table)))
            if self.coverage is None:
                return outputs
            ends = model.predict_interval(table, self.coverage, predictions=outputs)
            return numpy.hstack([outputs.reshape(len(table), -1), ends])
        except ValueError as error:
            raise InputError(f"The model does not take these values: {error}") from error

    def outputs_of_all(self, tables: Iterable[pyarrow.Table]) -> numpy.ndarray:
        """Return the outputs of several tables, one after the other, as one array."""
        return numpy.concatenate([self.outputs_of(table) for table in tables])


def _classes_of(model: Any) -> list[object] | None:
    """Return the labels that a model predicts; None for a model of numbers.

    Raises InputError for a model of several targets of classes.
    """
    if isinstance(model, Network):  # that of a file, which predicts class indices
        return list(range(model.spec.widths[-1]))
    labels = getattr(model, "classes_", None)
    if isinstance(labels, list):
        raise InputError(
            "A model must have one target of classes for the command line; this one has several. "
            "Use its predict in Python."
        )
    return None if labels is None else labels.tolist()


def _levels_of(model: Any) -> list[float]:
    """Return the levels of the quantiles that a model predicts, if these are several."""
    if getattr(model, "loss", None) != "quantile":
        return []
    levels: list[float] = numpy.atleast_1d(model.quantile).tolist()
    return levels if len(levels) > 1 else []


def _output_count(model: Any) -> int:
    """Return how many numbers or labels a model predicts for a row."""
    if isinstance(model, Network):
        return 1
    if getattr(model, "encoder_", None) is None:
        return 1 if model.out_activation_ == "softmax" else int(model.n_outputs_)
    return len(model.target_[0]) if hasattr(model, "target_") else 1
