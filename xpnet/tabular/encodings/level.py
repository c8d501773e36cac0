"""Numbers that name things, such as firms: the mean target of each of their levels.

A column of whole numbers may be the number of a firm, a school or a patient. Firms of neighbouring
numbers have nothing in common, so that neither the number nor its bins tell much. What the other
rows of the same firm tell is a number of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy

from xpnet.tabular.columns.records import Kind, Table
from xpnet.tabular.encodings.encoding import (
    Encoding,
    OnnxTable,
    OnnxTensor,
    StoredFields,
    TensorShapes,
    UnusualValues,
    check_array,
    count_of,
)
from xpnet.tabular.encodings.encoding_target import Target
from xpnet.tabular.encodings.number import NumberConstants, NumberEncoding, encode_numbers
from xpnet.tabular.encodings.target_means import (
    PARTS,
    CodedValues,
    ColumnMeans,
    details_of_values,
    fit_means,
    means_of_other_groups,
)
from xpnet.tabular.encodings.value_effect import (
    ComparedTargets,
    compared_rows,
    compared_targets,
    effect_of_values,
    prior_rows_of,
)
from xpnet.tabular.rows.division import RowLinks

MIN_LEVELS = 5
"""Minimum number of levels. Bins tell fewer levels from each other."""
MAX_LEVELS = 4096
"""Maximum number of levels, each of which is a number in a model's file and in an ONNX graph."""
SAMPLED_ROWS = 4 * MAX_LEVELS
"""Number of evenly spaced rows that show whether a number has more levels than that."""
MIN_ROWS_PER_LEVEL = 2.5
"""Minimum number of rows for each level on average."""
MIN_DEVIATIONS = 4.0
"""Smallest excess of what rows of one level have in common, in standard deviations of its value by
chance. Noise hardly ever reaches it, so that all rows may decide whether a number has levels, also
those for validation. By five eighths of 300 rows, levels of three rows each are often missed."""
MIN_GAIN_ERRORS = 3.0
"""Smallest gain of means of levels over the number and its bins, in standard errors of the squared
errors of rows of other parts. Columns of measured numbers are below it, numbers of firms, schools
and states above."""
MIN_EXPLAINED = 0.02
"""Smallest share of the target's variance that levels must explain, and explain beyond the bins."""

MIN_LEVELS_OF_BIN = 8
"""Minimum number of levels in each bin of a number that has levels. A bin of one level tells, with
the mean of other rows of the level, the target of a training row; a bin of eight tells little of
it. Without bins a number that is measured would lose its curve: the strength of concrete (the table
concrete of modeldata) is predicted with 5 % more error then."""


@dataclass(frozen=True)
class LevelEncoding(Encoding):
    """The encoding of a number by its levels: the frequency and the mean targets of each.

    column : index of the table's column
    levels : (levels,) float64, increasing
    details : (levels, columns) float32: frequency and mean targets
    detail_labels : (columns,) names of the details
    """

    column: int
    levels: numpy.ndarray
    details: numpy.ndarray
    detail_labels: tuple[str, ...]

    kind = "level"
    tensors = ("levels", "details")
    is_addition = True
    ends_with_means = True

    @property
    def reads(self) -> Kind:
        """Return the kind of values that the column is read as."""
        return "number"

    @property
    def labels(self) -> list[str]:
        """Return the ending of the name of each output, which follows the column's name."""
        return [f"_level_{label}" for label in self.detail_labels]

    def write(self, table: Table, out: numpy.ndarray) -> None:
        """Encode all rows of a table. out : (rows, outputs) float32, overwritten"""
        self.write_numbers(table.numbers(self.column), out)

    def unusual_values(self, table: Table) -> UnusualValues:
        """Count the rows of a table with a number that is no level."""
        x = table.numbers(self.column)
        is_unknown = (indices_of_levels(x, self.levels) < 0) & ~numpy.isnan(x)
        return UnusualValues(unknown=count_of(is_unknown))

    def write_numbers(self, x: numpy.ndarray, out: numpy.ndarray) -> None:
        """Encode rows; other numbers than the levels, and gaps, are 0.

        x : (rows,) float64; out : (rows, outputs) float32, overwritten
        """
        out[...] = 0.0
        indices = indices_of_levels(x, self.levels)
        (rows,) = numpy.nonzero(indices >= 0)
        out[rows] = self.details[indices[rows]]

    def check(self) -> None:
        """Raise ValueError for levels that do not increase, and for details of another shape."""
        levels = self.levels
        check_array(levels, "float64", (len(levels),))
        check_array(self.details, "float32", (len(levels), len(self.detail_labels)))
        if not len(levels) or (numpy.diff(levels) <= 0).any():
            raise ValueError("levels must be one or more finite numbers that increase")

    @classmethod
    def describe(cls, settings: StoredFields, shapes: TensorShapes) -> str | None:
        """Return None: the encoding of the number describes the column."""
        return None

    def onnx(self, table: OnnxTable) -> OnnxTensor:
        """Add the details of the level that each number is, 0 for a number that is no level."""
        x = table.column(self.column)
        is_level = table.add("Equal", x, self.levels[None, :]).to("float32")
        return table.add("MatMul", is_level, self.details)

    def c_fields(self) -> list[object]:
        """Return the fields of the structure in C."""
        sizes = [len(self.levels), len(self.detail_labels)]
        return [self.column, *sizes, self.levels, self.details]

    c_code = """
typedef struct {
  int start, column, levels, details;
  const double *values;
  const float *table; /* of details, a row for each level */
} level;

static void encode_level(const level *l, const xpnet_value *row, float *out) {
  const double x = row[l->column].number;
  for (int k = 0; k < l->details; k++) out[k] = 0;
  for (int j = 0; j < l->levels; j++)
    if (l->values[j] == x)
      for (int k = 0; k < l->details; k++) out[k] = l->table[j * l->details + k];
}
"""


