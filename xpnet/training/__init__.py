"""Epochs over any training step: the loop, what it runs over, history and callbacks. Nothing here
knows a model.

``engine``          the training loop: read it first
``batches``         what an epoch runs over: the base class, and rows in memory
``epoch_batches``   how many epochs are made before a callback looks at them
``streamed``        rows that a source reads block by block
``state``           a training under way, and its state in a checkpoint
``history``         the numbers of each epoch
``callbacks``       the base class of callbacks; ``hooks``: the methods that the loop calls
``early_stopping``  the callback that ends a training when the validation loss no longer falls
``time_limit``      the callback that ends a training after some time
``progress``        the callback that draws a bar; ``log``: the log of fits
``interrupts``      Ctrl-C that waits for the end of an epoch
``orders``          the orders of the rows, drawn, prefetched and undone
``rng``             NumPy's random generators and their states
"""

from xpnet.training.batches import Batches, InMemory, LabeledRows
from xpnet.training.callbacks import Callback, Training
from xpnet.training.early_stopping import EarlyStopping
from xpnet.training.engine import train
from xpnet.training.history import History
from xpnet.training.interrupts import Interrupts
from xpnet.training.progress import Progress
from xpnet.training.rng import rng_state, set_rng_state
from xpnet.training.state import TrainingState
from xpnet.training.time_limit import TimeLimit

__all__ = [
    "Batches",
    "Callback",
    "EarlyStopping",
    "History",
    "InMemory",
    "Interrupts",
    "LabeledRows",
    "Progress",
    "TimeLimit",
    "Training",
    "TrainingState",
    "set_rng_state",
    "rng_state",
    "train",
]
