"""The rows of a fit: those whose weight is not 0, with their targets, and how they are encoded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples, check_consistent_length

from xpnet.data.cells.forms import LearnedForm
from xpnet.learning.labels import hard_labels
from xpnet.learning.weights import check_weights, weights_in_dtype
from xpnet.models.inputs import to_host
from xpnet.tabular.columns.frames import table_of
from xpnet.tabular.columns.records import Table
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.encodings.training_inputs import InputMeans
from xpnet.tabular.fitted import dense
from xpnet.tabular.rows.coded_labels import CheckedTargets
from xpnet.tabular.rows.division import RowLinks, latest_rows
from xpnet.tabular.rows.file_rows import FileRows
from xpnet.training import LabeledRows
from xpnet.typing import ArrayLike, TableLike, Transformer


class TargetCoding(Protocol):
    """The coding of targets, which a fit learns from the training rows before it trains."""

    @property
    def outputs(self) -> int:
        """Return the number of outputs of the networks."""

    def encode(self, y: CheckedTargets, name: str) -> numpy.ndarray:
        """Return targets as the loss takes them: (rows,) class indices or (rows, outputs).

        name : of the argument, for errors
        """


@dataclass(frozen=True)
class WeightedTargets:
    """The rows of a table that count, with their targets.

    indices : (rows,) their places in the table, None for all rows
    Y : (rows,) class indices or (rows, outputs) numbers
    weight : (rows,) positive, None for equal ones
    """

    indices: numpy.ndarray | None
    Y: numpy.ndarray
    weight: numpy.ndarray | None

    def take(self, chosen: numpy.ndarray) -> "WeightedTargets":
        """Return some of these rows. chosen : indices of them"""
        return WeightedTargets(
            chosen if self.indices is None else self.indices[chosen],
            self.Y[chosen],
            select(self.weight, chosen),
        )


@dataclass(frozen=True, eq=False)
class CountedRows:
    """The rows of a table whose weight is not 0, before they are encoded.

    X : the whole table, as the user has passed it
    table_rows : number of rows of the whole table
    targets : of the rows that count
    links : between the rows that count
    """

    X: TableLike | Table | FileRows
    table_rows: int
    targets: WeightedTargets
    links: RowLinks

    def divided_by_time(self, share: float) -> tuple["CountedRows", "CountedRows"]:
        """Return the earlier rows, and about this share of the rows, the latest ones."""
        assert self.links.time is not None
        is_later = latest_rows(self.links.time, share)
        return self.part(~is_later), self.part(is_later)

    @property
    def count(self) -> int:
        """Return the number of rows."""
        return len(self.targets.Y)

    def part(self, selection: numpy.ndarray) -> "CountedRows":
        """Return some of these rows. selection : (these rows,) bool"""
        return self.take(numpy.flatnonzero(selection))

    def take(self, chosen: numpy.ndarray) -> "CountedRows":
        """Return some of these rows. chosen : indices of them"""
        links = self.links.take(chosen)
        return CountedRows(self.X, self.table_rows, self.targets.take(chosen), links)

    def with_forms(self, encoder: Transformer) -> "CountedRows":
        """Return the same rows, whose table knows how all of them are read.

        Rows that are divided later, such as the latest ones for validation, are read alike.
        """
        if not isinstance(encoder, TableEncoder) or isinstance(self.X, FileRows):
            return self
        table = table_of(self.X)
        forms = encoder.learned_forms(replace(self, X=table).table_for(encoder))
        return replace(self, X=replace(table, forms=forms))

    def table_for(self, encoder: Transformer) -> TableLike | Table:
        """Return the rows as an encoder takes them.

        Raises ValueError for a table of another number of rows.
        """
        if isinstance(self.X, FileRows):
            indices = self.targets.indices
            return self.X.whole() if indices is None else self.X.take(indices)
        table = table_of(self.X) if isinstance(encoder, TableEncoder) else self.X
        count = table.rows if isinstance(table, Table) else int(_num_samples(table))
        check_consistent_length(numpy.empty(count), numpy.empty(self.table_rows))
        if self.targets.indices is None:
            return table
        if isinstance(table, Table):
            return table.take(self.targets.indices)
        return _safe_indexing(table, self.targets.indices)


def with_forms_of(encoder: Transformer, X: TableLike | Table) -> TableLike | Table:
    """Return a table whose columns are read as those of the training. encoder : fitted"""
    if not (isinstance(encoder, TableEncoder) and hasattr(encoder, "feature_names_in_")):
        return X
    names = encoder.feature_names_in_
    forms = {names[column]: LearnedForm(form) for column, form in encoder.forms_.items()}
    table = table_of(X)
    return replace(table, forms=forms | dict(table.forms))


def check_row_weights(
    weights: ArrayLike | None, rows: int, dtype: str, name: str
) -> numpy.ndarray | None:
    """Return weights of rows, (rows,) of a dtype, None for no weights.

    Raises InputError for negative weights and for those that the dtype takes for 0 or for infinity,
    ValueError for another shape.
    """
    if weights is None:
        return None
    return weights_in_dtype(check_weights(to_host(weights), rows, name), dtype, name)


class SelectableValues(Protocol):
    """Values of rows, some of which can be selected: an array, or labels as indices."""

    def __getitem__(self, rows: numpy.ndarray, /) -> Any: ...


Selected = TypeVar("Selected", bound="SelectableValues | None")
"""Values of rows, or None."""


def select(values: Selected, indices: numpy.ndarray | None) -> Selected:
    """Return a selection of values. indices : None for all"""
    return values if values is None or indices is None else values[indices]


def target_of_encodings(Y: numpy.ndarray, *, are_classes: bool) -> numpy.ndarray:
    """Return the target that encodings learn from: (rows,), of several numbers the first, of soft
    labels the most probable class.
    """
    if are_classes:
        return hard_labels(Y)
    return Y if Y.ndim == 1 else Y[:, 0]


class FittedRows(NamedTuple):
    """The encoded rows that an encoder was fitted to. means : the inputs that are mean targets"""

    rows: LabeledRows
    means: Sequence[InputMeans]


def fit_encoder(
    encoder: Transformer,
    rows: CountedRows,
    dtype: str,
    *,
    has_classes: bool,
    learned_rows: numpy.ndarray | None = None,
) -> FittedRows:
    """Fit an encoder, and return the encoded rows with their targets and weights.

    has_classes : whether targets of several columns are soft labels
    learned_rows : (rows,) bool, the rows whose targets a `TableEncoder` may learn from beside mean
        targets; None for all

    An encoder of another kind gets ``groups`` or ``time`` where its ``fit_transform`` has them.
    """
    table = rows.table_for(encoder)
    first_target = target_of_encodings(rows.targets.Y, are_classes=has_classes)
    if isinstance(encoder, TableEncoder):
        links = rows.links
        inputs = encoder.fit_training(table, first_target, links.groups, links.time, learned_rows)
        X = dense(inputs.encoded(), encoder, dtype)
        return FittedRows(labeled(X, rows.targets), inputs.means)
    parameters = signature(encoder.fit_transform).parameters
    passed = {"groups": rows.links.groups, "time": rows.links.time}
    used = {name: values for name, values in passed.items() if name in parameters}
    encoded = encoder.fit_transform(table, first_target, **used)
    return FittedRows(labeled(dense(encoded, encoder, dtype), rows.targets), ())


def encode_rows(encoder: Transformer, rows: CountedRows, dtype: str) -> LabeledRows:
    """Return rows that a fitted encoder encodes, with their targets and weights."""
    encoded = encoder.transform(rows.table_for(encoder))
    return labeled(dense(encoded, encoder, dtype), rows.targets)


def labeled(X: numpy.ndarray, targets: WeightedTargets) -> LabeledRows:
    """Return encoded rows with their targets and weights. Raises ValueError for other numbers of
    rows.
    """
    check_consistent_length(X, targets.Y)
    return LabeledRows(X, targets.Y, targets.weight)
