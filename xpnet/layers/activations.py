"""The activations, element by element: ReLU, tanh, the logistic function, and none at all."""

from xpnet.layers.layer import Layer, check_same_shape
from xpnet.ops import Array


class ReLU(Layer):
    """out = max(0, inputs) (Glorot, Bordes, Bengio, Deep Sparse Rectifier Neural Networks, 2011)."""

    def forward(self, inputs: Array) -> Array:
        """max(0, x), element by element; NaN stays NaN.

        inputs : any shape
        returns out : the same shape
        """
        ops, inputs = self._enter(inputs)
        self.cache = inputs
        return ops.relu(inputs)

    def backward(self, d_out: Array) -> Array:
        """d_inputs = d_out where inputs > 0, else 0.

        d_out : the shape of the output
        returns d_inputs : the same shape

        Raises InputError before a forward pass, or for another shape.
        """
        ops, inputs = self._recall()
        check_same_shape("d_out", d_out, inputs.shape)
        return ops.relu_backward(d_out, inputs)


class Tanh(Layer):
    """out = tanh(inputs)."""

    def forward(self, inputs: Array) -> Array:
        """The hyperbolic tangent, element by element.

        inputs : any shape
        returns out : the same shape
        """
        ops, inputs = self._enter(inputs)
        self.cache = ops.tanh(inputs)
        return self.cache

    def backward(self, d_out: Array) -> Array:
        """d_inputs = d_out (1 - out^2).

        d_out : the shape of the output
        returns d_inputs : the same shape

        Raises InputError before a forward pass, or for another shape.
        """
        ops, out = self._recall()
        check_same_shape("d_out", d_out, out.shape)
        return ops.tanh_backward(d_out, out)


class Logistic(Layer):
    """out = 1 / (1 + exp(-inputs))."""

    def forward(self, inputs: Array) -> Array:
        """The logistic function, element by element.

        inputs : any shape
        returns out : the same shape
        """
        ops, inputs = self._enter(inputs)
        self.cache = ops.logistic(inputs)
        return self.cache

    def backward(self, d_out: Array) -> Array:
        """d_inputs = d_out out (1 - out).

        d_out : the shape of the output
        returns d_inputs : the same shape

        Raises InputError before a forward pass, or for another shape.
        """
        ops, out = self._recall()
        check_same_shape("d_out", d_out, out.shape)
        return ops.logistic_backward(d_out, out)


class Identity(Layer):
    """out = inputs: a layer without activation."""

    def forward(self, inputs: Array) -> Array:
        """The inputs as they are.

        inputs : any shape
        returns inputs
        """
        _, inputs = self._enter(inputs)
        self.cache = inputs.shape
        return inputs

    def backward(self, d_out: Array) -> Array:
        """The gradient as it is.

        d_out : the shape of the inputs
        returns d_out

        Raises InputError before a forward pass, or for another shape.
        """
        _, shape = self._recall()
        check_same_shape("d_out", d_out, shape)
        return d_out


ACTIVATIONS: dict[str, type[ReLU | Tanh | Logistic | Identity]] = {
    "relu": ReLU,
    "tanh": Tanh,
    "logistic": Logistic,
    "identity": Identity,
}
