"""The agreement of an estimator's fit with the other processes that train with it, if any."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy
from numpy.random import RandomState
from sklearn.model_selection import train_test_split

from xpnet.backend import Backend, NetworkSpec
from xpnet.backend.group import Value
from xpnet.data.sources import Source
from xpnet.distributed.batches import begin_alike
from xpnet.distributed.fingerprint import fingerprint_of_rows
from xpnet.distributed.ranks import ALONE, Ranks, ShardMap, current_ranks, using
from xpnet.distributed.sources import source_rows
from xpnet.errors import InputError
from xpnet.ops import Array
from xpnet.training.batches import LabeledRows
from xpnet.training.streamed import SourceRows

MIN_VALIDATION_ROWS = 2
"""Minimum rows that are split off for validation."""


@dataclass(frozen=True)
class RowFacts:
    """Facts about the rows of a process, which it tells the other processes.

    features : number of columns of X
    dtype : name of the dtype of X
    targets : rows of y with each distinct target of the process, NumPy's; no rows where it has
        none
    """

    features: int
    dtype: str
    targets: numpy.ndarray


@dataclass(frozen=True)
class Coordinator:
    """Settles what the processes of a fit must have in common.

    ranks : the processes
    """

    ranks: Ranks

    @property
    def leads(self) -> bool:
        """Return whether this process prints, warns and writes files."""
        return self.ranks.rank == 0

    @property
    def trains_alone(self) -> bool:
        """Return whether no other process trains with this one."""
        return not self.ranks.several

    @property
    def has_all_rows(self) -> bool:
        """Return whether this process has all rows of the fit."""
        return not self.ranks.sharded

    def active(self) -> AbstractContextManager[None]:
        """Return a context in which steps are made for these processes and their rows."""
        return using(self.ranks)

    def read_by_blocks(self, rows: int, buffer_rows: int) -> bool:
        """Return whether rows are read block by block, on every process or on none.

        rows : those of this process; buffer_rows : rows that fit a buffer; 0 for rows in memory
        """
        counts = numpy.array(self.ranks.allgather((rows, buffer_rows)))
        all_rows = counts[:, 0].sum()
        largest_buffer = counts[:, 1].max()
        return bool(all_rows > largest_buffer > 0)

    def agree_on_rows(self, own: RowFacts) -> RowFacts:
        """Return the columns that the rows of all processes have, and the targets of all.

        own : of the rows of this process

        Raises InputError for other columns, and where no process has rows.
        """
        of_ranks = [facts for facts in self.ranks.allgather(own) if len(facts.targets)]
        if not of_ranks:
            raise InputError("`X` must have at least one row on one rank; got none on every rank.")
        columns = {(facts.features, facts.dtype) for facts in of_ranks}
        if len(columns) > 1:
            received = " and ".join(
                f"{features} features of {dtype}" for features, dtype in sorted(columns)
            )
            raise InputError(
                f"`X` must have the same columns on all ranks, in one dtype; got {received}; "
                "check what each rank reads."
            )
        targets = numpy.concatenate([facts.targets for facts in of_ranks])
        return replace(of_ranks[0], targets=targets)

    def begin_alike(self, rng: RandomState) -> RandomState:
        """Put a random generator into the same state on every process, and return it."""
        return begin_alike(rng, self.ranks)

    def fingerprint(self, columns: Sequence[Any], *, ordered: bool = True) -> str:
        """Return a text that tells the rows of all processes from others. columns : NumPy arrays or
        sources, or None
        """
        return fingerprint_of_rows(columns, self.ranks, ordered=ordered)

    def check_alike(self, spec: NetworkSpec, **settings: object) -> None:
        """Raise InputError where a process is about to train another network, or with other
        settings.
        """
        self.ranks.check_alike(spec, **settings)

    def count(self, rows: int) -> int:
        """Return the number of rows of all processes. rows : those of this process"""
        return self.ranks.count(rows)

    def class_counts(self, targets: numpy.ndarray, classes: int) -> numpy.ndarray:
        """Return the number of rows of each class. targets : class indices of this process's rows

        Raises InputError for several labels in a row.
        """
        if targets.ndim == 2 and targets.shape[1] > 1:
            raise InputError(
                "`class_weight` must be a dictionary for several labels in a row where ranks have "
                "rows of their own; got 'balanced'."
            )
        counts = numpy.bincount(targets.ravel(), minlength=classes)
        total: Any = sum(self.ranks.allgather(counts))
        return total

    def source_rows(self, X: Source, Y: Array, weight: Array | None) -> SourceRows:
        """Return the rows of the sources of all processes, to train on."""
        return source_rows(X, Y, weight, self.ranks)

    def validation_source_rows(self, X: Source, Y: Array, weight: Array | None) -> SourceRows:
        """Return rows of a source to measure on: those of this process, or its part of those that
        all have.
        """
        return source_rows(X, Y, weight, self.ranks if self.has_all_rows else ALONE)

    def measuring(self, validation: LabeledRows) -> "Coordinator":
        """Return the coordinator that joins what the processes measure on validation rows.

        Of a source that all processes have, each measures some blocks.
        """
        by_blocks = isinstance(validation, SourceRows) and self.ranks.several
        return Coordinator(replace(self.ranks, data="own")) if by_blocks else self

    def mean(self, value: float, weight: float) -> float:
        """Return the mean of a value that each process has measured on its own rows, by their
        weight.
        """
        return self.ranks.mean(value, weight)

    def gather(self, arrays: Value) -> list[Value]:
        """Return the arrays of all processes that have rows of their own, in their order."""
        return self.ranks.allgather(arrays)

    def split(
        self,
        rows: LabeledRows,
        fraction: float,
        random_state: RandomState,
        strata: numpy.ndarray | None,
        backend: Backend,
    ) -> "Split":
        """Split rows for training and validation as scikit-learn does.

        strata : (rows, ...), NumPy's, of this process's rows, whose proportions both parts keep;
            None for none

        Raises ValueError where too few rows are split off.
        """
        ranks = self.ranks
        counts = ranks.allgather(rows.count)
        shard_map = ranks.shard_map or ShardMap.in_order(
            numpy.repeat(numpy.arange(len(counts)), counts)
        )
        if strata is not None:
            first_rows = numpy.cumsum([0, *counts])
            all_strata = numpy.concatenate(ranks.allgather(strata))
            strata = all_strata[first_rows[shard_map.rank] + shard_map.index]
        training, validation = train_test_split(
            numpy.arange(len(shard_map.rank)),
            random_state=random_state,
            test_size=fraction,
            stratify=strata,
        )
        if len(validation) < MIN_VALIDATION_ROWS:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        if self.has_all_rows:
            return Split(rows.take(training, backend), rows.take(validation, backend), self)
        own_training, own_validation = (
            shard_map.index[part][shard_map.rank[part] == ranks.rank]
            for part in (training, validation)
        )
        training_map = ShardMap.in_order(shard_map.rank[training])
        return Split(
            rows.take(own_training, backend),
            rows.take(own_validation, backend),
            Coordinator(replace(ranks, shard_map=training_map)),
        )


@dataclass(frozen=True)
class Split:
    """Rows that were split, and the coordinator that knows which process has which of the training
    rows.
    """

    training: LabeledRows
    validation: LabeledRows
    coordinator: Coordinator


ONE_PROCESS = Coordinator(ALONE)
"""The coordinator of a fit in which no other process takes part."""


def current_coordinator() -> Coordinator:
    """Return the coordinator of the innermost ``use_group``; outside of any, that of this
    process.
    """
    ranks = current_ranks()
    return ONE_PROCESS if ranks is ALONE else Coordinator(ranks)
