"""Layers: the forward pass of each and its gradient.

A layer has no parameters of its own: ``forward`` receives all arrays and keeps those that
``backward`` reads. ``backward`` receives the gradient of the loss with respect to the layer's
output. By the chain rule it returns the gradient with respect to each of the inputs, in their
order. Layers run on the backend that the arrays belong to.
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
