"""The qualities of a fit: the numbers that parameters with the value ``"auto"`` stand for."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from xpnet.tabular.ensemble.best_epoch import Patience

DEFAULT_QUALITY = 3
"""The quality of an estimator that names none."""


class Rung(NamedTuple):
    """A part of a search. settings : maximum number of them; folds : that each is trained on"""

    settings: int
    folds: int


@dataclass(frozen=True)
class Quality:
    """Settings that ``"auto"`` stands for at one quality.

    hidden_widths : units of the hidden layers
    members : members of each network
    network_counts : smallest number of rows, minimum and maximum number of networks; the maximum
        is trained where few epochs are enough
    label_rate : learning rate of classifiers
    number_rate : learning rate of regressors
    number_batches : batches of regressors, as LABEL_BATCHES
    max_epochs : largest number of epochs of a large table, and where no validation loss ends them
    patience : epochs without a lower validation loss after which a training ends
    label_decay : weight decay of classifiers
    number_decay : weight decay of regressors
    work_of_a_row : multiplications in training for each row of a large table of USUAL_COLUMNS
        columns; more columns have more in proportion, and more rows than ROWS_OF_FULL_WORK less
    trees : trees that tell the importance of the columns
    rows_of_trees : largest number of rows that they are fitted to
    refit_share : number of epochs on all rows, relative to the epochs up to the best one
    settings : number of settings that networks take in turn
    search : rungs of the search for settings on fewer rows than LARGE_ROWS; none for no search
    """

    hidden_widths: tuple[int, ...]
    members: int
    network_counts: tuple[tuple[int, int, int], ...]
    label_rate: float
    number_rate: float
    number_batches: tuple[tuple[int, int], ...]
    max_epochs: int
    patience: Patience
    label_decay: float
    number_decay: float
    work_of_a_row: int
    trees: int
    rows_of_trees: int
    refit_share: float
    settings: int = 1
    search: tuple[Rung, ...] = ()


LABEL_BATCHES = ((500, 128), (0, 64))
"""Smallest number of rows, and rows of a batch of classifiers."""
NUMBER_BATCHES = ((3000, 128), (0, 64))
"""Smallest number of rows, and rows of a batch of regressors.

On few rows regressors predict better after more updates.
"""

QUALITY_1 = Quality(
    hidden_widths=(64, 64),
    members=2,
    network_counts=((0, 1, 1),),
    label_rate=0.008,
    number_rate=0.008,
    number_batches=LABEL_BATCHES,
    max_epochs=100,
    patience=Patience(3, 0.25),
    label_decay=0.05,
    number_decay=0.01,
    work_of_a_row=6_000_000,
    trees=9,
    rows_of_trees=1000,
    refit_share=0.2,
)
"""The quality with the least CPU time."""
QUALITY_2 = replace(
    QUALITY_1,
    hidden_widths=(96, 96),
    network_counts=((10_000, 1, 1), (0, 2, 2)),
    label_rate=0.006,
    number_rate=0.004,
    number_batches=NUMBER_BATCHES,
    max_epochs=150,
    patience=Patience(4, 0.3),
    label_decay=0.03,
    work_of_a_row=18_000_000,
    trees=20,
    rows_of_trees=3000,
    settings=2,
)
"""The second quality."""
QUALITY_3 = replace(
    QUALITY_2,
    hidden_widths=(128, 128),
    members=4,
    network_counts=((50_000, 1, 1), (10_000, 1, 3), (0, 2, 2)),
    patience=Patience(4, 0.4),
    label_decay=0.05,
    work_of_a_row=36_000_000,
    trees=25,
    rows_of_trees=5000,
    refit_share=0.4,
    settings=3,
)
"""The quality of an estimator that names none."""
QUALITY_4 = replace(
    QUALITY_3,
    network_counts=((50_000, 1, 2), (10_000, 2, 4), (0, 6, 6)),
    max_epochs=200,
    patience=Patience(4, 0.5),
    work_of_a_row=100_000_000,
    trees=50,
    settings=4,
)
"""The fourth quality."""
QUALITY_5 = replace(
    QUALITY_4,
    network_counts=((50_000, 2, 4), (0, 8, 8)),
    work_of_a_row=300_000_000,
    search=(Rung(4, 2), Rung(2, 4)),
)
"""The quality with the lowest error."""

QUALITIES = {1: QUALITY_1, 2: QUALITY_2, 3: QUALITY_3, 4: QUALITY_4, 5: QUALITY_5}
"""The qualities by number. The error falls and the CPU time of a fit grows from 1 to 5. Each names
what differs from the one before it."""
