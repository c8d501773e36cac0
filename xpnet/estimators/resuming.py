"""A fit that was killed goes on when ``fit`` is called again: which folder is a fit's own, and what it began with."""

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy
from scipy.sparse import issparse

import xpnet
from xpnet.errors import InputError
from xpnet.models.inputs import to_host
from xpnet.training import Callback, TrainingState, set_stream_state, stream_state

IRRELEVANT = {"checkpoint", "verbose", "backend"}
"""Parameters that do not decide what a fit finds."""


class Resuming:
    """The checkpoints of one fit, in a folder that is named after all that the fit is made from.

    Fits with other data or parameters have other folders: a search over parameters can keep its checkpoints in one
    place, and goes on as a whole.

    checkpoint : the folder for those folders
    contents : bytes of everything that decides what the fit finds
    random_state : the stream that the fit draws from; put where it was when the fit first began
    """

    def __init__(self, checkpoint: Any, contents: Iterable[Any], random_state: numpy.random.RandomState) -> None:
        digest = blake2b(digest_size=16)
        for part in contents:
            digest.update(part)
        self.folder = Path(checkpoint) / digest.hexdigest()
        self.state: TrainingState | None = xpnet.Checkpoint.latest(self.folder)
        if self.state is not None:
            _go_back(random_state, self.state)
        self.began_with = stream_state(random_state)

    def callback(self) -> Callback:
        """What writes the checkpoints."""
        return xpnet.Checkpoint(self.folder, keep=1)


def _go_back(random_state: numpy.random.RandomState, state: TrainingState) -> None:
    """Put the stream where it was when the fit began. Raises InputError for a checkpoint that does not know."""
    try:
        set_stream_state(random_state, state.callbacks["0"]["began_with"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"A fit goes on from its own checkpoints; the one found is none: {error!r}.") from error


def contents(estimator: Any, arrays: Iterable[Any]) -> Iterable[Any]:
    """All that decides what a fit finds, as bytes.

    arrays : data, targets and weights, as they were validated; None for what is not there
    """
    params = {name: value for name, value in estimator.get_params().items() if name not in IRRELEVANT}
    if isinstance(stream := params["random_state"], numpy.random.RandomState):
        params["random_state"] = [value for part in stream.get_state() for value in numpy.atleast_1d(part).tolist()]
    yield f"{type(estimator).__name__} {sorted(params.items())!r}".encode()
    for array in arrays:
        yield from _bytes_of(array)


def _bytes_of(array: Any) -> Iterable[Any]:
    if array is None:
        yield b"none"
    elif issparse(array):
        rows = array.tocsr()
        for part in (rows.data, rows.indices, rows.indptr):
            yield from _bytes_of(part)
    else:
        host = numpy.ascontiguousarray(to_host(array))
        yield f"{host.dtype.str} {host.shape}".encode()
        yield host.data.cast("B") if host.size else b""
