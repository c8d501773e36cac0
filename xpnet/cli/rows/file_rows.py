"""Some of the rows of a data file, with their targets."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy
import pyarrow
from pyarrow import types

from xpnet.cli.table_model import TableModel
from xpnet.data.cells.numbers import NumberFormat
from xpnet.data.frames import Frame
from xpnet.errors import DataFileError, InputError
from xpnet.learning.split import select
from xpnet.tabular.columns.frames import table_of
from xpnet.tabular.columns.reading import UnreadableWarning, read_table
from xpnet.tabular.rows.coded_labels import CodedLabels
from xpnet.tabular.rows.division import RowLinks
from xpnet.tabular.rows.file_table import FilePiece, FileTable


@dataclass(frozen=True)
class FileRows:
    """Some of the rows of a data file.

    features : the columns that a model takes, which are read when they are needed
    y : (rows,) class indices, or numbers; classes : the labels, in their order; None for numbers
    weight : (rows,) of the rows, positive; None for equal ones; links : their groups or times
    factors : (rows,) the known factors of their means, or of the odds of the second of two classes,
        by exposures and offsets; of more classes (rows, classes) of their odds; None for none
    target_format : of labels that are numbers in text; None for others
    shares : (rows, classes) soft labels, whose most probable classes are y; None for hard labels
    """

    features: FileTable
    y: numpy.ndarray
    classes: Any
    weight: numpy.ndarray | None = None
    factors: numpy.ndarray | None = None
    links: RowLinks = RowLinks()
    target_format: NumberFormat | None = None
    shares: numpy.ndarray | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, selection: numpy.ndarray | slice) -> "FileRows":
        """Return some of the rows, in their order. selection : (rows,) bool, indices, or a slice"""
        selected = numpy.zeros(len(self), bool)
        selected[selection] = True
        return replace(
            self,
            features=self.features.part(selected),
            y=self.y[selected],
            weight=select(self.weight, selected),
            factors=select(self.factors, selected),
            links=self.links.take(numpy.flatnonzero(selected)),
            shares=select(self.shares, selected),
        )

    def sample(self, maximum: int) -> "FileRows":
        """Return about ``maximum`` rows, at even distances; all of fewer rows."""
        return self.take(self.sampled(maximum))

    def sampled(self, maximum: int) -> numpy.ndarray:
        """Return the indices of about ``maximum`` rows, at even distances."""
        return numpy.arange(0, len(self), -(-len(self) // maximum))

    @property
    def frame(self) -> Frame:
        """Return the file."""
        return self.features.frame

    @property
    def labels(self) -> CodedLabels | numpy.ndarray:
        """Return the labels of classes, soft labels, or numbers, as estimators take them."""
        if self.shares is not None:
            return self.shares
        return self.y if self.classes is None else CodedLabels(self.classes, self.y)

    @property
    def distributions(self) -> numpy.ndarray:
        """Return the probability of each class in each row: (rows, classes)."""
        return numpy.eye(len(self.classes))[self.y] if self.shares is None else self.shares

    @property
    def known_parts(self) -> dict[str, numpy.ndarray]:
        """Return the known factors as an argument of estimators: exposures, or offsets of odds."""
        if self.factors is None:
            return {}
        if self.classes is None:
            return {"exposure": self.factors}
        return {"offset": numpy.log(self.factors)}

    @property
    def offsets(self) -> numpy.ndarray:
        """Return the offset of each class, of rows whose odds have known factors: (rows, classes).

        That of the first of two classes is 0.
        """
        assert self.factors is not None
        offsets = numpy.log(self.factors)
        if offsets.ndim == 1:
            offsets = numpy.column_stack([numpy.zeros(len(self)), offsets])
        return offsets

    def table(self) -> pyarrow.Table:
        """Return all rows as one table."""
        return pyarrow.concat_tables(self.tables()).unify_dictionaries()

    def check_cells(self, unreadable: str = "error") -> None:
        """Raise DataFileError for a cell of text that does not have the form of its column.

        unreadable : "error"; with "gap", a note on the gaps that such cells become
        """
        schema = self.frame.schema
        forms = self.features.forms
        checked = [
            name
            for name, learned in forms.items()
            if learned.form.kind != "category" and types.is_dictionary(schema.field(name).type)
        ]
        forms_of_checked = {place: forms[name].form for place, name in enumerate(checked)}
        table = replace(self.features, names=checked)
        gaps: dict[str, list[UnreadableWarning]] = {}
        for piece in table.pieces(table.places) if checked else ():
            read = replace(table_of(piece.table), row_numbers=piece.numbers)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    read_table(read, forms_of_checked, unreadable)
                except InputError as error:
                    raise DataFileError(f"{self.frame.name}: {error}") from error
            for warning in caught:
                if isinstance(warning.message, UnreadableWarning):
                    gaps.setdefault(warning.message.column, []).append(warning.message)
        for own in gaps.values():
            count = sum(warning.count for warning in own)
            self.frame.notes.append(f"{count:,} values became gaps: {own[0].problem}")

    def outputs_of(self, model: TableModel) -> numpy.ndarray:
        """Return the outputs of a model for all rows as one array."""
        return numpy.concatenate([self.outputs_of_piece(model, piece) for piece in self.pieces()])

    def outputs_of_piece(self, model: TableModel, piece: FilePiece) -> numpy.ndarray:
        """Return the outputs of a model for some rows."""
        factors = self.factors
        if factors is not None:
            places = piece.numbers - self.frame.first_row
            factors = factors[numpy.searchsorted(self.features.places, places)]
        return model.outputs_of(piece.table, self.features.forms, piece.numbers, factors)

    def count_unknowns(self, model: TableModel) -> dict[str, dict[str, int]]:
        """Return the columns with values unlike those of a model's training, and their numbers.

        A model without a `TableEncoder` knows nothing of its training's values.
        """
        counts: dict[str, Counter[str]] = {}
        for table in self.tables() if model.has_encoder and model.features else ():
            for name, numbers in model.count_unknowns(table, self.features.forms).items():
                counts.setdefault(name, Counter()).update(numbers)
        return {name: dict(numbers) for name, numbers in counts.items() if any(numbers.values())}

    def tables(self, blocks: Iterable[int] | None = None) -> Iterator[pyarrow.Table]:
        """Yield the rows, some thousand at a time. blocks : of the frame; None for all"""
        return (piece.table for piece in self.pieces(blocks))

    def pieces(self, blocks: Iterable[int] | None = None) -> Iterator[FilePiece]:
        """Yield the rows with their numbers. blocks : of the frame; None for all"""
        places = self.features.places
        if blocks is not None:
            block_of_row = numpy.searchsorted(self.frame.starts, places, side="right") - 1
            places = places[numpy.isin(block_of_row, list(blocks))]
        return self.features.pieces(places)
