"""The target of the rows that encodings are fitted to."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from numpy.random import RandomState

from xpnet.tabular.rows.division import RowLinks

if TYPE_CHECKING:
    pass

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class Target:
    """The target of the rows.

    y : (rows,) class indices or numbers; None without a task
    task : what y is; None where the encoder does not use it
    links : what decides how rows may be divided; random_state : draws the folds of the rows
    """

    y: Any
    task: Task | None
    links: RowLinks
    random_state: RandomState
