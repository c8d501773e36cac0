"""Activations x F(x), where F is a symmetric distribution function: SiLU and GELU.

Since F(x) + F(-x) = 1, the function f(x) = x F(x) equals ``max(x, 0) - |x| F(-|x|)``. This form
loses no digits where F is small, and never multiplies infinity by 0. The derivatives of f at x and
at -x add up to 1.
"""

from xpnet.ops.namespace import Array, namespace, number, zero

FAR = 800.0
"""A limit above which ``exp(-x)`` is 0 in every dtype."""

TANH_SCALE, TANH_CUBE = 1.5957691216057308, 0.044715
"""Twice the root of 2 / pi, and the factor of the cube in GELU's tanh form."""

ROOT_2_PI = 2.5066282746310002
"""The root of 2 pi."""

NORMAL_TAIL = (
    0.7552851304157515,
    -0.6078966419718917,
    0.38713740074221936,
    -0.1865218579596934,
    0.06039657489067665,
    -0.007540188965625017,
    -0.0034796923618040597,
    0.0016308184424805887,
    0.00013334424978358428,
    -0.00023109482414997105,
    -1.9078434059248706e-06,
    3.51442149682578e-05,
    7.149308325478401e-07,
    -5.919013186154044e-06,
    -6.249906995369785e-07,
    1.0200713392568465e-06,
    2.6354310560684456e-07,
    -1.546196819122192e-07,
    -7.634712843441086e-08,
    1.4842390072751344e-08,
    1.3976528155950821e-08,
    -1.015295717649618e-11,
    -9.990624160023276e-10,
)
"""The polynomial p in ``Phi(-a) = exp(-a**2 / 2) p(1 - 8 / (a + 4)) / (a + 4)``.

The coefficients begin with the constant term. The polynomial interpolates at Chebyshev's points for
a from 0 to 40, with a relative error below 4e-17.
"""


def silu(x: Array) -> Array:
    """Compute the sigmoid linear unit of each item, ``x / (1 + exp(-x))``, also called swish.

    Parameters
    ----------
    x : array, any shape
        The inputs.

    Returns
    -------
    array, shape of x
        The outputs, not below -0.2785.

    References
    ----------
    S. Elfwing, E. Uchibe, K. Doya, Sigmoid-Weighted Linear Units for Neural Network Function
    Approximation in Reinforcement Learning, 2018.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.silu(numpy.array([-1.0, 0.0, 2.0])).round(4)
    array([-0.2689,  0.    ,  1.7616])
    """
    a = _magnitude(x)
    return _positive(x) - a * _logistic_tail(a)


def silu_backward(d_out: Array, x: Array) -> Array:
    """Compute the gradient of `silu`, ``d_out s (1 + x (1 - s))``, ``s = 1 / (1 + exp(-x))``.

    Parameters
    ----------
    d_out : array, any shape
        The gradient of the loss with respect to the output.
    x : array, shape of d_out
        The input of `silu`.

    Returns
    -------
    array, shape of d_out
        The gradient of the loss with respect to the input.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.silu_backward(numpy.array([1.0, 1.0]), numpy.array([0.0, 2.0])).round(4)
    array([0.5   , 1.0908])
    """
    a = _magnitude(x)
    tail = _logistic_tail(a)
    return d_out * _slope(x, tail * (1 - a * (1 - tail)))


def gelu(x: Array) -> Array:
    """Compute the Gaussian error linear unit, ``x Phi(x) = x (1 + erf(x / sqrt(2))) / 2``.

    Parameters
    ----------
    x : array, any shape
        The inputs.

    Returns
    -------
    array, shape of x
        The outputs, not below -0.17.

    See Also
    --------
    gelu_tanh : Its approximation by tanh.

    Notes
    -----
    Phi is the distribution function of the standard normal distribution.

    References
    ----------
    D. Hendrycks, K. Gimpel, Gaussian Error Linear Units (GELUs), 2016.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.gelu(numpy.array([-1.0, 0.0, 2.0])).round(4)
    array([-0.1587,  0.    ,  1.9545])
    """
    a = _magnitude(x)
    return _positive(x) - a * _normal_tail(a)[0]


