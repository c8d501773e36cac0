"""Layers: what each computes and, on the same screen, its gradient.

A layer has no parameters of its own: ``forward`` receives all it needs and keeps what ``backward`` will read;
``backward`` receives the gradient of the loss by the layer's output and returns it by each of the inputs, in their
order (the chain rule, from the output to the input). Layers run on whatever backend the arrays call for.
"""

from xpnet.layers import activations
from xpnet.layers.activations import *  # noqa: F403
from xpnet.layers.affine import Affine, Dropout, MemberAffine
from xpnet.layers.losses import (
    LOSSES,
    AbsoluteError,
    CategoricalCrossEntropy,
    Gamma,
    Huber,
    LogisticCrossEntropy,
    Poisson,
    Quantile,
    SquaredError,
    Tweedie,
)

__all__ = [
    "LOSSES",
    "AbsoluteError",
    "Affine",
    "CategoricalCrossEntropy",
    "Dropout",
    "Gamma",
    "Huber",
    "LogisticCrossEntropy",
    "MemberAffine",
    "Poisson",
    "Quantile",
    "SquaredError",
    "Tweedie",
]
__all__ += activations.__all__  # what an activation is called stands in one file
