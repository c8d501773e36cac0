"""Categories as float32 columns: frequent values, and the frequency and mean target of all."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, Self

import numpy

from xpnet.data.cells.forms import ColumnForm, refused_types
from xpnet.tabular.columns.records import CategoryCodes, Kind, Table
from xpnet.tabular.encodings.encoding import (
    Encoding,
    OnnxTable,
    OnnxTensor,
    ReadTyped,
    StoredFields,
    TensorShapes,
    UnusualValues,
    check_array,
    count_of,
)
from xpnet.tabular.encodings.encoding_target import Target
from xpnet.tabular.encodings.target_means import (
    CodedValues,
    ColumnMeans,
    details_of_values,
    fit_means,
    target_labels,
)
from xpnet.tabular.encodings.value_effect import (
    compared_rows,
    compared_targets,
    effect_of_values,
    prior_rows_of,
)

SMOOTHING_ROWS = 10.0
"""Number of rows with the overall mean target that are added to the rows of each value where the
target has too many classes to measure how far they are alike."""
ROWS_OF_COLUMN = (4, 20)
"""Smallest and largest number of rows from which a value keeps its column. In tables whose target
is a number, noise and an effect of each value as large as the noise, columns have a squared error
that is 3 % higher than that of means with 3 rows a value, 2 % with 5 rows, and equal with 10. In
other tables columns are better from 5 rows on."""
COLUMN_ROWS_PER_PRIOR_ROW = 4.0
"""Number of rows of a value, for each row that its mean is shrunk by, from which it keeps its
column, between both of these numbers. Where other columns matter differently for each value, a
column is better from fewer rows on."""
MIN_DEVIATIONS = 2.0
"""Smallest excess of what rows of one value have in common, in standard deviations of its value by
chance, with which values have mean targets. The means of a column that tells nothing are noise."""

UNKNOWN = -1
"""The index of a value that was not seen in training."""
GAP = -2
"""The index of a gap."""


@dataclass(frozen=True)
class CategoryEncoding(Encoding):
    """A category: a column for each frequent value, one for all rare values, one for gaps, details.

    Unknown values are 0 in all of these columns.

    values : the values of the training, the most frequent first
    frequent : number of values that have a column of their own
    gaps : whether there is a column for gaps
    details : (values, columns) float32: frequency and mean targets of categories of many values
    detail_labels : (columns,) names of the details
    """

    column: int
    values: tuple[str, ...]
    frequent: int
    gaps: bool
    details: numpy.ndarray
    detail_labels: tuple[str, ...]

    kind = "category"
    tensors = ("text", "lengths", "details")
    ends_with_means = True

    @property
    def reads(self) -> Kind:
        """Return the kind of values that the column is read as."""
        return "category"

    @property
    def hot(self) -> int:
        """Return the number of columns of values: the frequent ones, and one of rare ones."""
        return self.frequent + (self.frequent < len(self.values))

    @property
    def labels(self) -> list[str]:
        """Return the ending of the name of each output, which follows the column's name."""
        labels = [f"_{value}" for value in self.values[: self.frequent]]
        labels += ["_rare"] * (self.hot - self.frequent) + ["_missing"] * self.gaps
        return labels + [f"_{label}" for label in self.detail_labels]

    def indices(self, codes: CategoryCodes) -> numpy.ndarray:
        """Return for each row the index of its value: (rows,) int64; or UNKNOWN or GAP."""
        index_of_text = self._index_of_text()
        indices = [
            index_of_text.get(text, index_of_text.get(other_form(text), UNKNOWN))
            for text in codes.texts
        ]
        return numpy.array([*indices, GAP], numpy.int64)[codes.codes]

    def _index_of_text(self) -> dict[str, int]:
        """Return the index of each value, and GAP for empty text.

        Empty text may be a value in files of a release that took it for one.
        """
        return {"": GAP} | {value: index for index, value in enumerate(self.values)}

    def known_texts(self) -> dict[str, int]:
        """Return the index of each text that is not unknown: a value, its other form, or GAP."""
        indices = self._index_of_text()
        other_forms = {other_form(value): index for value, index in indices.items()}
        return other_forms | indices

    def later_form(self, form: ColumnForm) -> ColumnForm:
        """Return the form in which later rows are read: as text of these values."""
        return replace(form, kind="category", refuses=refused_types(self.values))

    def as_codes(self) -> numpy.ndarray:
        """Return sums of the outputs in which the index of the value is one number."""
        identity = numpy.eye(len(self.labels))
        hot = self.hot + self.gaps
        index = numpy.arange(len(identity))
        return numpy.column_stack([numpy.where(index < hot, index, 0), identity[:, hot:]])

    def write(self, table: Table, out: numpy.ndarray) -> None:
        """Encode all rows of a table. out : (rows, outputs) float32, overwritten"""
        self.write_indices(self.indices(table.categories(self.column)), out)

    def unusual_values(self, table: Table) -> UnusualValues:
        """Count the rows of a table with an unknown value or a gap."""
        indices = self.indices(table.categories(self.column))
        return UnusualValues(
            unknown=count_of(indices == UNKNOWN),
            gaps=count_of(indices == GAP),
        )

    def write_indices(self, indices: numpy.ndarray, out: numpy.ndarray) -> None:
        """Encode rows. indices : (rows,) of values; out : (rows, outputs) float32, overwritten"""
        out[...] = 0.0
        (known_rows,) = numpy.nonzero(indices >= 0)
        out[known_rows, numpy.minimum(indices[known_rows], self.hot - 1)] = 1.0
        if self.gaps:
            out[:, self.hot] = indices == GAP
        if self.detail_labels:
            out[known_rows, self.hot + self.gaps :] = self.details[indices[known_rows]]

    def to_file(self) -> dict[str, object]:
        """Return what a model file holds: the values one after the other, and their lengths."""
        fields = dict(vars(self))
        values = fields.pop("values")
        fields["text"] = numpy.frombuffer("".join(values).encode(), numpy.uint8)
        fields["lengths"] = numpy.array([len(value) for value in values], numpy.uint32)
        return fields

    @classmethod
    def from_file(cls, fields: StoredFields, read_typed: ReadTyped) -> Self:
        """Return the encoding that ``to_file`` described. Raises ValueError for other values.

        Its text is in UTF-8, and its lengths count characters.
        """
        others = dict(fields)
        text = others.pop("text")
        lengths = others.pop("lengths")
        check_array(text, "uint8", (len(text),))
        check_array(lengths, "uint32", (len(lengths),))
        letters = text.tobytes().decode()
        ends = [0, *numpy.cumsum(lengths, dtype=numpy.int64).tolist()]
        if len(letters) != ends[-1]:
            raise ValueError("text must be as long as its lengths together")
        values = [letters[start:end] for start, end in pairwise(ends)]
        return super().from_file({**others, "values": values}, read_typed)

    def check(self) -> None:
        """Raise ValueError for values that repeat, and for details of another shape."""
        count = len(self.values)
        check_array(self.details, "float32", (count, len(self.detail_labels)))
        if len(set(self.values)) < count or not 0 <= self.frequent <= count:
            raise ValueError("values must be different, and frequent must be at most len(values)")

    @classmethod
    def describe(cls, settings: StoredFields, shapes: TensorShapes) -> str | None:
        """Return what the column holds, by its entry in a model file."""
        return f"{shapes['lengths'][0]} categories"

    def onnx(self, table: OnnxTable) -> OnnxTensor:
        """Look up the outputs in an array with a row for each value, unknown and gap."""
        unknown = len(self.values)
        row_of = {UNKNOWN: unknown, GAP: unknown + 1}
        rows = numpy.empty((unknown + 2, len(self.labels)), numpy.float32)
        self.write_indices(numpy.array([*range(unknown), UNKNOWN, GAP]), rows)
        indices = self.known_texts()
        code = table.add(
            "LabelEncoder",
            table.column(self.column),
            domain="ai.onnx.ml",
            keys_strings=list(indices),
            values_int64s=[row_of.get(index, index) for index in indices.values()],
            default_int64=unknown,
        )
        return table.add("Gather", rows, table.add("Squeeze", code, numpy.array([1])), axis=0)

    def c_fields(self) -> list[object]:
        """Return the fields of the structure in C."""
        sizes = [len(self.values), self.hot, self.gaps, len(self.detail_labels)]
        return [self.column, *sizes, numpy.array(self.values, dtype=object), self.details]

    c_code = """
typedef struct {
  int start, column, values, hot, gaps, details;
  const char *const *names;
  const float *table; /* of details, a row for each value */
} category;

/* The length of a whole number that may have the decimal of a float: 2 for "12" and "12.0".
 * 0 for other text. */
static size_t whole_number(const char *text) {
  const size_t sign = *text == '-', digits = strspn(text + sign, "0123456789");
  const char *end = text + sign + digits;
  if (digits == 0 || (digits > 1 && text[sign] == '0')) return 0;
  return *end == 0 || strcmp(end, ".0") == 0 ? sign + digits : 0;
}

/* The index of a value; the number of values for an unknown one. */
static int index_of(const category *c, const char *text) {
  for (int k = 0; k < c->values; k++)
    if (strcmp(c->names[k], text) == 0) return k;
  const size_t length = whole_number(text);
  for (int k = 0; k < c->values && length > 0; k++)
    if (whole_number(c->names[k]) == length && memcmp(c->names[k], text, length) == 0) return k;
  return c->values;
}

static void encode_category(const category *c, const xpnet_value *row, float *out) {
  const char *text = row[c->column].text;
  const int index = text ? index_of(c, text) : c->values;
  const int is_known = index < c->values;
  const int is_gap = !is_known && (text == NULL || *text == 0);
  for (int k = 0; k < c->hot; k++) out[k] = is_known && k == (index < c->hot ? index : c->hot - 1);
  out += c->hot;
  if (c->gaps) *out++ = (float)is_gap;
  for (int k = 0; k < c->details; k++) out[k] = is_known ? c->table[index * c->details + k] : 0;
}
"""


