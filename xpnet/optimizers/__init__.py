"""Optimizers, and schedules for the learning rate."""

from xpnet.optimizers.rules import SGD, Adam, AdamW, Optimizer, update_rule
from xpnet.optimizers.schedules import Constant, Cosine, Exponential, Plateau, Schedule, StepDecay, as_schedule

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Exponential",
    "Optimizer",
    "Plateau",
    "Schedule",
    "StepDecay",
    "as_schedule",
    "update_rule",
]
