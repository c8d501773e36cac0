"""The encoder of tables: its parameters, and how it learns to encode a table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Self

import numpy
from numpy.random import RandomState
from sklearn.utils import check_random_state

from xpnet.data.cells.forms import ColumnForm, LearnedForm
from xpnet.errors import InputError
from xpnet.learning.parameters import (
    ARRAY_LIKE,
    COUNT,
    RANDOM_STATE,
    Interval,
    allowing,
    check_parameters,
)
from xpnet.tabular.columns.copies import notes_of_copies
from xpnet.tabular.columns.frames import table_of
from xpnet.tabular.columns.named_columns import categorical_columns, plain_columns
from xpnet.tabular.columns.reading import ReadingRules, learn_table
from xpnet.tabular.columns.records import ColumnKind, Table
from xpnet.tabular.encodings.column_fit import ColumnFit, choose_scaling
from xpnet.tabular.encodings.encoding import Encoding
from xpnet.tabular.encodings.encoding_target import encoding_target
from xpnet.tabular.encodings.target_means import ColumnMeans, InputMeans, TrainingInputs
from xpnet.tabular.fitted_encoder import FittedEncoder
from xpnet.tabular.rows.division import links_of
from xpnet.typing import ArrayLike, TableLike

if TYPE_CHECKING:
    from sklearn.utils import Tags

CATEGORICAL_FEATURES = ARRAY_LIKE, {"auto", "from_dtype"}
"""The values that ``categorical_features`` may have."""


@dataclass(eq=False, repr=False, kw_only=True)
class TableEncoder(FittedEncoder):
    """Encode a table as numbers for a network: numbers, categories, booleans, dates, times, gaps.

    Numbers are scaled, and each bin says how far through it a number is (piecewise-linear
    encoding), so that a network can change its slope from bin to bin. Numbers that name things,
    such as firms, also have the frequency and the mean target of each of their levels (see Notes).
    Categories have a column for each frequent value. Gaps have a column of their own where training
    rows have gaps. Dates and times become a trend, year, month, day, weekday and hour, as far as
    these vary. Constant columns, identifiers and free text are left out, and `left_out_` says why.

    Parameters
    ----------
    scaling : {"robust", "standard"}, default "robust"
        ``"robust"`` subtracts the median, divides by the interquartile range, and clips smoothly to
        (-3, 3): z / sqrt(1 + (z / 3)^2). ``"standard"`` subtracts the mean and divides by the
        standard deviation.
    bins : int, "auto" or None, default "auto"
        Maximum number of bins of a number. ``"auto"`` is one bin for each 20 rows, at most 48, and
        fewer where the encoded table would hold more than 2^26 numbers; of a tree at most 32,
        fewer in a table of more than six numbers and at most 8 in one of more than 24, so that each
        bin of all columns together has 7 rows, and 64 where the target rises and falls many times
        along the column. Tables of more than 1,000 numbers have no bins. None for no bins.
    binning : {"quantile", "tree"}, default "quantile"
        Edges of the bins: quantiles, or the thresholds of a decision tree of the column on the
        target, with eight quantiles where these are fewer than four: the column may tell the target
        only together with others.
    min_frequency : int or float, default 0.001
        Minimum number of rows of a value with a column of its own, or their share, at least 2 rows;
        all rarer values share one column. With a share and a target, a category of more than 20
        values also needs more rows, up to 20, the less its mean targets are shrunk (see Notes).
    max_categories : int, default 400
        Maximum number of values of a category with a column of their own; 100 where more would make
        the encoded training table hold more than 2^26 numbers.
    categorical_features : sequence of str, int or bool, "auto" or "from_dtype", default "auto"
        Columns that are categories whatever they hold, such as postcodes: their names, positions,
        or a mask of all columns. ``"auto"``, and scikit-learn's name for it, ``"from_dtype"``, are
        text and the categorical types of frames, which are categories in any case.
    task : {"auto", "classification", "regression"} or None, default "auto"
        What the target is, which trees and mean targets need. ``"auto"`` asks
        `sklearn.utils.multiclass.type_of_target`; None does not use the target.
    date_format : str, dict of str to str, or None, default None
        Format of dates in text, as ``datetime.strptime`` takes it: one for all columns that it
        reads, or one for each of some columns by their names. Whole numbers are dates by a format
        without separators, such as ``"%Y%m%d"``. None for the forms that are recognised (see
        Notes).
    missing_values : float, str, sequence of these, dict of str to these, or None, default None
        Values that are gaps besides empty cells, None and NaN: numbers such as -999, or words, of
        all columns or by the name of the column, where ``""`` stands for all columns. In text,
        words that are no dates replace the usual ones (NA, N/A, null, ...), so that the value
        ``""`` makes NA a value. None for the usual words, as far as no text of
        the training holds them.
    unreadable : {"error", "gap"}, default "error"
        What becomes of a later value that does not have the form of its column in training, such
        as a date in another form: an error that names row and column, or a gap; a warning counts
        these gaps.
    text_features : {"on", "off"}, default "off"
        Whether free text, which differs from row to row, becomes 30 numbers: n-grams of 3 and 4
        characters are hashed, weighted by inverse document frequency, and reduced by a truncated
        singular value decomposition. Otherwise it is left out.
    plain_numbers : sequence of str or int, default ()
        Columns of numbers whose inputs all rise with the number, but for the indicator of gaps:
        the number and its bins, and never levels, categories or differences.
    random_state : int, numpy.random.RandomState or None, default None
        Draws the folds of the rows for means of the target over other rows (cross-fitting, in
        `fit_transform`).

    Attributes
    ----------
    left_out_ : dict of str to str
        Columns that are not encoded, and why.
    added_ : dict of str to str
        Differences of columns that are encoded besides the columns, such as ``"close - open"``, and
        why.
    notes_ : dict of str to str
        Columns that may be read in another way than they were meant, and how they are read;
        columns that tell the target of each row, and those that have the values of another one.
    forms_ : dict of int to ColumnForm
        How the cells of each encoded column are read, by its index: number format, form of dates,
        clock and words for gaps of the training (see Notes).
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
    Values that training did not see are 0 in all columns of a category. A gap where training rows
    had none is filled with the median. Infinite numbers count as the largest and smallest that
    training saw. Columns are found by name where tables have names; further columns are ignored.
    Frames of pandas and polars need no other library.

    Text is read as dates where all texts of a column have one of these forms, and a time of day may
    follow each (``10:11``, ``10:11:12.5``, ``10:11 PM``): 2023-04-08 (also with T and a time zone),
    2023/04/08, 08.04.2023, 4/8/2023, 8/4/2023, 4-8-2023, 8-4-2023, 08 Apr 2023, 8 April 2023,
    8-Apr-2023, April 8, 2023, Apr-08-2023, 2023-04, Apr 2023, and times alone (10:11). Between
    slashes and dashes, a number above 12 decides for its column which of day and month is first;
    without one, the month is, and a warning says so. The form is kept: later text is read in it.
    Columns that look like dates and are not read as dates are reported by a warning and in
    `notes_`.

    A date with a time zone is an instant, and it is read on the clock of UTC: the same instants are
    encoded the same in any zone. A date without a zone is read on its own clock. Where the local
    hour tells the target, remove the zone and keep the clock: ``dt.tz_localize(None)`` in pandas.
    Both kinds are not mixed: a column that had a zone in training needs one later.

    A category of more than 20 values has the frequency of each value. Its values of few rows have
    no column of their own, but a mean target, where the targets of rows of one value are more alike
    than by chance: by 2 standard deviations. The mean is shrunk towards that of all rows by the
    number of rows that the correlation *r* of these targets asks for, (1 - *r*) / *r*. A value has
    a column from four times as many rows on, but from 4 rows on at the earliest, and from 20 rows
    on at the latest. Where the rows of one value are more alike in what the other columns leave of
    the target, by a ridge regression on at most 256 inputs, the mean is that of what they leave.
    No value has both:
    the mean over the other rows of a known value would tell a training row's own target.

    A number has levels in place of bins where it has 5 to 4,096 different values, with 2.5 rows or
    more on average, and the means of these values predict the targets of other rows better than the
    number and its bins: by 3 standard errors, and at least 2 % of the target's variance. Rows of
    one group of ``fit_transform`` are not compared with each other. The mean target is shrunk
    towards that of all rows, the more the less the rows of a value have in common.

    Two columns of numbers with bins, or of dates, whose ranges are alike may have a difference,
    where the target depends on which of two prices is higher, or by how many minutes one time is
    later than another. Piecewise-linear functions of all columns are fitted to the target. What 16
    bins of the difference explain of the residuals must exceed what they explain by chance, and
    what the sum of both columns explains, by 9 standard deviations; it must be at least 2 % of the
    residuals, and twice what the sum explains. Classes are compared by their indicators and numbers
    by their ranks. Whole numbers that are clock times, such as 1730, are subtracted in minutes.
    Tables of at least 100 rows, or groups, and of at most 100 such columns are examined.

    Empty text is a gap, as in CSV files; so are the masked values of NumPy's masked arrays. Whole
    numbers above 2^53 that are different and equal in float64 are categories where they are few.

    References
    ----------
    Gorishniy, Rubachev, Babenko, On Embeddings for Numerical Features in Tabular Deep Learning,
    2022.
    Robinson, That BLUP Is a Good Thing: The Estimation of Random Effects, 1991.
    Micci-Barreca, A Preprocessing Scheme for High-Cardinality Categorical Attributes in
    Classification and Prediction Problems, 2001.
    Pargent, Pfisterer, Thomas, Bischl, Regularized Target Encoding Outperforms Traditional Methods
    in Supervised Machine Learning with High Cardinality Features, 2022.
    Holzmüller, Grinsztajn, Steinwart, Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on
    Tabular Data, 2024.

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
    categorical_features: Sequence[str] | Sequence[int] | str = allowing(
        "auto", *CATEGORICAL_FEATURES
    )
    task: str | None = allowing("auto", {"auto", "classification", "regression"}, None)
    date_format: str | dict[str, str] | None = allowing(None, str, dict, None)
    missing_values: object = allowing(None, Real, str, ARRAY_LIKE, dict, None)
    unreadable: str = allowing("error", {"error", "gap"})
    text_features: str = allowing("off", {"on", "off"})
    plain_numbers: Sequence[str] | Sequence[int] = allowing((), ARRAY_LIKE)
    random_state: RandomState | int | None = allowing(None, *RANDOM_STATE)

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        tags.target_tags.required = self.binning == "tree"
        tags.transformer_tags.preserves_dtype = []
        return tags

    def fit(self, X: TableLike | Table, y: ArrayLike | None = None) -> Self:
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
            For no rows, two columns of one name, a table whose columns hold one value each, and
            trees without a target.
        TypeError
            For names of columns of several types.
        """
        self._fit(X, y)
        return self

    def fit_transform(
        self,
        X: TableLike,
        y: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        time: ArrayLike | str | None = None,
    ) -> numpy.ndarray:
        """Learn how to encode a table, and encode it.

        The mean target of a row's value is that of other rows here, so that a network cannot read
        the row's target from it; `transform` gives the mean of all rows.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table.
        y : array, shape (rows,), optional
            The target: labels, or numbers.
        groups : array, shape (rows,), optional
            The group of each row: the mean target is that of rows of other groups.
        time : array, shape (rows,), or str, optional
            Numbers or dates, or the name of a column of X that holds them: the mean target is that
            of earlier rows.

        Returns
        -------
        numpy.ndarray, shape (rows, outputs), float32
            The encoded table, or what `set_output` asks for.

        Raises
        ------
        ValueError
            For no rows, two columns of one name, a table whose columns hold one value each, and
            trees without a target.
        TypeError
            For names of columns of several types.
        """
        return self.fit_training(X, y, groups, time).encoded()

    def fit_training(
        self,
        X: TableLike | Table,
        y: ArrayLike | None,
        groups: ArrayLike | None = None,
        time: ArrayLike | str | None = None,
        learned_rows: numpy.ndarray | None = None,
    ) -> TrainingInputs:
        """Learn how to encode a table; return its encoded rows, whose mean targets a fit replaces.

        `xpnet.TabularClassifier` and `xpnet.TabularRegressor` call it: they compute the mean
        targets of each network's training rows and validation rows from its training rows alone.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table.
        y : array, shape (rows,), or None
            The target: labels, or numbers.
        groups : array, shape (rows,), optional
            The group of each row, as `fit_transform` takes it.
        time : array, shape (rows,), or str, optional
            The time of each row, as `fit_transform` takes it.
        learned_rows : array, shape (rows,), bool, optional
            The rows whose targets decide how columns are encoded: which bins, means and differences
            there are. With None these are all rows. Targets of the other rows are in mean targets
            alone, which depend on the training rows of each network.

        Returns
        -------
        TrainingInputs
            The encoded rows, (rows, outputs) float32, and the means of their values.
        """
        table, means = self._fit(X, y, groups, time, learned_rows)
        return TrainingInputs(self.encoded(table), means)

    def fit_means(
        self,
        X: TableLike | Table,
        y: ArrayLike | None,
        groups: ArrayLike | None = None,
        time: ArrayLike | str | None = None,
    ) -> list[InputMeans]:
        """Learn how to encode a table; return its mean targets, as `fit_training` does.

        `transform` tells the rows of the table their own targets, and the means do not.

        Parameters
        ----------
        X : table
            The table, as for ``fit``.
        y : array, shape (rows,), or None
            The targets.
        groups : array, shape (rows,), optional
            Rows of one value belong together.
        time : array, shape (rows,), or str, optional
            When each row was known, or the name of a column that says so.

        Returns
        -------
        list of InputMeans
            The outputs that are mean targets, and their values for the rows of the table.
        """
        _, means = self._fit(X, y, groups, time)
        return means

    def _means_of_inputs(self, means: dict[int, ColumnMeans]) -> list[InputMeans]:
        """Return the outputs that are mean targets. means : by the index of their column"""
        ends = numpy.cumsum([len(encoding.labels) for encoding in self.encodings_]).tolist()
        return [
            InputMeans(slice(end - means[encoding.column].columns, end), means[encoding.column])
            for encoding, end in zip(self.encodings_, ends, strict=True)
            if encoding.ends_with_means and encoding.column in means
        ]

    def _fit(
        self,
        X: TableLike | Table,
        y: ArrayLike | None,
        groups: ArrayLike | None = None,
        time: ArrayLike | str | None = None,
        learned_rows: numpy.ndarray | None = None,
    ) -> tuple[Table, list[InputMeans]]:
        """Fit; return the rows of the table, and the outputs that are mean targets."""
        check_parameters(self)
        table = table_of(X)
        rules = self._rules_of(table)
        table, forms, notes = learn_table(table, rules)
        random_state = check_random_state(self.random_state)
        links = links_of(table, groups, time, table.rows)
        target = encoding_target(y, self.task, table.rows, links, random_state)
        target = replace(target, learned_rows=learned_rows)
        if self.binning == "tree" and target.task is None:
            raise InputError("Bins of a tree need a target: pass y, or leave binning='quantile'.")
        kinds = [
            ColumnKind("category", "text") if index in rules.categorical else table.kind(index)
            for index in range(len(table.columns))
        ]
        scaling = choose_scaling(
            table.rows,
            kinds,
            robust=self.scaling == "robust",
            bins=self.bins,
            tree_target=target if self.binning == "tree" else None,
        )
        column_fit = ColumnFit(
            table,
            target,
            scaling,
            min_frequency=self.min_frequency,
            max_categories=self.max_categories,
            uses_free_text=self.text_features == "on",
            plain=plain_columns(self.plain_numbers, table, kinds),
        )
        learned = column_fit.learn(kinds)
        for index, note in notes_of_copies(table, target.y, learned.left_out).items():
            name = (table.labels or table.names)[index]
            notes[name] = f"{notes[name]}, and {note}" if name in notes else note
        # A refused fit leaves the encoder as it was: nothing above has changed it.
        self.notes_: dict[str, str] = notes
        self.n_features_in_: int = len(table.columns)
        self._labels = table.labels
        self.__dict__.pop("feature_names_in_", None)
        if table.named:
            self.feature_names_in_: numpy.ndarray = numpy.array(table.names, dtype=object)
        self.left_out_: dict[str, str] = learned.left_out
        self.encodings_: list[Encoding] = learned.encodings
        self.added_: dict[str, str] = learned.added
        self.forms_: dict[int, ColumnForm] = {
            encoding.column: encoding.later_form(forms[encoding.column])
            for encoding in self.encodings_
        }
        return table, self._means_of_inputs(learned.means)

    def _rules_of(self, table: Table) -> ReadingRules:
        """Return what the parameters say about the columns of a table."""
        categorical = categorical_columns(self.categorical_features, table)
        return ReadingRules(self.date_format, categorical, self.missing_values)

    def learned_forms(self, X: TableLike | Table) -> dict[str, LearnedForm]:
        """Learn how the columns of a table are read, before some of its rows are chosen.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, array or Table, shape (rows, columns)
            The rows that show how the columns are read.

        Returns
        -------
        dict of str to LearnedForm
            The forms by the names of the columns. `fit` learns no others for a Table with them.
        """
        table = table_of(X)
        learned = learn_table(table, self._rules_of(table))
        names = table.labels or table.names
        return {
            names[index]: LearnedForm(form, learned.notes.get(names[index], ""))
            for index, form in learned.forms.items()
        }
