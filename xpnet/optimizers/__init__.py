"""Optimizers as a user names them, and schedules of the learning rate.

``rules``      the optimizers, with their numbers and defaults, and the table of their names
``schedules``  the learning rate of each epoch
"""

from xpnet.optimizers.rules import (
    OPTIMIZERS,
    SGD,
    Adam,
    AdamW,
    Lion,
    Nadam,
    Optimizer,
    RMSprop,
    update_rule,
)
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
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Exponential",
    "Lion",
    "Nadam",
    "OneCycle",
    "Optimizer",
    "Plateau",
    "RMSprop",
    "Schedule",
    "StepDecay",
    "update_rule",
]
