"""Epochs over any training step: history, callbacks, early stopping. Nothing here knows a model."""

from xpnet.training.callbacks import Callback, EarlyStopping, Progress
from xpnet.training.loop import History, Interrupts, Training, TrainingState, run
from xpnet.training.streams import set_stream_state, stream_state

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