def other_form(value: str) -> str:
    """Return "1" for "1.0" and "1.0" for "1"; the text itself where it is no whole number.

    Whole numbers of a column of floats have a decimal in CSV files, and none in ``CategoryCodes``.
    """
    number = value.removesuffix(".0")
    digits = number.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or (digits[0] == "0" and len(digits) > 1):
        return value
    return number if value != number else f"{number}.0"


def fit_category(
    codes: CategoryCodes, *, column: int, min_rows: int, max_columns: int
) -> CategoryEncoding | None:
    """Fit a category without details; None where it has one value only. Empty text is a gap.

    min_rows : minimum number of rows of a frequent value
    max_columns : maximum number of frequent values
    """
    texts = codes.texts
    counts = numpy.bincount(codes.codes[codes.codes >= 0], minlength=len(texts))
    present = [index for index in numpy.flatnonzero(counts) if texts[index]]
    order = sorted(present, key=lambda index: (-counts[index], texts[index]))
    values = tuple(texts[index] for index in order)
    gaps = bool(counts[order].sum() < len(codes.codes))
    if len(values) + gaps < 2:
        return None
    frequent = count_frequent(counts[order], min_rows, max_columns)
    no_details = numpy.empty((len(values), 0), numpy.float32)
    return CategoryEncoding(column, values, frequent, gaps, no_details, ())


