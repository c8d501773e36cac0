"""Training steps, and the lock by which threads share a network.

``make_step``  chooses a step: the backend's compiled one, or the reference step
``reference``  the reference step, which walks the layers
``traced``     the reference step, compiled by the compiler of a library
``generic``    weighted epochs and finite predictions with any step
``masks``      the masks of dropout
``lock``       the lock of a network
"""

from xpnet.steps.generic import clip_gradients, forward_finite, report_rows, weighted_epoch
from xpnet.steps.lock import NetworkLock, locked
from xpnet.steps.make_step import make_step
from xpnet.steps.reference import ReferenceStep

__all__ = [
    "NetworkLock",
    "ReferenceStep",
    "clip_gradients",
    "forward_finite",
    "locked",
    "make_step",
    "report_rows",
    "weighted_epoch",
]
