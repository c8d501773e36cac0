"""The protocol of encodings: each turns a column of a table into float32 columns.

An encoding is a frozen dataclass of numbers, texts and arrays. It is fitted by a function of its
own file, and it is so simple (affine, clip, look up) that another runtime can repeat it. The rest
of the library asks an encoding only what ``Encoding`` declares here: its outputs, its entry in a
model file, and its form in an ONNX graph and in C. ``xpnet.tabular.encodings.kinds`` lists all
kinds.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, Self, TypeAlias

import numpy

from xpnet.data.cells.forms import ColumnForm
from xpnet.errors import InputError
from xpnet.tabular.columns.records import Kind, Table

OnnxTensor: TypeAlias = Any
"""A tensor of an ONNX graph under construction; arithmetic with it adds nodes to the graph."""

ReadTyped: TypeAlias = Callable[[dict[str, object], type], Any]
"""Makes a dataclass from JSON values and arrays; it raises ValueError for values of other types."""


WriteRows: TypeAlias = Callable[[Table, numpy.ndarray], None]
"""Encodes all rows of a table into (rows, outputs of the table) float32."""

StoredFields: TypeAlias = Mapping[str, Any]
"""The JSON values and arrays of an encoding in a model file, by the names of its fields."""

TensorShapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""The shapes of the tensors of an encoding in a model file, by name."""


class OnnxTable(Protocol):
    """A table in an ONNX graph under construction. Exporters pass it to encodings.

    xp : functions of NumPy's names that add nodes: isnan, where, abs, clip, sqrt, sin, cos,
        minimum, maximum
    """

    xp: OnnxTensor

    def column(self, index: int) -> OnnxTensor:
        """Return a column (rows, 1): float64, or text where the encoding reads categories."""
        ...

    def columns(self, indices: Sequence[int]) -> OnnxTensor:
        """Return columns of numbers side by side: (rows, columns) float64."""
        ...

    def joined(self, tensors: Sequence[OnnxTensor]) -> OnnxTensor:
        """Return tensors (rows, ...) side by side."""
        ...

    def add(
        self, operator: str, *operands: OnnxTensor, domain: str = "", **attributes: object
    ) -> OnnxTensor:
        """Add a node of an operator; numbers and arrays among its operands become constants."""
        ...


class ColumnUse(NamedTuple):
    """A column that an encoding reads. reads : the kind of values that it reads it as"""

    column: int
    reads: Kind


class UnusualValues(NamedTuple):
    """Numbers of rows whose value of a column is unlike those of the training.

    unknown : values of a category, or levels of a number, that training rows did not have
    gaps : gaps, whether training rows had gaps or not
    outside : numbers and dates below the smallest or above the largest of the training
    """

    unknown: int = 0
    gaps: int = 0
    outside: int = 0


