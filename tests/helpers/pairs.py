"""Pairs of kinds in place of all pairs: what two parts of a network are tried together."""

from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.ops import ACTIVATIONS

KINDS = ("tanh", "gelu")
"""An activation whose gradient reads its output, and one whose gradient reads its input."""


def activation_pairs() -> list[tuple[str, str]]:
    """Each activation in the first hidden layer and in the second, beside one of each kind."""
    before = [(name, kind) for name in ACTIVATIONS for kind in KINDS]
    return before + [(kind, name) for name in ACTIVATIONS for kind in KINDS if name not in KINDS]


def activation_and_loss_pairs() -> list[tuple[str, str]]:
    """Each activation with one loss, and each loss with an activation of each kind."""
    alone = [(name, "squared_error") for name in ACTIVATIONS if name not in KINDS]
    return alone + [(kind, loss) for loss in OUTPUT_ACTIVATIONS for kind in KINDS]
