"""Activations, element by element, and their gradients.

Each gradient reads what the forward pass left behind: tanh and the logistic function their output, since their
derivatives are polynomials in it; ReLU its input or its output, since both have the same sign.
"""

from xpnet.ops.namespace import Array, namespace, zero


def relu(x: Array) -> Array:
    """max(0, x); NaN stays NaN.

    x : any shape
    returns the shape of x (Glorot, Bordes, Bengio, 2011)
    """
    return namespace(x).maximum(x, zero(x))


def relu_backward(d_out: Array, x: Array) -> Array:
    """dL/dx = d_out where x > 0, else 0; where x is NaN, d_out passes, so that a NaN is never hidden.

    d_out, x : any shape, the same; x may be the input or the output of ``relu``
    returns that shape
    """
    return namespace(x).where(x <= 0, zero(d_out), d_out)


def relu_backward_bias(d_out: Array, x: Array) -> tuple[Array, Array]:
    """The gradient through ReLU and, in the same pass, by the bias that was added before it.

    d_out, x : (batch, out)
    returns d_x (batch, out), d_bias (out,) = sum over rows of d_x
    """
    d_x = relu_backward(d_out, x)
    return d_x, namespace(x).sum(d_x, axis=0)


def bias_relu(x: Array, bias: Array) -> Array:
    """max(0, x + b).

    x : (batch, out); bias : (out,)
    returns (batch, out)
    """
    return relu(x + bias)


def identity(x: Array) -> Array:
    """x itself, for a layer with no activation.

    x : any shape
    returns x
    """
    return x


def identity_backward(d_out: Array, out: Array) -> Array:
    """dL/dx = d_out.

    d_out, out : any shape, the same
    returns that shape
    """
    return d_out


def tanh(x: Array) -> Array:
    """The hyperbolic tangent.

    x : any shape
    returns the shape of x
    """
    return namespace(x).tanh(x)


def tanh_backward(d_out: Array, out: Array) -> Array:
    """dL/dx = d_out (1 - out^2), with out = tanh(x).

    d_out, out : any shape, the same
    returns that shape
    """
    return d_out * (1 - out * out)


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x)), from exp(-|x|) alone so that nothing overflows.

    x : any shape
    returns the shape of x
    """
    xp = namespace(x)
    e = xp.exp(-xp.abs(x))
    return xp.where(x < 0, e / (1 + e), 1 / (1 + e))


def logistic_backward(d_out: Array, out: Array) -> Array:
    """dL/dx = d_out out (1 - out), with out = logistic(x).

    d_out, out : any shape, the same
    returns that shape
    """
    return d_out * out * (1 - out)
