"""Loops over the numbers that each member of a network scales, and their gradients:
``xpnet.ops.rows``.
"""

from xpnet_numba.kinds import Matrix, Vector
from xpnet_numba.loops import inner


@inner
def scale(x: Matrix, factors: Vector, out: Matrix) -> None:
    """out = x * factors. x : (rows, at least units); factors : (units,); out : (rows, units)."""
    for i in range(len(out)):
        for j in range(factors.size):
            out[i, j] = x[i, j] * factors[j]


@inner
def scale_backward(d: Matrix, x: Matrix, factors: Vector, d_factors: Vector) -> None:
    """d_factors += the sum over rows of d * x; then d becomes d * factors. All matrices : (rows,
    units).
    """
    for i in range(len(d)):
        for j in range(factors.size):
            slope = d[i, j]
            d_factors[j] += slope * x[i, j]
            d[i, j] = slope * factors[j]


@inner
def scale_weight_backward(
    d_scaled: Matrix,
    weight: Matrix,
    factors: Vector,
    d_weight: Matrix,
    d_factors: Vector,
    more: int,
) -> None:
    """Compute d_weight and d_factors from d_scaled of ``factors[:, None] * weight``: x (factors *
    W) = (x * factors) W.

    d_weight receives factors * d_scaled, added to its content if ``more``; d_factors +=
    the sum over columns of weight * d_scaled.
    """
    for i in range(len(weight)):
        factor = factors[i]
        total = factor - factor
        for j in range(weight.shape[1]):
            total += weight[i, j] * d_scaled[i, j]
        d_factors[i] += total
        if more:
            for j in range(weight.shape[1]):
                d_weight[i, j] += factor * d_scaled[i, j]
        else:
            for j in range(weight.shape[1]):
                d_weight[i, j] = factor * d_scaled[i, j]


@inner
def add_share(x: Matrix, count: int, first: int, out: Matrix) -> None:
    """out += x / count, or out = x / count if ``first``."""
    share = x.dtype.type(1.0 / count)
    for i in range(len(x)):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * share if first else out[i, j] + x[i, j] * share
