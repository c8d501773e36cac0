"""Softmax and its logarithm on every library, at every size of logits."""

import itertools

import numpy as np
import scipy.special

from xpnet.dispatch import choose

SHAPES = [(1, 1), (3, 1), (1, 7), (5, 10), (4, 1000), (2, 3, 4)]


def test_softmax_and_log_softmax(library, dtype, rng, subtests):
    for shape, spread in itertools.product(SHAPES, [1.0, 64.0, 1e4]):
        with subtests.test(shape=shape, spread=spread):
            check_softmax(library, dtype, rng, shape, spread)


def check_softmax(library, dtype, rng, shape, spread):
    """Require SciPy's answer in float64."""
    x = (spread * rng.uniform(-1, 1, shape)).astype(dtype)
    ops = choose(library.make(x), backend=library.backend).ops
    softmax, log_softmax = ops.softmax(library.make(x)), ops.log_softmax(library.make(x))
    expected = scipy.special.log_softmax(x.astype(np.float64), axis=-1)
    # The shift by the maximum rounds at the size of the logits; exp turns that into a relative
    # error.
    eps = np.finfo(dtype).eps * max(8.0, spread)
    np.testing.assert_allclose(
        library.numpy(softmax), np.exp(expected), rtol=4 * eps, atol=np.finfo(dtype).tiny
    )
    np.testing.assert_allclose(library.numpy(log_softmax), expected, rtol=4 * eps, atol=4 * eps)
    assert softmax.dtype == library.make(x).dtype


def test_any_axis(library, rng):
    x = rng.normal(size=(3, 5))
    ops = choose(library.make(x), backend=library.backend).ops
    for axis in (0, 1, -1):
        result = library.numpy(ops.softmax(library.make(x), axis))
        expected = scipy.special.softmax(x, axis=axis)
        np.testing.assert_allclose(result, expected, rtol=1e-13, err_msg=f"axis {axis}")
