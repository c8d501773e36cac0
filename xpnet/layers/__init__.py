"""Layers: what each computes and, on the same screen, its gradient.

A layer has no parameters of its own: ``forward`` receives all it needs and keeps what ``backward`` will read;
``backward`` receives the gradient of the loss by the layer's output and returns it by each of the inputs, in their
order (the chain rule, from the output to the input). Layers run on whatever backend the arrays call for.
"""

from xpnet.layers.activations import Activation, ReLU
from xpnet.layers.affine import Affine
from xpnet.layers.dropout import Dropout
from xpnet.layers.losses import CategoricalCrossEntropy, ElementwiseLoss
from xpnet.layers.member_affine import MemberAffine

__all__ = [
    "Activation",
    "Affine",
    "CategoricalCrossEntropy",
    "Dropout",
    "ElementwiseLoss",
    "MemberAffine",
    "ReLU",
]
