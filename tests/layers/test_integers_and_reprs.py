"""Whole numbers in layers, and how layers are shown."""

import numpy as np
import pytest

import xpnet


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64"])
def test_affine_of_whole_numbers_is_that_of_their_floats(dtype):
    inputs, weight, bias = (np.full(shape, 100, dtype) for shape in ((2, 3), (3, 4), (4,)))
    layer = xpnet.Affine(backend="numpy")
    np.testing.assert_array_equal(
        layer.forward(inputs, weight, bias), np.full((2, 4), 30100.0), strict=True
    )
    assert [grad.dtype for grad in layer.backward(np.ones((2, 4)))] == ["float64"] * 3


def test_whole_numbers_take_the_width_of_what_they_meet():
    out = xpnet.Affine(backend="numpy").forward(
        np.ones((2, 3), "int8"), np.ones((3, 4), "f4"), np.ones(4, "f4")
    )
    assert out.dtype == "float32"


def test_layers_tell_what_they_are():
    assert repr(xpnet.ReLU()) == "ReLU()"
    assert repr(xpnet.layers.Activation("tanh")) == "Activation(activation='tanh')"
    assert repr(xpnet.Affine(backend="numpy")) == "Affine(backend='numpy')"
    assert repr(xpnet.Affine(backend=xpnet.get_backend("numpy"))) == "Affine(backend='numpy')"
