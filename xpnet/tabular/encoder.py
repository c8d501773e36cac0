"""The encoder of tables: frames in, float32 out."""

from dataclasses import dataclass
from numbers import Real
from typing import Any, Self

import numpy
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from xpnet.errors import InputError
from xpnet.estimators.parameters import COUNT, RANDOM_STATE, Interval, allowing, check_parameters
from xpnet.tabular.columns import Kind, Table, table_of
from xpnet.tabular.encodings import (
    AT_ONCE,
    Category,
    Encoding,
    Number,
    Scaling,
    Target,
    encode_numbers,
    fit_category,
    fit_numbers,
    numbers_of,
    with_details,
)

ROWS_IN_A_BIN, LEAST_BINS, MOST_BINS, MOST_BINS_OF_A_TREE, FINEST_BINS_OF_A_TREE = 20, 4, 48, 16, 64
ROWS_FOR_BINS = 7
"""A table has so many rows for each bin of all columns together, those of a tree; more would fit to noise."""
MOST_NUMBERS = 1 << 26
"""Numbers of the encoded training table: bins are fewer, or none, where it would hold more."""
USUAL_CATEGORIES = 100
"""A category has columns of their own for so many values at least, however many rows the table has."""
MANY_VALUES = 20
"""Categories of more values have details: frequency and mean target."""
ROWS_TO_TELL = 20
"""In tables of fewer rows nothing is taken for an identifier."""
DIFFERENT, DENSE = 0.5, 0.5
"""Text of which this share is different is free; whole numbers that fill this share of their range count rows."""


