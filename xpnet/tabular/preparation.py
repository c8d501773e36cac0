"""The rows that fits and refinements of both tabular estimators take: checked, and with targets as
networks learn them.
"""

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import numpy

from xpnet.errors import InputError
from xpnet.learning.split import InputRows, select
from xpnet.learning.weights import none_if_uniform, nonzero_rows
from xpnet.tabular.fitted_attributes import FittedAttributes
from xpnet.tabular.parameters import TabularParameters
from xpnet.tabular.rows.coded_labels import CheckedTargets
from xpnet.tabular.rows.division import UNLINKED, RowLinks
from xpnet.tabular.rows.table_rows import TableRows, check_row_weights
from xpnet.tabular.rows.target_coding import ClassCoding, TargetCoding
from xpnet.typing import TargetsLike


class PreparesRows(FittedAttributes, TabularParameters):
    """Checks the rows of a user, and encodes their targets."""

    @abstractmethod
    def _checked_targets(self, y: TargetsLike, name: str) -> CheckedTargets:
        """Return targets, if their values are allowed. name : of the argument"""

    def _with_class_weights(
        self, coding: Any, Y: numpy.ndarray, weight: numpy.ndarray | None
    ) -> numpy.ndarray | None:
        """Return the weights of rows, those of their classes included."""
        return weight

    def _table_rows(
        self, coding: TargetCoding, rows: InputRows, ending: str, links: RowLinks = UNLINKED
    ) -> TableRows:
        """Return rows without those of weight 0, with their targets as the loss takes them.

        rows : with checked targets; ending : of the names of the arguments
        """
        count = len(rows.y)
        weight = check_row_weights(rows.weight, count, self.dtype, f"sample_weight{ending}")
        indices = nonzero_rows(weight)
        Y = coding.encode(select(rows.y, indices), f"y{ending}")
        weight = self._with_class_weights(coding, Y, select(weight, indices))
        offset = None
        if rows.offset is not None:
            assert isinstance(coding, ClassCoding)  # those of numbers are in the rates
            offset = select(coding.offsets(rows.offset, count, f"offset{ending}"), indices)
        inverse_variance = select(rows.inverse_variance, indices)
        links = links.take(indices)
        table_rows = TableRows(rows.X, count, indices, Y, weight, links, offset, inverse_variance)
        remaining = nonzero_rows(weight)  # Classes may have weight 0, too.
        if remaining is not None:
            table_rows = table_rows.take(remaining)
        return replace(table_rows, weight=none_if_uniform(table_rows.weight))

    def _validation_rows(
        self,
        coding: TargetCoding,
        validation: InputRows,
    ) -> TableRows | None:
        """Return the validation rows that the user passes; None for none."""
        if validation.X is None:
            return None
        assert validation.y is not None  # `check_together` has refused it
        targets = self._checked_targets(validation.y, "y_val")
        return self._table_rows(coding, validation._replace(y=targets), "_val")


def passed_targets(kind: type, y: TargetsLike | None) -> TargetsLike:
    """Return targets. Raises InputError, in scikit-learn's words, for None."""
    if y is None:
        raise InputError(f"{kind.__name__} requires y to be passed, but the target y is None.")
    return y
