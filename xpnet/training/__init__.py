"""Epochs over any training step: history, callbacks, early stopping. Nothing here knows a model."""

from xpnet.training.callbacks import Callback, EarlyStopping
from xpnet.training.history import History
from xpnet.training.interrupts import Interrupts
from xpnet.training.loop import Training, run
from xpnet.training.progress import Progress
from xpnet.training.ranks import share_stream
from xpnet.training.state import TrainingState, set_stream_state, stream_state

__all__ = [
    "Callback",
    "EarlyStopping",
    "History",
    "Interrupts",
    "Progress",
    "Training",
    "TrainingState",
    "run",
    "set_stream_state",
    "share_stream",
    "stream_state",
]
