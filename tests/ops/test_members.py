"""Operations on the rows of several members, against the product that defines them."""

import numpy as np
import pytest
import scipy.special

from xpnet import ops

MEMBERS, ROWS, UNITS = 3, 4, 5


@pytest.mark.parametrize("shape", [(ROWS, UNITS), (MEMBERS, ROWS, UNITS)], ids=str)
def test_the_gradient_of_a_scale_is_its_adjoint(rng, shape):
    """For f linear in x and in the scale, <d_out, f(dx)> is <d_x, dx>, up to rounding."""
    x, change = rng.normal(size=(2, *shape))
    scale, change_of_scale = rng.normal(size=(2, MEMBERS, UNITS))
    d_out = rng.normal(size=(MEMBERS, ROWS, UNITS))
    d_x, d_scale = ops.member_scale_backward(d_out, x, scale)
    by_x = np.sum(d_out * ops.member_scale(change, scale))
    by_scale = np.sum(d_out * ops.member_scale(x, change_of_scale))
    np.testing.assert_allclose(np.sum(d_x * change), by_x, rtol=1e-12)
    np.testing.assert_allclose(np.sum(d_scale * change_of_scale), by_scale, rtol=1e-12)


def test_the_softmax_of_several_targets_of_members(rng):
    logits = rng.normal(size=(MEMBERS, ROWS, UNITS))
    expected = np.empty_like(logits)
    for target in (slice(0, 2), slice(2, UNITS)):
        expected[..., target] = scipy.special.softmax(logits[..., target], axis=-1)
    probabilities = ops.multi_softmax(logits, target=[0, 0, 1, 1, 1])
    np.testing.assert_allclose(probabilities, expected, rtol=1e-14)