def count_frequent(rows_of_values: numpy.ndarray, min_rows: float, max_columns: int) -> int:
    """Return the number of values with a column of their own.

    rows_of_values : (values,) falling; min_rows, max_columns : as of ``fit_category``
    """
    count = len(rows_of_values)
    frequent = min(int((rows_of_values >= min_rows).sum()), max_columns)
    is_one_rare = count - frequent == 1 and count <= max_columns
    return count if is_one_rare else frequent  # one rare value needs no column for all rare ones


class DetailedCategory(NamedTuple):
    """A category with details. means : of its training rows, None for no mean targets"""

    category: CategoryEncoding
    means: ColumnMeans | None


def with_details(
    category: CategoryEncoding, indices: numpy.ndarray, target: Target, *, keeps_columns: bool
) -> DetailedCategory:
    """Add the frequency of each value, and the mean target of values without their own column.

    A value has either a column or a mean, since both together tell the target of a training row.
    The column is better where the value has many rows, which also show how other columns matter
    for it; the mean where it has few. How many are many depends on what its rows have in common: a
    column learns the effect of a value from more rows than the prior rows that its mean is shrunk
    by. Where the rows of a value have nothing in common, values of few rows have neither.

    indices : (rows,) of values, negative for gaps
    keeps_columns : whether all values keep their columns that have one
    """
    similarity = similarity_of(indices, target)
    frequent = category.frequent
    if similarity is not None and not keeps_columns:
        rows_of_values = numpy.bincount(indices[indices >= 0], minlength=len(category.values))
        min_rows = COLUMN_ROWS_PER_PRIOR_ROW * similarity.prior_rows
        min_rows = float(numpy.clip(min_rows, *ROWS_OF_COLUMN))
        frequent = count_frequent(rows_of_values, min_rows, frequent)
    means = None
    if similarity is not None and similarity.is_certain and frequent < len(category.values):
        values = CodedValues(numpy.where(indices >= frequent, indices, -1), len(category.values))
        means = fit_means(values, target, similarity.prior_rows)
    details = details_of_values(indices, len(category.values), means)
    detailed = replace(
        category, frequent=frequent, details=details.of_values, detail_labels=details.labels
    )
    return DetailedCategory(detailed, means)


class Similarity(NamedTuple):
    """How far the targets of the rows of one value are alike.

    prior_rows : number of rows with the mean target that are added to those of each value
    is_certain : whether they are more alike than by chance
    """

    prior_rows: float
    is_certain: bool


def similarity_of(indices: numpy.ndarray, target: Target) -> Similarity | None:
    """Return how far the targets of a value are alike; None where no target tells.

    indices : (rows,) of values, negative for gaps
    """
    if target.task is None or not target_labels(target):
        return None
    rows = compared_rows(target.learned(numpy.flatnonzero(indices >= 0)))
    targets = compared_targets(target, rows)
    if targets is None:
        return Similarity(SMOOTHING_ROWS, is_certain=True)
    effect = effect_of_values(indices[rows], numpy.empty(0), targets)
    return Similarity(prior_rows_of(effect.correlation), effect.deviations >= MIN_DEVIATIONS)
