"""Optimizers as a user names them, and schedules of the learning rate.

``rules``      the optimizers, with their numbers and defaults
``optimizer``  their base
``names``      the table of their names
``schedules``  the learning rate of each epoch
"""

from xpnet.optimizers import rules
from xpnet.optimizers.names import OPTIMIZERS, update_rule
from xpnet.optimizers.optimizer import Optimizer
from xpnet.optimizers.rules import *
from xpnet.optimizers.schedules import (
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    Plateau,
    Schedule,
    StepDecay,
)

__all__ = [
    "OPTIMIZERS",
    "Constant",
    "Cosine",
    "Exponential",
    "OneCycle",
    "Optimizer",
    "Plateau",
    "Schedule",
    "StepDecay",
    "update_rule",
]
__all__ += rules.__all__