def columns_with_levels(encodings: Iterable[Encoding]) -> set[int]:
    """Return the indices of the columns that have levels."""
    return {encoding.column for encoding in encodings if isinstance(encoding, LevelEncoding)}


class FittedLevels(NamedTuple):
    """An encoding of levels. means : of its training rows"""

    encoding: LevelEncoding
    means: ColumnMeans


def indices_of_levels(x: numpy.ndarray, levels: numpy.ndarray) -> numpy.ndarray:
    """Return for each number the index of the level that it is, -1 for none: (rows,) int64."""
    indices = numpy.searchsorted(levels, x).clip(max=len(levels) - 1)
    return numpy.where(levels[indices] == x, indices, -1)


def fit_levels(x: numpy.ndarray, number: NumberEncoding, target: Target) -> FittedLevels | None:
    """Fit the levels of a number; None where they predict no better than the number and its bins.

    The mean target of a level is shrunk towards that of all rows by as many rows as its level's
    correlation asks for (the best linear predictor of a random effect: Robinson, That BLUP Is a
    Good Thing, 1991).

    x : (rows,) float64, NaN for gaps
    """
    if target.task is None:
        return None
    (rows,) = numpy.nonzero(numpy.isfinite(x))
    levels = distinct_levels(x[rows])
    if levels is None:
        return None
    rows = compared_rows(rows)  # also rows for validation: see MIN_DEVIATIONS
    targets = compared_targets(target, rows)
    if targets is None:
        return None
    effect = effect_of_values(x[rows], numpy.empty(0), targets)
    if effect.deviations < MIN_DEVIATIONS or effect.explained < MIN_EXPLAINED:
        return None
    prior_rows = prior_rows_of(effect.correlation)
    indices = indices_of_levels(x, levels)
    values = CodedValues(indices[rows], len(levels))
    if not predict_better_than_bins(x[rows], values, prior_rows, number, targets):
        return None
    means = fit_means(CodedValues(indices, len(levels)), target, prior_rows)
    details = details_of_values(indices, len(levels), means)
    encoding = LevelEncoding(number.column, levels, details.of_values, details.labels)
    return FittedLevels(encoding, means)


def predict_better_than_bins(
    x: numpy.ndarray,
    values: CodedValues,
    prior_rows: float,
    number: NumberEncoding,
    targets: ComparedTargets,
) -> bool:
    """Return whether means of levels predict rows of other groups better than the number does.

    The number predicts by a linear function of its outputs, or not at all if that is better.

    x : (rows,) finite; values : the level of each row
    """
    links = RowLinks(groups=targets.groups)
    parts = links.parts(PARTS, len(x), numpy.random.RandomState(0))
    Y = targets.Y - targets.Y.mean(axis=0)
    of_constant = (Y**2).sum(axis=1)
    of_number = ((Y - _predicted_by_number(x, number, Y, parts)) ** 2).sum(axis=1)
    means = means_of_other_groups(values, Y, targets.groups, prior_rows)
    of_levels = ((Y - means) ** 2).sum(axis=1)
    others = min(of_constant, of_number, key=numpy.sum)
    gains = others - of_levels
    standard_error = gains.std() / numpy.sqrt(len(x))
    gain = float(gains.mean())
    least_explained = MIN_EXPLAINED * float(of_constant.mean())
    return gain > MIN_GAIN_ERRORS * float(standard_error) and gain > least_explained


def _predicted_by_number(
    x: numpy.ndarray, number: NumberEncoding, Y: numpy.ndarray, parts: numpy.ndarray
) -> numpy.ndarray:
    """Return what a linear function of the number's outputs predicts from other parts.

    x : (rows,) finite; Y : (rows, columns), of mean 0; parts : (rows,) int
    """
    blocks = encode_numbers(NumberConstants.of([number]), x[:, None], numpy).blocks
    inputs = numpy.concatenate(blocks, axis=1)
    inputs = inputs - inputs.mean(axis=0)
    grams = [inputs[parts == part].T @ inputs[parts == part] for part in range(PARTS)]
    products = [inputs[parts == part].T @ Y[parts == part] for part in range(PARTS)]
    ridge = numpy.eye(inputs.shape[1])
    predicted = numpy.empty_like(Y)
    for part in range(PARTS):
        gram = sum(grams) - grams[part] + ridge
        weights = numpy.linalg.solve(gram, sum(products) - products[part])
        predicted[parts == part] = inputs[parts == part] @ weights
    return predicted


def distinct_levels(x: numpy.ndarray) -> numpy.ndarray | None:
    """Return the different values of a number; None where they are too few, or too many.

    x : (rows,) finite
    """
    sample = x[:: max(1, -(-len(x) // SAMPLED_ROWS))]
    if len(numpy.unique(sample)) > MAX_LEVELS:
        return None
    levels = numpy.unique(x)
    if not MIN_LEVELS <= len(levels) <= MAX_LEVELS or len(x) < MIN_ROWS_PER_LEVEL * len(levels):
        return None
    return levels


def edges_of_many_levels(edges: numpy.ndarray, levels: numpy.ndarray) -> numpy.ndarray:
    """Return those edges of bins between which there are enough levels; none for a single bin.

    edges : (bins + 1,) increasing, or empty; levels : (levels,) increasing
    """
    kept: list[float] = []
    below = 0
    for edge, count in zip(edges[1:-1], numpy.searchsorted(levels, edges[1:-1]), strict=True):
        if min(count - below, len(levels) - count) >= MIN_LEVELS_OF_BIN:
            kept.append(edge)
            below = count
    return numpy.array([edges[0], *kept, edges[-1]]) if kept else numpy.empty(0)
