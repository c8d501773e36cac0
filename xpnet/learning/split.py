"""The rows of a fit: as a user passes them, and their split for training and validation, over all
processes that train together.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy
from numpy.random import RandomState
from sklearn.model_selection import train_test_split

from xpnet.backend import Backend, on_device
from xpnet.distributed.ranks import ALONE, Ranks, ShardMap
from xpnet.errors import InputError
from xpnet.training import LabeledRows
from xpnet.training.streamed import SourceRows
from xpnet.typing import ArrayLike

MIN_VALIDATION_ROWS = 2
"""Minimum rows that are split off for validation."""


class SelectableValues(Protocol):
    """Values of rows, some of which can be selected: an array, or labels as indices."""

    def __getitem__(self, rows: Any, /) -> Any: ...


Selected = TypeVar("Selected", bound="SelectableValues | None")
"""Values of rows, or None."""


def select(values: Selected, rows: numpy.ndarray | slice | None) -> Selected:
    """Return the values of some rows; None stays None. rows : indices or bool, None for all"""
    return values if values is None or rows is None else values[rows]


class InputRows(NamedTuple):
    """Rows with their targets and weights, as the user passes them; None for what was left out.

    X : (rows, in), whatever ``fit`` takes; opened rows are in memory or a source
    y : (rows,) or (rows, out), of any library; of opened rows on the host
    weight : (rows,), like y
    offset : (rows,) or (rows, classes), numbers that are added to the logits
    inverse_variance : (rows,) of targets that are rates, that of `xpnet.learning.exposure.Rates`
    are_rates : whether y are rates, numbers divided by the known factors of their means
    """

    X: Any
    y: Any
    weight: Any = None
    offset: ArrayLike | None = None
    inverse_variance: numpy.ndarray | None = None
    are_rates: bool = False

    @property
    def have_offsets(self) -> bool:
        """Return whether a part of the mean of each row is known already."""
        return self.offset is not None or self.are_rates


@dataclass(frozen=True)
class Split:
    """The rows of a network in this process, ready for a step.

    training : the rows to train on
    validation : the rows to measure on; None where nothing is measured
    ranks : the processes of the fit, and which of them has which training row
    """

    training: LabeledRows
    validation: LabeledRows | None
    ranks: Ranks = ALONE

    def divide(
        self,
        fraction: float,
        random_state: RandomState,
        strata: numpy.ndarray | None,
        backend: Backend,
        dtype: str,
    ) -> "Split":
        """Return the split with a fraction of the training rows for validation, as scikit-learn
        draws them; of a source whole blocks.

        strata : (rows, ...), NumPy's, of this process's rows, whose proportions both parts keep;
            None for none

        Raises InputError for a fraction of 0 and where a class has too few rows, ValueError where
        too few rows are split off.
        """
        rows = self.training
        if not fraction:
            raise InputError(
                "`validation_fraction` must be in (0, 1) for early stopping by a part of the "
                f"rows; got {fraction}. Choose a share such as 0.1, or pass `X_val` and "
                "`y_val`."
            )
        if isinstance(rows, SourceRows):
            return Split(*rows.split(fraction, random_state, backend, dtype), self.ranks)
        shard_map = _shard_map(rows, self.ranks)
        row_count = len(shard_map.rank)
        try:
            training, validation = train_test_split(
                numpy.arange(row_count),
                random_state=random_state,
                test_size=fraction,
                stratify=_of_all_ranks(strata, shard_map, self.ranks),
            )
        except ValueError as error:
            raise InputError(
                "`validation_fraction` must be a share that divides the rows for training and "
                f"validation; got {fraction} of {row_count} rows: {error} Choose another share, or "
                "pass `X_val` and `y_val`."
            ) from error
        if len(validation) < MIN_VALIDATION_ROWS:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        ranks = self.ranks
        if ranks.sharded:
            ranks = replace(ranks, shard_map=ShardMap.in_order(shard_map.rank[training]))
            training, validation = (
                shard_map.index[part][shard_map.rank[part] == ranks.rank]
                for part in (training, validation)
            )
        with on_device(backend):
            return Split(rows.take(training, backend), rows.take(validation, backend), ranks)


def _shard_map(rows: LabeledRows, ranks: Ranks) -> ShardMap:
    """Return which process has each row of a fit."""
    counts = ranks.allgather(rows.count)
    return ranks.shard_map or ShardMap.in_order(numpy.repeat(numpy.arange(len(counts)), counts))


def _of_all_ranks(
    strata: numpy.ndarray | None, shard_map: ShardMap, ranks: Ranks
) -> numpy.ndarray | None:
    """Return the strata of the rows of all processes, in the order of the shard map."""
    if strata is None:
        return None
    strata_of_ranks = ranks.allgather(strata)
    first_rows = numpy.cumsum([0, *map(len, strata_of_ranks)])
    return numpy.concatenate(strata_of_ranks)[first_rows[shard_map.rank] + shard_map.index]
