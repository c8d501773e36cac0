"""Mean targets of the values of a column, which never tell a row its own target.

The mean target of a value is its best linear prediction: the mean over its rows, shrunk towards the
mean of all rows by as many rows as the correlation of the targets of one value asks for.
(Micci-Barreca, A Preprocessing Scheme for High-Cardinality Categorical Attributes, 2001; Robinson,
That BLUP Is a Good Thing, 1991.) A training row gets the mean over *other* training rows
(cross-fitting: Pargent, Pfisterer, Thomas, Bischl, Regularized Target Encoding Outperforms
Traditional Methods in Supervised Machine Learning with High Cardinality Features, 2022).

Cross-fitting alone is not enough. Among the rows of one value, the mean over the other rows falls
as the row's own target rises. So where another input tells the value, the two together tell the
target: a value has either a column of its own or a mean. And a row for validation gets what a new
row gets, the mean over the training rows alone; otherwise it would be predicted too well, too.
(Prokhorenkova, Gusev, Vorobev, Dorogush, Gulin, CatBoost: Unbiased Boosting with Categorical
Features, 2018, section 3, on such a shift between training and new rows.)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy

from xpnet.tabular.encodings.encoding_target import Target

MEANS_AT_ONCE = 1 << 20
"""Block size in numbers of the mean targets of values; it bounds temporary memory."""
PARTS = 5
"""Number of parts of the training rows. The mean target of a row's value is taken over the rows of
the other parts."""
MIN_SPREAD = 1e-12
"""Smallest standard deviation of a detail, relative to its largest value; one that varies less is 0
in all rows. So is the mean target of values of which each has rows in one group only."""


class CodedValues(NamedTuple):
    """The values of a column as indices.

    indices : (rows,) of values, negative for rows whose value has no mean
    size : number of values
    """

    indices: numpy.ndarray
    size: int


@dataclass(frozen=True, eq=False)
class ColumnMeans:
    """The mean targets of the values of a column, which any of the training rows can give.

    values : of the rows; target : of the rows
    parts : (rows,) int, the part of each row; rows of other parts give its mean
    prior_rows : number of rows with the mean target that are added to those of each value
    centre, factors : (columns,) float64; an output is (mean - centre) factors
    """

    values: CodedValues
    target: Target
    parts: numpy.ndarray
    prior_rows: float
    centre: numpy.ndarray
    factors: numpy.ndarray

    @property
    def columns(self) -> int:
        """Return the number of outputs."""
        return len(self.centre)

    def of_training_rows(self, training: numpy.ndarray) -> numpy.ndarray:
        """Return the outputs of training rows, each by other training rows: (rows, columns).

        training : indices of the training rows
        """
        indices = self.values.indices[training]
        has_mean = indices >= 0
        rows = training[has_mean]
        out = numpy.zeros((len(training), self.columns), numpy.float32)
        for columns, means in self._means(rows):
            of_rows = means.of_rows(indices[has_mean], self.parts[rows])
            out[has_mean, columns] = self._standardised(of_rows, columns)
        return out

    def of_values(self, training: numpy.ndarray) -> numpy.ndarray:
        """Return the outputs of each value, 0 for one without training rows: (values, columns).

        training : indices of the training rows
        """
        indices = self.values.indices[training]
        rows = training[indices >= 0]
        is_seen = numpy.bincount(indices[indices >= 0], minlength=self.values.size) > 0
        out = numpy.zeros((self.values.size, self.columns), numpy.float32)
        for columns, means in self._means(rows):
            out[is_seen, columns] = self._standardised(means.of_values()[is_seen], columns)
        return out

    def of_new_rows(self, training: numpy.ndarray, rows: numpy.ndarray) -> numpy.ndarray:
        """Return the outputs that rows have as new rows beside training rows: (rows, columns).

        training, rows : indices of rows
        """
        no_mean = numpy.zeros((1, self.columns), numpy.float32)
        of_values = numpy.concatenate([self.of_values(training), no_mean])
        return of_values[self.values.indices[rows].clip(min=-1)]

    def _means(self, rows: numpy.ndarray) -> Iterator[tuple[slice, "_Means"]]:
        """Yield the means by rows that have a value, and their columns, a few at a time."""
        return _means_of(self.values, self.target, self.parts, rows, self.prior_rows)

    def _standardised(self, means: numpy.ndarray, columns: slice) -> numpy.ndarray:
        """Return the outputs of mean targets. columns : their places"""
        return (means - self.centre[columns]) * self.factors[columns]


class _Means(NamedTuple):
    """The means of a few columns of the target.

    sums : (values, PARTS, columns) of targets; counts : (values, PARTS, 1) of rows
    mean : (columns,) of all these rows; prior_rows : how many rows it counts as
    in_order : whether only earlier parts give the mean of a row, and not all others
    """

    sums: numpy.ndarray
    counts: numpy.ndarray
    mean: numpy.ndarray
    prior_rows: float
    in_order: bool

    def of_values(self) -> numpy.ndarray:
        """Return the mean of each value over all its rows: (values, columns)."""
        return self._shrunk(self.sums.sum(axis=1), self.counts.sum(axis=1))

    def of_rows(self, indices: numpy.ndarray, parts: numpy.ndarray) -> numpy.ndarray:
        """Return for each row the mean of its value over the other parts: (rows, columns)."""
        total = numpy.cumsum if self.in_order else partial(numpy.sum, keepdims=True)
        sums = total(self.sums, axis=1) - self.sums
        counts = total(self.counts, axis=1) - self.counts
        return self._shrunk(sums, counts)[indices, parts]

    def _shrunk(self, sums: numpy.ndarray, counts: numpy.ndarray) -> numpy.ndarray:
        """Return means of ``counts`` targets and of the mean of all rows."""
        return (sums + self.prior_rows * self.mean) / (counts + self.prior_rows)


def _means_of(
    values: CodedValues,
    target: Target,
    parts: numpy.ndarray,
    rows: numpy.ndarray,
    prior_rows: float,
) -> Iterator[tuple[slice, _Means]]:
    """Yield the means by some rows, and their columns, a few at a time to bound memory.

    rows : indices of rows that have a value
    """
    indices = values.indices[rows]
    max_columns = max(3, MEANS_AT_ONCE // max(len(rows), PARTS * values.size, 1))
    counts = numpy.zeros((values.size, PARTS, 1))
    numpy.add.at(counts, (indices, parts[rows]), 1)
    in_order = target.links.time is not None
    first = 0
    for y in target_blocks(target, rows, max_columns):
        sums = numpy.zeros((values.size, PARTS, y.shape[1]))
        numpy.add.at(sums, (indices, parts[rows]), y)
        columns = slice(first, first + y.shape[1])
        mean = y.sum(axis=0) / max(1, len(rows))
        yield columns, _Means(sums, counts, mean, prior_rows, in_order)
        first = columns.stop


def means_of_other_groups(
    values: CodedValues, Y: numpy.ndarray, groups: numpy.ndarray, prior_rows: float
) -> numpy.ndarray:
    """Return for each row the mean of its value over the rows of other groups: (rows, columns).

    values : of the rows, which all have one; Y : (rows, columns); groups : (rows,) int, from 0
    """
    cells = values.indices * (int(groups.max()) + 1) + groups
    _, cell_of_row = numpy.unique(cells, return_inverse=True)
    columns = [*Y.T, numpy.ones(len(Y))]
    of_values, of_cells = (
        numpy.stack([numpy.bincount(indices, column)[indices] for column in columns], axis=1)
        for indices in (values.indices, cell_of_row)
    )
    others = of_values - of_cells
    sums, counts = others[:, :-1], others[:, -1:]
    return (sums + prior_rows * Y.mean(axis=0)) / (counts + prior_rows)


def target_blocks(target: Target, rows: numpy.ndarray, max_columns: int) -> Iterator[numpy.ndarray]:
    """Yield the target of rows as columns: (rows, columns) float64; the first class has none.

    What other columns predict of it is subtracted.
    """
    predicted = target.predicted
    first = 0
    for block in _whole_targets(target, rows, max_columns):
        columns = slice(first, first + block.shape[1])
        yield block if predicted is None else block - predicted.of(rows, columns)
        first = columns.stop


def _whole_targets(
    target: Target, rows: numpy.ndarray, max_columns: int
) -> Iterator[numpy.ndarray]:
    """Yield the target of rows as columns, from which nothing is subtracted."""
    y = target.y[rows]
    if target.task == "regression":
        yield y[:, None].astype(numpy.float64)
        return
    classes = numpy.arange(1, int(target.y.max()) + 1)
    for block in numpy.array_split(classes, max(1, -(-len(classes) // max_columns))):
        yield (y[:, None] == block).astype(numpy.float64)


def target_columns(target: Target, rows: numpy.ndarray) -> numpy.ndarray:
    """Return the target of rows as columns, one for each class but the first, in float64."""
    return numpy.hstack(list(target_blocks(target, rows, len(target.y))))


def target_labels(target: Target) -> tuple[str, ...]:
    """Return the names of the columns of mean targets."""
    if target.task == "regression":
        return ("target",)
    classes = int(target.y.max()) + 1
    names = tuple(f"target_{index}" for index in range(1, classes))
    return ("target",) if classes == 2 else names


def fit_means(values: CodedValues, target: Target, prior_rows: float) -> ColumnMeans:
    """Fit how the mean targets of values become outputs: standardised over rows with means.

    prior_rows : number of rows with the mean target that are added to those of each value
    """
    parts = target.links.parts(PARTS, len(values.indices), target.random_state)
    rows = numpy.flatnonzero(values.indices >= 0)
    learned = target.learned(rows)
    rows = learned if len(learned) else rows
    counts = numpy.bincount(values.indices[rows], minlength=values.size)
    centres, factors = [], []
    for _, means in _means_of(values, target, parts, rows, prior_rows):
        of_rows = means.of_rows(values.indices[rows], parts[rows])
        centres.append(numpy.average(means.of_values(), axis=0, weights=counts))
        factors.append(factors_of(of_rows))
    return ColumnMeans(
        values, target, parts, prior_rows, numpy.concatenate(centres), numpy.concatenate(factors)
    )


class InputMeans(NamedTuple):
    """The mean targets of a column among the inputs.

    inputs : their places; means : of the rows that the encoder was fitted to
    """

    inputs: slice
    means: ColumnMeans

    def write_training(
        self, X: numpy.ndarray, training: numpy.ndarray, part: numpy.ndarray | None = None
    ) -> None:
        """Give training rows the mean targets that other training rows have.

        X : (rows, inputs), overwritten; training : indices of the training rows
        part : those of the training rows that X has, None for all
        """
        means = self.means.of_training_rows(training)
        X[:, self.inputs] = means if part is None else means[part]

    def write_new(self, X: numpy.ndarray, training: numpy.ndarray, rows: numpy.ndarray) -> None:
        """Give rows the mean targets of training rows, as new rows get them.

        X : (rows, inputs), overwritten; training, rows : indices of rows
        """
        X[:, self.inputs] = self.means.of_new_rows(training, rows)


class TrainingInputs(NamedTuple):
    """The encoded training rows of a table.

    X : (rows, inputs) as the encoder transforms the rows, which own targets influence
    means : the inputs that are mean targets
    """

    X: numpy.ndarray
    means: Sequence[InputMeans]

    def encoded(self) -> numpy.ndarray:
        """Return the inputs in which no mean target is influenced by its row: (rows, inputs)."""
        for means in self.means:
            means.write_training(self.X, numpy.arange(len(self.X)))
        return self.X


def factors_of(details: numpy.ndarray) -> numpy.ndarray:
    """Return factors that give details of rows (rows, columns) a deviation of 1: (columns,)."""
    spread = details.std(axis=0)
    is_constant = spread <= MIN_SPREAD * numpy.abs(details).max(axis=0, initial=0.0)
    return numpy.where(is_constant, 0.0, 1.0 / numpy.where(is_constant, 1.0, spread))


class Details(NamedTuple):
    """The details of the values of a column.

    of_values : (values, columns) float32, by all training rows: the frequency, then mean targets
    labels : (columns,) their names
    means : how training rows and validation rows get the mean targets; None for no mean targets
    """

    of_values: numpy.ndarray
    labels: tuple[str, ...]
    means: ColumnMeans | None


def details_of_values(indices: numpy.ndarray, count: int, means: ColumnMeans | None) -> Details:
    """Return the frequency and the mean targets of values.

    indices : (rows,) of values, negative for gaps; count : number of values
    """
    columns = [_frequencies(indices, count)]
    labels = ["frequency"]
    if means is not None:
        columns.append(means.of_values(numpy.arange(len(indices))))
        labels += target_labels(means.target)
    return Details(numpy.hstack(columns), tuple(labels), means)


def _frequencies(indices: numpy.ndarray, count: int) -> numpy.ndarray:
    """Return the logarithm of the rows of each value, standardised over the rows: (values, 1)."""
    rows_of_value = numpy.bincount(indices[indices >= 0], minlength=count)
    frequency = numpy.log1p(rows_of_value.astype(numpy.float64))[:, None]
    mean = numpy.average(frequency, axis=0, weights=rows_of_value)
    factors = factors_of(frequency[indices[indices >= 0]])
    return ((frequency - mean) * factors).astype(numpy.float32)
