"""The affine (fully connected) layer."""

from xpnet.errors import InputError
from xpnet.layers.layer import Layer, as_floats, check_same_shape
from xpnet.ops import Array


class Affine(Layer):
    """out = inputs W + b."""

    def forward(self, inputs: Array, weight: Array, bias: Array) -> Array:
        """The affine map of each row.

        inputs : (batch, in); weight : (in, out); bias : (out,)
        returns out : (batch, out), floating-point also where all three hold whole numbers

        Raises InputError when the shapes do not fit, MixedArraysError for arrays of two libraries.
        """
        ops, *arrays = self._enter(inputs, weight, bias)
        inputs, weight, bias = as_floats(ops.backend, arrays)
        _check_shapes(tuple(inputs.shape), tuple(weight.shape), tuple(bias.shape))
        self.cache = inputs, weight
        return ops.affine(inputs, weight, bias)

    def backward(self, d_out: Array) -> tuple[Array, Array, Array]:
        """The gradient by each input: d_inputs = d_out W^T, d_weight = inputs^T d_out, d_bias = sum of rows of d_out.

        d_out : (batch, out), the gradient of the loss by ``out``
        returns d_inputs (batch, in), d_weight (in, out), d_bias (out,)

        Raises InputError before a forward pass, or when d_out has another shape than the output.
        (Goodfellow, Bengio, Courville, Deep Learning, 2016, section 6.5.6.)
        """
        ops, (inputs, weight) = self._recall()
        check_same_shape("d_out", d_out, (inputs.shape[0], weight.shape[1]))
        return ops.affine_backward(d_out, inputs, weight)


def _check_shapes(inputs: tuple[int, ...], weight: tuple[int, ...], bias: tuple[int, ...]) -> None:
    if len(inputs) != 2 or len(weight) != 2 or inputs[1] != weight[0] or bias != weight[1:]:
        raise InputError(
            "An affine layer takes inputs (batch, in), weight (in, out) and bias (out,); "
            f"received {inputs}, {weight} and {bias}. Check the layer sizes, or transpose."
        )
