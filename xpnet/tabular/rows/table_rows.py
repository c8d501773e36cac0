"""Rows of a table with their targets, before they are encoded, and how they are encoded."""

from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import numpy
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples, check_consistent_length

from xpnet.data.cells.forms import LearnedForm
from xpnet.learning.class_offsets import labels_with_offsets
from xpnet.learning.labels import hard_labels
from xpnet.learning.split import select
from xpnet.learning.weights import check_weights, weights_in_dtype
from xpnet.models.inputs import to_host
from xpnet.tabular.columns.frames import table_of
from xpnet.tabular.columns.records import Table
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.fitted import dense
from xpnet.tabular.rows.division import UNLINKED, RowLinks, latest_rows
from xpnet.tabular.rows.file_table import FileTable
from xpnet.tabular.rows.table_split import FitRows, TableSplit
from xpnet.typing import ArrayLike, TableLike, Transformer


@dataclass(frozen=True, eq=False)
class TableRows:
    """Rows of a table with targets as networks learn them; no row has the weight 0.

    X : the whole table, as the user has passed it
    table_rows : number of rows of the whole table
    indices : (rows,) of these rows in the table; None for all
    Y : (rows,) class indices or (rows, outputs) numbers, as the loss takes them
    weight : (rows,) positive; None for equal ones
    links : groups or times of the rows
    offset : (rows, classes) numbers that are added to the logits; None for none
    inverse_variance : (rows,) of targets that are rates; None for equal ones
    """

    X: TableLike | Table | FileTable
    table_rows: int
    indices: numpy.ndarray | None
    Y: numpy.ndarray
    weight: numpy.ndarray | None = None
    links: RowLinks = UNLINKED
    offset: numpy.ndarray | None = None
    inverse_variance: numpy.ndarray | None = None

    def divided_by_time(self, share: float) -> tuple["TableRows", "TableRows"]:
        """Return the earlier rows, and about this share of the rows, the latest ones."""
        assert self.links.time is not None
        is_later = latest_rows(self.links.time, share)
        return self.part(~is_later), self.part(is_later)

    @property
    def count(self) -> int:
        """Return the number of rows."""
        return len(self.Y)

    def part(self, selection: numpy.ndarray) -> "TableRows":
        """Return some of these rows. selection : (these rows,) bool"""
        return self.take(numpy.flatnonzero(selection))

    def take(self, chosen: numpy.ndarray) -> "TableRows":
        """Return some of these rows. chosen : indices of them"""
        return replace(
            self,
            indices=chosen if self.indices is None else self.indices[chosen],
            Y=self.Y[chosen],
            weight=select(self.weight, chosen),
            links=self.links.take(chosen),
            offset=select(self.offset, chosen),
            inverse_variance=select(self.inverse_variance, chosen),
        )

    def with_inputs(self, X: Any) -> FitRows:
        """Return encoded rows with their targets and weights; offsets stand behind the labels.

        X : (rows, inputs) array, sparse matrix or source
        """
        if self.offset is None:
            return FitRows(X, self.Y, self.weight, self.inverse_variance)
        Y = labels_with_offsets(self.Y, self.offset).astype(X.dtype)
        return FitRows(X, Y, self.weight)

    def with_forms(self, encoder: Transformer) -> "TableRows":
        """Return the same rows, whose table knows how all of them are read.

        Rows that are divided later, such as the latest ones for validation, are read alike.
        """
        if not isinstance(encoder, TableEncoder) or isinstance(self.X, FileTable):
            return self
        table = table_of(self.X)
        forms = encoder.learned_forms(replace(self, X=table).table_for(encoder))
        return replace(self, X=replace(table, forms=forms))

    def table_for(self, encoder: Transformer) -> TableLike | Table:
        """Return the rows as an encoder takes them.

        Raises ValueError for a table of another number of rows.
        """
        if isinstance(self.X, FileTable):
            return self.X.whole() if self.indices is None else self.X.take(self.indices)
        table = table_of(self.X) if isinstance(encoder, TableEncoder) else self.X
        count = table.rows if isinstance(table, Table) else int(_num_samples(table))
        check_consistent_length(numpy.empty(count), numpy.empty(self.table_rows))
        if self.indices is None:
            return table
        if isinstance(table, Table):
            return table.take(self.indices)
        return _safe_indexing(table, self.indices)


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


def target_of_encodings(Y: numpy.ndarray, *, are_classes: bool) -> numpy.ndarray:
    """Return the target that encodings learn from: (rows,), of several numbers the first, of soft
    labels the most probable class.
    """
    if are_classes:
        return hard_labels(Y)
    return Y if Y.ndim == 1 else Y[:, 0]


def fit_encoder(
    encoder: Transformer,
    rows: TableRows,
    dtype: str,
    *,
    has_classes: bool,
    learned_rows: numpy.ndarray | None = None,
) -> TableSplit:
    """Fit an encoder, and return the encoded rows, which are not divided yet.

    has_classes : whether targets of several columns are soft labels
    learned_rows : (rows,) bool, the rows whose targets a `TableEncoder` may learn from beside mean
        targets; None for all

    An encoder of another kind gets ``groups`` or ``time`` where its ``fit_transform`` has them.
    """
    table = rows.table_for(encoder)
    first_target = target_of_encodings(rows.Y, are_classes=has_classes)
    if isinstance(encoder, TableEncoder):
        links = rows.links
        inputs = encoder.fit_training(table, first_target, links.groups, links.time, learned_rows)
        X = dense(inputs.encoded(), encoder, dtype)
        return TableSplit(labeled(X, rows), None, are_own=True, means=inputs.means)
    parameters = signature(encoder.fit_transform).parameters
    passed = {"groups": rows.links.groups, "time": rows.links.time}
    used = {name: values for name, values in passed.items() if name in parameters}
    encoded = encoder.fit_transform(table, first_target, **used)
    return TableSplit(labeled(dense(encoded, encoder, dtype), rows), None)


def encode_rows(encoder: Transformer, rows: TableRows, dtype: str) -> FitRows:
    """Return rows that a fitted encoder encodes, with their targets and weights."""
    encoded = encoder.transform(rows.table_for(encoder))
    return labeled(dense(encoded, encoder, dtype), rows)


def labeled(X: numpy.ndarray, rows: TableRows) -> FitRows:
    """Return encoded rows with their targets and weights. Raises ValueError for other numbers of
    rows.
    """
    check_consistent_length(X, rows.Y)
    return rows.with_inputs(X)
