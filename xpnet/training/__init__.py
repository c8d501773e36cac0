"""Epochs over any training step: history, callbacks, early stopping. Nothing here knows a model."""

from xpnet.training.callbacks import Callback, EarlyStopping, Progress
from xpnet.training.loop import Interrupts, Training, run
from xpnet.training.state import History, TrainingState, set_stream_state, stream_state

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
    "stream_state",
]
