"""Facts about the rows of a fit on which the processes that train together agree."""

from dataclasses import dataclass, replace

import numpy

from xpnet.distributed.ranks import Ranks
from xpnet.errors import InputError


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


def read_by_blocks(rows: int, buffer_rows: int, ranks: Ranks) -> bool:
    """Return whether rows are read block by block, on every process or on none.

    rows : those of this process; buffer_rows : rows that fit a buffer; 0 for rows in memory
    """
    counts = numpy.array(ranks.allgather((rows, buffer_rows)))
    all_rows = counts[:, 0].sum()
    largest_buffer = counts[:, 1].max()
    return bool(all_rows > largest_buffer > 0)


def agree_on_rows(own: RowFacts, ranks: Ranks) -> RowFacts:
    """Return the columns that the rows of all processes have, and the targets of all.

    own : of the rows of this process

    Raises InputError for other columns, and where no process has rows.
    """
    of_ranks = [facts for facts in ranks.allgather(own) if len(facts.targets)]
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


def class_counts(targets: numpy.ndarray, classes: int, ranks: Ranks) -> numpy.ndarray:
    """Return the number of rows of each class. targets : class indices of this process's rows

    Raises InputError for several labels in a row.
    """
    if targets.ndim == 2 and targets.shape[1] > 1:
        raise InputError(
            "`class_weight` must be a dictionary for several labels in a row where ranks have "
            "rows of their own; got 'balanced'."
        )
    counts = numpy.bincount(targets.ravel(), minlength=classes)
    return numpy.sum(ranks.allgather(counts), axis=0)
