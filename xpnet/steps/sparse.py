"""Sparse rows: the reference step with a first layer that multiplies sparse matrices."""

from typing import Any

from xpnet.backend import Backend, NetworkSpec
from xpnet.layers import Affine
from xpnet.ops import Array
from xpnet.steps.reference import ReferenceStep


def serves(step: Any, *, sparse: bool) -> bool:
    """Whether a step is made for rows of this kind. A :class:`SparseStep` takes dense ones, too, and is slow on them."""
    return getattr(step, "takes_sparse", False) if sparse else not isinstance(step, SparseStep)


class SparseAffine(Affine):
    """out = inputs W + b for a SciPy sparse matrix of inputs, and no gradient by them: they are data."""

    def forward(self, inputs: Any, weight: Array, bias: Array) -> Array:
        """inputs : sparse or dense (batch, in); weight : (in, out); bias : (out,); returns (batch, out)"""
        self.cache = inputs
        return inputs @ weight + bias

    def backward(self, d_out: Array) -> tuple[Any, Array, Array]:
        """d_out : (batch, out); returns None, d_weight (in, out), d_bias (out,)"""
        return None, self.cache.T @ d_out, d_out.sum(axis=0)


class SparseStep(ReferenceStep):
    """A step on NumPy's arrays whose rows may be those of a SciPy sparse matrix, which is never made dense."""

    takes_sparse = True

    def __init__(self, spec: NetworkSpec, backend: Backend) -> None:
        super().__init__(spec, backend, "the reference step with a sparse first layer, since X is sparse")
        self.affine[0] = SparseAffine(backend=backend)

    def _take(self, array: Any, rows: Any) -> Any:
        return array[rows] if hasattr(array, "tocsr") else super()._take(array, rows)