@dataclass(eq=False, repr=False, kw_only=True)
class TableEncoder(TransformerMixin, BaseEstimator):
    """Encode a table as numbers for a network: numbers, categories, booleans, dates and times, with gaps.

    Numbers are scaled, and their place among bins says how far through each bin they are (piecewise-linear encoding),
    so that a network bends where the data bends. Categories have a column for each frequent value. Gaps have a column
    of their own where training rows have gaps. Dates and times become a trend, year, month, day, weekday and hour,
    as far as these vary. Constant columns, identifiers and free text are left out, and `left_out_` tells why.

    Parameters
    ----------
    scaling : {"robust", "standard"}, default "robust"
        ``"robust"`` subtracts the median, divides by the interquartile range, and clips smoothly to (-3, 3):
        z / sqrt(1 + (z / 3)^2). ``"standard"`` subtracts the mean and divides by the standard deviation.
    bins : int, "auto" or None, default "auto"
        Bins of a number at most; ``"auto"`` is one for 20 rows, 48 at most, fewer where the encoded table would hold
        more than 2^26 numbers; of a tree 4 to 16, as many as leave 7 rows to each bin of all columns together, and 64
        where the target rises and falls many times along the column; None for no bins.
    binning : {"quantile", "tree"}, default "quantile"
        Edges of the bins: quantiles, or the thresholds of a decision tree of the column on the target, with eight
        quantiles where these are fewer than four, since the column may matter together with others alone.
    min_frequency : int or float, default 0.001
        Rows that a value needs for a column of its own, or their share, at least 2; all rarer values have one.
    max_categories : int, default 400
        Values of a category with a column of their own at most; 100 where more would make the encoded training table
        hold more than 2^26 numbers.
    task : {"auto", "classification", "regression"} or None, default "auto"
        What the target is, which trees and the mean target of many values need; ``"auto"`` asks
        `sklearn.utils.multiclass.type_of_target`, None does not use it.
    random_state : int, numpy.random.RandomState or None, default None
        How rows are divided for means of the target over other rows (cross-fitting, in `fit_transform`).

    Attributes
    ----------
    left_out_ : dict of str to str
        Columns that are not encoded, and why.
    encodings_ : list
        How each column is encoded, in the order of the outputs.
    n_features_in_ : int
        Columns of the table.
    feature_names_in_ : numpy.ndarray of str, shape (columns,)
        Their names, where all are text.

    See Also
    --------
    xpnet.TabularClassifier : Uses it.

    Notes
    -----
    Values that were not there in training are 0 in all columns of a category. A gap where training rows had none is
    filled with the median. Infinite numbers count as the largest and smallest that were seen. Columns are found by
    name where tables have names; further columns are ignored. NumPy's numbers need no other library; frames need
    pyarrow.

    References
    ----------
    Gorishniy, Rubachev, Babenko, On Embeddings for Numerical Features in Tabular Deep Learning, 2022.
    Holzmüller, Grinsztajn, Steinwart, Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on Tabular Data, 2024.

    Examples
    --------
    >>> import xpnet
    >>> table = {"age": [22.0, float("nan"), 38.0], "class": ["third", "first", "first"]}
    >>> encoder = xpnet.TableEncoder(min_frequency=1).fit(table)
    >>> encoder.get_feature_names_out().tolist()
    ['age', 'age_missing', 'class_first', 'class_third']
    >>> encoder.transform(table)
    array([[-1.,  0.,  0.,  1.],
           [-1.,  1.,  1.,  0.],
           [ 1.,  0.,  1.,  0.]], dtype=float32)
    """

    scaling: str = allowing("robust", {"robust", "standard"})
    bins: int | str | None = allowing("auto", COUNT, {"auto"}, None)
    binning: str = allowing("quantile", {"quantile", "tree"})
    min_frequency: float = allowing(0.001, COUNT, Interval(Real, 0, 1, closed="neither"))
    max_categories: int = allowing(400, COUNT)
    task: str | None = allowing("auto", {"auto", "classification", "regression"}, None)
    random_state: Any = allowing(None, *RANDOM_STATE)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        tags.target_tags.required = self.binning == "tree"
        tags.transformer_tags.preserves_dtype = []
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn how to encode a table.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table.
        y : array, shape (rows,), optional
            The target: labels, or numbers.

        Returns
        -------
        TableEncoder
            Itself.

        Raises
        ------
        ValueError
            For no rows, two columns of one name, nothing to learn from, and trees without a target.
        """
        self._fit(X, y)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Learn how to encode a table, and encode it.

        The mean target of categories of many values is that of other rows here, lest a network read a row's target
        from it; `transform` gives the mean of all rows.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table.
        y : array, shape (rows,), optional
            The target: labels, or numbers.

        Returns
        -------
        numpy.ndarray, shape (rows, outputs), float32
            The encoded table, or what `set_output` asks for.

        Raises
        ------
        ValueError
            For no rows, two columns of one name, nothing to learn from, and trees without a target.
        """
        table, details = self._fit(X, y)
        return self._encode(table, details)

    def _fit(self, X: Any, y: Any) -> tuple[Table, dict[int, numpy.ndarray]]:
        """Fit; return the details of the training rows by category."""
        check_parameters(self)
        table = table_of(X)
        self.n_features_in_ = len(table.columns)
        self.__dict__.pop("feature_names_in_", None)
        if table.named:
            self.feature_names_in_ = numpy.array(table.names, dtype=object)
        target = self._target(y, table.rows)
        if self.binning == "tree" and target.task is None:
            raise InputError("Bins of a tree need a target: pass y, or leave binning='quantile'.")
        self.left_out_: dict[str, str] = {}
        self.encodings_: list[Encoding] = []
        details: dict[int, numpy.ndarray] = {}
        kinds = [table.kind(index) for index in range(len(table.columns))]
        bins = self._most_bins(table, kinds)
        finer = FINEST_BINS_OF_A_TREE if self.bins == "auto" and bins == MOST_BINS_OF_A_TREE else 0
        how = Scaling(
            self.scaling == "robust", bins, finer, target if self.binning == "tree" else None
        )
        for index, (kind, type_) in enumerate(kinds):
            found: list[Encoding] | str = f"holds {type_}"
            if kind == "category":
                found = self._fit_category(table, index, target, details)
            elif kind != "other":
                x = table.numbers(index, kind)
                counts = table.named and type_.lstrip("u").startswith("int") and _counts_rows(x)
                found = (
                    "numbers the rows"
                    if counts
                    else fit_numbers(x, how, index, kind) or "holds one value only"
                )
            if isinstance(found, str):
                self.left_out_[table.names[index]] = found
            else:
                self.encodings_ += found
        if not self.encodings_:
            reasons = "; ".join(f"{name} {reason}" for name, reason in self.left_out_.items())
            raise InputError(
                f"A column varies from row to row (n_samples={table.rows}); none does: {reasons}."
            )
        return table, details

    def _target(self, y: Any, rows: int) -> Target:
        random_state = check_random_state(self.random_state)
        task: Any = self.task
        if y is None or task is None:
            return Target(None, None, random_state)
        y = column_or_1d(y)
        check_consistent_length(numpy.empty(rows), y)
        if task == "auto":
            task = "regression" if type_of_target(y).startswith("continuous") else "classification"
        return Target(
            y if task == "regression" else numpy.unique(y, return_inverse=True)[1],
            task,
            random_state,
        )

    def _most_bins(self, table: Table, kinds: list[tuple[Kind, str]]) -> int:
        if self.bins != "auto":
            return int(self.bins or 0)
        wide = max(1, sum({"number": 1, "moment": 4}.get(kind, 0) for kind, _ in kinds))
        of_tree = min(MOST_BINS_OF_A_TREE, max(LEAST_BINS, table.rows // (ROWS_FOR_BINS * wide)))
        most = of_tree if self.binning == "tree" else MOST_BINS
        bins = min(table.rows // ROWS_IN_A_BIN, most, MOST_NUMBERS // (table.rows * wide))
        return bins if bins >= LEAST_BINS else 0

    def _fit_category(
        self, table: Table, index: int, target: Target, details: dict[int, Any]
    ) -> list[Encoding] | str:
        """Return the category of a column, or why it is left out."""
        codes, names = table.categories(index)
        least = (
            self.min_frequency
            if self.min_frequency >= 1
            else max(2, self.min_frequency * table.rows)
        )
        most = min(self.max_categories, max(USUAL_CATEGORIES, MOST_NUMBERS // table.rows))
        category = fit_category(codes, names, column=index, least=int(least), most=most)
        if category is None:
            return "holds one value only"
        known = int((codes >= 0).sum())
        if known >= ROWS_TO_TELL and len(category.values) > DIFFERENT * known:
            return "holds text that differs from row to row"
        if len(category.values) > MANY_VALUES:
            category, details[index] = with_details(category, category.places(codes, names), target)
        return [category]

    def transform(self, X: Any) -> Any:
        """Encode a table.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table; its columns have the names they had in training, in any order.

        Returns
        -------
        numpy.ndarray, shape (rows, outputs), float32
            The encoded table, or what `set_output` asks for.

        Raises
        ------
        InputError
            For a column that is missing, or that held numbers or dates in training and does not now.
        """
        check_is_fitted(self)
        table = table_of(X)
        if table.named and hasattr(self, "feature_names_in_"):
            names = self.feature_names_in_
            table = table.select(
                names.tolist(), {names[encoding.column] for encoding in self.encodings_}
            )
        else:
            rows_and_columns = table.rows, len(table.columns)
            validate_data(
                self, numpy.broadcast_to(True, rows_and_columns), reset=False, skip_check_array=True
            )
        return self._encode(table, {})

    def _encode(self, table: Table, details: dict[int, numpy.ndarray]) -> numpy.ndarray:
        widths = [len(encoding.labels) for encoding in self.encodings_]
        out = numpy.empty((table.rows, sum(widths)), numpy.float32)
        for encoding, part in zip(
            self.encodings_, numpy.split(out, numpy.cumsum(widths)[:-1], axis=1), strict=True
        ):
            if isinstance(encoding, Category):
                places = encoding.places(*table.categories(encoding.column))
                encoding.write(places, part, details.get(encoding.column))
        numbers = [encoding for encoding in self.encodings_ if isinstance(encoding, Number)]
        (own,) = numpy.nonzero(
            numpy.repeat([isinstance(encoding, Number) for encoding in self.encodings_], widths)
        )
        for rows in gen_batches(table.rows, AT_ONCE // max(1, len(own)) + 1) if numbers else ():
            x = numpy.stack(numbers_of(numbers, table.part(rows).numbers), axis=1)
            with numpy.errstate(over="ignore"):
                found, order = encode_numbers(numbers, x, numpy)
            out[rows, own[order.argsort()]] = numpy.concatenate(found, axis=1)
        return out

    def get_feature_names_out(self, input_features: Any = None) -> numpy.ndarray:
        """Name the outputs: the column's name, then what the output says of it.

        Parameters
        ----------
        input_features : sequence of str, optional
            Names of the columns, where training had none.

        Returns
        -------
        numpy.ndarray of str, shape (outputs,)
            The names, each once.

        Raises
        ------
        ValueError
            For names other than those of the training.
        """
        check_is_fitted(self)
        columns = OneToOneFeatureMixin.get_feature_names_out(self, input_features)
        names: dict[str, int] = {}  # each with its number; one that was there before gets the next
        for name in (
            f"{columns[each.column]}{label}" for each in self.encodings_ for label in each.labels
        ):
            free = name
            while free in names:
                names[name] += 1
                free = f"{name}_{names[name]}"
            names[free] = 1
        return numpy.array(list(names), object)


def _counts_rows(x: numpy.ndarray) -> bool:
    """Return whether whole numbers are all different and close together, as row numbers are. x : (rows,), gaps NaN"""
    x = x[~numpy.isnan(x)]
    if len(x) < ROWS_TO_TELL or len(x) < DENSE * (x.max() - x.min() + 1):
        return False
    return len(numpy.unique(x)) == len(x)
