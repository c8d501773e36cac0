"""Dropout: during training each unit is left out with a given probability."""

from xpnet.layers.layer import Layer, check_same_shape
from xpnet.ops import Array


class Dropout(Layer):
    """out = inputs keep / (1 - rate), the inverted form, so that prediction needs no scaling (Srivastava et al., 2014)."""

    def forward(self, inputs: Array, keep: Array, rate: float) -> Array:
        """Leave out the units where ``keep`` is 0 and scale the others.

        inputs : any shape; keep : the same shape, 1 to keep and 0 to leave out; rate : in [0, 1)
        returns out : the same shape

        Raises InputError when the shapes differ.
        """
        _, inputs, keep = self._enter(inputs, keep)
        check_same_shape("keep", keep, inputs.shape)
        self.cache = keep * (1 / (1 - rate))
        return inputs * self.cache

    def backward(self, d_out: Array) -> Array:
        """d_inputs = d_out keep / (1 - rate).

        d_out : the shape of the output
        returns d_inputs : the same shape

        Raises InputError before a forward pass, or for another shape.
        """
        _, scale = self._recall()
        check_same_shape("d_out", d_out, scale.shape)
        return d_out * scale
