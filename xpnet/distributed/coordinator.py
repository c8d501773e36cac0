"""The agreement of an estimator's fit with the other processes that train with it, if any."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy
from numpy.random import RandomState
from scipy.sparse import csr_matrix, issparse
from sklearn.model_selection import train_test_split
from sklearn.utils.multiclass import type_of_target

from xpnet.backend import Backend, NetworkSpec, dtype_name
from xpnet.data.sources import ArraySource, Source
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
class AgreedRows:
    """The rows of this process, and what all processes know of their targets.

    X : (rows, in); y : (rows,) or (rows, out), the targets of this process
    known_targets : rows of y with every kind of target that a process has
    """

    X: Any
    y: Any
    known_targets: Any


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
        """Tell whether rows are read block by block, on every process or on none.

        rows : those of this process; buffer_rows : rows that fit a buffer; 0 for rows in memory
        """
        counts = self.ranks.allgather(rows)
        rooms = self.ranks.allgather(buffer_rows)
        return sum(counts) > max(rooms) > 0

    def agree_on_rows(self, X: Any, y: Any, *, numeric: bool) -> AgreedRows:
        """Check that all processes with rows have the same columns; make those of a process without
        rows alike.

        Raises InputError for other columns, where no process has rows, and for targets that one
        process cannot tell.
        """
        if self.has_all_rows:
            return AgreedRows(X, y, y)
        _check_dense_single_target(y, numeric=numeric)
        own_targets = y[:1] if numeric or y.ndim == 2 else numpy.unique(y)
        facts = self.ranks.allgather((X.shape[1], dtype_name(X.dtype), own_targets))
        facts = [fact for fact in facts if len(fact[2])]
        if not facts:
            raise InputError("`X` must have at least one row on one rank; got none on every rank.")
        columns = {(features, dtype) for features, dtype, _ in facts}
        if len(columns) > 1:
            received = " and ".join(
                f"{features} features of {dtype}" for features, dtype in sorted(columns)
            )
            raise InputError(
                f"`X` must have the same columns on all ranks, in one dtype; got {received}; "
                "check what each rank reads."
            )
        known_targets = numpy.concatenate([targets for *_, targets in facts])
        if X.shape[0]:
            return AgreedRows(X, y, known_targets)
        ((features, dtype),) = columns
        return AgreedRows(_no_rows(X, features, dtype), known_targets[:0], known_targets)

    def begin_alike(self, rng: RandomState) -> RandomState:
        """Put a random generator into the same state on every process, and return it."""
        return begin_alike(rng, self.ranks)

    def fingerprint(self, columns: Any, *, ordered: bool = True) -> str:
        """Return a text that tells the rows of all processes from others. columns : NumPy arrays or
        sources, or None
        """
        return fingerprint_of_rows(columns, self.ranks, ordered=ordered)

    def check_alike(self, spec: NetworkSpec, **settings: Any) -> None:
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
        return sum(self.ranks.allgather(numpy.bincount(targets.ravel(), minlength=classes)))

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

    def gather(self, arrays: Any) -> list[Any]:
        """Return the arrays of all processes that have rows of their own, in their order."""
        return self.ranks.allgather(arrays)

    def split(
        self,
        rows: LabeledRows,
        fraction: float,
        random_state: RandomState,
        strata: Any,
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


def _check_dense_single_target(y: Any, *, numeric: bool) -> None:
    """Raise InputError for targets that ranks with rows of their own cannot agree on."""
    if issparse(y):
        raise InputError(
            "`y` must be dense where ranks have rows of their own; got a sparse matrix; pass "
            "y.toarray()."
        )
    if not numeric and y.ndim == 2 and type_of_target(y) == "multiclass-multioutput":
        raise InputError(
            "`y` must hold one target of classes where ranks have rows of their own; got several; "
            "fit one by one."
        )


def _no_rows(X: Any, features: int, dtype: str) -> Any:
    """Return no rows of the kind of X: an array, a sparse matrix or a source."""
    if issparse(X):
        return csr_matrix((0, features), dtype=dtype)
    empty = numpy.zeros((0, features), dtype)
    return ArraySource(empty) if isinstance(X, Source) else empty
