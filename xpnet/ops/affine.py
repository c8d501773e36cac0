"""The affine map, x W + b, and its gradient."""

from xpnet.ops.namespace import Array, namespace


def affine(x: Array, weight: Array, bias: Array) -> Array:
    """x W + b.

    x : (batch, in); weight : (in, out); bias : (out,)
    returns (batch, out)
    """
    return x @ weight + bias


def affine_backward(d_out: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Gradients of a loss L by the three inputs of ``affine``, given d_out = dL/d(out).

    d_out : (batch, out); x : (batch, in); weight : (in, out)
    returns d_x (batch, in), d_weight (in, out), d_bias (out,)

    dL/dx = d_out W^T, dL/dW = x^T d_out, dL/db = sum over rows of d_out
    (Goodfellow, Bengio, Courville, Deep Learning, 2016, section 6.5.6).
    """
    xp = namespace(x)
    return d_out @ weight.T, x.T @ d_out, xp.sum(d_out, axis=0)