class Encoding(ABC):
    """How one column becomes float32 outputs.

    kind : the name of the class in model files, and of its structure in C
    tensors : names of the arrays in a model file
    is_addition : whether the column must have another encoding besides this one
    ends_with_means : whether its last outputs are mean targets of values, where the fit has means
    why_not_exported : why the encoding has no form in ONNX and C, as an error message; empty where
        it has one
    c_code : the structure ``kind`` in C, whose first field is ``int start``, and a function
        ``void encode_KIND(const KIND *, const xpnet_value *row, float *out)``
    column : index of the table's column
    """

    kind: ClassVar[str]
    tensors: ClassVar[tuple[str, ...]] = ()
    is_addition: ClassVar[bool] = False
    ends_with_means: ClassVar[bool] = False
    why_not_exported: ClassVar[str] = ""
    c_code: ClassVar[str] = ""
    column: int

    # ---- the fit

    @classmethod
    def fit_addition(cls, table: Table, encodings: Sequence["Encoding"]) -> "Encoding | None":
        """Fit an encoding of this class beside the others of a column; None where there is none.

        table : the training rows; encodings : of the column, at least one
        """
        return None

    # ---- the table

    @property
    @abstractmethod
    def reads(self) -> Kind:
        """Return the kind of values that the column is read as."""

    @property
    def uses(self) -> list[ColumnUse]:
        """Return the columns that are read, which must be encoded in the same reading."""
        return [ColumnUse(self.column, self.reads)]

    @property
    @abstractmethod
    def labels(self) -> list[str]:
        """Return the ending of the name of each output, which follows the title."""

    def later_form(self, form: ColumnForm) -> ColumnForm:
        """Return the form in which the column is read after training. form : of the training"""
        return form

    def title(self, names: Sequence[str]) -> str:
        """Return the beginning of the names of the outputs. names : of the table's columns"""
        return names[self.column]

    @abstractmethod
    def write(self, table: Table, out: numpy.ndarray) -> None:
        """Encode all rows of a table. out : (rows, outputs) float32, overwritten"""

    def unusual_values(self, table: Table) -> UnusualValues:
        """Count the rows of a table whose value is unlike those of the training."""
        return UnusualValues()

    @classmethod
    def writer(cls, encodings: Sequence[Self], places: Sequence[slice]) -> WriteRows:
        """Return a function that encodes all rows of a table by several encodings of this class.

        A class overrides it where it encodes several columns faster together. What does not depend
        on the rows is computed here, once for all tables.

        places : of the outputs of each encoding, in their order
        """
        placed = list(zip(encodings, places, strict=True))

        def write(table: Table, out: numpy.ndarray) -> None:
            """Encode the rows by one encoding after the other."""
            for encoding, place in placed:
                encoding.write(table, out[:, place])

        return write

    # ---- linear baselines, searches and monotonic networks

    @property
    def bins(self) -> int:
        """Return how many of the last outputs are bins of a number."""
        return 0

    def rises(self) -> list[bool]:
        """Return for each output whether it rises with the number of the column."""
        return [False] * len(self.labels)

    def as_numbers(self) -> numpy.ndarray:
        """Return sums of the outputs that hold the column in few numbers: (outputs, numbers)."""
        return numpy.eye(len(self.labels))

    def as_codes(self) -> numpy.ndarray:
        """Return the same, with one number for a choice of values: (outputs, numbers)."""
        return self.as_numbers()

    # ---- model files

    def to_file(self) -> dict[str, object]:
        """Return what a model file holds: JSON values, and arrays, which become tensors."""
        return dict(vars(self))

    @classmethod
    def from_file(cls, fields: StoredFields, read_typed: ReadTyped) -> Self:
        """Return the encoding that ``to_file`` described. Raises ValueError for other values."""
        encoding: Self = read_typed(dict(fields), cls)
        encoding.check()
        return encoding

    @abstractmethod
    def check(self) -> None:
        """Raise ValueError for values that a fit does not find; their types are right."""

    @classmethod
    def describe(cls, settings: StoredFields, shapes: TensorShapes) -> str | None:
        """Return what the column holds, by its entry in a model file.

        None leaves the description to the other encoding of the column.

        settings : the JSON values; shapes : of the tensors, by name
        """
        return cls.kind

    # ---- other runtimes

    @classmethod
    def onnx_all(cls, encodings: Sequence[Self], table: OnnxTable) -> list[OnnxTensor]:
        """Add several encodings of this class to an ONNX graph.

        returns tensors that side by side are the outputs (rows, outputs) float32, in order
        """
        return [encoding.onnx(table) for encoding in encodings]

    def onnx(self, table: OnnxTable) -> OnnxTensor:
        """Add the encoding to an ONNX graph, and return its outputs (rows, outputs) float32.

        Raises InputError for an encoding that has no form there.
        """
        raise InputError(self.why_not_exported)

    def c_fields(self) -> list[object]:
        """Return the fields of the structure in C, without the first one, ``start``.

        Raises InputError for an encoding that has no form there.
        """
        raise InputError(self.why_not_exported)

    @classmethod
    def c_sizes(cls, encodings: Sequence[Self]) -> dict[str, int]:
        """Return the macros that the C code asks for, by name. encodings : of this class"""
        return {}


def count_of(is_so: numpy.ndarray) -> int:
    """Return the number of rows for which something holds. is_so : (rows,) bool"""
    return int(numpy.count_nonzero(is_so))


def check_array(array: numpy.ndarray | None, dtype: str, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless an array has this dtype and shape, and is finite.

    array : None where a file lacks it
    """
    if (
        array is None
        or array.dtype != dtype
        or array.shape != shape
        or not numpy.isfinite(array).all()
    ):
        raise ValueError(f"a tensor is not {dtype} of shape {shape}, and finite")
