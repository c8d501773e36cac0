"""Sparse rows: the reference step with a first layer that multiplies sparse matrices."""

from typing import Any

import numpy

from xpnet.backend import NetworkSpec
from xpnet.dispatch import get_backend
from xpnet.layers import Affine
from xpnet.ops import Array
from xpnet.steps import ReferenceStep


class SparseAffine(Affine):
    """out = inputs W + b for a SciPy sparse matrix of inputs, and no gradient by them: they are data."""

    def forward(self, inputs: Any, weight: Array, bias: Array) -> Array:
        """inputs : sparse (batch, in); weight : (in, out); bias : (out,); returns (batch, out)"""
        self.cache = inputs
        return inputs @ weight + bias

    def backward(self, d_out: Array) -> tuple[Any, Array, Array]:
        """d_out : (batch, out); returns None, d_weight (in, out), d_bias (out,)"""
        return None, self.cache.T @ d_out, numpy.sum(d_out, axis=0)


def sparse_step(spec: NetworkSpec) -> ReferenceStep:
    """A step on NumPy whose ``gradient`` takes sparse rows."""
    step = ReferenceStep(spec, get_backend("numpy"), "the reference step with a sparse first layer, since X is sparse")
    step.affine[0] = SparseAffine(backend="numpy")
    return step
