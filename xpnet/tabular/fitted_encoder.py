"""What a fitted encoder does with later tables: it reads, encodes and counts their values."""

from collections.abc import Sequence

import numpy
from sklearn.utils.validation import check_is_fitted

from xpnet.data.cells.forms import ColumnForm
from xpnet.errors import InputError, warn_user
from xpnet.learning.scikit_learn import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from xpnet.tabular.columns.frames import table_of
from xpnet.tabular.columns.reading import form_of_later_rows, read_table
from xpnet.tabular.columns.records import Table
from xpnet.tabular.encodings.encoding import Encoding, UnusualValues
from xpnet.tabular.encodings.plan import plan_of
from xpnet.typing import ArrayLike, TableLike


class FittedEncoder(TransformerMixin, BaseEstimator):
    """Encodes tables by what a fit has learned, which is in the attributes of `TableEncoder`."""

    unreadable: str
    n_features_in_: int
    feature_names_in_: numpy.ndarray
    encodings_: list[Encoding]
    forms_: dict[int, ColumnForm]
    _labels: Sequence[str]

    def transform(self, X: TableLike | Table) -> numpy.ndarray:
        """Encode a table.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table; its columns have the names that they had in training, in any order. The
            columns of an array are those of the training in their order.

        Returns
        -------
        numpy.ndarray, shape (rows, outputs), float32
            The encoded table, or what `set_output` asks for.

        Raises
        ------
        InputError
            For a column that is missing, and for one that held numbers or dates in training and
            does not now, or held dates with a time zone and now holds dates without one, or the
            reverse.
        TypeError
            For names of columns of several types.
        """
        check_is_fitted(self)
        return self.encoded(self.prepared(table_of(X)))

    def count_unknowns(self, X: TableLike | Table) -> dict[str, dict[str, int]]:
        """Count the values of a table that are unlike those of the training, column by column.

        Predictions for such rows are less certain than the scores of a model say.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table, as `transform` takes it.

        Returns
        -------
        dict of str to dict of str to int
            For each encoded column by its name (``"x0"`` and so on without names) the number of
            rows with such a value: ``"unknown"``, a category, or a number that names things, that
            training rows did not have; ``"gaps"``; and ``"outside"``, a number or a date below the
            smallest or above the largest of the training.

        Raises
        ------
        InputError
            For tables that `transform` refuses.

        Examples
        --------
        >>> import xpnet
        >>> table = {"age": [22.0, 35.0, 38.0], "class": ["third", "first", "first"]}
        >>> encoder = xpnet.TableEncoder(min_frequency=1).fit(table)
        >>> counts = encoder.count_unknowns({"age": [20.0, None], "class": ["first", "fourth"]})
        >>> counts["age"]
        {'unknown': 0, 'gaps': 1, 'outside': 1}
        >>> counts["class"]
        {'unknown': 1, 'gaps': 0, 'outside': 0}
        """
        check_is_fitted(self)
        table = self.prepared(table_of(X))
        names = OneToOneFeatureMixin.get_feature_names_out(self).tolist()
        counts: dict[str, UnusualValues] = {}
        for encoding in self.encodings_:
            name = names[encoding.column]
            # Several encodings of a column count the same rows.
            pairs = zip(
                counts.get(name, UnusualValues()), encoding.unusual_values(table), strict=True
            )
            counts[name] = UnusualValues(*map(max, pairs))
        return {name: values._asdict() for name, values in counts.items()}

    def prepared(self, table: Table, model: str = "TableEncoder") -> Table:
        """Bring a table into the form that this encoder encodes.

        Parameters
        ----------
        table : Table
            The table, with the columns of the training.
        model : str, default "TableEncoder"
            The class that messages about the columns name.

        Returns
        -------
        Table
            The columns in the order of the training, with text read as it was then.
        """
        table = self._in_order_of_training(table, model)
        if table.is_matrix and not table.forms:  # Its columns are numbers already.
            forms = {index: form for index, form in self.forms_.items() if not form.keeps_numbers}
        else:
            forms = {
                encoding.column: form_of_later_rows(
                    self.forms_.get(encoding.column), table.values(encoding.column)
                )
                for encoding in self.encodings_
            }
        return read_table(table, forms, self.unreadable)

    def _in_order_of_training(self, table: Table, model: str) -> Table:
        """Return a table with the columns of the training: by name, or else by position."""
        names: Sequence[str] = ()
        if table.named and hasattr(self, "feature_names_in_"):
            names = self.feature_names_in_.tolist()
        elif table.labels and self._labels:
            names = self._labels
        if names:
            return table.select(names, {names[encoding.column] for encoding in self.encodings_})
        columns = len(table.columns)
        if columns != self.n_features_in_:
            raise InputError(
                f"X has {columns} features, but {model} is expecting {self.n_features_in_} "
                "features as input. Pass the columns of the training, in their order."
            )
        if table.named:
            warn_user(f"X has feature names, but {model} was fitted without feature names")
        elif hasattr(self, "feature_names_in_"):
            warn_user(
                f"X does not have valid feature names, but {model} was fitted with feature names"
            )
        return table

    def encoded(self, table: Table) -> numpy.ndarray:
        """Encode a table that `prepared` has returned.

        Parameters
        ----------
        table : Table
            The table, or some of its rows.

        Returns
        -------
        numpy.ndarray, shape (rows, outputs), float32
            The outputs.
        """
        plan = plan_of(self, self.encodings_)
        out = numpy.empty((table.rows, plan.outputs), numpy.float32)
        plan.write(table, out)
        return out

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> numpy.ndarray:
        """Name the outputs: the column's name, then what the output holds.

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
        columns = OneToOneFeatureMixin.get_feature_names_out(self, input_features).tolist()
        names = [
            f"{encoding.title(columns)}{label}"
            for encoding in self.encodings_
            for label in encoding.labels
        ]
        uses: dict[str, int] = {}  # how often each name was asked for; a repeated one gets a number
        for name in names:
            unique = name
            while unique in uses:
                uses[name] += 1
                unique = f"{name}_{uses[name]}"
            uses[unique] = 1
        return numpy.array(list(uses), object)