def gelu_backward(d_out: Array, x: Array) -> Array:
    """Compute the gradient of `gelu`, ``d_out * (Phi(x) + x exp(-x**2 / 2) / sqrt(2 pi))``.

    Parameters
    ----------
    d_out : array, any shape
        The gradient of the loss with respect to the output.
    x : array, shape of d_out
        The input of `gelu`.

    Returns
    -------
    array, shape of d_out
        The gradient of the loss with respect to the input.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.gelu_backward(numpy.array([1.0, 1.0]), numpy.array([0.0, 2.0])).round(4)
    array([0.5   , 1.0852])
    """
    a = _magnitude(x)
    tail, density = _normal_tail(a)
    return d_out * _slope(x, tail - a * density)


def gelu_tanh(x: Array) -> Array:
    """Compute the tanh form of GELU, ``x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3))) / 2``.

    Parameters
    ----------
    x : array, any shape
        The inputs.

    Returns
    -------
    array, shape of x
        The outputs, which differ from `gelu` by less than 0.0005.

    See Also
    --------
    gelu : The exact function.

    References
    ----------
    D. Hendrycks, K. Gimpel, Gaussian Error Linear Units (GELUs), 2016.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.gelu_tanh(numpy.array([-1.0, 0.0, 2.0])).round(4)
    array([-0.1588,  0.    ,  1.9546])
    """
    a = _magnitude(x)
    return _positive(x) - a * _logistic_tail(TANH_SCALE * a * (1 + TANH_CUBE * a * a))


def gelu_tanh_backward(d_out: Array, x: Array) -> Array:
    """Compute the gradient of `gelu_tanh`, ``d_out * s * (1 + x * (1 - s) * w'(x))``.

    Here ``s = 1 / (1 + exp(-w(x)))`` and ``w(x) = 2 sqrt(2 / pi) (x + 0.044715 x**3)``.

    Parameters
    ----------
    d_out : array, any shape
        The gradient of the loss with respect to the output.
    x : array, shape of d_out
        The input of `gelu_tanh`.

    Returns
    -------
    array, shape of d_out
        The gradient of the loss with respect to the input.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.gelu_tanh_backward(numpy.array([1.0, 1.0]), numpy.array([0.0, 2.0])).round(4)
    array([0.5   , 1.0861])
    """
    a = _magnitude(x)
    cube = TANH_CUBE * a * a
    tail = _logistic_tail(TANH_SCALE * a * (1 + cube))
    return d_out * _slope(x, tail * (1 - a * (1 - tail) * TANH_SCALE * (1 + 3 * cube)))


def _positive(x: Array) -> Array:
    """Compute max(x, 0); NaN stays NaN."""
    return namespace(x).maximum(x, zero(x))


def _magnitude(x: Array) -> Array:
    """Return min(|x|, FAR): every tail is 0 at FAR, and infinity is never multiplied by 0."""
    xp = namespace(x)
    return xp.minimum(xp.abs(x), number(FAR, x))


def _slope(x: Array, below: Array) -> Array:
    """Return the derivative at x, from ``below``, the derivative at -|x|."""
    return namespace(x).where(x < 0, below, 1 - below)


def _logistic_tail(a: Array) -> Array:
    """Compute 1 / (1 + exp(a)) for a >= 0."""
    e = namespace(a).exp(-a)
    return e / (1 + e)


def _normal_tail(a: Array) -> tuple[Array, Array]:
    """Compute Phi(-a) and the density at a of the standard normal distribution, for a >= 0."""
    e = _exp_half_square(a)
    b = a + 4
    v = 1 - 8 / b
    p: Array | float = NORMAL_TAIL[-1]
    for coefficient in NORMAL_TAIL[-2::-1]:
        p = p * v + coefficient
    return e * p / b, e / ROOT_2_PI


def _exp_half_square(a: Array) -> Array:
    """Compute exp(-a^2 / 2) for a >= 0 with an error of at most two roundings.

    q is a, rounded to sixteenths, and its square is exact; ``remainder`` is the small difference of
    the squares. The exponential is multiplied by a correction for the rounding of their sum (W. J.
    Cody, Rational Chebyshev Approximations for the Error Function, 1969).
    """
    xp = namespace(a)
    shift = 1.5 / 16 / float(xp.finfo(a.dtype).eps)
    q = (a + shift) - shift
    square, remainder = 0.5 * q * q, 0.5 * (a - q) * (a + q)
    total = square + remainder
    return xp.exp(-total) * (1 - (remainder - (total - square)))
