"""Fits that were cut off: the checkpoint that a fit goes on from, and the callback that writes the
next one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy
from numpy.random import RandomState
from scipy.sparse import issparse

from xpnet.data.sources import Source
from xpnet.distributed.fingerprint import fingerprint_of_rows
from xpnet.errors import InputError
from xpnet.estimators.fitted import EarlierFit
from xpnet.estimators.settings import FitSettings
from xpnet.learning.split import Split
from xpnet.models.files import model_files
from xpnet.models.inputs import to_host
from xpnet.training import (
    Callback,
    LabeledRows,
    TimeLimit,
    TrainingState,
    rng_state,
    set_rng_state,
)
from xpnet.typing import SavedState, SparseMatrix

EARLIER_KEYS = {"FitStart": "6", "TimeLimit": "4"}
"""The keys of callbacks in checkpoints of earlier versions, which numbered them by their places."""


class FitStart(Callback):
    """Keeps the state that the fit's random generator had when the fit first began.

    rng_state : the state, as NumPy gives it
    """

    transactional = True
    state_key = "FitStart"

    def __init__(self, rng_state: SavedState | None) -> None:
        self.rng_state = rng_state

    def state(self) -> dict[str, object]:
        """Return the state of the random generator."""
        return {"rng": self.rng_state}


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a fit.

    writers : the callback that writes them, or none
    latest : the state from which the fit goes on, if it was cut off
    start : keeps the random generator's state of when the fit first began; None without checkpoints
    """

    writers: Sequence[Callback] = ()
    latest: TrainingState | None = None
    start: FitStart | None = None


def open_checkpoints(
    settings: FitSettings,
    split: Split,
    earlier: EarlierFit,
    random_state: RandomState,
) -> Checkpoints:
    """Look for checkpoints of a fit in a folder that is named after all that the fit is made from.

    Fits with other data or parameters have other folders: a search over parameters can keep its
    checkpoints in one place, and goes on as a whole. The generator that the fit draws from is put
    where it was when the fit first began.

    Raises InputError for a checkpoint that is not one of a fit.
    """
    if settings.checkpoint is None:
        return Checkpoints()
    folder = Path(settings.checkpoint) / _name(settings, split, earlier.values)
    checkpoint = model_files().Checkpoint
    state: TrainingState | None = checkpoint.latest(folder)
    if state is not None:
        try:
            set_rng_state(random_state, _state_of_callback(state, FitStart)["rng"])
            time_limit = _state_of_callback(state, TimeLimit)
            limit = inf if settings.time_limit is None else settings.time_limit
            if time_limit["reached"] and time_limit["seconds"] <= limit:
                state = replace(state, stop=False)  # there is more time now
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"`checkpoint` must name a folder with checkpoints of fits; got another one in "
                f"{folder}: {error!r}; choose another folder."
            ) from error
    return Checkpoints([checkpoint(folder, keep=1)], state, FitStart(rng_state(random_state)))


def _state_of_callback(state: TrainingState, kind: type[Callback]) -> SavedState:
    """Return the state of the callback of a class, also from a checkpoint of an earlier version.

    Raises KeyError where the checkpoint has none.
    """
    key = kind.state_key
    return state.callbacks[key if key in state.callbacks else EARLIER_KEYS[key]]


def _name(settings: FitSettings, split: Split, values: Sequence[numpy.ndarray]) -> str:
    """Return a hash of all that decides what a fit learns. values : those that it goes on from"""
    import joblib

    ranks = split.ranks
    training = fingerprint_of_rows(_columns_of(split.training), ranks)
    validation = None
    if split.validation is not None:
        validation = fingerprint_of_rows(_columns_of(split.validation), ranks, ordered=False)
    first_values = [*map(_on_host, values)]
    parts = (settings.kind.__name__, dict(settings.params), training, validation, first_values)
    return joblib.hash(parts)


def _columns_of(rows: LabeledRows) -> list[numpy.ndarray | SparseMatrix | Source | None]:
    """Return data, targets and weights of rows on the host."""
    return [_on_host(rows.X), _on_host(rows.Y), _on_host(rows.weight)]


def _on_host(array: Any) -> numpy.ndarray | SparseMatrix | Source | None:
    """Return an array as NumPy's, and a sparse matrix as CSR; None and a source stay what they
    are.
    """
    if array is None or isinstance(array, Source):
        return array
    return array.tocsr() if issparse(array) else numpy.ascontiguousarray(to_host(array))
